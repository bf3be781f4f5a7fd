#!/usr/bin/env python3
"""How long do 4 solutions x 24 workloads take, here and in flashinfer-bench 0.1.2?

Both evaluate the same dataset with the same warm-up, iterations and trials, each in a process of
its own, from its start to its end: one definition with 24 workloads (RMSNorm, GEMM, paged decode),
or all three with eight each ("mixed", with twelve solutions). Prints wall times, verdicts and
ratios. Ends with 1 where ours takes more than --limit of theirs, or where one of them did not pass
everything.

    python tests/benchmarks/eval_throughput.py --limit 0.5
    python tests/benchmarks/eval_throughput.py --sets gqa_paged
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases

from kernelkit import cli
from kernelkit.bench.device import choose
from kernelkit.dataset.store import Dataset
from kernelkit.errors import EXIT_FAILED, EXIT_OK, MissingDependencyError, UsageError

BENCH = cases.ROOT / "scripts" / "bench.py"
THEIRS = "flashinfer-bench"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--limit", type=float, default=0.5, metavar="R", help="ours / theirs (default: 0.5)")
    add("--device", default="cuda:0", help="default: cuda:0")
    add("--warmup-runs", type=int, default=10, metavar="N", help="default: 10")
    add("--iterations", type=int, default=50, metavar="N", help="default: 50")
    add("--num-trials", type=int, default=3, metavar="N", help="default: 3")
    add(
        "--sets",
        type=cli.names,
        metavar="A,B",
        help=f"default: {','.join(cases.throughput_sets())}",
    )
    add("--evaluate", type=Path, metavar="DIR", help="only evaluate DIR with flashinfer-bench")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    if importlib.util.find_spec("flashinfer_bench") is None:
        raise MissingDependencyError(
            "flashinfer-bench is not installed", next_step="pip install flashinfer-bench==0.1.2"
        )
    if args.evaluate is not None:
        return evaluate_theirs(args)
    choose(args.device)
    known = cases.throughput_sets()
    if unknown := set(args.sets or ()) - known.keys():
        raise UsageError("no such set", received=sorted(unknown), allowed=sorted(known))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="throughput-") as folder:
        keep_bytecode(Path(folder) / "bytecode")
        for name in args.sets or known:
            found[name] = _both(args, known[name], Path(folder) / name)
            cli.say(text_of(name, found[name]))
    held = all(row["ratio"] <= args.limit and row["all_passed"] for row in found.values())
    document = {"limit": args.limit, "held": held, "sets": found}
    text = "\n".join(text_of(name, row) for name, row in found.items())
    cli.emit(document, as_json=args.json, text=f"{text}\nlimit {args.limit:g}")
    return EXIT_OK if held else EXIT_FAILED


def keep_bytecode(folder: Path) -> None:
    """Have imports read bytecode, as on every ordinary machine: some keep none, and then each
    process of either evaluator compiles torch's thousand sources again."""
    if not os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        return
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)
    for module in ("torch, triton, kernelkit.bench.judge.verifier", "flashinfer_bench.bench"):
        subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True,
                       env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip


def _both(args: argparse.Namespace, chosen: list[cases.Case], folder: Path) -> dict[str, Any]:
    """Both evaluators, one after the other, each on a fresh copy with fresh caches."""
    counts = ["--warmup-runs", str(args.warmup_runs), "--iterations", str(args.iterations),
              "--num-trials", str(args.num_trials), "--device", args.device]  # fmt: skip
    found: dict[str, Any] = {}
    pairs = sum(len(c.axes) * len(c.sources) for c in chosen)
    for name in ("kernelkit", THEIRS):
        dataset = cases.write_dataset(folder / name, chosen)
        root = str(dataset.root)
        command = [str(BENCH), "--dataset", root, *counts]
        if name == THEIRS:
            command = [__file__, "--evaluate", root, *counts]
        found[name] = _timed(command, folder / f"{name}-home", dataset)
    passed = [run["statuses"].get("PASSED", 0) for run in found.values()]
    ratio = found["kernelkit"]["seconds"] / found[THEIRS]["seconds"]
    return {**found, "ratio": ratio, "all_passed": passed == [pairs] * 2}


def _timed(command: list[str], home: Path, dataset: Dataset) -> dict[str, Any]:
    """Wall seconds of a command, and what its traces say."""
    environment = {
        **os.environ,
        "FIB_CACHE_PATH": str(home / "fib"),
        "TRITON_CACHE_DIR": str(home / "triton"),
    }
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, env=environment
    )
    seconds = time.perf_counter() - start
    evaluations = [
        trace.evaluation
        for definition in dataset.definitions().values()
        for trace in dataset.traces_of(definition)
        if trace.evaluation is not None
    ]
    return {
        "seconds": seconds,
        "code": done.returncode,
        "statuses": dict(Counter(e.status.value for e in evaluations)),
        "timed_calls": sum(_samples(e.to_json()) for e in evaluations),
        "said": "" if done.returncode == 0 else (done.stdout + done.stderr)[-2000:],
    }


def _samples(evaluation: dict[str, Any]) -> int:
    """Timed calls of a trace, where it tells."""
    extra = (evaluation.get("correctness") or {}).get("extra") or {}
    return int((extra.get("timing") or {}).get("samples", 0))


def evaluate_theirs(args: argparse.Namespace) -> int:
    """Evaluate a dataset through flashinfer-bench's own interface, traces into the dataset."""
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", args.device.partition(":")[2] or "0")
    from flashinfer_bench.bench import Benchmark, BenchmarkConfig
    from flashinfer_bench.data import TraceSet

    settings = BenchmarkConfig(
        warmup_runs=args.warmup_runs, iterations=args.iterations, num_trials=args.num_trials
    )
    benchmark = Benchmark(TraceSet.from_path(str(args.evaluate)), settings)
    try:
        benchmark.run_all(dump_traces=True)
    finally:
        benchmark.close()
    return 0


def text_of(name: str, row: dict[str, Any]) -> str:
    """The result of a set as text."""
    lines = [f"{name}: ratio {row['ratio']:.3f}"]
    for who in ("kernelkit", THEIRS):
        run = row[who]
        calls = f", {run['timed_calls']} timed calls" if run["timed_calls"] else ""
        lines.append(f"  {who:17} {run['seconds']:8.1f} s  {json.dumps(run['statuses'])}{calls}")
        if run["said"]:
            lines.append(run["said"])
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
