"""What the scripts of this package share: options to a model, a request, and its sources."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from kernelkit import collector
from kernelkit.dataset.store import Dataset
from kernelkit.errors import MissingDependencyError, NothingSelectedError
from kernelkit.inventory import flashinfer_tree
from kernelkit.inventory.inventory import Inventory, Sources, take
from kernelkit.inventory.revisions import revision_of
from kernelkit.inventory.sglang_status import SglangSide
from kernelkit.models.cookbook import DEFAULT_CHECKOUT, chosen_sizes
from kernelkit.models.load import Model, load_model
from kernelkit.ops import OP_TYPES, family
from kernelkit.ops.derivation import Request


def take_inventory(args: argparse.Namespace) -> Inventory:
    """The inventory that a script's options ask for."""
    model = load_model(args.model_name, args.hf_repo_id, args.config, args.revision)
    sizes = chosen_sizes(args.tp_list, args.ep_list, args.cookbook, model.repo_id)
    for op_type in args.op_types or []:
        family(op_type)
    request = Request(
        tags=(f"model:{model.slug}",),
        parallel=sizes,
        page_sizes=tuple(args.page_sizes),
        op_types=tuple(args.op_types or OP_TYPES),
    )
    with collector.paused():
        return take(model, request, open_sources(args, model))


def open_sources(args: argparse.Namespace, model: Model) -> Sources:
    """Dataset, FlashInfer and SGLang. A source that is not named and not installed is left out."""
    dataset = Dataset(Path(os.devnull)) if args.dataset is None else Dataset.open(args.dataset)
    flashinfer = flashinfer_tree.locate(args.flashinfer_path)
    sglang = open_sglang(args.sglang_path, model, args.attention_backend)
    folders = {
        "sglang": sglang and sglang.root,
        "flashinfer": flashinfer and flashinfer.package,
        "sgl_cookbook": args.cookbook or DEFAULT_CHECKOUT,
        "flashinfer_trace": args.dataset,
    }
    shas = {name: revision_of(f) for name, f in folders.items() if f is not None and f.is_dir()}
    return Sources(dataset, flashinfer, sglang, {name: s for name, s in shas.items() if s})


def open_sglang(path: Path | None, model: Model, attention_backend: str) -> SglangSide | None:
    """SGLang's sources and what they do for the model; None where none is named or installed.

    An architecture that this SGLang lacks, or sources too deep to follow, leave the model's own
    path out; a note says so.
    """
    from kernelkit.sglang import tree as sglang_tree
    from kernelkit.sglang.implementation import find

    try:
        tree = sglang_tree.locate(path)
    except MissingDependencyError:
        return None
    try:
        done = find(model.spec, tree, attention_backend, config=model.config)
    except NothingSelectedError as error:
        return SglangSide(tree.root, tree.version, note=str(error))
    except RecursionError:
        note = f"SGLang {tree.version}: the path of {model.spec.architecture} is too deep to follow"
        return SglangSide(tree.root, tree.version, note=note)
    return SglangSide(tree.root, tree.version, done)
