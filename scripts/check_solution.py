#!/usr/bin/env python3
"""Check a solution before any GPU time is spent.

PATH is a Solution JSON, a folder with `solution.json` and sources, or a folder of several of
these. Rules read the sources without running them: each finding has a code (KS101), a place, a
message and a fix; `.claude/skills/add-flashinfer-solution/reference/wrapper_gotchas.md` explains
every code. With --smoke the solution also runs, in a process of its own, on tiny inputs against
the definition's reference: on a CPU, Triton through its interpreter.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from kernelkit.solutions.check.report import Checked

EXAMPLES = """examples:
  python scripts/check_solution.py my_kernel --dataset tmp/flashinfer-trace --smoke
  python scripts/check_solution.py solution.json --dataset tmp/flashinfer-trace --strict --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("path", type=Path, metavar="PATH", help="Solution JSON or folder")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="dataset with the definitions")
    parser.add_argument("--smoke", action="store_true",
                        help="run on tiny inputs against the reference (needs torch)")
    parser.add_argument("--device", default="cpu", help="of --smoke: cpu, cuda, cuda:1 (cpu)")
    parser.add_argument("--timeout", type=float, default=120.0, metavar="SECONDS",
                        help="limit of one smoke run (default: 120)")
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.solutions.check import report, target

    if not args.timeout > 0:
        raise UsageError("--timeout is no time", received=args.timeout, allowed="seconds above 0")
    dataset = Dataset.open(args.dataset)
    targets = [target.read(path) for path in target.find(args.path)]
    checked = report.check_all(dataset, targets)
    if args.smoke:
        _smoke(checked, args.device, args.timeout)
    severities = [f.severity for one in checked for f in one.findings]
    cli.emit(_document(checked), as_json=args.json, text=report.to_text(checked))
    failed = "error" in severities or (args.strict and "warning" in severities)
    return EXIT_FAILED if failed else EXIT_OK


def _smoke(checked: list[Checked], device: str, seconds: float) -> None:
    from kernelkit.solutions.check.smoke import require, smoke

    require(device)
    runs: Iterable[Checked] = cli.progress(checked, what="smoke", total=len(checked))
    for one in runs:
        if one.definition is not None and one.spec is not None:
            one.add(smoke(one.spec, one.definition, one.sources, device, seconds))


def _document(checked: list[Checked]) -> dict[str, object]:
    from kernelkit.solutions.check.report import counts

    return {"summary": counts(checked), "solutions": [one.as_dict() for one in checked]}


if __name__ == "__main__":
    raise SystemExit(main())
