#!/usr/bin/env python3
"""Turn recorded FlashInfer calls into workloads of a dataset's definitions.

Reads a dump folder written at FLASHINFER_LOGLEVEL=10 (safetensors or torch format). Index tensors
and per-request settings are kept as they were; activations become `random`. Workloads are named by
their content: the same dump gives the same workloads, and those already there are left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_NOTHING, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.capture.collect import Outcome
    from kernelkit.dataset.definition import Definition

EXAMPLES = """examples:
  python scripts/collect_workloads.py --dump flashinfer_dumps --dataset tmp/flashinfer-trace
  python scripts/collect_workloads.py --dump flashinfer_dumps --dataset DIR --dry-run --json"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dump", type=Path, required=True, metavar="DIR", help="the dump folder")
    parser.add_argument(
        "--dataset", type=Path, required=True, metavar="DIR", help="dataset with the definitions"
    )
    parser.add_argument(
        "--definitions", type=cli.names, metavar="A,B", help="only these definitions"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.collect import write
    from kernelkit.capture.level10 import load_calls
    from kernelkit.capture.match import workloads
    from kernelkit.dataset.store import Dataset

    dataset = Dataset.open(args.dataset)
    if args.definitions:
        definitions = [dataset.find_definition(name) for name in args.definitions]
    else:
        definitions = list(dataset.definitions().values())
    calls, notes = load_calls(args.dump)
    found = workloads(calls, definitions)
    outcomes = write(dataset, found.rows, dry_run=args.dry_run)
    return _report(args, definitions, outcomes, [*notes, *found.notes])


def _report(
    args: argparse.Namespace,
    definitions: list[Definition],
    outcomes: list[Outcome],
    notes: list[str],
) -> int:
    covered = {outcome.definition.name for outcome in outcomes}
    absent = sorted(d.name for d in definitions if d.name not in covered)
    for note in notes:
        cli.say(f"note: {note}")
    width = max((len(name) for name in covered), default=0)
    lines = [
        f"{o.definition.name:<{width}}  {o.added} new, {o.kept} there already" for o in outcomes
    ]
    lines += [f"no recorded workload: {name}" for name in absent]
    added = sum(outcome.added for outcome in outcomes)
    verb = "would write" if args.dry_run else "wrote"
    lines.append(f"{verb} {added} workloads for {len(covered)} of {len(definitions)} definitions")
    document = {
        "dry_run": args.dry_run,
        "added": added,
        "definitions": [
            {"name": o.definition.name, "added": o.added, "kept": o.kept} for o in outcomes
        ],
        "without_workload": absent,
        "notes": notes,
    }
    cli.emit(document, as_json=args.json, text="\n".join(lines))
    return EXIT_OK if outcomes else EXIT_NOTHING


if __name__ == "__main__":
    raise SystemExit(main())
