"""What is wrong with a config is said in one error that names the field."""

from __future__ import annotations

from typing import Any

import pytest
from model_configs import bundled, llama

from kernelkit.errors import ConfigError
from kernelkit.models.config import parse_config


def _fails(config: dict[str, Any], *words: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(config)
    for word in words:
        assert word in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "field",
    ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"],
)
def test_missing_field_is_named(field: str) -> None:
    error = _fails(llama(**{field: ...}), field, "LlamaForCausalLM", "no class default")
    assert "model_type" in str(error.received)  # what was there


@pytest.mark.parametrize("field", ["kv_lora_rank", "qk_nope_head_dim", "n_routed_experts"])
def test_missing_mla_and_moe_fields(field: str) -> None:
    config = bundled("DeepSeek-V3.json")
    del config[field]
    _fails(config, field)


def test_missing_nested_field_has_its_prefix() -> None:
    config = bundled("Qwen3.5-35B")
    del config["text_config"]["hidden_size"]
    assert parse_config(config).hidden_size == 2048  # nested classes have a default
    config = {"architectures": ["LlavaForConditionalGeneration"], "text_config": llama()}
    del config["text_config"]["vocab_size"]
    _fails(config, "text_config.vocab_size")


@pytest.mark.parametrize("field", ["hidden_size", "num_hidden_layers", "num_key_value_heads"])
@pytest.mark.parametrize("value", ["64", 0, -4, True, 64.0, [64]])
def test_wrong_type_or_size(field: str, value: object) -> None:
    _fails(llama(**{field: value}), field, "an integer")


@pytest.mark.parametrize("value", ["1e-5", 0, -1.0, float("inf"), float("nan"), True])
def test_wrong_epsilon(value: object) -> None:
    _fails(llama(rms_norm_eps=value), "rms_norm_eps", "number")


def test_heads_must_fit() -> None:
    _fails(llama(num_attention_heads=3, num_key_value_heads=3), "hidden_size", "head_dim", "64")
    _fails(llama(num_key_value_heads=3), "num_key_value_heads", "4 and 3")
    assert parse_config(llama(num_attention_heads=6, num_key_value_heads=3, head_dim=16))


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("Nemotron-H-56B", "hybrid_override_pattern", "M*-"),
        ("gpt-oss-20b", "layer_types", ["full_attention"]),
        ("granite-4.0-h-tiny", "layer_types", ["mamba"] * 41),
    ],
)
def test_pattern_length(name: str, field: str, value: object) -> None:
    _fails({**bundled(name), field: value}, field, "disagree", "layers")


def test_unknown_letters_and_words() -> None:
    config = {**bundled("Nemotron-H-56B"), "num_hidden_layers": 2}
    _fails({**config, "hybrid_override_pattern": "MX"}, "'X'", "hybrid_override_pattern")
    _fails({**config, "hybrid_override_pattern": 7}, "hybrid_override_pattern")
    words = ["full_attention"] * 23 + ["magic"]
    _fails({**bundled("gpt-oss-20b"), "layer_types": words}, "magic", "layer_types")


def test_nemotron_without_a_pattern() -> None:
    config = bundled("Nemotron-H-56B")
    del config["hybrid_override_pattern"]
    _fails(config, "hybrid_override_pattern", "NemotronHForCausalLM")


def test_experts_must_fit() -> None:
    moe = bundled("DeepSeek-V3.json")
    _fails({**moe, "num_experts_per_tok": 512}, "more experts per token")
    _fails({**moe, "n_group": 7}, "expert groups", "n_group 7")
    _fails({**moe, "topk_group": 9}, "expert groups")
    _fails({**bundled("Mixtral-8x7B"), "num_local_experts": 0}, "num_local_experts")
    _fails({**bundled("granite-4.0-h-tiny"), "num_local_experts": -1}, "num_local_experts")
    without = bundled("Mixtral-8x7B")
    del without["num_local_experts"]
    _fails(without, "num_local_experts")


def test_mamba_sizes_must_fit() -> None:
    _fails({**bundled("Nemotron-H-56B"), "n_groups": 7}, "Mamba heads by its groups", "256 by 7")
    config = {**bundled("granite-4.0-h-small"), "mamba_n_heads": 7}
    _fails(config, "inner width", "8192 by 7")
    _fails({**bundled("Nemotron-H-56B"), "mamba_ssm_cache_dtype": "int8"}, "int8", "float32")


def test_gdn_heads_must_fit() -> None:
    _fails({**bundled("Qwen3-Next"), "linear_num_key_heads": 5}, "linear_num_value_heads")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rope_scaling", "yarn"),
        ("rope_scaling", {"type": 3}),
        ("rope_theta", "big"),
        ("quantization_config", {"bits": 4}),
        ("quantization_config", {"quant_method": "fp8", "weight_block_size": 128}),
        ("quantization_config", {"quant_method": "fp8", "weight_block_size": [128, "128"]}),
        ("layer_types", "full_attention"),
        ("torch_dtype", 16),
        ("tie_word_embeddings", "yes"),
    ],
)
def test_wrong_values(field: str, value: object) -> None:
    name = field if field != "quantization_config" else "quantization"
    _fails(llama(**{field: value}), name)


def test_wrong_mscale() -> None:
    config = bundled("DeepSeek-V3.json")
    config["rope_scaling"]["mscale_all_dim"] = "1.0"
    _fails(config, "rope_scaling.mscale_all_dim")


@pytest.mark.parametrize(
    "config", [{}, {"model_max_length": 4096}, {"_class_name": "UNet", "layers": 2}]
)
def test_no_language_model(config: dict[str, Any]) -> None:
    _fails(config, "no language model is recognised")


def test_architectures_must_be_names() -> None:
    _fails(llama(architectures="LlamaForCausalLM"), "architectures", "a list")


def test_the_name_heads_the_error() -> None:
    with pytest.raises(ConfigError, match="^my-model: LlamaForCausalLM"):
        parse_config(llama(hidden_size=...), name="my-model")
