#!/usr/bin/env python3
"""Write or check the coverage document: per model a table of its definitions, and a summary.

A model's rows follow from its config and serving configurations, their marks from the dataset's
files. Only the lines of the models that are asked for change, byte for byte. `--check` writes
nothing and lists where the document contradicts the files, the configs, or itself.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli

EXAMPLES = """examples:
  python scripts/update_coverage.py --document model_coverage.mdx --dataset DIR --config config.json
  python scripts/update_coverage.py --document model_coverage.mdx --dataset DIR --refresh-status
  python scripts/update_coverage.py --document FILE --dataset DIR --configs DIR --check"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--document", type=Path, required=True, metavar="FILE",
                        help="the coverage document (model_coverage.mdx)")
    parser.add_argument("--dataset", type=Path, required=True, metavar="DIR",
                        help="the dataset whose files decide the marks")
    source = cli.model_source(parser, "short name; without a config, one of the known ones")
    source.add_argument("--configs", type=Path, metavar="DIR",
                        help="every ORG__NAME.json of a folder that the document tracks")
    source.add_argument("--refresh-status", action="store_true",
                        help="marks and counts of all models, from the dataset's files alone")
    parser.add_argument("--section", metavar="TITLE", help="the model's heading, where it is not "
                        "found by name, or the one to give it")
    parser.add_argument("--tp-list", type=cli.positive_ints, metavar="1,2,4,8",
                        help="tensor-parallel sizes (default: the cookbook's, else the section's)")
    parser.add_argument("--ep-list", type=cli.positive_ints, metavar="1,8",
                        help="expert-parallel sizes (default: the cookbook's, else the section's)")
    parser.add_argument("--cookbook", type=Path, metavar="DIR",
                        help="sgl-cookbook checkout (default: tmp/sgl-cookbook if it exists)")
    parser.add_argument("--prune", action="store_true",
                        help="take out rows that the config cannot give")
    parser.add_argument("--create", action="store_true", help="make the document if absent")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on findings")
    parser.add_argument("--dry-run", action="store_true", help="print the changes as a diff")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.inventory.coverage import session

    result = session.check(args) if args.check else session.write(args)
    cli.emit(result.as_json(), as_json=args.json, text=result.as_text())
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
