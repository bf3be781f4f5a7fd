"""quantization_config of the usual tools."""

from __future__ import annotations

from typing import Any

import pytest
from model_configs import bundled, llama

from kernelkit.models.config import parse_config
from kernelkit.models.spec import Quantization


def _tensors(bits: int, kind: str, **more: object) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, **more}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": weights}},
    }


@pytest.mark.parametrize(
    ("settings", "kind", "block"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 64]}, "fp8_block", (128, 64)),
        ({"quant_method": "fp8", "activation_scheme": "static"}, "fp8_per_tensor", None),
        (_tensors(8, "float", strategy="tensor"), "fp8_per_tensor", None),
        (_tensors(8, "float", strategy="channel"), "fp8_per_channel", None),
        (_tensors(8, "float", strategy="block", block_structure=[128, 128]), "fp8_block",
         (128, 128)),
        (_tensors(8, "int"), "int8", None),
        (_tensors(4, "int", group_size=128), "int4", None),
        (_tensors(4, "float", group_size=16), "nvfp4", None),
        (_tensors(4, "float", group_size=32), "mxfp4", None),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8_per_tensor", None),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4", None),
        ({"quantization": {"quant_algo": "NVFP4"}}, "nvfp4", None),
        ({"quant_method": "gptq", "bits": 4}, "int4", None),
        ({"quant_method": "gptq", "bits": 8}, "int8", None),
        ({"quant_method": "awq", "w_bit": 4}, "int4", None),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes", None),
    ],
)  # fmt: skip
def test_kinds(settings: dict[str, Any], kind: str, block: tuple[int, int] | None) -> None:
    spec = parse_config(llama(quantization_config=settings))
    assert spec.quantization == Quantization(kind, True, False, block)
    assert spec.sources["quantization.kind"] == "quantization_config"


def test_unquantized() -> None:
    assert parse_config(llama()).quantization is None
    assert parse_config(llama(quantization_config=None)).quantization is None


@pytest.mark.parametrize(
    ("excluded", "linear", "experts"),
    [
        ([], True, True),
        (["lm_head", "model.layers.*.mlp.gate"], True, True),
        (["re:.*self_attn.*", "re:.*router"], False, True),
        (["model.layers.*.self_attn"], False, True),
        (["model.layers.*.mlp.experts"], True, False),
        (["model.layers.*.mlp.shared_experts"], True, True),
        (["model.layers.0.self_attn.q_proj"], True, True),
        ([f"model.layers.{i}.self_attn.q_proj" for i in range(48)], False, True),
        ([f"model.layers.{i}.post_attention_layernorm" for i in range(48)], True, True),
    ],
)
@pytest.mark.parametrize("key", ["modules_to_not_convert", "ignore", "exclude_modules"])
def test_exclusions(key: str, excluded: list[str], linear: bool, experts: bool) -> None:
    settings = {"quant_method": "fp8", key: excluded}
    config = {**bundled("Qwen3-30B-A3B.json"), "quantization_config": settings}
    assert parse_config(config).quantization == Quantization("fp8_per_tensor", linear, experts)


def test_nested_configs_quantize_outside() -> None:
    config = {**bundled("gemma-3-27b"), "quantization_config": {"quant_method": "awq", "bits": 4}}
    spec = parse_config(config)
    assert spec.quantization == Quantization("int4", True, False)
