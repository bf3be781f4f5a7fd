#!/usr/bin/env python3
"""Check a dataset: format, references, workloads, recorded tensors, solutions and traces.

Each finding has a code, a severity, a place and a fix. One broken file never hides another. With
--smoke every reference also runs once on tiny CPU inputs, in a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.validate import Report

EXAMPLES = """examples:
  python scripts/validate_dataset.py --dataset tmp/flashinfer-trace
  python scripts/validate_dataset.py --dataset tmp/flashinfer-trace --op-types gqa_paged --smoke
  python scripts/validate_dataset.py --dataset out/demo/dataset --checks workload,trace --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="the dataset")
    parser.add_argument("--definitions", type=cli.names, metavar="A,B",
                        help="only these definitions and what belongs to them")
    parser.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    parser.add_argument("--checks", type=cli.names, metavar="A,B",
                        help="of layout, definition, reference, workload, solution, trace "
                        "(default: all)")
    parser.add_argument("--smoke", action="store_true",
                        help="run each reference once on tiny CPU inputs (needs torch)")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="SECONDS",
                        help="limit of one reference under --smoke (default: 60)")
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.dataset.validate import CHECKS, validate

    if not args.timeout > 0:
        raise UsageError("--timeout is no time", received=args.timeout, allowed="seconds above 0")
    unknown = [check for check in args.checks or [] if check not in CHECKS]
    if unknown:
        raise UsageError("no such check", received=unknown[0], allowed=", ".join(CHECKS))
    dataset = Dataset.open(args.dataset)
    report = validate(dataset, args.definitions, args.op_types, args.checks or CHECKS, _progress)
    if args.smoke:
        _smoke(dataset, report, args.timeout)
    cli.emit(_document(report), as_json=args.json, text=_text(report))
    failed = report.errors or (args.strict and report.warnings)
    return EXIT_FAILED if failed else EXIT_OK


def _progress(paths: list[Path]) -> Iterable[Path]:
    return cli.progress(paths, what="checking", total=len(paths))


def _smoke(dataset: Dataset, report: Report, seconds: float) -> None:
    from importlib.util import find_spec

    from kernelkit.bench.smoke import NOT_RUN, smoke

    if find_spec("torch") is None:
        raise MissingDependencyError(
            "--smoke runs references and needs torch", next_step="pip install torch"
        )
    runs = smoke(report.definitions.values(), seconds)
    ran = 0
    for definition, problems in cli.progress(runs, what="smoke", total=len(report.definitions)):
        report.add(dataset, report.paths[definition.name], problems)
        ran += NOT_RUN not in {code for code, *_ in problems}
    report.counts["references run"] = ran


def _document(report: Report) -> dict[str, object]:
    summary = {**report.counts, "errors": report.errors, "warnings": report.warnings}
    return {"summary": summary, "findings": [finding.as_dict() for finding in report.findings]}


def _text(report: Report) -> str:
    lines = []
    for finding in report.findings:
        place = f"{finding.place} {finding.field}".rstrip()
        meaning = finding.as_dict()["meaning"]
        lines.append(f"{finding.severity} {finding.code} {place}\n    {meaning}: {finding.message}")
        lines.append(f"    fix: {finding.fix}")
    counts = ", ".join(f"{count} {what}" for what, count in report.counts.items())
    lines.append(f"{counts}: {report.errors} errors, {report.warnings} warnings")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
