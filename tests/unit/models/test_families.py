"""The families of attention layers, by hand, on real configs; and what holds for every config."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from model_configs import BUNDLED, bundled, llama, parse

from kernelkit.models.config import parse_config
from kernelkit.models.spec import (
    MIXERS,
    MLPS,
    ROUTINGS,
    AttentionSpec,
    DsaSpec,
    MlaSpec,
    MoeSpec,
    Quantization,
    RopeSpec,
)


def test_llama_derives_head_dim() -> None:
    spec = parse("Llama-3.1-8B")
    assert spec.attention == AttentionSpec(32, 8, 128, 128**-0.5)
    assert spec.rope == RopeSpec(128, 128, 500000.0, kind="llama3")
    assert spec.counts() == {"attention/dense": 32}
    assert (spec.hidden_size, spec.intermediate_size, spec.vocab_size) == (4096, 14336, 128256)
    assert (spec.norm_kind, spec.norm_eps, spec.mlp_gated) == ("rmsnorm", 1e-5, True)
    assert spec.sources["attention.head_dim"] == "hidden_size / num_attention_heads"
    assert not spec.undecided


def test_llama2_has_no_kv_field() -> None:
    spec = parse_config(llama(num_key_value_heads=..., rope_theta=...))
    assert spec.attention is not None and spec.attention.num_kv_heads == 4
    assert "no num_key_value_heads" in spec.sources["attention.num_kv_heads"]
    assert spec.sources["rope.theta"] == "class default: LlamaConfig"


def test_a_null_field_counts_as_unset() -> None:
    spec = parse_config(llama(num_key_value_heads=None, head_dim=None))
    assert spec.attention is not None
    assert (spec.attention.num_kv_heads, spec.attention.head_dim) == (4, 16)


def test_qwen3_moe() -> None:
    spec = parse("Qwen3-30B-A3B.json")
    assert spec.attention is not None and spec.attention.qk_norm == "per_head"
    assert spec.attention.sliding_window is None
    assert spec.moe == MoeSpec(128, 8, 768, "renorm")
    assert spec.counts() == {"attention/moe": 48}


@pytest.mark.parametrize(("normed", "routing"), [(True, "renorm"), (False, "default")])
def test_qwen3_moe_norm_topk_prob(normed: bool, routing: str) -> None:
    spec = parse_config({**bundled("Qwen3-30B-A3B.json"), "norm_topk_prob": normed})
    assert spec.moe is not None and spec.moe.routing == routing


def test_qwen3_moe_dense_layers() -> None:
    config = {**bundled("Qwen3-30B-A3B.json"), "decoder_sparse_step": 2, "mlp_only_layers": [1]}
    spec = parse_config(config)
    assert [layer.mlp for layer in spec.layers[:4]] == ["dense", "dense", "dense", "moe"]
    assert spec.counts() == {"attention/dense": 25, "attention/moe": 23}


def test_fp8_exclusion_of_norms_is_not_of_attention() -> None:
    spec = parse("Qwen3-30B-A3B-FP8")
    assert spec.quantization == Quantization("fp8_block", True, True, (128, 128))


def test_deepseek_v3() -> None:
    spec = parse("DeepSeek-V3.json")
    mscale = 0.1 * math.log(40) + 1
    assert spec.mla is not None
    assert spec.mla == MlaSpec(128, 1536, 512, 128, 64, 128, spec.mla.sm_scale)
    assert spec.mla.sm_scale == pytest.approx(192**-0.5 * mscale**2, rel=1e-12)
    assert spec.rope == RopeSpec(64, 64, 10000.0, kind="yarn", is_neox=False)
    assert spec.counts() == {"mla/dense": 3, "mla/moe": 58}
    assert spec.moe is not None
    assert (spec.moe.routing, spec.moe.n_group, spec.moe.topk_group) == ("ds", 8, 4)
    assert spec.moe.routing_bias and spec.moe.routed_scaling_factor == 2.5
    assert spec.moe.shared_intermediate_size == 2048
    assert spec.attention is None and spec.dsa is None
    assert spec.quantization == Quantization("fp8_block", True, True, (128, 128))


def test_mscale_needs_a_factor_above_one() -> None:
    config = bundled("DeepSeek-V3.json")
    config["rope_scaling"]["factor"] = 1
    spec = parse_config(config)
    assert spec.mla is not None and spec.mla.sm_scale == 192**-0.5


def test_deepseek_v32_has_an_indexer() -> None:
    assert parse("DeepSeek-V3.2").dsa == DsaSpec(64, 128, 2048)


def test_deepseek_v2_lite() -> None:
    spec = parse("DeepSeek-V2-Lite")
    assert spec.mla is not None and spec.mla.q_lora_rank is None
    assert spec.mla.sm_scale == pytest.approx(
        192**-0.5 * (0.1 * 0.707 * math.log(40) + 1) ** 2, rel=1e-12
    )
    assert spec.moe is not None
    assert (spec.moe.routing, spec.moe.shared_intermediate_size) == ("default", 2816)


def test_deepseek_v2_grouped_greedy_is_undecided() -> None:
    config = {**bundled("DeepSeek-V2-Lite"), "topk_method": "group_limited_greedy"}
    spec = parse_config(config)
    assert spec.moe is not None and spec.moe.routing is None
    assert spec.undecided == ("moe",)
    assert "group_limited_greedy" in spec.sources["undecided.moe"]


def test_kimi_k2() -> None:
    spec = parse("Kimi-K2")
    assert spec.counts() == {"mla/dense": 1, "mla/moe": 60}
    assert spec.moe is not None and (spec.moe.num_experts, spec.moe.n_group) == (384, 1)
    assert spec.vocab_size == 163840


def test_gemma2() -> None:
    spec = parse("gemma-2-9b")
    assert spec.counts() == {"sliding_attention/dense": 21, "attention/dense": 21}
    assert spec.layers[0].mixer == "sliding_attention"
    assert spec.attention is not None
    assert (spec.attention.logit_softcap, spec.attention.sliding_window) == (50.0, 4096)
    assert spec.attention.sm_scale == 1 / 16 and spec.attention.qk_norm is None
    assert spec.tie_word_embeddings and spec.norm_kind == "gemma_rmsnorm"


def test_gemma3_class_defaults() -> None:
    spec = parse("gemma-3-27b")
    assert (spec.vocab_size, spec.norm_eps, spec.tie_word_embeddings) == (262208, 1e-6, True)
    assert spec.sources["vocab_size"] == "class default: Gemma3TextConfig"
    assert spec.counts() == {"sliding_attention/dense": 52, "attention/dense": 10}
    assert [i for i, layer in enumerate(spec.layers) if layer.mixer == "attention"][:2] == [5, 11]
    assert spec.attention is not None and spec.attention.qk_norm == "per_head"
    assert spec.attention.sm_scale == pytest.approx(168**-0.5, rel=1e-12)
    assert spec.rope is not None and spec.rope.kind == "linear"
    assert spec.sources["dtype"] == "torch_dtype"


def test_llama4_scout() -> None:
    spec = parse("Llama-4-Scout")
    assert spec.counts() == {"attention/moe": 48}
    assert spec.moe == MoeSpec(16, 1, 8192, "llama4", shared_intermediate_size=8192)
    assert spec.attention is not None
    assert (spec.attention.qk_norm, spec.attention.chunk_size) == ("l2", 8192)


def test_llama4_interleaved_experts() -> None:
    config = bundled("Llama-4-Scout")
    config["text_config"]["interleave_moe_layer_step"] = 2
    spec = parse_config(config)
    assert spec.counts() == {"attention/dense": 24, "attention/moe": 24}
    assert spec.layers[0].mlp == "dense" and spec.intermediate_size == 16384


def test_gpt_oss() -> None:
    spec = parse("gpt-oss-20b")
    assert spec.counts() == {"sliding_attention/moe": 12, "attention/moe": 12}
    assert spec.attention is not None and spec.attention.sinks
    assert spec.attention.sliding_window == 128
    assert spec.moe == MoeSpec(32, 4, 2880, "renorm", activation="swiglu_clamped")
    assert spec.quantization == Quantization("mxfp4", False, True)


def test_mistral_window_and_mixtral() -> None:
    windowed = parse("Mistral-7B-v0.1")
    assert windowed.counts() == {"sliding_attention/dense": 32}
    mixtral = parse("Mixtral-8x7B")
    assert mixtral.counts() == {"attention/moe": 32}
    assert mixtral.moe == MoeSpec(8, 2, 14336, "renorm")


def test_qwen2_sliding_layers_from_the_top() -> None:
    config = llama(
        architectures=["Qwen2ForCausalLM"], model_type="qwen2", num_hidden_layers=4,
        use_sliding_window=True, sliding_window=8, max_window_layers=3,
    )  # fmt: skip
    mixers = [layer.mixer for layer in parse_config(config).layers]
    assert mixers == ["attention"] * 3 + ["sliding_attention"]
    off = parse_config({**config, "use_sliding_window": False})
    assert off.attention is not None and off.attention.sliding_window is None


def test_glm_moe() -> None:
    spec = parse("GLM-4.5")
    assert spec.counts() == {"attention/dense": 3, "attention/moe": 89}
    assert spec.attention is not None and spec.attention.qk_norm == "per_head"
    assert spec.rope is not None and spec.rope.rotary_dim == 64 and spec.rope.is_neox
    assert spec.moe is not None and (spec.moe.routing, spec.moe.routing_bias) == ("ds", True)


def test_glm_dense_rotates_pairs() -> None:
    spec = parse_config(llama(architectures=["Glm4ForCausalLM"], head_dim=16))
    assert spec.rope is not None and not spec.rope.is_neox and spec.rope.rotary_dim == 8


def test_phi_moe() -> None:
    config = llama(architectures=["PhiMoEForCausalLM"], model_type="phimoe",
                   num_local_experts=16, num_experts_per_tok=2)  # fmt: skip
    spec = parse_config(config)
    assert spec.moe is not None and spec.moe.routing == "sparsemixer"
    assert spec.norm_kind == "layernorm"


def test_phi4_mini_rotates_a_part() -> None:
    spec = parse_config(llama(architectures=["Phi3ForCausalLM"], partial_rotary_factor=0.75))
    assert spec.rope is not None and (spec.rope.head_dim, spec.rope.rotary_dim) == (16, 12)


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_every_value_has_a_source(path: Path) -> None:
    spec = parse_config(bundled(path.name))
    plain = spec.as_dict()
    for derived in ("sources", "undecided", "layer_counts"):
        del plain[derived]
    for key, value in plain.items():
        if isinstance(value, dict):
            missing = [k for k, v in value.items() if v is not None
                       and f"{key}.{k}" not in spec.sources]  # fmt: skip
            assert not missing, f"{key}: {missing}"
        elif value is not None:
            assert key in spec.sources, key
    assert all(spec.sources.values())


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_words_are_those_of_the_spec(path: Path) -> None:
    spec = parse_config(bundled(path.name))
    assert {layer.mixer for layer in spec.layers} <= set(MIXERS)
    assert {layer.mlp for layer in spec.layers} <= set(MLPS)
    assert spec.moe is None or spec.moe.routing in ROUTINGS
    assert len(spec.layers) == spec.num_layers and not spec.undecided
