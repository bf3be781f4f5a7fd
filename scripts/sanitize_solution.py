#!/usr/bin/env python3
"""Run compute-sanitizer on one call of a solution: memory errors, races, uninitialised reads.

SOURCE is a Solution file, or a folder of sources with its solution.json. The call is made on a
workload of the dataset, the lightest by default, for the tools slow a kernel down a hundredfold.
Ends with 0 where every tool's own summary is clean, 1 where one is not, 3 without tool or GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from kernelkit.dataset.definition import Definition
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.workload import Workload

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
EXAMPLES = """examples:
  python scripts/sanitize_solution.py my_kernel --dataset tmp/flashinfer-trace
  python scripts/sanitize_solution.py solution.json --dataset DIR --tool all --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="a Solution file, or a folder of sources")
    add("--dataset", type=Path, required=True, metavar="DIR", help="dataset with its definition")
    add("--definition", metavar="NAME", help="which one, for a folder that serves several")
    add("--workload", metavar="UUID", help="the workload to call it on (default: the lightest)")
    add("--tool", choices=(*TOOLS, "all"), default="memcheck", help="default: memcheck")
    add("--device", default="cuda:0", metavar="D", help="the GPU (default: cuda:0)")
    add("--timeout", type=cli.seconds, default=600.0, metavar="S",
        help="end a tool's run after this (default: 600)")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.bench.device import choose
    from kernelkit.bench.tools import sanitizer
    from kernelkit.bench.tools.call_driver import target_of
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.single import read_solution

    dataset = Dataset.open(args.dataset)
    definition, solution = read_solution(args.source, dataset, args.definition)
    workload = _workload(dataset, definition, args.workload)
    device = choose(args.device)[0]
    reports = []
    with tempfile.TemporaryDirectory(prefix="kernelkit-") as folder:
        target = target_of(dataset, definition, workload, solution, Path(folder), device)
        for tool in TOOLS if args.tool == "all" else (args.tool,):
            cli.say(f"{tool}: {solution.name} on workload {workload.uuid}")
            reports.append(sanitizer.run(target, tool, timeout=args.timeout))
    document = {
        "solution": solution.name, "definition": definition.name, "workload": workload.uuid,
        "device": device, "reports": [report.to_json() for report in reports],
    }  # fmt: skip
    cli.emit(document, as_json=args.json, text="\n".join(r.to_text() for r in reports))
    return EXIT_OK if all(report.clean for report in reports) else EXIT_FAILED


def _workload(dataset: Dataset, definition: Definition, uuid: str | None) -> Workload:
    """The workload of that uuid, else the lightest. Raises UsageError, FormatError."""
    from kernelkit.bench.tools.call_driver import lightest

    known = {line.workload.uuid: line.workload for line in dataset.workloads_of(definition)}
    if uuid is None:
        return lightest(definition, list(known.values()))
    if uuid not in known:
        raise UsageError(
            f"{definition.name} has no such workload", received=uuid,
            allowed=", ".join(list(known)[:5]) or "none",
        )  # fmt: skip
    return known[uuid]


if __name__ == "__main__":
    raise SystemExit(main())
