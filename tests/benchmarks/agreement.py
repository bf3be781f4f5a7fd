#!/usr/bin/env python3
"""Does the evaluator measure what others measure? Latencies of one run, side by side.

For a copy, RMSNorm, a bfloat16 GEMM and FlashInfer's decode: the median by scripts/bench.py, by
triton.testing.do_bench (cold L2), and by CUPTI where flashinfer and cupti-python are installed.
The others are measured before and after bench.py and their mean is taken; what differs between
the two is the machine's own drift. Ends with 1 where a difference is above the limit.

All of them in bursts shorter than BURST_MS: after 50 ms of nothing but matrix products an H200
draws too much power and lowers its clocks, and 5 ms of pause bring them back. What do_bench says
of 300 ms without a pause stands beside as `sustained`; it is another machine, and held to nothing.

    python tests/benchmarks/agreement.py --limit 3
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cases

from kernelkit import cli
from kernelkit.bench.tools.call_driver import Target, prepare, target_of
from kernelkit.dataset.store import Dataset
from kernelkit.errors import KernelkitError, MissingDependencyError

BENCH = cases.ROOT / "scripts" / "bench.py"
BURST_MS, WARM_UP_MS, BURSTS, PAUSE_SECONDS = 20, 5, 5, 0.1
SUSTAINED = "sustained"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("--limit", type=float, default=3.0, metavar="PERCENT", help="default: 3")
    parser.add_argument("--device", default="cuda:0", help="default: cuda:0")
    parser.add_argument("--iterations", type=int, default=100, help="of a trial (default: 100)")
    parser.add_argument("--kernels", type=cli.names, metavar="A,B", help="only these")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    methods = methods_here()
    chosen = [case for case in cases.agreement_cases() if _wanted(case, args.kernels)]
    with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
        dataset = cases.write_dataset(Path(folder) / "dataset", chosen)
        before = measure_all(dataset, chosen, methods, args.device)
        evaluated = evaluate(dataset, args)
        after = measure_all(dataset, chosen, methods, args.device)
    rows = [row_of(name, evaluated[name], before[name], after[name]) for name in before]
    worst = max(abs(d) for row in rows for n, d in row["difference_percent"].items()
                if n != SUSTAINED)  # fmt: skip
    agreed = worst <= args.limit
    document = {"rows": rows, "limit_percent": args.limit, "agreed": agreed}
    cli.emit(document, as_json=args.json, text=table(rows))
    cli.say(f"largest difference {worst:.2f} %, limit {args.limit:g} %")
    return 0 if agreed else 1


def _wanted(case: cases.Case, names: list[str] | None) -> bool:
    name = case.sources[0].name
    if name == "decode_flashinfer" and importlib.util.find_spec("flashinfer") is None:
        cli.say("flashinfer is not installed: no decode")
        return False
    return names is None or name in names


def methods_here() -> dict[str, Callable[[Callable[[], object]], float]]:
    """The independent clocks of this machine. Raises MissingDependencyError without one."""
    try:
        import torch
        from triton.testing import do_bench
    except ImportError as error:
        raise MissingDependencyError(f"cannot compare: {error}") from None
    if not torch.cuda.is_available():
        raise MissingDependencyError("no CUDA device to compare on")
    methods: dict[str, Callable[[Callable[[], object]], float]] = {
        "do_bench": lambda call: in_bursts(
            lambda: do_bench(call, warmup=WARM_UP_MS, rep=BURST_MS, return_mode="median")
        ),
        SUSTAINED: lambda call: do_bench(call, warmup=50, rep=300, return_mode="median"),
    }
    try:
        from cupti import cupti  # noqa: F401
        from flashinfer.testing import bench_gpu_time_with_cupti
    except ImportError as error:
        cli.say(f"no CUPTI column: {error}")
        return methods
    methods["cupti"] = lambda call: in_bursts(
        lambda: statistics.median(
            bench_gpu_time_with_cupti(call, dry_run_time_ms=WARM_UP_MS, repeat_time_ms=BURST_MS)
        )
    )
    return methods


def in_bursts(measure: Callable[[], float]) -> float:
    """The median of some bursts with a pause before each."""
    found = []
    for _ in range(BURSTS):
        time.sleep(PAUSE_SECONDS)
        found.append(measure())
    return statistics.median(found)


def measure_all(
    dataset: Dataset, chosen: list[cases.Case], methods: dict[str, Any], device: str
) -> dict[str, dict[str, float]]:
    """Milliseconds by solution and method, in this process."""
    import torch

    found = {}
    for case in chosen:
        with tempfile.TemporaryDirectory(prefix="agreement-") as folder:
            found[case.sources[0].name] = _measure(_target(dataset, case, folder, device), methods)
        torch.cuda.empty_cache()  # bench.py needs the memory
    return found


def _target(dataset: Dataset, case: cases.Case, folder: str, device: str) -> Target:
    solution = cases.solution_of(case.definition, case.sources[0])
    workload = dataset.workloads_of(case.definition)[0].workload
    return target_of(dataset, case.definition, workload, solution, Path(folder), device)


def _measure(target: Target, methods: dict[str, Any]) -> dict[str, float]:
    function, arguments = prepare(target)
    return {name: method(lambda: function(*arguments)) for name, method in methods.items()}


def evaluate(dataset: Dataset, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Median and its relative error by solution, from scripts/bench.py.

    Raises KernelkitError where it gave no passed trace.
    """
    command = [
        sys.executable, str(BENCH), "--dataset", str(dataset.root), "--device", args.device,
        "--iterations", str(args.iterations), "--seed", "1", "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise KernelkitError(f"bench.py ended with {done.returncode}: {done.stderr[-2000:]}")
    found = {}
    for trace in json.loads(done.stdout)["traces"]:
        timing = trace["evaluation"]["correctness"]["extra"]["timing"]
        found[trace["solution"]] = {
            "latency_ms": trace["evaluation"]["performance"]["latency_ms"],
            "relative_error": timing["relative_error"],
        }
    return found


def row_of(
    name: str, evaluated: dict[str, float], before: dict[str, float], after: dict[str, float]
) -> dict[str, Any]:
    """One kernel: all latencies, and how far bench.py's is from each other method's mean."""
    means = {method: (before[method] + after[method]) / 2 for method in before}
    return {
        "kernel": name,
        "bench_ms": evaluated["latency_ms"],
        "bench_error_percent": 100 * evaluated["relative_error"],
        "other_ms": means,
        "difference_percent": {
            m: 100 * (evaluated["latency_ms"] / v - 1) for m, v in means.items()
        },
        "drift_percent": {m: 100 * (after[m] / before[m] - 1) for m in before},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    lines = []
    for row in rows:
        parts = [f"{row['kernel']:18} bench {row['bench_ms']:.4f} ms "
                 f"+-{row['bench_error_percent']:.2f} %"]  # fmt: skip
        parts += [
            f"{method} {value:.4f} ms ({row['difference_percent'][method]:+.2f} %, "
            f"drift {row['drift_percent'][method]:+.2f} %)"
            for method, value in row["other_ms"].items()
        ]
        lines.append("  ".join(parts))
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
