#!/usr/bin/env python3
"""Say which kernels a model needs and how far each of them is, or which models have no coverage.

Every definition of the model over its serving configurations is looked up in the dataset (existing
or new), in FlashInfer's sources (supported, with a trace template, or missing) and in SGLang's
(called, not called, or not applicable), each with the file and line that says so. Nothing is
imported and nothing is downloaded, except a config that is named by its repository.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from kernelkit import cli, collector
from kernelkit.errors import NothingSelectedError, UsageError

EXAMPLES = """examples:
  python scripts/discover_models.py --config config.json --dataset tmp/flashinfer-trace
  python scripts/discover_models.py --config config.json --tp-list 1,8 --manifest out/run.json
  python scripts/discover_models.py --discover --sglang-path tmp/sglang --since v0.5.14"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The script's options."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    parser.add_argument("--discover", action="store_true",
                        help="list SGLang's architectures and the cookbook's models instead")
    parser.add_argument("--since", metavar="REV|DIR", help="with --discover: list what this older "
                        "revision of the checkout, or older tree, lacks")
    parser.add_argument("--coverage", type=Path, metavar="FILE",
                        help="with --discover: the coverage document (model_coverage.mdx)")
    cli.model_source(parser, "short name, used as the tag model:NAME")
    parser.add_argument("--dataset", type=Path, metavar="DIR", help="dataset to hold it against")
    parser.add_argument("--tp-list", type=cli.positive_ints, metavar="1,2,4,8",
                        help="tensor-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--ep-list", type=cli.positive_ints, metavar="1,8",
                        help="expert-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--page-sizes", type=cli.positive_ints, default=[1, 64], metavar="1,64",
                        help="KV-cache page sizes (default: 1,64)")
    parser.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    parser.add_argument("--cookbook", type=Path, metavar="DIR",
                        help="sgl-cookbook checkout (default: tmp/sgl-cookbook if it exists)")
    parser.add_argument("--sglang-path", type=Path, metavar="DIR",
                        help="SGLang checkout or unpacked wheel (default: the installed one)")
    parser.add_argument("--flashinfer-path", type=Path, metavar="DIR",
                        help="FlashInfer checkout or package (default: the installed one)")
    parser.add_argument("--attention-backend", default="flashinfer",
                        help="SGLang's, for which its calls are read (default: flashinfer)")
    parser.add_argument("--manifest", type=Path, metavar="FILE",
                        help="run manifest to write, or to extend where it exists")
    parser.add_argument("--refresh", action="store_true",
                        help="renew the statuses of kernels that the manifest has")
    parser.add_argument("--dry-run", action="store_true", help="write no manifest")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    return cli.run(build_parser(), _run, argv)


@collector.paused()
def _run(args: argparse.Namespace) -> None:
    if args.discover:
        return _discover(args)
    if args.since or args.coverage:
        raise UsageError("--since and --coverage go with --discover")
    from kernelkit.inventory import manifest, table
    from kernelkit.inventory.session import take_inventory

    inventory = take_inventory(args)
    if not inventory.kernels:
        raise NothingSelectedError("no definition follows from this model",
                                   received="; ".join(inventory.skipped) or None)  # fmt: skip
    found = inventory.as_manifest()
    text = table.as_text(inventory)
    if args.manifest and not args.dry_run:
        changed = manifest.update(
            args.manifest,
            lambda held: manifest.merge(held, found, refresh=args.refresh),
            otherwise=manifest.fresh(found.model_slug, found.hf_repo_id),
        )
        text += f"\n\n{'wrote' if changed else 'unchanged:'} {args.manifest}"
    for note in inventory.notes:
        cli.say(f"warning: {note}")
    cli.emit(found.model_dump(mode="json", exclude_unset=True), as_json=args.json, text=text)
    return None


def _discover(args: argparse.Namespace) -> None:
    from kernelkit.inventory.candidates import as_text, discover

    if args.config or args.hf_repo_id or args.model_name:
        raise UsageError("--discover lists models; it takes none")
    found = discover(
        sglang=args.sglang_path, since=args.since, cookbook=args.cookbook,
        document=args.coverage, dataset=args.dataset,
    )  # fmt: skip
    cli.emit(found.as_json(), as_json=args.json, text=as_text(found))


if __name__ == "__main__":
    sys.exit(main())
