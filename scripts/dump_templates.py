#!/usr/bin/env python3
"""Ask FlashInfer's trace templates, without a GPU, what they say of a model or of everything.

Each template is called with tensors that hold nothing. With a model, its derived definitions are
shown to FlashInfer and come back as dumps: both ways must agree. Without one, every template is
asked, and its dump becomes a definition or is refused. --against shows what changed between two
FlashInfer versions, each asked in a process of its own.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from kernelkit.capture.normalize.answers import Answer
    from kernelkit.capture.normalize.survey import Survey
    from kernelkit.dataset.definition import Definition
    from kernelkit.models.spec import ModelSpec

EXAMPLES = """examples:
  python scripts/dump_templates.py --config config.json --tp-list 1,8
  python scripts/dump_templates.py --output out/templates
  python scripts/dump_templates.py --flashinfer-path new --against old"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--flashinfer-path", type=Path, metavar="DIR",
                        help="folder that holds flashinfer/ (default: the installed one)")
    parser.add_argument("--against", type=Path, metavar="DIR",
                        help="folder of an older FlashInfer: show what changed since")
    parser.add_argument("--config", type=Path, metavar="FILE",
                        help="a model's config.json: its shapes only, as a cross-check")
    parser.add_argument("--tp-list", type=cli.positive_ints, default=[1], metavar="1,8",
                        help="tensor-parallel sizes of the model (default: 1)")
    parser.add_argument("--ep-list", type=cli.positive_ints, default=[1], metavar="1,8",
                        help="expert-parallel sizes of the model (default: 1)")
    parser.add_argument("--page-sizes", type=cli.positive_ints, default=[1, 64], metavar="1,64",
                        help="KV-cache page sizes (default: 1,64)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write the raw dumps there")
    parser.add_argument("--coverage", type=Path, metavar="FILE",
                        help="write the table of all templates there, as Markdown")
    parser.add_argument("--smoke", action=argparse.BooleanOptionalAction, default=True,
                        help="run the references of templates once on small CPU inputs")
    parser.add_argument("--timeout", type=cli.seconds, default=60.0, metavar="SECONDS",
                        help="limit of one reference (default: 60)")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.capture.normalize import answers
    from kernelkit.capture.normalize.report import required_sources
    from kernelkit.capture.normalize.survey import survey, write

    if args.coverage and (args.config or args.against):
        raise UsageError("--coverage is of all templates", allowed="without --config, --against")
    folder = required_sources(args.flashinfer_path)
    older = required_sources(args.against) if args.against else None
    spec, definitions = _model(args)
    cli.say(f"asking {folder}")
    found = survey(folder, definitions)
    if args.output:
        cli.say(f"wrote {write(found, args.output)} dumps to {args.output}")
    if older is not None:
        cli.say(f"asking {older}")
        answer = answers.of_changes(survey(older, definitions), found)
    elif definitions is not None:
        answer = answers.of_model(definitions, found, spec)
    else:
        answer = _coverage(args, found, folder)
    cli.emit(answer.document, as_json=args.json, text=answer.text)
    return EXIT_OK if answer.agrees else EXIT_FAILED


def _model(args: argparse.Namespace) -> tuple[ModelSpec | None, list[Definition] | None]:
    """The model and its derived definitions; None twice where none is given."""
    if args.config is None:
        return None, None
    from kernelkit.models.load import load_model
    from kernelkit.models.parallelism import parallel_grid
    from kernelkit.ops.derivation import Request, derive

    spec = load_model(None, None, args.config).spec
    request = Request(parallel=parallel_grid(args.tp_list, args.ep_list),
                      page_sizes=tuple(args.page_sizes))  # fmt: skip
    derivation = derive(spec, request)
    for text in derivation.skipped:
        cli.say(f"warning: skipped {text}")
    return spec, [variant.definition for variant in derivation.variants]


def _coverage(args: argparse.Namespace, found: Survey, folder: Path) -> Answer:
    from kernelkit.bench.smoke import smoke
    from kernelkit.capture.normalize.answers import of_coverage
    from kernelkit.capture.normalize.templates import cover, table
    from kernelkit.dataset import atomic

    covered = cover(found, folder, (lambda d: smoke(d, args.timeout)) if args.smoke else None)
    if args.coverage:
        atomic.write_text(args.coverage, table(found, covered))
    return of_coverage(found, covered)


if __name__ == "__main__":
    raise SystemExit(main())
