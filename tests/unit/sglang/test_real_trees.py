"""The real sources of SGLang: counts, sizes, and the lines that call kernels.

Needs KERNELKIT_SGLANG_TREES (see conftest) and KERNELKIT_EXTRA_DATA (configs, facts); with both,
about a minute on one core, for thirteen models of each version are read.
"""

from __future__ import annotations

import ast
import json
import time
from pathlib import Path
from typing import Any

import pytest

from kernelkit.models.config import parse_config
from kernelkit.sglang.entries import NotInSglangError
from kernelkit.sglang.implementation import Implementation, find
from kernelkit.sglang.tree import SglangTree

LAYERS = "sglang/srt/layers/"
ATTENTION = LAYERS + "attention/"
# What the facts name, where it is a call: (config, family of the facts, words of its evidence).
CALLS = [
    ("meta-llama__Llama-3.1-8B", "rmsnorm", ("calls fused_add_rmsnorm", "calls rmsnorm")),
    ("meta-llama__Llama-3.1-8B", "gqa_paged",
     ("decode plan (page_size literal 1)", "decode run", "paged prefill plan (page_size literal 1)",
      "paged prefill run causal")),
    ("meta-llama__Llama-3.1-8B", "gqa_ragged",
     ("ragged plan", "ragged run (no prefix)", "ragged run with lse", "merge_state")),
    ("meta-llama__Llama-3.1-8B", "sampling",
     ("top_k_top_p call", "min_p branch", "greedy -> torch.argmax")),
    ("meta-llama__Llama-3.1-8B", "rope", ("call",)),
    ("deepseek-ai__DeepSeek-V3", "mla_paged",
     ("decode plan", "decode run", "paged prefill plan", "paged prefill run")),
    ("deepseek-ai__DeepSeek-V3", "mla_ragged", ("ragged plan", "ragged run", "chunk runner plan")),
    ("Qwen__Qwen3-30B-A3B", "moe", ("bf16 flashinfer_cutlass call",)),
    ("Qwen__Qwen3-Next-80B-A3B-Instruct", "gdn",
     ("prefill call", "mtp call")),
]  # fmt: skip


def _config(extra: Path, name: str) -> dict[str, Any]:
    return json.loads((extra / "data" / "model_configs" / f"{name}.json").read_bytes())


_KNOWN: dict[tuple[str, str], Implementation] = {}


def _found(extra: Path, real: SglangTree, name: str) -> Implementation:
    key = (real.version, name)
    if key not in _KNOWN:
        raw = _config(extra, name)
        _KNOWN[key] = find(parse_config(raw), real, config=raw)
    return _KNOWN[key]


@pytest.mark.parametrize(("name", "family", "words"), CALLS, ids=lambda v: str(v)[:24])
def test_lines_of_the_facts(
    extra: Path, real: SglangTree, name: str, family: str, words: tuple[str, ...]
) -> None:
    facts = json.loads((extra / "data" / "sglang_facts.json").read_bytes())
    evidence = facts["op_type_routing_on_sm90"][family]["evidence"]
    calls = {f"{c.file}:{c.line}" for c in _found(extra, real, name).kernels}
    assert {evidence[word][real.version] for word in words} <= calls


def test_where_the_facts_differ_the_source_line_decides(extra: Path, real: SglangTree) -> None:
    facts = json.loads((extra / "data" / "sglang_facts.json").read_bytes())
    routing = facts["op_type_routing_on_sm90"]
    # The facts name the embedding's F.linear as the linear layers'; both lines read the same.
    named = routing["gemm"]["evidence"]["F.linear"][real.version]
    found = _found(extra, real, "meta-llama__Llama-3.1-8B")
    calls = [c for c in found.kernels if c.module == "QKVParallelLinear"]
    ours = {(c.file, c.line) for c in calls if c.symbol.endswith("functional.linear")}
    assert "UnquantizedLinearMethod" in {_class_around(real, *place) for place in ours}
    file, _, line = named.rpartition(":")
    assert (file, int(line)) not in ours
    assert _class_around(real, file, int(line)) == "UnquantizedEmbeddingMethod"
    # And an argument of the GDN decode call as the call, which begins a few lines above.
    file, _, line = routing["gdn"]["evidence"]["decode call (SM90 branch)"][
        real.version
    ].rpartition(":")
    starts = [c.line for c in _found(extra, real, "Qwen__Qwen3-Next-80B-A3B-Instruct").kernels
              if c.file == file and c.symbol.endswith("decode_pretranspose")]  # fmt: skip
    assert any(0 < int(line) - start < 8 for start in starts), (line, starts)


