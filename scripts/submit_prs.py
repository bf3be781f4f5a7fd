#!/usr/bin/env python3
"""Prepare the pull requests of definitions: branches, review checklist, texts; --submit sends them.

For each definition a branch of the dataset (definition, reference test, baseline solution,
workloads, recorded tensors, traces) and one of the bench repository (its coverage document alone),
made in worktrees that are removed again. Without --submit nothing leaves this machine. With it the
dataset's pull request comes first (on the HuggingFace hub through its API), the coverage one links
to it. A second run goes on where the first stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli

EXAMPLES = """examples:
  python scripts/submit_prs.py --manifest run.json --dataset tmp/flashinfer-trace --dry-run
  python scripts/submit_prs.py --definitions rmsnorm_h4096 --dataset DIR --bench-repo DIR
  python scripts/submit_prs.py --manifest run.json --dataset DIR --bench-repo DIR --submit"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--manifest", type=Path, metavar="FILE",
        help="run manifest: its kernels are published, what becomes of them is written there")
    add("--definitions", type=cli.names, metavar="A,B",
        help="only these (without a manifest: these)")
    add("--dataset", type=Path, required=True, metavar="DIR",
        help="the dataset in which the files are staged")
    add("--dataset-repo", type=Path, metavar="DIR",
        help="the checkout that gets the branches (default: the dataset itself)")
    add("--bench-repo", type=Path, metavar="DIR",
        help="checkout of flashinfer-bench, for the coverage document (default: no such branch)")
    add("--coverage-document", default="docs/model_coverage.mdx", metavar="PATH",
        help="its path in the bench repository (default: docs/model_coverage.mdx)")
    add("--config", type=Path, metavar="FILE",
        help="the model's config.json, where the coverage document does not list the model yet")
    add("--remote", default="origin", metavar="NAME",
        help="the remote of both checkouts that branches start from and go to (default: origin)")
    add("--hub-repo", metavar="ORG/NAME",
        help="the dataset on the hub (default: from the remote's URL)")
    add("--pr-repo", metavar="OWNER/NAME",
        help="the GitHub repository that gets the coverage pull request, where the remote is a "
        "fork (default: the remote's)")
    add("--branch-prefix", default="onboard/", metavar="TEXT",
        help="branches are named TEXT and the definition (default: onboard/)")
    add("--output", type=Path, default=Path("tmp/prs"), metavar="DIR",
        help="where the texts of pull requests go (default: tmp/prs)")
    add("--allow-incomplete", action="store_true",
        help="submit although parts are absent, e.g. traces; what is wrong still stops it")
    add("--submit", action="store_true", help="push, and open the pull requests")
    add("--dry-run", action="store_true", help="review, and say what would be committed")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.publish.session import submit

    result = submit(args)
    cli.emit(result.as_json(), as_json=args.json, text=result.as_text())
    return result.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
