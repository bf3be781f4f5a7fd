#!/usr/bin/env python3
"""Say what this machine can do: which scripts and skills work here, and what repairs the others.

Python, torch, CUDA, GPUs, compilers, FlashInfer, SGLang, FLA, CuTe DSL, Triton, git-lfs, logins,
checkouts, disk, cores and memory. Each package is imported in a process of its own: a broken one is
a line of the report. (A solution with wrong numbers is examined by diagnose_solution.py.)
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_MISSING, EXIT_OK, UsageError

if TYPE_CHECKING:
    from kernelkit.machine.examine import Examination

EXAMPLES = """examples:
  python scripts/doctor.py
  python scripts/doctor.py --for bench,clone-repos
  python scripts/doctor.py --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument(
        "--for", dest="wanted", type=cli.names, metavar="A,B",
        help="only these scripts or skills; ends with 3 unless they work, at least in part",
    )  # fmt: skip
    parser.add_argument(
        "--target-dir", type=Path, default=Path("tmp"), metavar="DIR",
        help="where clone_repos.py put the checkouts (default: tmp)",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="SECONDS",
        help="limit of the import of one package (default: 60)",
    )  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit import places
    from kernelkit.machine.examine import examine, narrowed
    from kernelkit.machine.report import to_document, to_text
    from kernelkit.machine.verdicts import scripts_here, skills_here

    if not args.timeout > 0:
        raise UsageError("--timeout is no time", received=args.timeout, allowed="seconds above 0")
    known = [*scripts_here(places.SCRIPTS), *skills_here(places.SKILLS)]
    for name in args.wanted or ():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=5) or known
            raise UsageError("no such script or skill", received=name, allowed=", ".join(close))
    found = examine(args.target_dir, args.timeout)
    if args.wanted:
        found = narrowed(found, args.wanted)
    cli.emit(to_document(found), as_json=args.json, text=to_text(found))
    return _exit_code(found, args.wanted or ["derive_definitions", "validate_dataset"])


def _exit_code(found: Examination, wanted: Sequence[str]) -> int:
    """3 where one of these does not work; by default those that need the core packages only."""
    from kernelkit.machine.verdicts import NOT

    lame = [v.name for v in (*found.scripts, *found.skills) if v.name in wanted and v.state == NOT]
    for name in lame:
        cli.say(f"does not work here: {name}")
    return EXIT_MISSING if lame else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
