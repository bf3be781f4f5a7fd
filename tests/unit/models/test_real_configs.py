"""All real configs at hand, against the expectations collected for known models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from model_configs import BUNDLED, bundled

from kernelkit.models.config import parse_config
from kernelkit.models.spec import ModelSpec

ROOT = Path(__file__).resolve().parents[3]
_DATA = os.environ.get("KERNELKIT_EXTRA_DATA")
EXTRA = Path(_DATA) if _DATA else None
CONFIGS = sorted(EXTRA.glob("data/model_configs/*__*.json")) if EXTRA else []

# Model of the expectations -> config file. Qwen2.5-72B: the published file has eps 1e-5.
FILES = {
    "Llama-3.1-8B": "meta-llama__Llama-3.1-8B",
    "Llama-3.1-70B": "meta-llama__Llama-3.1-70B",
    "Llama-3.2-3B": "meta-llama__Llama-3.2-3B-Instruct",
    "Mistral-7B-v0.3": "mistralai__Mistral-7B-Instruct-v0.3",
    "Qwen2.5-7B": "Qwen__Qwen2.5-7B",
    "Qwen2.5-72B": "Qwen__Qwen2.5-72B",
    "Qwen3-8B": "Qwen__Qwen3-8B",
    "Qwen3-14B": "Qwen__Qwen3-14B",
    "Qwen3-32B": "Qwen__Qwen3-32B",
    "Qwen3-30B-A3B": "Qwen__Qwen3-30B-A3B",
    "Qwen3-Next-80B-A3B": "Qwen__Qwen3-Next-80B-A3B-Instruct",
    "DeepSeek-V3": "deepseek-ai__DeepSeek-V3",
    "DeepSeek-V3.2": "deepseek-ai__DeepSeek-V3.2-Exp",
    "Kimi-K2": "moonshotai__Kimi-K2-Instruct",
    "Gemma-3-27B": "google__gemma-3-27b-it",
    "Llama-4-Scout": "meta-llama__Llama-4-Scout-17B-16E-Instruct",
    "Mixtral-8x7B": "mistralai__Mixtral-8x7B-v0.1",
    "Mixtral-8x22B": "mistralai__Mixtral-8x22B-v0.1",
    "Mistral-Nemo-12B": "mistralai__Mistral-Nemo-Instruct-2407",
}
# (model, field): what the published config states instead.
DIFFERS = {
    ("Qwen2.5-72B", "rms_norm_eps"): 1e-5,
    ("Mixtral-8x22B", "vocab_size"): 32000,
}
# Expected models without a config file: the expectation itself is read as one.
FIELDS_ONLY = ("Llama-3.1-405B", "Qwen3-235B-A22B", "MiniMax-M2", "Phi-4", "Llama-4-Maverick",
               "Mistral-Small-3.1-24B")  # fmt: skip


def _expectations() -> dict[str, Any]:
    if EXTRA is None:
        pytest.skip("KERNELKIT_EXTRA_DATA is not set")
    return json.loads((EXTRA / "research" / "model_expectations.json").read_text("utf-8"))


def _observed(spec: ModelSpec) -> dict[str, object]:
    """The fields that the expectations name, from a spec."""
    seen: dict[str, object] = {
        "hidden_size": spec.hidden_size,
        "vocab_size": spec.vocab_size,
        "num_hidden_layers": spec.num_layers,
        "rms_norm_eps": spec.norm_eps,
    }
    if spec.attention is not None:
        seen |= {"num_attention_heads": spec.attention.num_qo_heads,
                 "num_key_value_heads": spec.attention.num_kv_heads,
                 "head_dim": spec.attention.head_dim}  # fmt: skip
    if spec.mla is not None:
        names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim")
        seen |= {name: getattr(spec.mla, name) for name in (*names, "v_head_dim")}
        seen["num_attention_heads"] = spec.mla.num_heads
    if spec.moe is not None:
        seen |= {"num_experts": spec.moe.num_experts, "num_experts_per_tok": spec.moe.top_k,
                 "moe_intermediate_size": spec.moe.intermediate_size,
                 "n_group": spec.moe.n_group, "topk_group": spec.moe.topk_group,
                 "routed_scaling_factor": spec.moe.routed_scaling_factor,
                 "routing": spec.moe.routing}  # fmt: skip
    if spec.has_mlp("dense"):
        seen["intermediate_size"] = spec.intermediate_size
    if spec.dsa is not None:
        seen |= {name: getattr(spec.dsa, name) for name in ("index_n_heads", "index_topk")}
    if spec.gdn is not None:
        seen |= {"linear_num_key_heads": spec.gdn.num_k_heads,
                 "linear_num_value_heads": spec.gdn.num_v_heads}  # fmt: skip
    if spec.rope is not None:
        seen["rotary_dim"] = spec.rope.rotary_dim
    return seen


def _compare(model: str, spec: ModelSpec, expected: dict[str, Any]) -> int:
    compared = 0
    for field, value in _observed(spec).items():
        want = DIFFERS.get((model, field), expected.get(field))
        if want is None or (field == "intermediate_size" and "intermediate_size_mlp" in expected):
            continue
        assert value == want, field
        compared += 1
    return compared


@pytest.mark.parametrize("path", CONFIGS or [None], ids=lambda p: p.stem if p else "none")
def test_every_config_parses(path: Path | None) -> None:
    if path is None:
        pytest.skip("KERNELKIT_EXTRA_DATA is not set")
    config = json.loads(path.read_bytes())
    spec = parse_config(config)
    assert len(spec.layers) == spec.num_layers and spec.undecided == ()
    text = config.get("text_config", config)
    assert spec.hidden_size == text.get("hidden_size", text.get("d_model"))
    assert spec.num_layers == text.get("num_hidden_layers", text.get("n_layer"))


@pytest.mark.parametrize("model", FILES)
def test_configs_agree_with_the_expectations(model: str) -> None:
    expected = _expectations()[model]
    assert EXTRA is not None
    path = EXTRA / "data" / "model_configs" / f"{FILES[model]}.json"
    assert _compare(model, parse_config(json.loads(path.read_bytes())), expected) >= 6


@pytest.mark.parametrize("model", FIELDS_ONLY)
def test_expectations_parse_as_configs(model: str) -> None:
    expected = _expectations()[model]
    config = dict(expected)
    if "hf_key_num_experts" in config:
        config[config.pop("hf_key_num_experts")] = config.pop("num_experts")
    spec = parse_config(config)
    assert _compare(model, spec, expected) >= 6
    if model == "MiniMax-M2":
        assert spec.attention is not None and spec.attention.qk_norm == "full"
        assert spec.moe is not None and spec.moe.routing == "ds" and spec.moe.routing_bias
    if model == "Llama-4-Maverick":
        assert spec.counts() == {"attention/dense": 24, "attention/moe": 24}
        assert spec.intermediate_size == expected["intermediate_size_mlp"]


def test_parsing_is_fast() -> None:
    for path in BUNDLED:
        config = bundled(path.name)
        best = min(_timed(config) for _ in range(5))
        assert best < 0.005, f"{path.name}: {best * 1e3:.1f} ms"


def _timed(config: dict[str, Any]) -> float:
    start = time.process_time()  # others on the machine do not count
    parse_config(config)
    return time.process_time() - start


def test_parsing_imports_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from kernelkit.models.config import parse_config\n"
        "from kernelkit.models.summary import summary\n"
        f"summary(parse_config(json.load(open({str(BUNDLED[0])!r}))), 'x')\n"
        "print([m for m in ('torch', 'pydantic', 'huggingface_hub', 'yaml') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
