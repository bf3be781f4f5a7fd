#!/usr/bin/env python3
"""Report a dataset's traces: how fast, how exact, how near the limit, and what failed.

Of several traces of one solution, workload and hardware the newest counts. Failures count as zero
in every score and are shown with their log. Lines that cannot be read are named and skipped.

With -o the report goes to the file and the totals to stdout; the format follows the file's suffix
unless --format names one. --json wins over --format for stdout: it is always the JSON report.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import UsageError

if TYPE_CHECKING:
    from kernelkit.report.summary import Summary

FORMATS = ("table", "markdown", "csv", "json", "html")
SUFFIXES = {".txt": "table", ".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html",
            ".htm": "html"}  # fmt: skip
EXAMPLES = """examples:
  python scripts/report.py --dataset tmp/flashinfer-trace
  python scripts/report.py --dataset DIR -o report.html
  python scripts/report.py --dataset DIR --op-types gemm --baseline cublas --format markdown"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    add("--definitions", type=cli.names, metavar="A,B", help="only these")
    add("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    add("--solutions", type=cli.names, metavar="A,B",
        help="show only these (the best in the dataset stays the best of all)")
    add("--baseline", metavar="SOLUTION", help="also show the speedup against this solution")
    add("--format", choices=FORMATS, help="default: table, or what the file's suffix says")
    add("-o", "--output", type=Path, metavar="FILE", help="write the report there")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    words = ["python", "scripts/report.py", *(sys.argv[1:] if argv is None else argv)]
    return cli.run(build_parser(), lambda args: _run(args, shlex.join(words)), argv)


def _run(args: argparse.Namespace, command: str) -> None:
    from kernelkit.dataset.store import Dataset
    from kernelkit.report import documents, tables
    from kernelkit.report.summary import Selection, summarize

    chosen = _format(args)
    selection = Selection(args.definitions, args.op_types, args.solutions, args.baseline)
    summary = summarize(Dataset.open(args.dataset), selection)
    for place in summary.unreadable:
        cli.say(f"skipped: {tables.clean(place)}")
    if args.output is not None:
        _write(args.output, _parts(summary, chosen, command))
    if args.json:
        output = str(args.output) if args.output else None
        sys.stdout.writelines(documents.json_parts(summary, output=output))
    elif args.output is None:
        sys.stdout.writelines(_parts(summary, chosen, command))
    else:
        print(tables.totals(summary))
    if args.output is not None:
        cli.say(f"report: {args.output.resolve()}")


def _format(args: argparse.Namespace) -> str:
    """The chosen format. Raises UsageError for a file whose suffix tells none."""
    if args.format or args.output is None:
        return args.format or "table"
    suffix = args.output.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            "the file's suffix tells no format", received=args.output,
            allowed=", ".join(SUFFIXES), next_step="name one with --format",
        )  # fmt: skip
    return SUFFIXES[suffix]


def _parts(summary: Summary, chosen: str, command: str) -> Iterable[str]:
    """The report in the chosen format; what grows with the dataset comes line by line."""
    from kernelkit.report import documents, tables
    from kernelkit.report.page import render

    if chosen == "html":
        return [render(summary, command)]
    if chosen == "table":
        return [tables.as_text(summary), "\n"]
    if chosen == "markdown":
        return [documents.as_markdown(summary)]
    return {"json": documents.json_parts, "csv": documents.csv_lines}[chosen](summary)


def _write(path: Path, parts: Iterable[str]) -> None:
    """Raises UsageError where the file cannot be written."""
    from kernelkit.dataset import atomic

    try:
        atomic.write_parts(path, (part.encode("utf-8") for part in parts))
    except OSError as error:
        raise UsageError(f"cannot write: {error.strerror or error}", received=path) from None


if __name__ == "__main__":
    raise SystemExit(main())
