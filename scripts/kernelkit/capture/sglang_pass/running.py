"""Runs passes: files for the program, its process group, its log, its retries."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kernelkit.capture.host import Host
from kernelkit.capture.processes.group import Group
from kernelkit.capture.recorder import settings as recorder
from kernelkit.capture.sglang_pass import diagnosis
from kernelkit.capture.sglang_pass.memory import roomier, smaller
from kernelkit.capture.sglang_pass.planning import PassPlan
from kernelkit.capture.sglang_pass.traffic import token_ids
from kernelkit.dataset import atomic
from kernelkit.errors import DeadlineError

PROGRAM = Path(__file__).with_name("program") / "engine_main.py"
MAX_ATTEMPTS = 3
RESULT = "result.json"


@dataclass(frozen=True)
class Capture:
    """Where a run's passes write. Each pass has a folder of its name below each of these."""

    work: Path
    record: Path | None = None
    trace_dump: Path | None = None
    level10: Path | None = None
    apis: Mapping[str, list[str]] = field(default_factory=dict)  # recorded; empty: all
    patterns: str = ""  # of level-10 dumps; empty: all
    contents_per_form: int = recorder.Settings.max_contents_per_form


@dataclass
class PassResult:
    """What became of a pass. status: ok, failed, timeout, refused, out of memory, ..."""

    name: str
    status: str
    seconds: float
    attempts: int
    detail: str = ""
    hint: str = ""
    log: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every batch was answered."""
        return self.status == "ok"


Program = Path  # a program with the interface of program/engine_main.py


def run_pass(
    plan: PassPlan,
    capture: Capture,
    host: Host,
    about: Mapping[str, Any],
    *,
    timeout_s: float,
    say: Callable[[str], None] = lambda text: None,
    program: Program = PROGRAM,
    weights: str | None = None,
    watch: Callable[[], None] | None = None,
) -> PassResult:
    """Run one pass, again with less memory after an out-of-memory; a failed one is a result."""
    folder = capture.work / "passes" / plan.name
    started = time.monotonic()
    attempt, current = 1, plan
    while True:
        result = _attempt(current, attempt, folder, capture, host, about, timeout_s, program,
                          weights, watch)  # fmt: skip
        result.seconds = round(time.monotonic() - started, 1)
        retry = _retry(plan, result, attempt)
        if retry is None:
            break
        say(f"{plan.name}: {result.status}; once more with {_memory(retry)}")
        attempt, current = attempt + 1, retry
    write_json(folder / "outcome.json", asdict(result))
    return result


def finished(plan: PassPlan, capture: Capture) -> PassResult | None:
    """The result of a pass that an earlier run has finished, or None."""
    path = capture.work / "passes" / plan.name / "outcome.json"
    try:
        found = PassResult(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.ok else None


def _retry(plan: PassPlan, result: PassResult, attempt: int) -> PassPlan | None:
    if attempt >= MAX_ATTEMPTS:
        return None
    if result.status == diagnosis.OUT_OF_MEMORY:
        return smaller(plan, attempt)
    return roomier(plan) if result.status == diagnosis.NO_ROOM else None


def _memory(plan: PassPlan) -> str:
    names = ("max_total_tokens", "max_mamba_cache_size", "mem_fraction_static",
             "chunked_prefill_size")  # fmt: skip
    return ", ".join(f"{name}={plan.engine[name]}" for name in names if name in plan.engine)


def _attempt(
    plan: PassPlan,
    attempt: int,
    folder: Path,
    capture: Capture,
    host: Host,
    about: Mapping[str, Any],
    timeout_s: float,
    program: Program,
    weights: str | None,
    watch: Callable[[], None] | None,
) -> PassResult:
    log = folder / f"attempt-{attempt}.log"
    result_file = folder / RESULT
    result_file.unlink(missing_ok=True)
    order = write_order(plan, folder, weights)
    base = {**os.environ, **host.env}
    env = {**base, **environment(plan, capture, about, base)}
    result = PassResult(plan.name, "failed", 0.0, attempt, log=str(log))
    command = [*host.python, str(program), str(order)]
    with Group(command, log=log, env=env, cwd=folder) as group:
        try:
            code = group.wait(timeout_s, watch=watch, what=f"pass {plan.name}")
        except DeadlineError as error:
            result.status, result.detail, result.hint = "timeout", str(error), "a larger --timeout"
            return result
        finally:
            result.result = read_json(result_file)
        if code == 0 and result.result.get("status") == "ok":
            result.status = "ok"
            return result
        found = diagnosis.diagnose(group.output(), code)
    result.status, result.detail, result.hint = found.kind, found.line, found.hint
    return result


def write_order(plan: PassPlan, folder: Path, weights: str | None) -> Path:
    """The model's folder and the program's order."""
    model = folder / "model"
    if plan.config is not None:
        write_json(model / "config.json", plan.config)
    order = {
        "model_path": _absolute(weights) if weights else str(model),
        "engine": plan.engine,
        "batches": [
            {**asdict(batch), "input_ids": token_ids(batch, plan.vocab_size, seed)}
            for seed, batch in enumerate(plan.batches)
        ],
        "result": str(folder / RESULT),
        "settle_s": 1.5,
    }
    path = folder / "pass.json"
    write_json(path, order)
    return path


def _absolute(weights: str) -> str:
    """A local checkpoint's path from any folder; a repository's name as it is."""
    return str(Path(weights).resolve()) if Path(weights).exists() else weights


def environment(
    plan: PassPlan, capture: Capture, about: Mapping[str, Any], base: Mapping[str, str]
) -> dict[str, str]:
    """The variables of a pass; makes the folders and the recorder's settings that they name."""
    for folder in (capture.trace_dump, capture.level10):
        if folder is not None:
            (folder / plan.name).mkdir(parents=True, exist_ok=True)
    if capture.record is not None:
        header = {
            **about, "pass": plan.name, "tp": plan.parallel.tp, "ep": plan.parallel.ep,
            "server_page_size": plan.page_size, "variant": plan.variant.name,
            "weights": "dummy" if plan.config is not None else "real",
        }  # fmt: skip
        wish = recorder.Settings(
            str((capture.record / plan.name).resolve()), dict(capture.apis), header,
            max_contents_per_form=capture.contents_per_form,
        )  # fmt: skip
        wish.write(_recorder_file(plan, capture))
    return variables(plan, capture, base)


