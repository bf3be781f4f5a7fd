"""The inventory of a model: every kernel, its standing, and what no definition stands for."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from inventory_models import model_of

from kernelkit.dataset.store import Dataset
from kernelkit.inventory import table
from kernelkit.inventory.flashinfer_tree import FlashInferTree, locate
from kernelkit.inventory.inventory import Inventory, Sources, counts, take
from kernelkit.inventory.manifest import Kernel
from kernelkit.models.load import Model, load_model
from kernelkit.models.parallelism import parallel_grid
from kernelkit.ops.derivation import Request

NOTHING = Dataset(Path(os.devnull))


@pytest.fixture
def flashinfer(tmp_path: Path) -> FlashInferTree:
    """Norms with a template, decode without one, nothing else."""
    package = tmp_path / "fi" / "flashinfer"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "api_logging.py").touch()
    (package / "norm.py").write_text("@flashinfer_api(trace=t)\ndef rmsnorm(x): ...\n")
    (package / "decode.py").write_text("class BatchDecodeWithPagedKVCacheWrapper: ...\n")
    found = locate(package)
    assert found is not None
    return found


def _take(name: str, sources: Sources, tp: list[int], ep: list[int] | None = None) -> Inventory:
    model = model_of(name)
    parallel = parallel_grid(tp, ep or [1])
    return take(model, Request(tags=(f"model:{model.slug}",), parallel=parallel), sources)


def _by_name(inventory: Inventory) -> dict[str, Kernel]:
    return {kernel.definition_name: kernel for kernel in inventory.kernels}


def test_existing_and_new_with_their_files(held: Dataset) -> None:
    found = _by_name(_take("meta-llama__Llama-3.1-8B", Sources(held), [1, 2]))
    norm = found["rmsnorm_h4096"]
    assert (norm.phase1_status, norm.workloads, norm.serving) == ("existing", 2, [])
    assert [(e.text, e.file) for e in norm.evidence or ()] == [
        ("definition", "definitions/rmsnorm/rmsnorm_h4096.json"),
        ("2 workloads", "workloads/rmsnorm/rmsnorm_h4096.jsonl"),
    ]
    divided = found["gqa_paged_decode_h16_kv4_d128_ps1"]
    assert (divided.phase1_status, divided.serving) == ("new", ["tp:2"])
    assert found["gqa_paged_decode_h32_kv8_d128_ps1"].serving == ["tp:1"]
    assert found["rmsnorm_h4096"].fi_status is None  # no FlashInfer was looked at


def test_a_definition_that_differs_is_said_to(held: Dataset) -> None:
    path = held.root / "definitions" / "gemm" / "gemm_n6144_k4096.json"
    document = json.loads(path.read_text())
    document["inputs"]["A"]["dtype"] = "float32"
    path.write_text(json.dumps(document))
    (held.root / "definitions" / "gemm" / "gemm_n4096_k4096.json").write_text("{")
    inventory = _take("meta-llama__Llama-3.1-8B", Sources(held), [1])
    found = _by_name(inventory)
    assert "float32" in str(found["gemm_n6144_k4096"].differences)
    assert found["gemm_n4096_k4096"].phase1_status == "existing"
    assert found["gemm_n4096_k4096"].differences
    assert "DIFFERS" in table.as_text(inventory)


def test_flashinfers_side(flashinfer: FlashInferTree) -> None:
    found = _by_name(_take("deepseek-ai__DeepSeek-V3.2-Exp", Sources(NOTHING, flashinfer), [8]))
    norm = found["rmsnorm_h7168"]
    assert (norm.fi_status, norm.fi_trace_template) == ("fi_supported", True)
    assert [(e.file, e.line) for e in norm.evidence or ()] == [("flashinfer/norm.py", 2)]
    assert found["fused_add_rmsnorm_h7168"].fi_status == "fi_missing"
    indexer = found["dsa_topk_indexer_fp8_h64_d128_topk2048_ps64"]
    assert (indexer.fi_status, indexer.fi_api) == ("fi_missing", None)
    llama = _by_name(_take("meta-llama__Llama-3.1-8B", Sources(NOTHING, flashinfer), [1]))
    decode = llama["gqa_paged_decode_h32_kv8_d128_ps1"]
    assert (decode.fi_status, decode.fi_trace_template) == ("fi_supported", False)
    assert llama["gemm_n6144_k4096"].fi_api == "flashinfer.gemm.mm_bf16"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("openai__gpt-oss-20b", "MoE experts (top-4, 32 experts, inter=2880)"),
        ("nvidia__Nemotron-H-56B-Base-8K", None),
        ("meta-llama__Llama-3.1-8B", None),
    ],
)
def test_parts_without_a_definition(name: str, part: str | None) -> None:
    found = _take(name, Sources(NOTHING), [1])
    assert [unmapped.part for unmapped in found.unmapped] == ([part] if part else [])


def test_a_size_that_does_not_divide_is_noted() -> None:
    found = _take("ibm-granite__granite-4.0-h-tiny", Sources(NOTHING), [1, 8])
    assert found.notes and "tp=8" in found.notes[0]
    assert found.as_manifest().notes == found.notes


def test_the_table_shows_each_kernel_once(held: Dataset, flashinfer: FlashInferTree) -> None:
    inventory = _take("Qwen__Qwen3-30B-A3B", Sources(held, flashinfer), [1])
    lines = table.as_text(inventory).splitlines()
    for kernel in inventory.kernels:
        assert sum(f" {kernel.definition_name} " in line for line in lines) == 1
    totals = counts(inventory.kernels)
    assert totals["existing"] + totals["new"] == len(inventory.kernels)
    assert f"{totals['existing']} existing, {totals['new']} new" in "\n".join(lines)


def _configs() -> list[Path]:
    value = os.environ.get("KERNELKIT_EXTRA_DATA")
    return sorted(Path(value).glob("data/model_configs/*__*.json")) if value else []


@pytest.mark.parametrize("config", _configs(), ids=lambda path: path.stem)
def test_every_real_config_in_under_five_seconds(config: Path) -> None:
    start = time.perf_counter()
    model = load_model(None, None, config)
    request = Request(parallel=parallel_grid([1, 2, 4, 8], [1, 2, 4, 8]))
    inventory = take(model, request, Sources(NOTHING))
    assert time.perf_counter() - start < 5
    raw = json.loads(config.read_text())
    text = {**raw, **(raw.get("text_config") or {})}
    found = inventory.as_manifest()
    assert found.num_layers == (text.get("num_hidden_layers") or text["n_layer"])
    assert sum((found.layers or {}).values()) == found.num_layers
    names = [kernel.definition_name for kernel in inventory.kernels]
    assert len(set(names)) == len(names)
    for kernel in inventory.kernels:
        for size in kernel.serving or ["tp:1"]:
            assert list(_wrong(kernel, int(size[3:]), text, model)) == []


def _wrong(kernel: Kernel, size: int, text: dict[str, Any], model: Model) -> Iterator[str]:
    """Heads times TP and experts times EP are the config's own numbers, read from the raw file."""
    parts = re.findall(r"_([a-z]+)(\d+)(?=_|$)", kernel.definition_name)
    numbers = {letters: int(digits) for letters, digits in parts}
    if kernel.op_type in ("gqa_paged", "gqa_ragged", "mla_paged", "mla_ragged"):
        if numbers["h"] * size != text["num_attention_heads"]:
            yield f"{kernel.definition_name} at TP={size}: heads"
    if kernel.op_type in ("gqa_paged", "gqa_ragged"):
        heads = text.get("num_key_value_heads") or text["num_attention_heads"]
        if numbers["kv"] != max(1, heads // size):
            yield f"{kernel.definition_name} at TP={size}: KV heads"
    if kernel.op_type == "moe":
        keys = ("n_routed_experts", "num_experts", "num_local_experts")
        experts = next(text[key] for key in keys if text.get(key))
        if numbers["e"] * size != experts:
            yield f"{kernel.definition_name} at EP={size}: experts"
    if kernel.op_type == "gdn" and numbers["qk"] * size != text["linear_num_key_heads"]:
        yield f"{kernel.definition_name} at TP={size}: GDN heads"
    heads = text.get("mamba_num_heads") or text.get("mamba_n_heads")
    if kernel.op_type == "mamba_ssu" and heads and numbers["h"] * size != heads:
        yield f"{kernel.definition_name} at TP={size}: Mamba heads"
    if kernel.op_type == "sampling" and numbers["v"] != model.spec.vocab_size:
        yield f"{kernel.definition_name}: vocabulary"
