"""Parts of a model that no definition stands for: what the list of kernels leaves out, said."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from kernelkit.inventory.manifest import Unmapped
from kernelkit.models.spec import ModelSpec, MoeSpec


def unmapped_parts(
    spec: ModelSpec, derived: Collection[str], asked: Collection[str]
) -> Iterator[Unmapped]:
    """The parts whose op type was asked for and gave no definition, each with the reason."""
    for part, op_types, reason in _parts(spec):
        if not set(op_types) & set(derived) and set(op_types) & set(asked):
            yield Unmapped(part=part, op_type=op_types[0], reason=reason)


def _parts(spec: ModelSpec) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(part, the op types that would stand for it, why there may be none)."""
    if spec.moe is not None and spec.has_mlp("moe"):
        yield _experts(spec.moe), ("moe",), _moe_reason(spec.moe)
    if spec.has_mixer("attention", "sliding_attention"):
        count = sum("attention" in layer.mixer for layer in spec.layers)
        yield f"Attention ({count} layers)", ("gqa_paged", "gqa_ragged"), _DIVIDES
    if spec.has_mixer("mla"):
        yield "MLA attention", ("mla_paged", "mla_ragged", "dsa_paged"), _DIVIDES
    if spec.has_mixer("gdn"):
        yield "Gated delta net", ("gdn",), _DIVIDES
    if spec.has_mixer("mamba"):
        yield "Mamba-2 mixer", ("mamba_ssu",), _DIVIDES
    if spec.norm_kind == "layernorm":
        yield "LayerNorm", ("rmsnorm",), "the dataset has RMSNorm only"
    if spec.quantization is not None and spec.quantization.linear:
        kind = spec.quantization.kind
        yield "Linear layers", ("gemm",), f"weights are {kind}; gemm definitions are 16 bits"


_DIVIDES = "no serving configuration asked for divides it, or the config leaves it open"


def _experts(moe: MoeSpec) -> str:
    shape = f"top-{moe.top_k}, {moe.num_experts} experts, inter={moe.intermediate_size}"
    return f"MoE experts ({shape})"


def _moe_reason(moe: MoeSpec) -> str:
    if moe.routing is None:
        return "the config does not decide the routing"
    if not moe.gated or moe.activation != "silu":
        return f"no definition exists for {moe.activation} experts of this form"
    return f"no definition exists for {moe.routing} routing in this precision"
