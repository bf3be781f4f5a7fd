#!/usr/bin/env python3
"""Export a dataset as tables: Parquet and JSON lines with a dataset card, and statistics.

The card's head (`configs`) tells the hub's viewer and the `datasets` package which files belong to
which view: definitions, workloads, solutions, traces. `datasets` reads one format in a folder, so
the JSON lines have a card of their own in jsonl/. The dataset's own files stay as they are; a file
that cannot be read is named, and hides no other (exit code 1).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, NothingSelectedError, UsageError

if TYPE_CHECKING:
    from kernelkit.publish.export.views import Tables

EXAMPLES = """examples:
  python scripts/export_dataset.py --dataset tmp/flashinfer-trace --output out/export
  python scripts/export_dataset.py --dataset tmp/flashinfer-trace --dry-run
  python scripts/export_dataset.py --dataset data --output out/export --formats jsonl"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR", help="what to export")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the export")
    parser.add_argument("--formats", type=cli.names, default=["parquet", "jsonl"], metavar="A,B",
                        help="parquet (needs pyarrow), jsonl (default: both)")
    parser.add_argument("--title", help="the card's title (default: the dataset folder's name)")
    parser.add_argument("--repo-id", metavar="ORG/NAME",
                        help="the hub's name, for the card's example (default: the output folder)")
    parser.add_argument("--license", metavar="ID", help="the card's license, e.g. apache-2.0")
    parser.add_argument("--dry-run", action="store_true", help="show the statistics only")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.publish.export import counting, views

    _check(args)
    dataset = Dataset.open(args.dataset)
    found = views.read(dataset)
    for error in found.errors:
        cli.say(f"warning: {error}")
    if not any(found.rows.values()):
        raise NothingSelectedError("the dataset holds nothing to export", received=args.dataset)
    written = [] if args.dry_run else _write(args, dataset.root.name, found)
    counted = counting.statistics(found)
    document = {"dry_run": args.dry_run, "files": written, "errors": found.errors, **counted}
    totals = ", ".join(f"{count} {kind}" for kind, count in counted["totals"].items())
    where = "nothing written" if args.dry_run else f"in {args.output}"
    cli.emit(document, as_json=args.json, text=f"{_lines(counted)}\n\n{totals}; {where}")
    return EXIT_FAILED if found.errors else EXIT_OK


def _check(args: argparse.Namespace) -> None:
    from kernelkit.publish.export import tables, writing

    if unknown := set(args.formats) - set(tables.FORMATS):
        raise UsageError("no such format", received=", ".join(sorted(unknown)),
                         allowed=", ".join(tables.FORMATS))  # fmt: skip
    if args.dry_run:
        return
    if args.output is None:
        raise UsageError("no output given", allowed="--output DIR, or --dry-run to look only")
    tables.require(args.formats)
    writing.check_folder(args.output)


def _write(args: argparse.Namespace, name: str, found: Tables) -> list[dict[str, object]]:
    from kernelkit.publish.export import tables, writing
    from kernelkit.publish.export.card import Facts

    formats = [kind for kind in tables.FORMATS if kind in args.formats]
    facts = Facts(args.title or name, args.repo_id or args.output.as_posix(), args.license)
    made = writing.files(found, formats, facts)
    written: list[dict[str, object]] = []
    for path, data in cli.progress(made, what="exporting"):
        changed = writing.write(args.output, path, data)
        written.append({"path": path, "bytes": len(data), "changed": changed})
    for path in writing.stale(args.output, [str(row["path"]) for row in written]):
        path.unlink()
    return written


def _lines(counted: dict[str, list[dict[str, object]]]) -> str:
    """A line for each op type."""
    return "\n".join(
        f"{row['op_type']:<16} {row['definitions']:>5} definitions {row['workloads']:>6} workloads "
        f"{row['solutions']:>5} solutions {row['traces']:>6} traces, {row['passed']} passed"
        for row in counted["op_types"]
    )


if __name__ == "__main__":
    raise SystemExit(main())
