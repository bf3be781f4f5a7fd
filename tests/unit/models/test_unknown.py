"""An architecture that is not in the table: generic fields, and what stays undecided."""

from __future__ import annotations

from model_configs import bundled, llama

from kernelkit.models.config import parse_config


def _unknown(**changes: object) -> dict[str, object]:
    return llama(architectures=["BrandNewForCausalLM"], model_type="brand_new", **changes)


def test_a_llama_like_config_is_read_in_full() -> None:
    spec = parse_config(_unknown())
    known = parse_config(llama())
    assert spec.architecture == "BrandNewForCausalLM"
    for field in ("attention", "rope", "layers", "hidden_size", "norm_kind", "norm_eps"):
        assert getattr(spec, field) == getattr(known, field)
    assert spec.undecided == ()
    assert spec.sources["mlp_gated"].startswith("assumed")


def test_experts_without_a_scoring_rule() -> None:
    spec = parse_config(_unknown(num_experts=8, num_experts_per_tok=2, moe_intermediate_size=32))
    assert spec.undecided == ("moe",)
    assert "scoring_func" in spec.sources["undecided.moe"]
    assert spec.moe is not None and spec.moe.routing is None
    assert (spec.moe.num_experts, spec.moe.intermediate_size) == (8, 32)


def test_a_stated_scoring_rule_decides() -> None:
    fields = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    sigmoid = parse_config(_unknown(**fields, scoring_func="sigmoid", topk_method="noaux_tc"))
    assert sigmoid.moe is not None and sigmoid.moe.routing == "ds" and not sigmoid.undecided
    softmax = parse_config(_unknown(**fields, scoring_func="softmax", norm_topk_prob=True))
    assert softmax.moe is not None and softmax.moe.routing == "renorm"


def test_missing_parts_leave_their_families_open() -> None:
    spec = parse_config(_unknown(rms_norm_eps=..., rope_theta=..., num_attention_heads=...))
    assert spec.undecided == ("gdn", "gqa_paged", "gqa_ragged", "mamba_ssu", "rmsnorm")
    assert spec.attention is None and spec.norm_kind == "undecided"
    assert parse_config(_unknown(rope_theta=...)).undecided == ("rope",)


def test_unknown_layer_words() -> None:
    spec = parse_config(_unknown(layer_types=["full_attention", "linear_attention"]))
    assert spec.undecided == ("gdn", "mamba_ssu")
    assert [layer.mixer for layer in spec.layers] == ["attention", "none"]


def test_mamba_layers_without_dims() -> None:
    spec = parse_config(_unknown(layer_types=["mamba", "attention"]))
    assert spec.undecided == ("mamba_ssu",) and spec.mamba is None
    assert not any(key.startswith("mamba.") for key in spec.sources)


def test_latent_attention_is_seen() -> None:
    config = {**bundled("DeepSeek-V3.json"), "architectures": ["X"], "model_type": "x"}
    spec, known = parse_config(config), parse_config(bundled("DeepSeek-V3.json"))
    assert spec.mla == known.mla
    assert spec.moe is not None and spec.moe.routing == "ds"
    assert spec.counts() == known.counts()


def test_an_mlp_of_another_activation_may_have_no_gate() -> None:
    assert parse_config(_unknown(hidden_act="gelu")).undecided == ("gemm",)


def test_layernorm_by_its_spelling() -> None:
    spec = parse_config(_unknown(rms_norm_eps=..., layer_norm_eps=1e-5))
    assert (spec.norm_kind, spec.norm_eps) == ("layernorm", 1e-5)


def test_another_head_class_is_found_by_model_type() -> None:
    spec = parse_config(llama(architectures=["LlamaForSequenceClassification"]))
    assert spec.architecture == "LlamaForSequenceClassification"
    assert spec.sources["mlp_gated"] == "class default: LlamaConfig"


def test_a_wrapper_is_read_as_its_text_model() -> None:
    config = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava",
              "text_config": llama(), "torch_dtype": "float16"}  # fmt: skip
    spec = parse_config(config)
    assert spec.sources["mlp_gated"] == "class default: LlamaConfig"
    assert (spec.dtype, spec.sources["dtype"]) == ("float16", "torch_dtype")
