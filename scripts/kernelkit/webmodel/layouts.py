"""What SGLang calls the parts of a model: classes, norms, MLPs. One row for each architecture.

Facts of SGLang's model files (srt/models of 0.5.14; Mamba2 of 0.5.23). An architecture that is not
in the table has the names that most have: {Prefix}Model, {Prefix}DecoderLayer, two norms a layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kernelkit.models import architectures
from kernelkit.models.spec import ModelSpec

if TYPE_CHECKING:
    from kernelkit.sglang.implementation import Implementation


@dataclass(frozen=True)
class Norm:
    """One norm of a decoder layer.

    place: "mixer" or "mlp" (before it), "after_mixer" or "after_mlp". how: "plain", "fused" (with
    the residual), or "first" (fused but in the model's first layer, where there is no residual).
    """

    name: str
    place: str
    how: str


PRE_NORMS = (
    Norm("input_layernorm", "mixer", "first"),
    Norm("post_attention_layernorm", "mlp", "fused"),
)
PLAIN_NORMS = tuple(Norm(norm.name, norm.place, "plain") for norm in PRE_NORMS)
ONE_NORM = (Norm("norm", "mixer", "first"),)  # a block is one mixer or one MLP
FALCON_NORMS = (PRE_NORMS[0], Norm("pre_ff_layernorm", "mlp", "fused"))
GEMMA2_NORMS = (
    Norm("input_layernorm", "mixer", "first"),
    Norm("post_attention_layernorm", "after_mixer", "plain"),
    Norm("pre_feedforward_layernorm", "mlp", "fused"),
    Norm("post_feedforward_layernorm", "after_mlp", "plain"),
)
GEMMA3_NORMS = tuple(Norm(norm.name, norm.place, "plain") for norm in GEMMA2_NORMS)


@dataclass(frozen=True)
class Layout:
    """Names of one architecture; an empty name follows from the class's prefix.

    layers: decoder class by mixer (spec.MIXERS, "dense" and "moe" for blocks that are an MLP), ""
    for all others. mtp: class of the draft model.
    """

    model: str = ""
    layers: Mapping[str, str] = field(default_factory=dict)
    norms: tuple[Norm, ...] = PRE_NORMS
    final_norm: str = "norm"
    final_how: str = "fused"
    mixer: str = ""  # one name for all mixers
    mlp: str = "mlp"
    mtp: str = ""
    mtp_norms: tuple[str, str] = ("enorm", "hnorm")
    mtp_projection: str = "eh_proj"


_DEEPSEEK = Layout("DeepseekV2Model", {"": "DeepseekV2DecoderLayer"},
                   mtp="DeepseekV3ForCausalLMNextN")  # fmt: skip
_QWEN35 = Layout(
    "Qwen3_5ForCausalLM",
    {"gdn": "Qwen3_5LinearDecoderLayer", "attention": "Qwen3_5AttentionDecoderLayer"},
    mtp="Qwen3_5ForCausalLMMTP", mtp_norms=("pre_fc_norm_embedding", "pre_fc_norm_hidden"),
    mtp_projection="fc",
)  # fmt: skip

# By the name of the row in models.architectures.
LAYOUTS: Mapping[str, Layout] = {
    "MistralForCausalLM": Layout("LlamaModel", {"": "LlamaDecoderLayer"}),
    "Phi3ForCausalLM": Layout("LlamaModel", {"": "LlamaDecoderLayer"}),
    "Qwen3NextForCausalLM": Layout(
        layers={"gdn": "Qwen3HybridLinearDecoderLayer",
                "attention": "Qwen3HybridAttentionDecoderLayer"},
        mtp="Qwen3NextForCausalLMMTP",
        mtp_norms=("pre_fc_norm_embedding", "pre_fc_norm_hidden"), mtp_projection="fc"),
    "Qwen3_5MoeForCausalLM": _QWEN35,
    "Qwen3_5ForCausalLM": _QWEN35,
    "DeepseekV2ForCausalLM": _DEEPSEEK,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK,
    "Gemma2ForCausalLM": Layout(norms=GEMMA2_NORMS),
    "Gemma3ForCausalLM": Layout("Gemma3TextModel", norms=GEMMA3_NORMS, final_how="plain"),
    "MixtralForCausalLM": Layout(mlp="block_sparse_moe"),
    "Llama4ForCausalLM": Layout(mlp="feed_forward"),
    "Glm4MoeForCausalLM": Layout(mtp="Glm4MoeForCausalLMNextN"),
    "GraniteMoeHybridForCausalLM": Layout(
        layers={"mamba": "GraniteMoeHybridMambaDecoderLayer",
                "attention": "GraniteMoeHybridAttentionDecoderLayer"},
        norms=PLAIN_NORMS),
    "NemotronHForCausalLM": Layout(
        layers={"mamba": "NemotronHMambaDecoderLayer",
                "attention": "NemotronHAttentionDecoderLayer",
                "dense": "NemotronHMLPDecoderLayer", "moe": "NemotronHMoEDecoderLayer"},
        norms=ONE_NORM, final_norm="norm_f", mixer="mixer", mlp="mixer",
        mtp="NemotronHForCausalLMMTP"),
    "FalconH1ForCausalLM": Layout(
        layers={"": "FalconH1HybridAttentionDecoderLayer"},
        norms=FALCON_NORMS, final_norm="final_layernorm", mlp="feed_forward"),
    "Mamba2ForCausalLM": Layout(norms=ONE_NORM, mixer="mixer"),
    "mamba_ssm MambaLMHeadModel (Mamba-2)": Layout(
        "MixerModel", {"": "Block"}, norms=ONE_NORM, final_norm="norm_f", mixer="mixer"),
}  # fmt: skip
_SUFFIXES = re.compile(r"(ForConditionalGeneration|ForCausalLM|LMHeadModel|Model)$")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*")


def layout_of(spec: ModelSpec, implementation: Implementation | None = None) -> Layout:
    """The architecture's row, else the classes that SGLang's sources show, else common names."""
    row = architectures.find(spec.architecture, spec.model_type)
    found = LAYOUTS.get(row.name if row else spec.architecture)
    if found is not None or implementation is None:
        return found or Layout()
    classes = {module.path: module.layer_class for module in implementation.modules}
    layers = {c for path, c in classes.items() if path.endswith("layers.*")}
    named = {"": layers.pop()} if len(layers) == 1 else {}
    return Layout(classes.get("model", ""), named)


def root_class(spec: ModelSpec) -> str:
    """The published class: the last identifier of mamba_ssm's, which is more than a class name."""
    words = [word for word in _IDENTIFIER.findall(spec.architecture) if _SUFFIXES.search(word)]
    return words[-1] if words else "Model"


def prefix(spec: ModelSpec) -> str:
    """`LlamaForCausalLM` gives `Llama`; what the classes of its parts begin with.

    A multimodal class stands for the language model's (Gemma3ForConditionalGeneration).
    """
    return _SUFFIXES.sub("", root_class(spec))
