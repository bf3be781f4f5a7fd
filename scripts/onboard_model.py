#!/usr/bin/env python3
"""Take a model from its name to reviewed pull requests, resumable at every step.

Phases: 0 brings the repositories; 1 lists the kernels the model needs; 2 writes their definitions,
has FlashInfer's templates and (on a GPU) a SGLang pass confirm them, and tests their references;
3 writes baselines, records workloads and evaluates (on a GPU); 4 prepares the pull requests. The
manifest is the state: run the same command again after anything. Nothing leaves this machine
without --submit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from kernelkit import cli
from kernelkit.errors import EXIT_OK, UsageError
from kernelkit.onboarding import options

EXAMPLES = """examples:
  python scripts/onboard_model.py --hf-repo-id Qwen/Qwen3-30B-A3B --dry-run
  python scripts/onboard_model.py --config config.json --tp-list 1,8 --dataset DIR --phases 1,2
  python scripts/onboard_model.py --manifest run.json --dataset DIR --bench-repo DIR --submit"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    options.add(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    if args.submit and args.dry_run:
        raise UsageError("--dry-run makes nothing that --submit could publish")
    if args.discover:
        return _discover(args)
    from kernelkit.onboarding import summary
    from kernelkit.onboarding.session import onboard

    found = onboard(args)
    cli.emit(summary.document(found), as_json=args.json, text=summary.as_text(found))
    return found.exit_code


def _discover(args: argparse.Namespace) -> int:
    """What could be onboarded; a person chooses."""
    from kernelkit.inventory.candidates import as_text, discover

    if args.model_name:
        raise UsageError("--discover lists models; it takes none")
    checkouts = {name: args.target_dir / name for name in ("sglang", "flashinfer-trace")}
    there = {name: path for name, path in checkouts.items() if path.is_dir()}
    found = discover(
        sglang=args.sglang_path or there.get("sglang"), since=None, cookbook=args.cookbook,
        document=None, dataset=args.dataset or there.get("flashinfer-trace"),
    )  # fmt: skip
    text = f"{as_text(found)}\n\nnext: python scripts/onboard_model.py --hf-repo-id ORG/NAME"
    cli.emit(found.as_json(), as_json=args.json, text=text)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