def _class_around(real: SglangTree, file: str, line: int) -> str:
    for node in ast.parse((real.base / file).read_text()).body:
        if isinstance(node, ast.ClassDef) and node.lineno <= line <= (node.end_lineno or 0):
            return node.name
    return ""


def test_every_call_is_on_its_line(extra: Path, real: SglangTree) -> None:
    for call in _found(extra, real, "meta-llama__Llama-3.1-8B").kernels:
        if call.provider in ("flashinfer", "sgl-kernel"):
            line = (real.base / call.file).read_text().splitlines()[call.line - 1]
            assert line.strip(), call
            name = call.symbol.rsplit(".", 1)[-1]
            assert name in line or "(" in line, (call.symbol, line)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("deepseek-ai__DeepSeek-V3", {"DeepseekV2MoE": 58, "DeepseekV2MLP": 3, "FusedMoE": 58}),
        ("Qwen__Qwen3-Next-80B-A3B-Instruct",
         {"RadixLinearAttention": 36, "RadixAttention": 12, "FusedMoE": 48}),
        ("nvidia__NVIDIA-Nemotron-Nano-9B-v2",
         {"MambaMixer2": 27, "RadixAttention": 4, "NemotronHMLP": 25}),
        ("ibm-granite__granite-4.0-h-small", {"MambaMixer2": 36, "RadixAttention": 4}),
        ("google__gemma-3-27b-it", {"RadixAttention": 62, "Gemma3MLP": 62}),
    ],
)  # fmt: skip
def test_counts(extra: Path, real: SglangTree, name: str, counts: dict[str, int]) -> None:
    found = _found(extra, real, name)
    seen: dict[str, int] = {}
    for row in found.modules:
        seen[row.layer_class] = seen.get(row.layer_class, 0) + row.count
    assert {key: seen.get(key) for key in counts} == counts


def test_sizes_follow_from_the_config(extra: Path, real: SglangTree) -> None:
    rows = {m.name: m for m in _found(extra, real, "meta-llama__Llama-3.1-8B").modules}
    assert rows["qkv_proj"].arguments["total_num_heads"] == 32
    assert rows["qkv_proj"].arguments["total_num_kv_heads"] == 8
    assert rows["gate_up_proj"].arguments["output_sizes"] == [14336, 14336]
    assert rows["attn"].arguments["head_dim"] == 128


def test_spec_alone_gives_the_same_modules(extra: Path, real: SglangTree) -> None:
    for name in ("meta-llama__Llama-3.1-8B", "Qwen__Qwen3-30B-A3B"):
        alone = find(parse_config(_config(extra, name)), real)
        full = _found(extra, real, name)
        assert [(m.path, m.layer_class, m.count) for m in alone.modules] == [
            (m.path, m.layer_class, m.count) for m in full.modules
        ]


def test_mamba2_is_absent_or_there(extra: Path, real: SglangTree) -> None:
    spec = parse_config(_config(extra, "mistralai__Mamba-Codestral-7B-v0.1"))
    if real.version == "0.5.14":
        with pytest.raises(NotInSglangError, match="Mamba2ForCausalLM"):
            find(spec, real)
    else:
        assert find(spec, real).model_file == "sglang/srt/models/mamba2.py"


@pytest.mark.parametrize(("name", "refused"), [("openai__gpt-oss-20b", True),
                                               ("meta-llama__Llama-4-Scout-17B-16E-Instruct", True),
                                               ("meta-llama__Llama-3.1-8B", False)])  # fmt: skip
def test_refused_backends(extra: Path, real: SglangTree, name: str, refused: bool) -> None:
    notes = _found(extra, real, name).notes
    assert any("refuses attention_backend=flashinfer" in note for note in notes) is refused


def test_one_model_takes_seconds(extra: Path, real: SglangTree) -> None:
    raw = _config(extra, "meta-llama__Llama-3.1-8B")
    start = time.process_time()
    find(parse_config(raw), real, config=raw)
    assert time.process_time() - start < 5
