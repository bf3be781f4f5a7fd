#!/usr/bin/env python3
"""Run a corpus of attacks and honest controls through scripts/bench.py, and check what came of it.

Without --corpus it is the one in this folder; with it, a folder with a manifest.json, as a dataset.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]

from kernelkit import cli  # noqa: E402

if TYPE_CHECKING:
    from running.entries import Entry


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__)
    add = parser.add_argument
    add("--corpus", type=Path, metavar="DIR", help="another corpus (default: this repository's)")
    add("--only", type=cli.names, metavar="A,B", help="only these entries")
    add("--classes", type=cli.names, metavar="A,B", help="only these, of timing, correctness, ...")
    add("--quick", action="store_true", help="only the entries of the test run")
    add("--device", default="cpu", help="cpu or cuda:N (default: cpu)")
    add("--timeout", type=float, default=12.0, help="the evaluator's --timeout (default: 12 s)")
    add("--hang-seconds", type=int, default=30, help="bound of the entries' hangs (default: 30)")
    add(
        "--most-mb",
        type=float,
        default=0.0,
        metavar="MB",
        help="shrink the workloads of another corpus to this (default: 0, as they are)",
    )
    add("--keep", type=Path, metavar="DIR", help="keep the folders of all runs there")
    add("--python", default=sys.executable, help="the interpreter that runs bench.py")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from running import campaign, entries
    from running.trial import Options

    corpus = entries.of_folder(args.corpus) if args.corpus else entries.own()
    options = Options(
        device=args.device,
        timeout=args.timeout,
        hang_s=args.hang_seconds,
        python=args.python,
        most_mb=args.most_mb,
    )
    runnable = corpus.runnable(args.device)
    chosen = [entry for entry in runnable if _wanted(entry, args)]
    left = len(corpus.entries) - len(runnable)
    cli.say(f"{left} entries need a GPU or Triton, which is not here" if left else "all can run")
    files = [name for name in corpus.malformed if _wanted_file(name, args)]
    found = []
    for finding in campaign.campaign(corpus, chosen, options, cli.say, keep=args.keep):
        found.append(finding)
        cli.say(f"{'ok  ' if finding.right else 'FAIL'} {finding.id}: {finding.seen}"
                + "".join(f"\n     {fault}" for fault in finding.faults))  # fmt: skip
    if files:
        for finding in campaign.malformed(corpus, files, options, cli.say, keep=args.keep):
            found.append(finding)
            if not finding.right:
                cli.say(f"FAIL {finding.id}: {'; '.join(finding.faults)}")
    wrong = [finding for finding in found if not finding.right]
    document = {"entries": [{**vars(f), "right": f.right} for f in found], "wrong": len(wrong)}
    text = "\n".join([f"{len(found) - len(wrong)} of {len(found)} are as they must be",
                      *(f"{f.id}: {'; '.join(f.faults)}" for f in wrong)])  # fmt: skip
    cli.emit(document, as_json=args.json, text=text)
    return 1 if wrong else 0


def _wanted(entry: Entry, args: argparse.Namespace) -> bool:
    return (
        (args.only is None or entry.id in args.only)
        and (args.classes is None or entry.group in args.classes)
        and (not args.quick or entry.quick)
    )


def _wanted_file(name: str, args: argparse.Namespace) -> bool:
    if args.only is not None:
        return name in args.only
    return args.classes is None or "malformed" in args.classes


if __name__ == "__main__":
    raise SystemExit(main())
