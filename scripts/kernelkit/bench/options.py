"""The command line of bench.py: its options, the types of their values, and what follows."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.cli import fraction, names, not_negative, positive_int, seconds

if TYPE_CHECKING:
    from kernelkit.bench.settings import Settings


def workloads(text: str) -> int | list[str]:
    """A number of workloads, or uuids parted by commas."""
    return positive_int(text) if text.isdecimal() else names(text)


# fmt: off
def add_to(parser: argparse.ArgumentParser) -> None:
    """Add all options."""
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    add("--definitions", type=names, metavar="A,B", help="only these")
    add("--op-types", type=names, metavar="A,B", help="only these op types")
    add("--solutions", type=names, metavar="A,B", help="only these solutions")
    add("--workloads", type=workloads, metavar="N|UUID,..",
        help="of each definition, the first N workloads, or those of these uuids")
    add("--device", help="cpu, cuda, cuda:N, or all: every GPU (default: cuda if there is one)")
    add("--warmup-runs", type=positive_int, default=10, metavar="N",
        help="untimed calls before the timed ones (default: 10)")
    add("--iterations", type=positive_int, default=50, metavar="N",
        help="most timed calls of a trial (default: 50; fewer once the median is known to 1 %%)")
    add("--num-trials", type=positive_int, default=3, metavar="N",
        help="trials, each with inputs of its own (default: 3)")
    add("--max-seconds-per-workload", type=seconds, default=10.0, metavar="S",
        help="stop timing a workload after this (default: 10)")
    add("--timeout", type=seconds, default=300.0, metavar="S",
        help="most time for a build, and for a call (default: 300)")
    add("--rtol", type=not_negative, help="in place of the op type's")
    add("--atol", type=not_negative, help="in place of the op type's")
    add("--required-matched-ratio", type=fraction, metavar="R",
        help="share of elements that must match, in place of the op type's")
    add("--seed", type=int, help="of the inputs (default: drawn anew; the trace tells it)")
    add("--baseline", metavar="SOLUTION", help="also show the speedup against this solution")
    add("--cuda-graph", action="store_true", help="time the replay of a CUDA graph of the call")
    add("--engine", choices=("kernelkit", "ray", "flashinfer-bench"), default="kernelkit",
        help="who evaluates: kernelkit here (default), kernelkit on a Ray cluster, or another")
    add("--ray-address", metavar="HOST:PORT",
        help="the cluster's (default: RAY_ADDRESS, else that of this host, else a new one here)")
    add("--resume", action="store_true",
        help="skip pairs that have a trace of the same solution and kind of device")
    add("--profile", action="store_true",
        help="afterwards, say with Nsight Compute what holds each passed solution back")
    add("--output", type=Path, metavar="DIR", help="write traces there (default: the dataset)")
    add("--dry-run", action="store_true", help="show what would run")
# fmt: on


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings of a run on a device yet to be named."""
    from kernelkit.bench.settings import Settings

    asked = {"rtol": args.rtol, "atol": args.atol, "matched_ratio": args.required_matched_ratio}
    seed: dict[str, Any] = {"seed": args.seed, "seed_is_drawn": False}
    return Settings(
        warmup=args.warmup_runs, iterations=args.iterations, trials=args.num_trials,
        timeout=args.timeout, cuda_graph=args.cuda_graph, max_seconds=args.max_seconds_per_workload,
        tolerance={name: value for name, value in asked.items() if value is not None},
        **(seed if args.seed is not None else {}),
    )  # fmt: skip
