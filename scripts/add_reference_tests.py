#!/usr/bin/env python3
"""Write pytest files that hold each definition's reference against ground truth, and run them.

A test stands in the dataset as tests/references/test_{name}.py. It needs torch, pytest and the
ground truth (FlashInfer, SGLang, flash-linear-attention or DeepGEMM on a GPU; an independent
PyTorch computation anywhere), not this pack. --run runs the tests, writes what came out to
tests/references/outcomes.json, and is what sets `status:verified`.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, NothingSelectedError, UsageError

SIZES = ("small", "medium", "large")
EXAMPLES = """examples:
  python scripts/add_reference_tests.py --dataset DIR --op-type mla_paged
  python scripts/add_reference_tests.py --dataset DIR --definition-name rmsnorm_h4096 --run
  python scripts/add_reference_tests.py --dataset DIR --all --test-sizes small --run --json"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="the dataset that has the definitions")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--definition-name", type=cli.names, metavar="A,B", help="these definitions")
    which.add_argument("--op-type", type=cli.names, metavar="A,B",
                       help="the definitions of these op types")
    which.add_argument("--all", action="store_true", help="every definition")
    parser.add_argument("--tolerance", type=_tolerance, metavar="X",
                        help="absolute and relative tolerance of all outputs, instead of the op's")
    parser.add_argument("--test-sizes", type=_sizes, default=SIZES, metavar="A,B",
                        help=f"of {', '.join(SIZES)} (default: all; a CPU runs the small one)")
    parser.add_argument("--force", action="store_true",
                        help="overwrite test files that were edited or written by hand")
    parser.add_argument("--run", action="store_true",
                        help="run the tests, record the outcome, set status:verified")
    parser.add_argument("--timeout", type=_seconds, default=900.0, metavar="SECONDS",
                        help="with --run: the most that one file may take (default: 900)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser
# fmt: on


def _tolerance(text: str) -> float:
    return _positive(text, "1e-3")


def _seconds(text: str) -> float:
    return _positive(text, "600")


def _positive(text: str, example: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"not a positive number: {text!r}; expected e.g. {example}"
        )
    return value


def _sizes(text: str) -> tuple[str, ...]:
    chosen = cli.names(text)
    if unknown := [name for name in chosen if name not in SIZES]:
        raise argparse.ArgumentTypeError(f"no such size: {unknown[0]!r}; one of {', '.join(SIZES)}")
    return tuple(name for name in SIZES if name in chosen)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.reftests import session as sessions
    from kernelkit.reftests.running import require_packages
    from kernelkit.reftests.write import Options

    if args.run and args.dry_run:
        raise UsageError("--run runs what is written", next_step="leave out --dry-run")
    if args.run:
        require_packages()
    dataset = Dataset.open(args.dataset)
    selection = sessions.Selection(tuple(args.definition_name or ()), tuple(args.op_type or ()))
    options = Options(args.test_sizes, args.tolerance, args.force)
    chosen = sessions.select(dataset, selection)
    session = sessions.write_tests(dataset, chosen, options, dry_run=args.dry_run)
    for error in session.errors:
        cli.say(f"error: {error}")
    if not session.written and not session.errors:
        raise NothingSelectedError(
            "no ground truth is known for these", received="; ".join(session.unsupported.values())
        )
    if args.run:
        sessions.run_tests(
            dataset, session, args.timeout, lambda rows: cli.progress(rows, what="op types")
        )
    document = sessions.document(dataset, session, dry_run=args.dry_run)
    cli.emit(document, as_json=args.json, text=sessions.as_text(dataset, session, args.dry_run))
    return EXIT_FAILED if session.failed else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
