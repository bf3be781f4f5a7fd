#!/usr/bin/env python3
"""Turn recorded FlashInfer calls into workloads of a dataset's definitions.

Reads the recorder's files (*.kkrec) and FlashInfer's level-10 folders (safetensors or torch format)
below --dump-dir. A call enters a definition only when every constant axis is proven by its plan and
its tensors. Index tensors and settings of requests are kept, floats become `random`. Of the
distinct calls of a definition a spread over batch size and lengths is chosen. A workload's uuid
follows from its content: the same dump adds nothing the second time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_NOTHING, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.capture.sanitize.outcome import Outcome
    from kernelkit.capture.sanitize.pipeline import Settings

EXAMPLES = """examples:
  python scripts/sanitize_dumps.py --dump-dir flashinfer_dumps --dataset tmp/flashinfer-trace
  python scripts/sanitize_dumps.py --dump-dir DIR --dataset DIR --op-type gqa_paged --dry-run
  python scripts/sanitize_dumps.py --dump-dir DIR --dataset DIR --replace --report report.json"""
STORES = ("random", "structural", "all")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    add = parser.add_argument
    add("--dump-dir", type=Path, required=True, metavar="DIR", help="recordings or level-10 dumps")
    add("--dataset", type=Path, required=True, metavar="DIR", help="dataset with the definitions")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--definitions", type=cli.names, metavar="A,B", help="only these")
    which.add_argument("--op-type", type=cli.names, metavar="A,B", help="only these op types")
    which.add_argument("--all", action="store_true", help="all definitions (the default)")
    text = "chosen of each definition (default: 20; 0: all)"
    add("--max-new-workloads", type=_limit, default=20, metavar="N", help=text)
    text = "chosen with the same axes (default: 2; 0: all)"
    add("--per-axes", type=_limit, default=2, metavar="N", help=text)
    add("--replace", action="store_true", help="put what is chosen in place of what is there")
    text = "take calls whose plan and tensors disagree, by their tensors"
    add("--skip-const-axis-check", action="store_true", help=text)
    add("--accept-incomplete", action="store_true", help="take calls that never completed")
    text = "tensors in blobs: index tensors alone, with settings of requests, or floats too"
    add("--store", choices=STORES, default="structural", help=text)
    add("--model", metavar="NAME", help="provenance: the model that ran")
    add("--sglang-version", metavar="VERSION", help="provenance: SGLang's version")
    add("--weights", choices=("dummy", "real"), help="provenance: what weights it ran with")
    add("--dry-run", action="store_true", help="show what would be written")
    add("--report", type=Path, metavar="FILE", help="write the JSON document there, too")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"not a count: {text!r}; expected 0 or more")
    return int(text)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.sanitize import outcome as outcomes
    from kernelkit.capture.sanitize.pipeline import chosen_definitions, sanitize
    from kernelkit.dataset import atomic
    from kernelkit.dataset.store import Dataset

    dataset = Dataset.open(args.dataset)
    wanted = chosen_definitions(dataset, args.definitions, args.op_type)
    bar = partial(cli.progress, what="calls")
    found = sanitize(args.dump_dir, dataset, wanted, _settings(args), bar)
    for line in outcomes.remarks(found):
        cli.say(f"note: {line}")
    document = outcomes.document(found, dry_run=args.dry_run)
    if args.report:
        atomic.write_text(args.report, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    cli.emit(document, as_json=args.json, text=outcomes.text(found, dry_run=args.dry_run))
    return _exit_code(found)


def _settings(args: argparse.Namespace) -> Settings:
    from kernelkit.capture.sanitize.pipeline import Settings

    known = {name: getattr(args, name) for name in ("model", "sglang_version", "weights")}
    return Settings(
        most=args.max_new_workloads or None,
        per_axes=args.per_axes or None,
        replace=args.replace,
        strict=not args.skip_const_axis_check,
        accept_incomplete=args.accept_incomplete,
        store=args.store,
        dry_run=args.dry_run,
        known={name: value for name, value in known.items() if value},
    )


def _exit_code(found: Outcome) -> int:
    if found.failed:
        return EXIT_FAILED
    return EXIT_OK if found.definitions else EXIT_NOTHING


if __name__ == "__main__":
    raise SystemExit(main())
