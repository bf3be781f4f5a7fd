"""What each architecture's classes fix beyond its config.json: one table.

`defaults` are those of the transformers config classes (4.57 and 5.x), in the cases that matter:
fields that published configs omit. Sizes are among them only for classes that are published nested
in a multimodal config, because only nested configs are saved as a difference to their class; for
all others a missing size is an error. The other columns are facts of the modelling code as SGLang
0.5.14 runs it. A new architecture of a known shape is one more row here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """One family of model classes.

    pattern: how layers get their mixers where the config has no layer list (layers.PATTERNS).
    moe: the routing rule (moe.ROUTERS); expert_size: the field with an expert's width.
    """

    name: str
    model_types: tuple[str, ...] = ()
    config_class: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    pattern: str = "full"
    norm_kind: str = "rmsnorm"
    eps: tuple[str, ...] = ("rms_norm_eps",)
    qk_norm: str | None = None
    qk_norm_flag: str | None = None  # the field that switches it
    output_gate: bool = False
    sinks: bool = False
    rope: str = "neox"  # "neox", "interleaved", "none", or "optional" (position_embedding_type)
    mlp_gated: bool = True
    moe: str | None = None
    expert_size: str = "moe_intermediate_size"
    shared: str | None = None  # the rule for shared experts (moe.SHARED)
    linear: str = "gdn"  # what a "linear_attention" layer is
    known: bool = True


_GEMMA = {"rms_norm_eps": 1e-6, "head_dim": 256, "query_pre_attn_scalar": 256,
          "hidden_activation": "gelu_pytorch_tanh", "tie_word_embeddings": True,
          "sliding_window": 4096}  # fmt: skip
_GDN = {"linear_conv_kernel_dim": 4, "linear_key_head_dim": 128, "linear_value_head_dim": 128,
        "linear_num_key_heads": 16, "linear_num_value_heads": 32, "full_attention_interval": 4,
        "partial_rotary_factor": 0.25, "rms_norm_eps": 1e-6, "attn_output_gate": True,
        "head_dim": 256, "hidden_act": "silu", "rope_theta": 10000.0}  # fmt: skip
_PLAIN = {"rms_norm_eps": 1e-6, "hidden_act": "silu", "rope_theta": 10000.0}
_PLAIN5 = {**_PLAIN, "rms_norm_eps": 1e-5}
_DEEPSEEK = {**_PLAIN, "rope_interleave": True, "first_k_dense_replace": 0, "moe_layer_freq": 1,
             "routed_scaling_factor": 1.0}  # fmt: skip
_DEEPSEEK_V3 = {**_DEEPSEEK, "n_group": 8, "topk_group": 4, "routed_scaling_factor": 2.5,
                "first_k_dense_replace": 3, "norm_topk_prob": True, "scoring_func": "sigmoid",
                "topk_method": "noaux_tc"}  # fmt: skip

_GLM = {"rms_norm_eps": 1.5625e-7, "hidden_act": "silu", "rope_theta": 10000.0, "head_dim": 128,
        "num_key_value_heads": 2, "partial_rotary_factor": 0.5}  # fmt: skip

TABLE: tuple[Architecture, ...] = (
    Architecture("LlamaForCausalLM", ("llama",), "LlamaConfig", _PLAIN),
    Architecture(
        "MistralForCausalLM", ("mistral",), "MistralConfig",
        {**_PLAIN, "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
         "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
         "sliding_window": 4096},
        pattern="sliding",
    ),
    Architecture(
        "Ministral3ForCausalLM", ("ministral3",), "Ministral3Config",
        {**_PLAIN5, "head_dim": 128, "num_attention_heads": 32, "num_key_value_heads": 8},
        pattern="sliding",
    ),
    Architecture(
        "MixtralForCausalLM", ("mixtral",), "MixtralConfig",
        {**_PLAIN5, "rope_theta": 1e6, "num_key_value_heads": 8},
        pattern="sliding", moe="topk_softmax", expert_size="intermediate_size",
    ),
    Architecture("Qwen2ForCausalLM", ("qwen2", "qwen2_5_vl_text"), "Qwen2Config",
                 {**_PLAIN, "use_sliding_window": False, "max_window_layers": 28},
                 pattern="sliding_top"),
    Architecture("Qwen3ForCausalLM", ("qwen3", "qwen3_vl_text"), "Qwen3Config",
                 {**_PLAIN, "head_dim": 128, "use_sliding_window": False, "max_window_layers": 28},
                 pattern="sliding_top", qk_norm="per_head"),
    Architecture("Qwen3MoeForCausalLM", ("qwen3_moe", "qwen3_vl_moe_text"),
                 "Qwen3MoeConfig",
                 {**_PLAIN, "norm_topk_prob": False, "decoder_sparse_step": 1,
                  "use_sliding_window": False},
                 pattern="sliding_all", qk_norm="per_head", moe="softmax"),
    Architecture("Qwen2MoeForCausalLM", ("qwen2_moe",), "Qwen2MoeConfig",
                 {**_PLAIN, "norm_topk_prob": False, "decoder_sparse_step": 1,
                  "use_sliding_window": False},
                 pattern="sliding_all", moe="softmax", shared="gated"),
    Architecture("Qwen3NextForCausalLM", ("qwen3_next",), "Qwen3NextConfig",
                 {**_GDN, "norm_topk_prob": True, "decoder_sparse_step": 1},
                 pattern="interval", norm_kind="gemma_rmsnorm", qk_norm="per_head",
                 output_gate=True, moe="softmax", shared="gated"),
    Architecture("Qwen3_5MoeForCausalLM", ("qwen3_5_moe", "qwen3_5_moe_text"),
                 "Qwen3_5MoeTextConfig",
                 {**_GDN, "vocab_size": 248320, "hidden_size": 2048, "num_hidden_layers": 40,
                  "num_attention_heads": 16, "num_key_value_heads": 2, "num_experts": 256,
                  "num_experts_per_tok": 8, "moe_intermediate_size": 512,
                  "shared_expert_intermediate_size": 512, "norm_topk_prob": True},
                 pattern="interval", norm_kind="gemma_rmsnorm", qk_norm="per_head",
                 output_gate=True, moe="softmax", shared="gated"),
    Architecture("Qwen3_5ForCausalLM", ("qwen3_5", "qwen3_5_text"), "Qwen3_5TextConfig",
                 {**_GDN, "vocab_size": 248320, "hidden_size": 4096, "intermediate_size": 12288,
                  "num_hidden_layers": 32, "num_attention_heads": 16, "num_key_value_heads": 4},
                 pattern="interval", norm_kind="gemma_rmsnorm", qk_norm="per_head",
                 output_gate=True),
    Architecture("DeepseekV2ForCausalLM", ("deepseek_v2",), "DeepseekV2Config",
                 {**_DEEPSEEK, "topk_method": "greedy", "norm_topk_prob": False,
                  "scoring_func": "softmax"},
                 pattern="mla", rope="interleaved", moe="deepseek", shared="count"),
    Architecture("DeepseekV3ForCausalLM", ("deepseek_v3", "kimi_k2"), "DeepseekV3Config",
                 _DEEPSEEK_V3, pattern="mla", rope="interleaved", moe="deepseek", shared="count"),
    Architecture("DeepseekV32ForCausalLM", ("deepseek_v32",), "DeepseekV32Config",
                 {**_DEEPSEEK_V3, "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 64},
                 pattern="mla", rope="interleaved", moe="deepseek", shared="count"),
    Architecture("Gemma2ForCausalLM", ("gemma2",), "Gemma2Config",
                 {**_GEMMA, "attn_logit_softcapping": 50.0, "rope_theta": 10000.0},
                 pattern="alternate", norm_kind="gemma_rmsnorm"),
    Architecture("Gemma3ForCausalLM", ("gemma3", "gemma3_text"), "Gemma3TextConfig",
                 {**_GEMMA, "vocab_size": 262208, "hidden_size": 2304, "intermediate_size": 9216,
                  "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4,
                  "sliding_window_pattern": 6, "rope_theta": 1e6},
                 pattern="window_interval", norm_kind="gemma_rmsnorm", qk_norm="per_head"),
    Architecture("Phi3ForCausalLM", ("phi3",), "Phi3Config",
                 {**_PLAIN5, "partial_rotary_factor": 1.0}, pattern="sliding"),
    Architecture("PhimoeForCausalLM", ("phimoe",), "PhimoeConfig",
                 {**_PLAIN5, "rope_theta": 1e6, "num_key_value_heads": 8},
                 pattern="sliding", norm_kind="layernorm", moe="sparsemixer",
                 expert_size="intermediate_size"),
    Architecture("Llama4ForCausalLM", ("llama4", "llama4_text"), "Llama4TextConfig",
                 {**_PLAIN5, "vocab_size": 202048, "hidden_size": 5120, "intermediate_size": 8192,
                  "intermediate_size_mlp": 16384, "num_hidden_layers": 48,
                  "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128,
                  "num_local_experts": 16, "num_experts_per_tok": 1, "use_qk_norm": True,
                  "interleave_moe_layer_step": 1, "attention_chunk_size": 8192,
                  "rope_theta": 500000.0},
                 qk_norm="l2", qk_norm_flag="use_qk_norm", moe="llama4",
                 expert_size="intermediate_size", shared="expert_size"),
    Architecture("GptOssForCausalLM", ("gpt_oss",), "GptOssConfig",
                 {**_PLAIN5, "head_dim": 64, "sliding_window": 128, "rope_theta": 150000.0},
                 pattern="alternate", sinks=True, moe="topk_softmax",
                 expert_size="intermediate_size"),
    Architecture("Glm4ForCausalLM", ("glm4",), "Glm4Config", _GLM, rope="interleaved"),
    Architecture("GlmForCausalLM", ("glm",), "GlmConfig", _GLM, rope="interleaved"),
    Architecture("Glm4MoeLiteForCausalLM", ("glm4_moe_lite",), "Glm4MoeLiteConfig",
                 {**_DEEPSEEK_V3, "rms_norm_eps": 1e-5, "n_group": 1, "topk_group": 1,
                  "routed_scaling_factor": 1.8, "first_k_dense_replace": 1},
                 pattern="mla", rope="interleaved", moe="deepseek", shared="count"),
    Architecture("Glm4MoeForCausalLM", ("glm4_moe",), "Glm4MoeConfig",
                 {**_PLAIN5, "partial_rotary_factor": 0.5, "use_qk_norm": False, "n_group": 1,
                  "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": True,
                  "first_k_dense_replace": 1, "num_key_value_heads": 8},
                 qk_norm="per_head", qk_norm_flag="use_qk_norm", moe="bias", shared="count"),
    Architecture("MiniMaxM2ForCausalLM", ("minimax_m2", "minimax"), "MiniMaxM2Config",
                 {**_PLAIN, "head_dim": 128, "use_qk_norm": True,
                  "scoring_func": "sigmoid", "use_routing_bias": True, "rope_theta": 5e6},
                 qk_norm="full", qk_norm_flag="use_qk_norm", moe="bias",
                 expert_size="intermediate_size"),
    Architecture("NemotronHForCausalLM", ("nemotron_h",), "NemotronHConfig",
                 {"layer_norm_epsilon": 1e-5, "mlp_hidden_act": "relu2", "conv_kernel": 4,
                  "n_groups": 8, "head_dim": 128, "num_key_value_heads": 8, "n_group": 1,
                  "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": True,
                  "n_shared_experts": 1},
                 pattern="nemotron", eps=("layer_norm_epsilon", "rms_norm_eps"), rope="none",
                 mlp_gated=False, moe="bias", shared="nemotron", linear="mamba"),
    Architecture("Mamba2ForCausalLM", ("mamba2",), "Mamba2Config",
                 {"layer_norm_epsilon": 1e-5, "conv_kernel": 4, "n_groups": 8, "state_size": 128,
                  "head_dim": 64, "hidden_act": "silu", "expand": 2},
                 pattern="mamba", eps=("layer_norm_epsilon",), rope="none"),
    Architecture("mamba_ssm MambaLMHeadModel (Mamba-2)", (), "mamba_ssm.Mamba2",
                 {"norm_epsilon": 1e-5, "ssm_cfg.d_conv": 4, "ssm_cfg.ngroups": 1,
                  "ssm_cfg.d_state": 128, "ssm_cfg.headdim": 64, "ssm_cfg.expand": 2,
                  "tie_embeddings": True, "d_intermediate": 0, "pad_vocab_size_multiple": 8},
                 pattern="mamba", eps=("norm_epsilon",), rope="none"),
    Architecture("FalconH1ForCausalLM", ("falcon_h1",), "FalconH1Config",
                 {**_PLAIN5, "rope_theta": 100000.0, "num_key_value_heads": 8,
                  "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4,
                  "mamba_expand": 2, "mamba_n_heads": 128},
                 pattern="parallel"),
    Architecture("GraniteMoeHybridForCausalLM", ("granitemoehybrid",), "GraniteMoeHybridConfig",
                 {**_PLAIN, "position_embedding_type": None, "mamba_n_heads": 128,
                  "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4,
                  "mamba_expand": 2},
                 pattern="granite", rope="optional", moe="topk_softmax",
                 expert_size="intermediate_size", shared="granite", linear="mamba"),
)  # fmt: skip

MAMBA_SSM = TABLE[[row.config_class for row in TABLE].index("mamba_ssm.Mamba2")]

# Class names whose config is a row's, published under another name.
ALIASES = {
    "Mistral3ForConditionalGeneration": "MistralForCausalLM",
    "Qwen3_5MoeForConditionalGeneration": "Qwen3_5MoeForCausalLM",
    "Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM",
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "PhiMoEForCausalLM": "PhimoeForCausalLM",
}


def _index() -> dict[str, Architecture]:
    rows = {row.name: row for row in TABLE}
    rows |= {model_type: row for row in TABLE for model_type in row.model_types}
    return rows | {alias: rows[name] for alias, name in ALIASES.items()}


_BY_NAME = _index()


def find(*names: str) -> Architecture | None:
    """The row of the first name that is a known class or model_type."""
    return next((_BY_NAME[name] for name in names if name in _BY_NAME), None)


def unknown(name: str) -> Architecture:
    """The row of an architecture that is not in the table: generic fields, nothing assumed sure."""
    return Architecture(
        name or "an unnamed architecture",
        pattern="generic",
        norm_kind="generic",
        eps=("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_epsilon", "norm_eps"),
        moe="generic",
        expert_size="generic",
        shared="generic",
        linear="generic",
        known=False,
    )