def variables(plan: PassPlan, capture: Capture, base: Mapping[str, str]) -> dict[str, str]:
    """The variables of a pass: its own, and those of the recorder and FlashInfer's dumpers."""
    env = dict(plan.env)
    if capture.trace_dump is not None:
        folder = (capture.trace_dump / plan.name).resolve()
        env |= {"FLASHINFER_TRACE_DUMP": "1", "FLASHINFER_TRACE_DUMP_DIR": str(folder)}
    if capture.level10 is not None:
        env |= _level10((capture.level10 / plan.name).resolve(), capture.patterns)
    if capture.record is not None:
        env |= recorder.environment(_recorder_file(plan, capture), base)
    return env


def _recorder_file(plan: PassPlan, capture: Capture) -> Path:
    return capture.work / "passes" / plan.name / "recorder.json"


def _level10(folder: Path, patterns: str) -> dict[str, str]:
    """FlashInfer's own full dumps."""
    env = {
        "FLASHINFER_LOGLEVEL": "10",
        "FLASHINFER_DUMP_DIR": str(folder),
        "FLASHINFER_DUMP_SAFETENSORS": "1",
        "FLASHINFER_DUMP_MAX_COUNT": "20000",
        "FLASHINFER_LOGDEST": str(folder / "log-%i.txt"),
    }
    return {**env, "FLASHINFER_DUMP_INCLUDE": patterns} if patterns else env


def write_json(path: Path, document: object) -> None:
    """Whole or not at all."""
    atomic.write_text(path, json.dumps(document, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The document in a file; empty where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
