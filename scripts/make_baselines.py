#!/usr/bin/env python3
"""Write the baseline solution of each definition: what a new kernel has to beat.

A baseline calls the best kernel that others maintain: FlashInfer's for the definition's API,
planned in setup() where it has a plan; its CUTLASS experts where the named function needs sm_100;
cuBLAS or plain PyTorch where FlashInfer has nothing. It is never the reference. What it calls, and
why another API than the definition's tag, is shown for each.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, NothingSelectedError

if TYPE_CHECKING:
    from kernelkit.solutions.baselines.writing import Outcome

EXAMPLES = """examples:
  python scripts/make_baselines.py --dataset tmp/flashinfer-trace --all --dry-run
  python scripts/make_baselines.py --dataset tmp/flashinfer-trace --op-types rmsnorm,gqa_paged
  python scripts/make_baselines.py --dataset tmp/flashinfer-trace --definitions rmsnorm_h4096"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset that holds the definitions and gets the solutions")
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--definitions", type=cli.names, metavar="A,B", help="only these")
    chosen.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    chosen.add_argument("--all", action="store_true", help="every definition of the dataset")
    parser.add_argument("--author", default="baseline", help="author of them (default: baseline)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.baselines import writing

    dataset = Dataset.open(args.dataset)
    definitions = writing.select(dataset, args.definitions, args.op_types)
    outcomes = writing.plan(dataset, cli.progress(definitions, what="building"), args.author)
    if not args.dry_run:
        writing.write(dataset, outcomes)
    counts = writing.counts(outcomes)
    rows = [outcome.as_row() for outcome in outcomes]
    document = {"dry_run": args.dry_run, "counts": counts, "baselines": rows}
    total = ", ".join(f"{count} {action}" for action, count in counts.items())
    verb = "would write" if args.dry_run else "wrote"
    text = (
        f"{_lines(outcomes)}\n\n{len(definitions)} definitions: {total}; {verb} to {args.dataset}"
    )
    cli.emit(document, as_json=args.json, text=text)
    if counts.keys() == {writing.NONE}:
        raise NothingSelectedError("no definition of the selection has a baseline")
    return EXIT_FAILED if writing.CONFLICT in counts else EXIT_OK


def _lines(outcomes: Sequence[Outcome]) -> str:
    """One line an outcome: action, solution, and what it calls or why there is none."""
    lines = []
    for outcome in outcomes:
        row = outcome.as_row()
        calls = ", ".join(api.rsplit(".", 1)[1] for api in row["apis"]) or row["provider"] or ""
        note = f" ({row['note']})" if row["note"] else ""
        lines.append(f"{row['action']:<10} {row['solution'] or row['definition']}  {calls}{note}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
