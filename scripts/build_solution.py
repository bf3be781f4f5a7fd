#!/usr/bin/env python3
"""Folders of source files to Solution JSON and back, and what differs between two solutions.

A folder holds `solution.json` (a Solution without its sources' contents, or patterns of the
definitions that it serves) and its sources. `pack` of what `unpack` made is the same document.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

EXAMPLES = """examples:
  python scripts/build_solution.py pack my_kernel -o my_kernel.json
  python scripts/build_solution.py pack my_kernel --dataset DIR --dry-run
  python scripts/build_solution.py unpack my_kernel.json -o my_kernel
  python scripts/build_solution.py diff my_kernel.json my_kernel"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help="what")
    pack = _command(commands, "pack", "a folder to Solution JSON, into a file or a dataset")
    pack.add_argument("source", type=Path, metavar="DIR",
                      help="a solution's folder, a folder of such, or a template's JSON")
    into = pack.add_mutually_exclusive_group(required=True)
    into.add_argument("-o", "--output", type=Path, metavar="FILE.json", help="the file to write")
    into.add_argument("--dataset", type=Path, metavar="DIR",
                      help="write to this dataset, one file for each definition it serves")
    pack.add_argument("--definitions", type=cli.names, metavar="A,B",
                      help="with --dataset: only for these definitions")
    unpack = _command(commands, "unpack", "Solution JSON to a folder of source files")
    unpack.add_argument("source", type=Path, metavar="FILE.json", help="the solution")
    unpack.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="a folder")
    unpack.add_argument("--force", action="store_true", help="overwrite files that differ")
    for made in (pack, unpack):
        made.add_argument("--dry-run", action="store_true", help="show what would be written")
    diff = _command(commands, "diff", "what differs; exit code 0 where nothing does, 1 otherwise")
    diff.add_argument("a", type=Path, metavar="A", help="a file or a folder")
    diff.add_argument("b", type=Path, metavar="B", help="a file or a folder")
    return parser


def _command(commands: argparse._SubParsersAction, name: str, text: str) -> argparse.ArgumentParser:
    made = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
    made.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                      help="print one JSON document")
    return made
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int | None:
    if args.command != "pack":
        return (_unpack if args.command == "unpack" else _diff)(args)
    if args.definitions and args.dataset is None:
        raise UsageError("--definitions selects from a dataset", next_step="add --dataset DIR")
    return _pack_into(args) if args.output is None else _pack_file(args)


def _pack_into(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.publish import pack_into

    done = pack_into(Dataset.open(args.dataset), args.source, args.definitions, args.dry_run)
    for error in done.errors:
        cli.say(f"error: {error}")
    _report(args, {"solutions": done.names, "errors": done.errors}, done.names, done.written)
    return EXIT_FAILED if done.errors else EXIT_OK


def _pack_file(args: argparse.Namespace) -> None:
    from kernelkit.solutions.pack import pack_source
    from kernelkit.solutions.publish import write_file

    document = pack_source(args.source)
    written = write_file(args.output, document, args.source, args.dry_run)
    paths = [source["path"] for source in document["sources"]]
    found = {"solution": document["name"], "path": str(args.output), "sources": paths}
    _report(args, found, [f"{document['name']}: {', '.join(paths)}"], written)


def _unpack(args: argparse.Namespace) -> None:
    from kernelkit.solutions import unpack
    from kernelkit.solutions.documents import load

    writes = unpack.plan_document(args.output, load(args.source), force=args.force)
    written = 0 if args.dry_run else unpack.write(writes)
    files = [str(item.path) for item in writes]
    _report(args, {"folder": str(args.output), "files": files}, files, written)


def _diff(args: argparse.Namespace) -> int:
    from kernelkit.solutions.diff import as_text, differences, load_either

    found = list(differences(load_either(args.a), load_either(args.b)))
    rows = [{"place": d.place, "a": d.a, "b": d.b, "diff": list(d.lines)} for d in found]
    result = {"equal": not found, "differences": rows}
    cli.emit(result, as_json=args.json, text=as_text(found) or "equal")
    return EXIT_FAILED if found else EXIT_OK


def _report(args: argparse.Namespace, found: dict, lines: list[str], written: int) -> None:
    count = "dry run: nothing written" if args.dry_run else f"{written} files new or changed"
    result = {"dry_run": args.dry_run, **found, "written": written}
    cli.emit(result, as_json=args.json, text="\n".join([*lines, count]))


if __name__ == "__main__":
    raise SystemExit(main())
