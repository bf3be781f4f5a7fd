"""A tree of modules before it has names that are unique: what a layer consists of.

Each builder gives the nodes of one part. A node says by `wants` which definitions are its kernels
(keys of kernelkit.webmodel.mapping), or by `note` why it has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kernelkit.models.parallelism import Parallelism
from kernelkit.models.spec import ModelSpec
from kernelkit.ops.gemm import linear_layers

NO_FAMILY = "no op family covers it"
# What ops.gemm calls a linear layer -> the module's name.
LINEARS: Mapping[str, str] = {
    "q, k, v": "qkv_proj",
    "q, k, v, and its output gate": "qkv_proj",
    "attention output": "o_proj",
    "MLA q": "q_proj",
    "MLA kv down-projection with rope key": "kv_a_proj_with_mqa",
    "MLA q and kv down-projections, fused": "fused_qkv_a_proj_with_mqa",
    "MLA q up-projection": "q_b_proj",
    "MLA kv up-projection": "kv_b_proj",
    "MLA output": "o_proj",
    "GDN q, k, v and gate": "in_proj_qkvz",
    "GDN beta and decay": "in_proj_ba",
    "GDN output": "out_proj",
    "Mamba gate, x, B, C and dt": "in_proj",
    "Mamba output": "out_proj",
    "MLP gate and up": "gate_up_proj",
    "MLP up": "up_proj",
    "MLP down": "down_proj",
    "MoE router": "moe_gate",
    "shared expert gate and up": "shared_gate_up_proj",
    "shared expert up": "shared_up_proj",
    "shared expert down": "shared_down_proj",
    "shared expert gate": "shared_expert_gate",
}


@dataclass(frozen=True)
class Node:
    """One module and what is below it. count None: as often as its parent."""

    name: str
    type: str = "layer"
    wants: tuple[str, ...] = ()
    note: str = ""
    count: int | None = None
    children: tuple[Node, ...] = field(default=())


def block(name: str, *children: Node, count: int | None = None) -> Node:
    """A node with parts."""
    return Node(name, "block", count=count, children=children)


def norm(name: str, size: int | None, *kinds: str, spec: ModelSpec) -> Node:
    """An RMSNorm; kinds are "plain" and "fused". size None: not over a fixed width."""
    if spec.norm_kind not in ("rmsnorm", "gemma_rmsnorm") or size is None:
        return Node(name, note=f"{NO_FAMILY}: {spec.norm_kind}")
    return Node(name, wants=tuple(f"norm/{size}/{kind}" for kind in kinds))


class Linears:
    """The model's linear layers, as nodes that want their GEMM."""

    def __init__(self, spec: ModelSpec) -> None:
        quantization = spec.quantization
        self._quantized = quantization.kind if quantization and quantization.linear else None
        self._layers = list(linear_layers(spec, Parallelism()))

    def __call__(self, name: str, start: str = "") -> Node:
        """The node of the linear layer that LINEARS names so; `start`: how ops.gemm's name for it
        begins, where two mixers share a name."""
        for layer in self._layers:
            if LINEARS[layer.what] == name and layer.what.startswith(start):
                note = ""
                if self._quantized and not layer.always_16bit:
                    note = f"runs in {self._quantized}; gemm definitions are of 16 bits"
                return Node(name, wants=(f"gemm/{layer.n}/{layer.k}",), note=note)
        return Node(name, note="the config does not give its size")


def attention(spec: ModelSpec, name: str, kind: str, *, rope: bool) -> Node:
    """Grouped-query attention of one kind of layer; `rope`: these layers rotate q and k."""
    linear = Linears(spec)
    return block(
        name,
        linear("qkv_proj"),
        *_qk_norms(spec, rope=rope),
        *([_rope(spec)] if rope and spec.rope is not None else []),
        Node("attn", wants=("gqa",), note=_beyond_definition(spec, kind)),
        linear("o_proj", "attention"),
    )


def _beyond_definition(spec: ModelSpec, kind: str) -> str:
    """What this attention does that the gqa definitions of its shapes do not."""
    heads = spec.attention
    if heads is None:
        return ""
    window = kind == "sliding_attention" and f"a window of {heads.sliding_window} tokens"
    chunk = kind == "chunked_attention" and f"chunks of {heads.chunk_size} tokens"
    softcap = heads.logit_softcap is not None and f"logits capped at {heads.logit_softcap:g}"
    more = [word for word in (window, chunk, softcap, heads.sinks and "learned sinks") if word]
    return f"has {', '.join(more)}; gqa definitions do not" if more else ""


