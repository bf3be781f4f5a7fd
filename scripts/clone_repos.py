#!/usr/bin/env python3
"""Clone or update the repositories that the pack reads, and record them in repos_config.json.

sglang, flashinfer and sgl-cookbook from GitHub, flashinfer-trace (a HuggingFace dataset) through
git without its Git-LFS objects. What only a checkout has is never lost: an update that would
overwrite it is refused, and lists it; --force resets, after keeping it under refs/kernelkit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_MISSING, EXIT_OK, UsageError

if TYPE_CHECKING:
    from kernelkit.sources.catalogue import Source
    from kernelkit.sources.outcome import Outcome, Request

EXAMPLES = """examples:
  python scripts/clone_repos.py
  python scripts/clone_repos.py --repos sglang,flashinfer --sglang-branch v0.5.14 --depth 1
  python scripts/clone_repos.py --mirror flashinfer-trace=/mnt/mirrors/flashinfer-trace.git
  python scripts/clone_repos.py --repos flashinfer-trace --blobs 'blob/workloads/rmsnorm/**'"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--target-dir", type=Path, default=Path("tmp"), metavar="DIR",
        help="where the checkouts stand (default: tmp)")
    add("--repos", type=cli.names, metavar="A,B", help="only these (default: all four)")
    for option, name in (("--sglang-branch", "sglang"), ("--flashinfer-branch", "flashinfer"),
                         ("--cookbook-branch", "sgl-cookbook"),
                         ("--trace-revision", "flashinfer-trace")):
        add(option, metavar="R", dest=name, help=f"branch, tag or commit of {name} "
            "(default: its default branch; an existing checkout stays on its branch)")
    add("--mirror", action="append", default=[], metavar="NAME=URL|PATH",
        help="take a repository from elsewhere, e.g. a bare repository; may be repeated")
    add("--depth", type=int, metavar="N", help="fresh clones have the last N commits only")
    add("--submodules", action="store_true", help="bring submodules, too")
    add("--blobs", nargs="?", const="*", metavar="GLOBS",
        help="fetch Git-LFS objects: all, or those of comma-separated globs")
    add("--install", action="store_true",
        help="pip install sglang and flashinfer from their checkouts (editable); torch stays")
    add("--force", action="store_true", help="reset checkouts with changes or commits of their own")
    add("--offline", action="store_true", help="fetch nothing: record what is there")
    add("--jobs", type=int, default=4, metavar="N", help="repositories at a time (default: 4)")
    add("--retries", type=int, default=3, metavar="N",
        help="after a network failure; the waits double from 2 s (default: 3)")
    add("--dry-run", action="store_true", help="say what would be done, and what would be lost")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.sources.catalogue import select
    from kernelkit.sources.fetch import bring_all, install_all
    from kernelkit.sources.report import to_document, to_text
    from kernelkit.sources.watching import Screen

    sources = select(args.repos)
    request = _request(args, sources)
    screen = Screen()
    try:
        outcomes = bring_all(sources, request, args.jobs, screen.watch)
    finally:
        screen.close()
    if args.install:
        for line in install_all(sources, outcomes, request):
            cli.say(("would run: " if args.dry_run else "running: ") + line)
    cli.emit(to_document(outcomes, request), as_json=args.json, text=to_text(outcomes, request))
    return _exit_code(outcomes)


def _request(args: argparse.Namespace, sources: Sequence[Source]) -> Request:
    """The request, or UsageError for numbers and combinations that mean nothing."""
    from kernelkit.sources.catalogue import SOURCES, mirrors
    from kernelkit.sources.outcome import Request

    for option, value, least in (("depth", args.depth, 1), ("jobs", args.jobs, 1),
                                 ("retries", args.retries, 0)):  # fmt: skip
        if value is not None and value < least:
            raise UsageError(f"--{option} is too small", received=value, allowed=f"{least} or more")
    revisions = {name: vars(args)[name] for name in SOURCES if vars(args)[name] is not None}
    if empty := [name for name, revision in revisions.items() if not revision.strip()]:
        raise UsageError(f"the revision of {empty[0]} is empty")
    if left := [name for name in revisions if name not in {source.name for source in sources}]:
        raise UsageError(f"a revision is given for {left[0]}, which --repos leaves out")
    if args.offline and (revisions or args.force or args.blobs or args.submodules):
        raise UsageError("--offline only records: it goes with no revision and no --force, "
                         "--blobs or --submodules")  # fmt: skip
    needed = args.install and any(source.install_needs_submodules for source in sources)
    return Request(
        args.target_dir, revisions, mirrors(args.mirror), args.depth, args.submodules or needed,
        args.blobs, args.force, args.offline, args.dry_run, args.retries,
    )  # fmt: skip


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    """1 where a repository failed, 3 where all that failed lacks a program."""
    failed = [outcome for outcome in outcomes if outcome.failed]
    if not failed:
        return EXIT_OK
    return EXIT_MISSING if all(outcome.missing for outcome in failed) else EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
