#!/usr/bin/env python3
"""Tune a solution: sweep the parameters it declares, and write the winners into its main.py.

PATH is a folder with `solution.json`, or a template's JSON, whose main.py holds TUNING (what may be
tuned) and TUNED between markers (what is in force, by size). From the row in force, one parameter
at a time is changed as long as that helps. Variants are built side by side and timed one after
another, on a cold L2; each is held against the definition's reference first. With --log the same
command goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import cli
from kernelkit.errors import NothingSelectedError

if TYPE_CHECKING:
    from kernelkit.solutions.tuning.search import Found
    from kernelkit.solutions.tuning.subject import Subject

EXAMPLES = """examples:
  python scripts/tune_solution.py out/x --dataset DIR --dry-run
  python scripts/tune_solution.py out/x --dataset DIR --device cuda --log out/tune.jsonl
  python scripts/tune_solution.py out/x --dataset DIR --axes batch_size=1 --axes batch_size=64"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="solution folder or template JSON")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset with the definition and, without --axes, its workloads")
    parser.add_argument("--definition", metavar="NAME", help="default: the solution's own")
    parser.add_argument("--axes", type=_axes, action="append", default=[], metavar="A=N,B=M",
                        help="a workload's variable axes; may be given again and again")
    parser.add_argument("--device", metavar="D", help="default: the GPU if there is one")
    parser.add_argument("--jobs", type=cli.positive_int, default=8, metavar="N",
                        help="variants built side by side (default: 8)")
    parser.add_argument("--rounds", type=cli.positive_int, default=3, metavar="N",
                        help="changes of each size's best at most (default: 3)")
    parser.add_argument("--seconds", type=cli.seconds, default=600.0, metavar="S",
                        help="begin no further variant after this (default: 600)")
    parser.add_argument("--timeout", type=cli.seconds, default=120.0, metavar="S",
                        help="limit for building one variant (default: 120)")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl",
                        help="keep every measurement here, and do not repeat one")
    parser.add_argument("--dry-run", action="store_true",
                        help="show rows, space and workloads; measure and write nothing")
    return parser
# fmt: on


def _axes(text: str) -> dict[str, int]:
    """`a=2,b=3` as sizes by name."""
    pairs = [part.partition("=") for part in cli.names(text)]
    if not all(name.strip() and value.strip().isdecimal() for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"no axes: {text!r}; expected e.g. batch_size=2,M=7")
    return {name.strip(): int(value) for name, _, value in pairs}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.tuning import subject, workloads

    dataset = Dataset.open(args.dataset)
    tuned = subject.read(args.path, dataset, args.definition)
    axes = workloads.chosen(dataset, tuned, args.axes)
    if not axes:
        raise NothingSelectedError(
            f"{tuned.definition.name} has no workloads", next_step="give some: --axes A=N,B=M"
        )
    found: list[Found] = []
    rows, written = tuned.tables.rows, False
    if not args.dry_run:
        found, rows = _search(tuned, axes, args)
        written = tuned.keep(rows)
    document = {
        "definition": tuned.definition.name, "main": str(tuned.main), "written": written,
        "space": tuned.tables.space, "workloads": axes, "rows": rows,
        "found": [vars(each) for each in found],
    }  # fmt: skip
    cli.emit(document, as_json=args.json, text=workloads.as_text(document))


def _search(
    tuned: Subject, axes: list[dict[str, int]], args: argparse.Namespace
) -> tuple[list[Found], list[dict[str, Any]]]:
    from kernelkit.bench.device import choose
    from kernelkit.solutions.tuning.search import Plan, Search, winners

    device = choose(args.device)[0]
    plan = Plan(device, args.jobs, args.rounds, args.timeout, args.seconds, args.log)
    found = Search(tuned, axes, plan).run()
    return found, winners(tuned, found)


if __name__ == "__main__":
    raise SystemExit(main())
