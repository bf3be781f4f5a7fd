#!/usr/bin/env python3
"""Generate a model's entry for FlashInfer-Bench's web interface (models.ts), from its config.json.

The entry has the model's real hierarchy (decoder layers by kind, with their counts) and the
definitions that each module runs. It is put into an existing models.ts and touches nothing else
there; an existing entry keeps its name and description unless others are given. With --dataset,
only definitions that the dataset has are named, and the missing ones are listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

EXAMPLES = """examples:
  python scripts/generate_model_definition.py --config config.json --model-name kimi-k2
  python scripts/generate_model_definition.py --config config.json --dataset tmp/flashinfer-trace \\
      --output web/apps/web/data/models.ts --dry-run
  python scripts/generate_model_definition.py --config config.json --output models.ts --check"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from kernelkit.webmodel.options import add_mapping_options

    parser = cli.parser(__doc__, examples=EXAMPLES)
    cli.model_source(parser, "the entry's id (default: the repository's or config's name)",
                     config="config.json, or extract_model.py's model_architecture.json")
    parser.add_argument("--sglang-impl", type=Path, metavar="FILE",
                        help="sglang_implementation.json, to hold the hierarchy against")
    add_mapping_options(parser)
    parser.add_argument("--output", type=Path, metavar="models.ts", help="file to put the entry "
                        "into (default: web/apps/web/data/models.ts where that is, else none)")
    parser.add_argument("--json-output", type=Path, metavar="FILE", help="the report (default: "
                        "out/models/SLUG/model_analysis_SLUG.json)")
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--check", action="store_true",
                     help="write nothing; exit 1 where the output is not up to date")
    act.add_argument("--dry-run", action="store_true", help="write nothing; show the difference")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.models.load import load_model
    from kernelkit.webmodel import inputs, steps

    config = inputs.config_file(args.config)
    model = load_model(args.model_name, args.hf_repo_id, config, args.revision)
    implementation = inputs.implementation(args.sglang_impl)
    wanted = steps.wanted(args, model, config, implementation)
    report_file = args.json_output or steps.report_path(Path("out") / "models", model.slug)
    output = args.output or steps.default_output()
    if args.check and output is None:
        raise UsageError("--check needs a file to check", allowed="--output models.ts")
    looking = args.check or args.dry_run
    done = steps.entry_step(model, wanted, output, write=not looking)
    document: dict[str, Any] = {**done.document(), "dry_run": args.dry_run}
    current = done.up_to_date
    if args.check and args.json_output is not None:
        current = current and steps.report_is_current(report_file, done.generated)
    elif not looking:
        steps.write_report(report_file, done.generated)
        document["files"] = [str(path) for path in (output, report_file) if path is not None]
    cli.emit(document, as_json=args.json, text=done.text(show_difference=looking))
    return EXIT_FAILED if args.check and not current else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
