#!/usr/bin/env python3
"""What the recorder costs: time of a decode step, and bytes next to FlashInfer's level 10.

On a GPU, SGLang decodes a batch, all layers of the config, dummy weights, CUDA graphs off, while
the recorder is off and on by turns, sixteen steps each: two engines one after the other differ by
more than the recorder costs. A step is from the start of one forward pass to that of the next. Then
the same few steps are recorded once by the recorder and once at level 10. Ends with 1 where the
recorder slows a step by more than --limit percent, or writes more than a hundredth of level 10's
bytes.

    python tests/benchmarks/recorder_overhead.py --output out/overhead
    python tests/benchmarks/recorder_overhead.py --hot-path     # no GPU: microseconds of a step
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from kernelkit import cli  # noqa: E402
from kernelkit.errors import EXIT_FAILED, EXIT_OK, KernelkitError  # noqa: E402

if TYPE_CHECKING:
    from kernelkit.capture.recorder.settings import Settings
    from kernelkit.capture.sglang_pass.planning import PassPlan
    from kernelkit.capture.sglang_pass.running import Capture

CONFIG = ROOT / "tests" / "fixtures" / "configs" / "meta-llama__Llama-3.1-8B.json"
WATCH = Path(__file__).with_name("stepwatch")
STEPS_OF_A_BATCH = 161
LATE = 6  # steps of a block that may be paid for by the block before: the writer comes after 50 ms
BYTES_RATIO = 100


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE")
    parser.add_argument("--layers", type=int, metavar="N", help="default: all of the config")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="default: 32")
    parser.add_argument("--steps", type=int, default=1600, metavar="N", help="default: 1600")
    parser.add_argument("--limit", type=float, default=5.0, metavar="PERCENT", help="default: 5")
    parser.add_argument("--env", default="current", help="the Python that has SGLang")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: a temporary folder")
    parser.add_argument("--skip-level10", action="store_true", help="time alone")
    parser.add_argument("--hot-path", action="store_true", help="no SGLang: cost of a step")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    if args.hot_path:
        found = hot_path()
        cli.emit(found, as_json=args.json, text=json.dumps(found, indent=2))
        return EXIT_OK
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        work = (args.output or Path(folder)).resolve()
        found = {**step_times(args, work), **({} if args.skip_level10 else sizes(args, work))}
    is_fast = found["overhead_percent"] <= args.limit
    is_small = args.skip_level10 or found["bytes_ratio"] >= BYTES_RATIO
    found["passed"] = is_fast and is_small
    cli.emit(found, as_json=args.json, text=json.dumps(found, indent=2))
    return EXIT_OK if found["passed"] else EXIT_FAILED


def step_times(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What a decode step takes without and with the recorder, blocks of steps in turn."""
    from kernelkit.capture.collection.budget import size_of
    from kernelkit.capture.sglang_pass.running import Capture
    from kernelkit.capture.sglang_pass.traffic import Batch

    work.mkdir(parents=True, exist_ok=True)
    lines = work / "steps.txt"
    lines.unlink(missing_ok=True)
    os.environ["KERNELKIT_STEPWATCH"] = str(lines)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(WATCH), os.environ.get("PYTHONPATH", "")])
    many = [Batch([128] * args.batch_size, STEPS_OF_A_BATCH)] * (args.steps // STEPS_OF_A_BATCH)
    plan = replace(_plan(args, many), name="steps")
    _pass(args, plan, Capture(work / "time", work / "record"))
    written = size_of(work / "record" / plan.name)
    return {**overhead(lines.read_text(encoding="utf-8")), "recorded_bytes": written}


def overhead(lines: str) -> dict[str, Any]:
    """The figures of a watched run: medians over pairs of neighbouring blocks. The time of a
    shared host's CPU wanders, between blocks as between engines; that of pairs cancels."""
    rows = [[int(word) for word in line.split()] for line in lines.splitlines()]
    blocks = {n: list(group) for n, group in itertools.groupby(rows, key=lambda row: row[0])}
    means = {n: _mean_ms(block[LATE:]) for n, block in blocks.items() if len(block) > LATE + 1}
    pairs = [(means[n - 1], means[n]) for n in means if n % 2 and n - 1 in means]
    percent = [100 * (on[0] / off[0] - 1) for off, on in pairs]
    return {
        "overhead_percent": round(statistics.median(percent), 2),
        "step_ms": _by_mode(pairs, 0),
        "caller_cpu_ms": _by_mode(pairs, 1),
        "process_cpu_ms": _by_mode(pairs, 2),
        "percent_of_pairs": [round(value, 1) for value in percent],
    }


def _mean_ms(block: list[list[int]]) -> list[float]:
    """Milliseconds of a step by each of the clocks: from the start of the first to that of the
    last. A mean: what the recorder's writer takes, it takes from one step in several."""
    first, last = block[0], block[-1]
    return [(b - a) / (len(block) - 1) / 1e6 for a, b in zip(first[2:], last[2:], strict=True)]


def _by_mode(pairs: Sequence[Any], column: int) -> dict[str, float]:
    return {mode: round(statistics.median(pair[index][column] for pair in pairs), 3)
            for index, mode in enumerate(("off", "on"))}  # fmt: skip


def sizes(args: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Bytes of the same eight decode steps by recorder and level 10."""
    from kernelkit.capture.collection.budget import size_of
    from kernelkit.capture.sglang_pass.running import Capture
    from kernelkit.capture.sglang_pass.traffic import Batch

    plan = _plan(args, [Batch([128] * args.batch_size, 9)])
    found = {}
    for name in ("record", "level10"):
        _pass(args, replace(plan, name=name), Capture(work / "size", **{name: work / name}))
        found[name] = size_of(work / name / name)
    return {
        "bytes": found,
        "bytes_ratio": round(found["level10"] / max(1, found["record"]), 1),
    }


def _plan(args: argparse.Namespace, batches: list[Any]) -> PassPlan:
    from kernelkit.capture.sglang_pass import memory
    from kernelkit.capture.sglang_pass.planning import Options, make_plan
    from kernelkit.models.load import load_model

    model = load_model(None, None, args.config)
    layers = args.layers or model.spec.num_layers
    (plan,) = make_plan(model, Options(layers=layers, variants=["base"])).passes
    tokens = max(sum(b.prompt_lens) + len(b.prompt_lens) * (b.new_tokens + 8) for b in batches)
    engine = memory.serving(plan, tokens=tokens + 512, requests=args.batch_size)
    return replace(plan, batches=batches, engine=engine)


def _pass(args: argparse.Namespace, plan: PassPlan, capture: Capture) -> dict[str, Any]:
    from kernelkit.capture.host import find_host
    from kernelkit.capture.sglang_pass.running import run_pass

    cli.say(f"{plan.name}: {len(plan.batches)} batches")
    result = run_pass(plan, capture, find_host(args.env), {"model": "overhead"}, timeout_s=900)
    if not result.ok:
        raise KernelkitError(f"{plan.name}: {result.status}", received=result.detail,
                             next_step=f"see {result.log}")  # fmt: skip
    return result.result


def hot_path() -> dict[str, Any]:
    """Microseconds of this CPU that decode steps of Llama-3.1-8B cost: 32 requests, 32 layers, a
    plan and a draw. No kernel, no SGLang. The caller's thread waits for what it does; the sink's
    takes from it as long as it holds the interpreter lock (compression does not)."""
    from kernelkit.capture.recorder.settings import Settings

    with tempfile.TemporaryDirectory(prefix="hot-") as folder:
        first = _steps_us(Settings(folder, keep_steps=1 << 30))
        later = _steps_us(Settings(folder, keep_steps=0))
    return {"step_us": first, "thinned_step_us": later}


def _steps_us(settings: Settings, steps: int = 200) -> dict[str, float]:
    import torch

    from kernelkit.capture.recorder.observer import Observer
    from kernelkit.capture.recorder.sink import Sink
    from kernelkit.capture.recorder.steps import HERE
    from kernelkit.capture.recorder.wrapping import _observed

    sink = Sink(settings)
    sink.observer = Observer(settings, sink)
    owner, spent = _Wrapper(), []
    vars(owner).update(_causal=False, _sm_scale=0.1, _kv_layout="NHD", _window_left=-1)
    seen = {n: _observed(sink.observer, _nothing, f"flashinfer.x.{n}", n if n in "plan run" else "")
            for n in ("norm", "plan", "run", "draw")}  # fmt: skip
    plain = dict.fromkeys(seen, _nothing)
    x, weight = torch.zeros(32, 4096), torch.nn.Parameter(torch.ones(4096))
    q, cache = torch.zeros(32, 32, 128), (torch.zeros(64, 8, 128),) * 2
    top_k, top_p = torch.full((32,), 50, dtype=torch.int32), torch.full((32,), 0.9)

    def step(api: dict[str, Callable[..., Any]], number: int) -> float:
        HERE.step, HERE.form = HERE.step + 1, ("DECODE", (32,), 32)
        lengths = torch.arange(33, dtype=torch.int32) * (128 + number)
        pages = torch.randperm(32 * (128 + number), dtype=torch.int32)
        began = time.thread_time()
        api["plan"](owner, lengths, pages, lengths[1:], 32, 8, 128, 1, q_data_type=x.dtype)
        for _ in range(32):
            api["norm"](x, weight, 1e-5)
            api["run"](owner, q, cache)
            api["norm"](x, weight, 1e-5)
        api["norm"](x, weight, 1e-5)
        api["draw"](x, top_k, top_p)
        return (time.thread_time() - began) * 1e6

    drain, busy = sink._drain, []

    def timed_drain(**how: bool) -> None:
        began = time.thread_time()
        drain(**how)
        busy.append((time.thread_time() - began) * 1e6)

    sink._drain = timed_drain  # type: ignore[method-assign]
    for number in range(steps):
        spent.append(step(seen, number) - step(plain, number))
        time.sleep(0.005)  # the GPU's part of a step
    sink.close()
    return {"caller": round(statistics.mean(spent[10:]), 1),
            "sink_with_compression": round(sum(busy) / steps, 1)}  # fmt: skip


class _Wrapper:
    """Has what a planned wrapper has."""


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


if __name__ == "__main__":
    raise SystemExit(main())
