#!/usr/bin/env python3
"""Report a dataset's traces: a table in the terminal, and one self-contained HTML page.

Failures come first. Definitions without workloads or solutions are named, so that a short report
is not taken for a complete one. Of several traces of the same solution, workload and hardware the
newest counts.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import NothingSelectedError

EXAMPLES = """examples:
  python scripts/make_report.py --dataset tmp/flashinfer-trace
  python scripts/make_report.py --dataset DIR --output report.html"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the HTML page here")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    words = ["python", "scripts/make_report.py", *(sys.argv[1:] if argv is None else argv)]
    parser = build_parser()
    return cli.run(parser, lambda args: _run(args, shlex.join(words)), argv)


def _run(args: argparse.Namespace, command: str) -> None:
    from kernelkit.dataset import atomic
    from kernelkit.dataset.store import Dataset
    from kernelkit.report import tables
    from kernelkit.report.summary import summarize

    summary = summarize(Dataset.open(args.dataset))
    if not summary.definitions and not summary.rows:
        raise NothingSelectedError("the dataset is empty", received=args.dataset)
    if args.output is not None:
        from kernelkit.report.page import render

        atomic.write_text(args.output, render(summary, command))
    document = {**summary.to_json(), "output": str(args.output) if args.output else None}
    cli.emit(document, as_json=args.json, text=tables.as_text(summary))
    if args.output is not None:
        cli.say(f"report: {args.output.resolve()}")


if __name__ == "__main__":
    raise SystemExit(main())
