#!/usr/bin/env python3
"""Does one solution against itself differ by less than what is printed as its uncertainty?

Copies of the same sources under several names are evaluated by scripts/bench.py, each in a process
of its own, on all workloads of the throughput benchmark (on a CPU: on the smallest). A pair of
copies agrees if their medians differ by no more than both uncertainties together. Ends with 1
where more pairs disagree than a 95 % interval allows.

    python tests/benchmarks/same_against_same.py --copies 4
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases

from kernelkit import cli
from kernelkit.errors import KernelkitError

BENCH = cases.ROOT / "scripts" / "bench.py"
ALLOWED = 0.05  # of the pairs: what a 95 % interval leaves
FEW_ON_CPU = 2  # workloads of a definition


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--copies", type=int, default=4, metavar="N", help="of each solution (default: 4)")
    add("--device", default="cuda:0", help="default: cuda:0")
    add("--solutions", type=cli.names, metavar="A,B", help="only copies of these")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    chosen = [_copied(case, args) for case in cases.throughput_cases()]
    with tempfile.TemporaryDirectory(prefix="same-") as folder:
        dataset = cases.write_dataset(Path(folder) / "dataset", chosen, args.device.split(":")[0])
        measured = evaluate(dataset.root, args.device)
    rows = [row_of(what, timings) for what, timings in measured.items()]
    pairs, apart = sum(row["pairs"] for row in rows), sum(row["apart"] for row in rows)
    held = apart <= ALLOWED * pairs
    document = {"rows": rows, "pairs": pairs, "apart": apart, "held": held}
    cli.emit(document, as_json=args.json, text="\n".join(map(text_of, rows)))
    cli.say(f"{apart} of {pairs} pairs differ by more than what is printed")
    return 0 if held else 1


def _copied(case: cases.Case, args: argparse.Namespace) -> cases.Case:
    """The case with copies of its solutions (on a CPU: of those in PyTorch) instead."""
    on_cpu = args.device == "cpu"
    wanted = [
        source
        for source in case.sources
        if (args.solutions is None or source.name in args.solutions)
        and not (on_cpu and "triton" in source.file)
    ]
    copies = [
        dataclasses.replace(source, name=f"{source.name}__{number}")
        for source in wanted
        for number in range(args.copies)
    ]
    axes = case.axes[:FEW_ON_CPU] if on_cpu else case.axes
    return dataclasses.replace(case, axes=axes, sources=copies)


def evaluate(root: Path, device: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Timings by solution (without the copy's number) and workload.

    Raises KernelkitError where a copy did not pass.
    """
    command = [sys.executable, str(BENCH), "--dataset", str(root), "--device", device, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise KernelkitError(f"bench.py ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for trace in json.loads(done.stdout)["traces"]:
        name = trace["solution"].rpartition("__")[0]
        extra = trace["evaluation"]["correctness"]["extra"]
        found[name, trace["workload"]["uuid"]].append(extra["timing"])
    return found


def row_of(what: tuple[str, str], timings: list[dict[str, Any]]) -> dict[str, Any]:
    """One solution on one workload: its medians, and how many pairs of copies are apart."""
    medians = [timing["median_ms"] for timing in timings]
    pairs = list(itertools.combinations(timings, 2))
    return {
        "solution": what[0], "workload": what[1], "medians_ms": medians,
        "printed_percent": [100 * timing["relative_error"] for timing in timings],
        "spread_percent": 100 * (max(medians) / min(medians) - 1),
        "pairs": len(pairs), "apart": sum(apart(one, other) for one, other in pairs),
    }  # fmt: skip


def apart(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two timings differ by more than both uncertainties together."""
    uncertain_ms = sum(t["median_ms"] * t["relative_error"] for t in (one, other))
    return abs(one["median_ms"] - other["median_ms"]) > uncertain_ms


def text_of(row: dict[str, Any]) -> str:
    """One row as text."""
    printed = "/".join(f"{value:.1f}" for value in row["printed_percent"])
    return (f"{row['solution']:22} {row['workload']:40} {min(row['medians_ms']):.4f} ms  "
            f"spread {row['spread_percent']:5.2f} %, printed {printed} %  "
            f"{row['apart']} of {row['pairs']} apart")  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
