#!/usr/bin/env python3
"""Pack folders of source files into Solution JSON in a dataset.

A folder holds `solution.json` (name, patterns of the definitions that it serves, entry point,
language) and its sources. SOURCE may be one such folder or a folder of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import ConflictError, NothingSelectedError

EXAMPLES = """examples:
  python scripts/pack_solution.py --source scripts/demo_assets/solutions --dataset DIR
  python scripts/pack_solution.py --source my_kernel --dataset DIR --dry-run"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--source", type=Path, required=True, metavar="DIR", help="the folder")
    parser.add_argument(
        "--dataset", type=Path, required=True, metavar="DIR", help="dataset with the definitions"
    )
    parser.add_argument(
        "--definitions", type=cli.names, metavar="A,B", help="only for these definitions"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> None:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.pack import folders, pack

    dataset = Dataset.open(args.dataset)
    if args.definitions:
        definitions = [dataset.find_definition(name) for name in args.definitions]
    else:
        definitions = list(dataset.definitions().values())
    packed = [pair for folder in folders(args.source) for pair in pack(folder, definitions)]
    if not packed:
        raise NothingSelectedError("no definition of the dataset matches", received=args.source)
    names = [solution.name for _, solution in packed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConflictError("two folders make a solution of one name", received=", ".join(twice))
    written = 0
    for definition, solution in packed:
        written += not args.dry_run and dataset.write_solution(solution, definition)
    count = f"{len(packed)} solutions" + ("" if args.dry_run else f", {written} new or changed")
    document = {"dry_run": args.dry_run, "solutions": names, "written": written}
    cli.emit(document, as_json=args.json, text="\n".join([*names, count]))


if __name__ == "__main__":
    raise SystemExit(main())
