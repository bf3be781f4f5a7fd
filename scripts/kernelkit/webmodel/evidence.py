"""The hierarchy held against SGLang's module tree: where each module stands, and where the two
disagree about how often it is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernelkit.webmodel.hierarchy import Placed

if TYPE_CHECKING:
    from kernelkit.sglang.implementation import Implementation, Module

# Our names, where SGLang's attribute has another one.
ALIASES = {
    "moe_gate": ("gate", "router"),
    "moe_topk": ("topk",),
    "moe_experts": ("experts",),
    "shared_experts": ("shared_experts", "shared_expert", "shared_mlp"),
    "attn_mla": ("attn_mqa", "attn_mha"),
    "attn_gdn": ("attn",),
    "norm_gated": ("norm",),
    "mlp_dense": ("mlp",),
    "feed_forward_dense": ("feed_forward",),
    "moe": ("mlp", "feed_forward", "block_sparse_moe", "mixer"),
    "shared_gate_up_proj": ("gate_up_proj", "input_linear"),
    "shared_up_proj": ("up_proj",),
    "shared_down_proj": ("down_proj", "output_linear"),
    "shared_act_fn": ("act_fn",),
}
_TOWERS = re.compile(r"(^|\.)(vision|visual|audio|encoder)")  # not the language model


def compare(modules: Sequence[Placed], implementation: Implementation) -> dict[str, Any]:
    """For each module that SGLang has: path, class, file, line; and decoder classes that differ."""
    rows = [row for placed in modules for row in _rows(placed, modules, implementation)]
    return {
        "version": implementation.sglang_version,
        "entry_class": implementation.entry_class,
        "model_file": implementation.model_file,
        "attention_backend": implementation.attention_backend,
        "modules": rows,
        "disagreements": disagreements(modules, implementation),
        "kernels": [
            {"op_type": call.op_type, "symbol": call.symbol, "provider": call.provider,
             "fi_api": call.fi_api, "file": call.file, "line": call.line}
            for call in implementation.kernels if call.op_type
        ],
    }  # fmt: skip


def _rows(
    placed: Placed, modules: Sequence[Placed], implementation: Implementation
) -> list[dict[str, Any]]:
    """SGLang's modules of that name or class, as often as ours: in one group of layers, or in all
    that have it."""
    names = ALIASES.get(placed.sublayer, (placed.sublayer,))
    alike = [p for p in modules if p.sublayer == placed.sublayer and not p.name.endswith("_mtp")]
    counts = {placed.count, sum(p.count for p in alike)}
    shared = placed.sublayer.startswith("shared_")
    return [
        {"module": placed.name, "path": found.path, "layer_class": found.layer_class,
         "file": found.file, "line": found.line, "count": found.count}
        for found in implementation.modules
        if (found.name in names or found.layer_class == placed.sublayer)
        and found.count in counts and not _TOWERS.search(found.path)
        and shared == ("shared" in found.path)
    ]  # fmt: skip


def decoder_layers(implementation: Implementation) -> list[Module]:
    """The repeated layers, one for each class."""
    return [
        module
        for module in implementation.modules
        if module.path.endswith("layers.*") and not _TOWERS.search(module.path)
    ]


def disagreements(modules: Sequence[Placed], implementation: Implementation) -> list[str]:
    """Decoder classes of SGLang that the hierarchy has not, or has in another number."""
    ours: dict[str, int] = {}
    for placed in modules:
        if placed.parent == "layers":
            ours[placed.sublayer] = ours.get(placed.sublayer, 0) + placed.count
    theirs: dict[str, int] = {}
    for layer in decoder_layers(implementation):
        theirs[layer.layer_class] = theirs.get(layer.layer_class, 0) + layer.count
    if not theirs or ours == theirs:
        return []
    return [f"decoder layers: the config gives {ours}, SGLang's sources {theirs}"]