def _qk_norms(spec: ModelSpec, *, rope: bool) -> Iterator[Node]:
    heads = spec.attention
    kind = heads.qk_norm if heads else None
    if heads is None or kind is None:
        return
    if kind == "l2":  # one norm without weight for both, in the layers with rope (Llama-4)
        if rope:
            yield Node("qk_norm", note=f"{NO_FAMILY}: RMSNorm without weight")
        return
    for name in ("q_norm", "k_norm"):
        if kind == "per_head":
            yield norm(name, heads.head_dim, "plain", spec=spec)
        else:
            yield Node(name, note=f"{NO_FAMILY}: one norm over all heads of a rank")


def _rope(spec: ModelSpec) -> Node:
    rope = spec.rope
    if rope is not None and spec.attention is not None and rope.rotary_dim < rope.head_dim:
        return Node("rotary_emb", wants=("rope",))
    return Node("rotary_emb", note="rotates whole heads; rope definitions are of partial ones")


def mla(spec: ModelSpec, name: str) -> Node:
    """Multi-head latent attention, with the indexer where it is sparse."""
    linear, latent = Linears(spec), spec.mla
    if latent is None:
        return block(name)
    if latent.q_lora_rank is None:
        down = [linear("q_proj"), linear("kv_a_proj_with_mqa")]
    else:
        down = [linear("fused_qkv_a_proj_with_mqa"),
                norm("q_a_layernorm", latent.q_lora_rank, "plain", spec=spec),
                linear("q_b_proj")]  # fmt: skip
    # Sparse attention replaces the absorbed dense one; short prefills stay dense, unabsorbed.
    wants = ("mla", "mla_ragged") if spec.dsa is None else ("dsa", "mla_ragged")
    return block(
        name,
        *down,
        norm("kv_a_layernorm", latent.kv_lora_rank, "plain", spec=spec),
        linear("kv_b_proj"),
        _rope(spec),
        *([Node("indexer", wants=("indexer",))] if spec.dsa is not None else []),
        Node("attn_mla", wants=wants),
        linear("o_proj", "MLA"),
    )


def gdn(spec: ModelSpec, name: str) -> Node:
    """Gated delta net."""
    linear = Linears(spec)
    return block(
        name,
        linear("in_proj_qkvz"),
        linear("in_proj_ba"),
        Node("conv1d", note=f"{NO_FAMILY}: causal convolution"),
        Node("attn_gdn", wants=("gdn",)),
        Node("norm_gated", note=f"{NO_FAMILY}: gated RMSNorm"),
        linear("out_proj", "GDN"),
    )


def mamba(spec: ModelSpec, name: str) -> Node:
    """Mamba-2."""
    linear = Linears(spec)
    return block(
        name,
        linear("in_proj"),
        Node("conv1d", note=f"{NO_FAMILY}: causal convolution"),
        Node("ssm", wants=("mamba",)),
        Node("norm_gated", note=f"{NO_FAMILY}: gated RMSNorm"),
        linear("out_proj", "Mamba"),
    )


def dense(spec: ModelSpec, name: str, *, count: int | None = None) -> Node:
    """A dense MLP."""
    linear = Linears(spec)
    return block(
        name,
        linear("gate_up_proj" if spec.mlp_gated else "up_proj"),
        Node("act_fn", note=f"{NO_FAMILY}: {spec.activation}"),
        linear("down_proj"),
        count=count,
    )


def moe(spec: ModelSpec, name: str, *, count: int | None = None) -> Node:
    """Router, selection, experts, and the shared experts."""
    linear, experts = Linears(spec), spec.moe
    parts = [
        linear("moe_gate"),
        Node("moe_topk", wants=("moe/routing",)),
        Node("moe_experts", wants=("moe/experts",)),
    ]
    if experts is not None and experts.shared_intermediate_size is not None:
        parts.append(
            block(
                "shared_experts",
                linear("shared_gate_up_proj" if experts.gated else "shared_up_proj"),
                Node("shared_act_fn", note=f"{NO_FAMILY}: {experts.activation}"),
                linear("shared_down_proj"),
            )
        )
    if experts is not None and experts.shared_expert_gate:
        parts.append(linear("shared_expert_gate", "shared expert gate"))
    return block(name, *parts, count=count)
