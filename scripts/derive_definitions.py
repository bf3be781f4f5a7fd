#!/usr/bin/env python3
"""Derive a model's kernel definitions from its config.json, without a GPU and without weights.

Every op of the model (attention, MLA, MoE, GDN, Mamba, norms, GEMMs, rope, sampling) gets one
definition for each shape that the serving configurations (TP, EP, page size) give it. A definition
that the dataset holds already gets this model's tag; one of the same name that differs is shown
side by side and left as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kernelkit import cli
from kernelkit.errors import EXIT_FAILED, EXIT_OK, NothingSelectedError

if TYPE_CHECKING:
    from kernelkit.ops.derivation import Request
    from kernelkit.ops.placement import Outcome

EXAMPLES = """examples:
  python scripts/derive_definitions.py --config config.json --tp-list 1,2 --dry-run
  python scripts/derive_definitions.py --hf-repo-id Qwen/Qwen3-8B --dataset tmp/flashinfer-trace
  python scripts/derive_definitions.py --model-name deepseek-v3 --tp-list 8 --ep-list 8 --dry-run"""


# fmt: off
def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser(__doc__, examples=EXAMPLES)
    cli.model_source(parser, "short name, used as the tag model:NAME")
    parser.add_argument("--tp-list", type=cli.positive_ints, metavar="1,2,4,8",
                        help="tensor-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--ep-list", type=cli.positive_ints, metavar="1,8",
                        help="expert-parallel sizes (default: the cookbook's, else 1)")
    parser.add_argument("--cookbook", type=Path, metavar="DIR",
                        help="sgl-cookbook checkout (default: tmp/sgl-cookbook if it exists)")
    parser.add_argument("--page-sizes", type=cli.positive_ints, default=[1, 64], metavar="1,64",
                        help="KV-cache page sizes (default: 1,64)")
    parser.add_argument("--op-types", type=cli.names, metavar="A,B", help="only these op types")
    parser.add_argument("--shard-gemm", action="store_true",
                        help="per-rank GEMM shapes (default: unsharded, as the dataset has them)")
    parser.add_argument("--tags", type=cli.tags, default=[], metavar="K:V,...", help="more tags")
    parser.add_argument("--dataset", type=Path, metavar="DIR",
                        help="dataset to write to (not needed with --dry-run)")
    parser.add_argument("--create", action="store_true", help="make the dataset folder if absent")
    parser.add_argument("--skip-existing", action=argparse.BooleanOptionalAction, default=True,
                        help="give existing definitions tags only; --no-skip-existing also renews "
                        "their reference and description where the interface is the same")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written")
    return parser
# fmt: on


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code."""
    return cli.run(build_parser(), _run, argv)


def _run(args: argparse.Namespace) -> int:
    from kernelkit.dataset.store import Dataset
    from kernelkit.models.load import load_model
    from kernelkit.ops.derivation import derive
    from kernelkit.ops.placement import place, write

    model = load_model(args.model_name, args.hf_repo_id, args.config, args.revision)
    request = _request(args, model.slug, model.repo_id)
    derivation = derive(model.spec, request)
    if not derivation.variants:
        raise NothingSelectedError(
            "no definition follows from this model",
            received="; ".join([f"op types {', '.join(request.op_types)}", *derivation.skipped]),
            next_step="name other --op-types, or leave the option out",
        )
    dataset = Dataset.prepare(args.dataset, create=args.create, dry_run=args.dry_run)
    outcomes = list(place(dataset, derivation.variants, refresh=not args.skip_existing))
    if not args.dry_run:
        write(dataset, cli.progress(outcomes, what="writing"))
    warnings = [f"skipped {text}" for text in derivation.skipped]
    warnings += [f"not decided: {text}" for text in model.spec.undecided]
    _report(args, model.slug, outcomes, warnings)
    return EXIT_FAILED if any(o.action == "conflict" for o in outcomes) else EXIT_OK


def _request(args: argparse.Namespace, slug: str, repo_id: str | None) -> Request:
    from kernelkit.models.cookbook import chosen_sizes
    from kernelkit.ops import OP_TYPES
    from kernelkit.ops.derivation import Request

    return Request(
        tags=(f"model:{slug}", *args.tags),
        parallel=chosen_sizes(args.tp_list, args.ep_list, args.cookbook, repo_id),
        page_sizes=tuple(args.page_sizes),
        op_types=tuple(args.op_types or OP_TYPES),
        shard_gemm=args.shard_gemm,
    )


def _report(
    args: argparse.Namespace, slug: str, outcomes: list[Outcome], warnings: list[str]
) -> None:
    from kernelkit.ops import placement

    for warning in warnings:
        cli.say(f"warning: {warning}")
    counts = placement.counts(outcomes)
    total = ", ".join(f"{count} {action}" for action, count in counts.items())
    verb = "would write" if args.dry_run else "wrote"
    where = f"; {verb} to {args.dataset}" if args.dataset else ""
    text = f"{placement.as_text(outcomes)}\n\n{slug}: {len(outcomes)} definitions ({total}){where}"
    document = {"model": slug, "dry_run": args.dry_run, "counts": counts,
                "definitions": placement.as_rows(outcomes), "warnings": warnings}  # fmt: skip
    cli.emit(document, as_json=args.json, text=text)


if __name__ == "__main__":
    raise SystemExit(main())
