"""Deriving the real models gives what is expected of them; what differs is listed with its reason.

The expectations were derived by a simpler rule from recalled configs. Where they are wrong, the
reason stands here and, for people, in the playbook's reference/differences.md.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from kernelkit.models.config import parse_config
from kernelkit.models.parallelism import parallel_grid
from kernelkit.models.spec import ModelSpec
from kernelkit.ops.derivation import Request, derive

# Where an expectation and a published config are the same model.
CONFIGS = {
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
# Expected of a model (regular expression), not derived: why.
ABSENT = {
    "Gemma-3-27B": {r"(fused_add_)?rmsnorm_h.*": "its norms multiply by 1 + w: gemma_rmsnorm"},
    "Qwen3-Next-80B-A3B": {
        r"(fused_add_)?rmsnorm_h.*": "its norms multiply by 1 + w: gemma_rmsnorm",
        r"gemm_n5120_k2048": "the q projection also yields the output gate: n = 9216",
    },
    "NemotronH-8B": {r"gemm_n43008_k4096": "relu2 without a gate: n = intermediate_size"},
    "NemotronH-47B": {r"gemm_n61440_k8192": "relu2 without a gate: n = intermediate_size"},
}
# Derived, not expected: why. The key "*" stands for every model.
ADDED = {
    "Gemma-3-27B": {r"gemma_(fused_add_)?rmsnorm_h(5376|128)": "its norms multiply by 1 + w"},
    "Qwen3-Next-80B-A3B": {
        r"gemma_(fused_add_)?rmsnorm_h(2048|256)": "its norms multiply by 1 + w",
        r"gemm_n9216_k2048": "q, k, v and the output gate",
        r"gemm_n(12288|64)_k2048": "GDN input projections",
        r"gemm_n(1024_k2048|2048_k512|1_k2048)": "shared expert and its gate",
    },
    "Llama-4-Scout": {
        r"gemm_n(16384_k5120|5120_k8192)": "shared expert",
    },
    "Llama-4-Maverick": {
        r"gemm_n(16384_k5120|5120_k8192)": "shared expert",
        r"gemm_n(32768_k5120|5120_k16384)": "every second layer is dense",
    },
    "Mixtral-8x7B": {r"(moe_fp8|trtllm_fp[48])_.*_e8_h4096_i14336": "top-2 renormalised routing"},
    "Mixtral-8x22B": {r"(moe_fp8|trtllm_fp[48])_.*_e8_h6144_i16384": "top-2 renormalised routing"},
    "MiniMax-M2": {
        r"moe_fp8_block_scale_ds_routing_topk8_ng1_kg1_e256_h3072_i1536": "sigmoid with bias"
    },
    "NemotronH-8B": {
        r"gemm_n21504_k4096": "relu2 without a gate",
        r"gemm_n(18560_k4096|4096_k8192)": "Mamba projections",
    },
    "NemotronH-47B": {
        r"gemm_n30720_k8192": "relu2 without a gate",
        r"gemm_n(37120_k8192|8192_k16384)": "Mamba projections",
    },
}


def spec_of(extra: Path, model: str, expectation: dict[str, Any]) -> ModelSpec:
    """From the published config, else from the fields that the expectation quotes."""
    if model in CONFIGS:
        path = extra / "data" / "model_configs" / f"{CONFIGS[model]}.json"
        return parse_config(json.loads(path.read_text()))
    if "NemotronHForCausalLM" in expectation["architectures"]:
        # The expectation leaves the pattern out; any with all three kinds of layers will do.
        count = expectation["num_hidden_layers"]
        expectation = expectation | {"hybrid_override_pattern": ("M-*-" * count)[:count]}
    return parse_config(expectation)


def expectations(extra: Path) -> dict[str, dict[str, Any]]:
    """The expectation file."""
    return json.loads((extra / "research" / "model_expectations.json").read_text())


def derived_names(spec: ModelSpec, expectation: dict[str, Any]) -> set[str]:
    """What we derive for the expectation's serving configurations."""
    sizes = [*expectation["tp"], *expectation.get("gdn_tp", [])]
    grid = parallel_grid(list(dict.fromkeys(expectation["tp"])), expectation.get("ep") or [1])
    names = {v.definition.name for v in derive(spec, Request(parallel=grid)).variants}
    gdn = Request(parallel=parallel_grid(list(dict.fromkeys(sizes)), [1]), op_types=("gdn",))
    return names | {v.definition.name for v in derive(spec, gdn).variants}


def unexplained(names: set[str], reasons: dict[str, str]) -> set[str]:
    """Names that no reason covers."""
    return {name for name in names if not any(re.fullmatch(rule, name) for rule in reasons)}


def test_models_agree_with_the_expectations(extra: Path) -> None:
    problems = []
    for model, expectation in expectations(extra).items():
        spec = spec_of(extra, model, expectation)
        ours, theirs = derived_names(spec, expectation), set(expectation["derived_definitions"])
        if model in CONFIGS:
            theirs = {_with_vocab(name, spec.vocab_size) for name in theirs}
        missing = unexplained(theirs - ours, ABSENT.get(model, {}))
        problems += [f"{model}: {name} is not derived" for name in sorted(missing)]
        added = unexplained(ours - theirs, ADDED.get(model, {}))
        problems += [f"{model}: {name} was not expected" for name in sorted(added)]
    assert not problems, "\n" + "\n".join(problems)


def _with_vocab(name: str, vocab_size: int) -> str:
    """Mixtral-8x22B: the expectation holds Instruct's vocabulary, the config the base model's."""
    return re.sub(r"(sampling_from_probs_v)32768$", rf"\g<1>{vocab_size}", name)


def test_every_difference_still_exists(extra: Path) -> None:
    """A reason that explains nothing is stale."""
    stale = []
    for model, expectation in expectations(extra).items():
        ours = derived_names(spec_of(extra, model, expectation), expectation)
        theirs = set(expectation["derived_definitions"])
        for rules, names in ((ABSENT, theirs - ours), (ADDED, ours - theirs)):
            stale += [
                f"{model}: {rule}"
                for rule in rules.get(model, {})
                if not any(re.fullmatch(rule, name) for name in names)
            ]
    assert stale == []


def test_all_published_configs_derive(extra: Path) -> None:
    """44 models, four TP and two EP sizes: no exception, under 20 s."""
    paths = [p for p in (extra / "data" / "model_configs").glob("*.json") if "__" in p.name]
    assert len(paths) == 44
    start = time.perf_counter()
    for path in paths:
        spec = parse_config(json.loads(path.read_text()))
        request = Request(parallel=parallel_grid([1, 2, 4, 8], [1, 8]))
        derivation = derive(spec, request)
        assert len(derivation.variants) >= 5, path.name
    assert time.perf_counter() - start < 20
