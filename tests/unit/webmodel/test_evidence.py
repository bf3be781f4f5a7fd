"""The hierarchy held against SGLang's module tree; display names and descriptions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kernelkit.models.auxiliary import Auxiliary, read_auxiliary
from kernelkit.models.config import parse_config
from kernelkit.models.load import Model
from kernelkit.sglang.document import Implementation, Module
from kernelkit.webmodel.generate import Generated
from kernelkit.webmodel.layouts import layout_of
from kernelkit.webmodel.titles import description, display_name

Made = Callable[..., Generated]
ModelOf = Callable[[str], Model]


def _module(path: str, layer_class: str, count: int) -> Module:
    name = path.rsplit(".", 1)[-1]
    return Module(name=name, path=path, layer_class=layer_class, file="sglang/srt/models/x.py",
                  line=7, count=count)  # fmt: skip


def _implementation(*modules: Module) -> Implementation:
    return Implementation(
        sglang_version="0.0", architecture="Qwen3NextForCausalLM", attention_backend="flashinfer",
        model_file="sglang/srt/models/x.py", entry_class="Qwen3NextForCausalLM",
        modules=list(modules),
    )  # fmt: skip


LINEAR = _module("model.layers.*", "Qwen3HybridLinearDecoderLayer", 36)
FULL = _module("model.layers.*", "Qwen3HybridAttentionDecoderLayer", 12)


def test_agreement(made: Made) -> None:
    tower = _module("visual.layers.*", "VisionLayer", 27)
    kernel = _module("model.layers.*.linear_attn.attn", "RadixLinearAttention", 36)
    gate = _module("model.layers.*.mlp.gate", "ReplicatedLinear", 48)
    found = made("Qwen3-Next", implementation=_implementation(LINEAR, FULL, tower, kernel, gate))
    evidence = found.report["sglang"]
    assert evidence["disagreements"] == []
    paths = {row["module"]: row["path"] for row in evidence["modules"]}
    assert paths["attn_gdn"] == kernel.path
    assert paths["moe_gate_gdn"] == paths["moe_gate_gqa"] == gate.path  # one class for both
    assert "attn" not in paths


@pytest.mark.parametrize("full", [11, 0])
def test_disagreement(made: Made, full: int) -> None:
    others = [FULL.model_copy(update={"count": full})] if full else []
    found = made("Qwen3-Next", implementation=_implementation(LINEAR, *others))
    (text,) = found.report["sglang"]["disagreements"]
    assert "'Qwen3HybridAttentionDecoderLayer': 12" in text


def test_classes_of_an_unknown_architecture() -> None:
    config = {"architectures": ["OtherForCausalLM"], "hidden_size": 256, "num_hidden_layers": 3,
              "num_attention_heads": 4, "vocab_size": 1000, "intermediate_size": 512,
              "rms_norm_eps": 1e-5, "rope_theta": 1e4}  # fmt: skip
    seen = _implementation(
        _module("model", "OtherInner", 1), _module("model.layers.*", "OtherBlock", 3)
    )
    layout = layout_of(parse_config(config), seen)
    assert (layout.model, layout.layers) == ("OtherInner", {"": "OtherBlock"})


def test_display_names(model_of: ModelOf) -> None:
    model = model_of("Llama-3.1-8B")
    names = {
        "qwen3-30b-a3b": "Qwen3 30B A3B", "gpt-oss-20b": "GPT OSS 20B",
        "my-model-7b": "My Model 7B",
        "deepseek-v3": "DeepSeek V3", "mixtral-8x7b-v0.1": "Mixtral 8x7B v0.1",
    }  # fmt: skip
    for slug, name in names.items():
        assert display_name(replace(model, slug=slug), None) == name
    other = replace(model, slug="new-llm")
    assert display_name(other, Path("org__New-LLM-Instruct.json")) == "New LLM"


def test_descriptions(model_of: ModelOf) -> None:
    model = model_of("Kimi-K2")
    text = description(model.spec, read_auxiliary(model.config, model.spec))
    assert "61 layers of latent attention" in text
    assert "384 experts, 8 per token, with shared experts, 1 dense layer." in text
    assert "2 multi-token prediction layers" in description(model.spec, Auxiliary(mtp_layers=2))
