#!/usr/bin/env python3
"""Turn raw FlashInfer trace dumps into valid definitions, or say why not.

A dump is a template's reading of a call: its names, optional inputs, types and references are not
the format's, and it loses the cache's layout, the mask, the stage and more. Each dump becomes the
definition that it means, checked and run once on small CPU inputs, or is refused with the reason.
The records of the calls (context.jsonl beside the dumps, or --context) and the model's config tell
what a dump does not.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK

if TYPE_CHECKING:
    from kernelkit.capture.normalize.report import Report

EXAMPLES = """examples:
  python scripts/normalize_definitions.py --dump-dir tmp/dumps/llama8b --dry-run
  python scripts/normalize_definitions.py --dump-dir tmp/dumps/dsv3 --dataset tmp/trace --create \\
      --config config.json --tags model:deepseek-v3,tp:8"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--dump-dir", type=Path, required=True, metavar="DIR",
                        help="folder of raw dumps; folders in it are one pass each")
    parser.add_argument("--dataset", type=Path, metavar="DIR",
                        help="dataset to write to (not needed with --dry-run)")
    parser.add_argument("--create", action="store_true", help="make the dataset folder if absent")
    parser.add_argument("--context", type=Path, metavar="FILE",
                        help="records of the calls (default: context.jsonl beside the dumps)")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="the model's config.json: fills what is not recorded, shows drift")
    parser.add_argument("--tags", type=cli.tags, default=[], metavar="K:V,...",
                        help="tags of every definition, e.g. model:llama-3.1-8b,tp:1")
    parser.add_argument("--flashinfer-path", type=Path, metavar="DIR",
                        help="folder that holds flashinfer/, for helpers that references lack "
                        "(default: the installed one)")
    parser.add_argument("--skip-existing", action=argparse.BooleanOptionalAction, default=True,
                        help="give existing definitions tags only; --no-skip-existing also renews "
                        "their reference and description where the interface is the same")
    parser.add_argument("--smoke", action=argparse.BooleanOptionalAction, default=True,
                        help="run each reference once on small CPU inputs (needs torch)")
    parser.add_argument("--timeout", type=cli.seconds, default=60.0, metavar="SECONDS",
                        help="limit of one reference (default: 60)")
    parser.add_argument("--strict", action="store_true",
                        help="refuse what rests on an assumption; refusals and drift end with 1")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the JSON report there")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.normalize import report
    from kernelkit.capture.normalize.normalizer import merged, run_all, settle
    from kernelkit.dataset.store import Dataset
    from kernelkit.ops.placement import place, write

    dataset = Dataset.prepare(args.dataset, create=args.create, dry_run=args.dry_run)
    found = report.gather(args.dump_dir, args.context, args.config, args.tags,
                          args.flashinfer_path, strict=args.strict)  # fmt: skip
    if args.smoke:
        from kernelkit.bench.smoke import smoke

        total = len({r.definition.name for r in found.results if r.definition})
        run_all(found.results, lambda definitions: iter(
            cli.progress(smoke(definitions, args.timeout), what="running", total=total)
        ))  # fmt: skip
    for result in found.results:
        settle(result)
    found.outcomes = list(place(dataset, merged(found.results), refresh=not args.skip_existing))
    if not args.dry_run:
        write(dataset, found.outcomes)
    return _tell(args, found)


def _tell(args: argparse.Namespace, found: Report) -> int:
    from kernelkit.capture.normalize.report import as_text
    from kernelkit.dataset import atomic

    document = {"dry_run": args.dry_run, **found.as_dict()}
    if args.report:
        import json

        atomic.write_text(args.report, json.dumps(document, indent=2) + "\n")
    cli.emit(document, as_json=args.json, text=as_text(found, dry_run=args.dry_run))
    for problem in found.problems:
        cli.say(f"warning: {problem}")
    return EXIT_FAILED if found.failed(strict=args.strict) else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
