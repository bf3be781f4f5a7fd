"""All passes of a model, side by side where asked, then contexts and the report's facts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelkit.capture.host import Host
from kernelkit.capture.sglang_pass import running
from kernelkit.capture.sglang_pass.context import write_context
from kernelkit.capture.sglang_pass.planning import PassPlan, Plan, as_document
from kernelkit.capture.sglang_pass.running import Capture, PassResult
from kernelkit.dataset import atomic
from kernelkit.errors import KernelkitError


@dataclass(frozen=True)
class Manner:
    """How the passes are run."""

    timeout_s: float = 900.0
    jobs: int = 1
    keep_going: bool = False
    resume: bool = False
    weights: str | None = None
    program: Path = running.PROGRAM


def run_all(
    plan: Plan,
    capture: Capture,
    host: Host,
    about: Mapping[str, Any],
    manner: Manner,
    say: Callable[[str], None],
) -> list[PassResult]:
    """Run every pass. Without `keep_going` none is begun after one that failed."""
    capture.work.mkdir(parents=True, exist_ok=True)
    text = json.dumps(as_document(plan), indent=2, default=str) + "\n"
    atomic.write_text(capture.work / "plan.json", text)
    failed = False
    stop = threading.Event()

    def watch() -> None:
        if stop.is_set():
            raise KernelkitError("the run was interrupted", next_step="run again with --resume")

    def one(item: PassPlan) -> PassResult | None:
        nonlocal failed
        if manner.resume and (done := running.finished(item, capture)) is not None:
            say(f"{item.name}: done before")
            return done
        if stop.is_set() or (failed and not manner.keep_going):
            return None
        say(f"{item.name}: running")
        result = running.run_pass(
            item, capture, host, about, timeout_s=manner.timeout_s, say=say,
            program=manner.program, weights=manner.weights, watch=watch,
        )  # fmt: skip
        failed = failed or not result.ok
        say(f"{item.name}: {result.status} in {result.seconds:g} s")
        return result

    with ThreadPoolExecutor(max_workers=max(1, manner.jobs)) as pool:
        try:
            results = list(pool.map(one, plan.passes))
        except BaseException:  # an interrupt too: end the engines before it goes on
            stop.set()
            raise
    return [result or _not_begun(item) for item, result in zip(plan.passes, results, strict=True)]


def _not_begun(item: PassPlan) -> PassResult:
    return PassResult(item.name, "not run", 0.0, 0, "an earlier pass failed", "--keep-going")


def write_contexts(plan: Plan, capture: Capture) -> dict[str, int]:
    """The context file of each pass's raw dumps; lines by pass."""
    if capture.record is None or capture.trace_dump is None:
        return {}
    return {
        item.name: write_context(capture.record / item.name, capture.trace_dump / item.name)
        for item in plan.passes
        if (capture.record / item.name).is_dir()
    }
