"""Recordings of SGLang 0.5.14 on an H200 (tests/fixtures/recordings) become workloads.

Made by run_sglang_pass.py with dummy weights: two batches, of 1 and 4 requests, 4 new tokens each.
Only the header's folder names were taken out.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.sanitize import pipeline
from kernelkit.capture.sanitize.pipeline import Settings
from kernelkit.dataset.store import Dataset
from kernelkit.dataset.workload import Workload
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops.derivation import Request, derive

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
CASES = {
    "llama-3.1-8b_paged": ("meta-llama__Llama-3.1-8B", Parallelism()),
    "deepseek-v3_tp8_ep8": ("deepseek-ai__DeepSeek-V3", Parallelism(8, 8)),
    "qwen3-next_tp2": ("Qwen__Qwen3-Next-80B-A3B-Instruct", Parallelism(2)),
    "gemma-2-9b": ("google__gemma-2-9b", Parallelism()),
}


def sanitized(name: str, folder: Path) -> tuple[Any, Dataset, dict[str, list[Workload]]]:
    """The report, the dataset, and its workloads by definition."""
    config, parallel = CASES[name]
    spec = load_model(None, None, FIXTURES / "configs" / f"{config}.json").spec
    definitions = [v.definition for v in derive(spec, Request(parallel=(parallel,))).variants]
    dataset = Dataset.create(folder / "dataset")
    for definition in definitions:
        dataset.write_definition(definition)
    dump = folder / "dump"
    dump.mkdir()
    (dump / "a.kkrec").write_bytes((FIXTURES / "recordings" / f"{name}.kkrec").read_bytes())
    report = pipeline.sanitize(dump, dataset, definitions, Settings(most=None, per_axes=None))
    found: dict[str, list[Workload]] = {}
    for line in dataset.load_workloads():
        assert line.value is not None
        found.setdefault(line.value.definition, []).append(line.value.workload)
    return report, dataset, found


EXPECTED = {
    "llama-3.1-8b_paged": {
        "gqa_paged_decode_h32_kv8_d128_ps1": 6, "gqa_paged_prefill_causal_h32_kv8_d128_ps1": 2,
        "fused_add_rmsnorm_h4096": 4, "rmsnorm_h4096": 4,
        "top_k_top_p_sampling_from_probs_v128256": 2,
    },
    "deepseek-v3_tp8_ep8": {
        "mla_paged_decode_h16_ckv512_kpe64_ps1": 6,
        "mla_ragged_prefill_causal_h16_qk192_vo128": 2, "fused_add_rmsnorm_h7168": 4,
        "rmsnorm_h1536": 4, "rmsnorm_h512": 4, "rmsnorm_h7168": 4,
        "top_k_top_p_sampling_from_probs_v129280": 2,
    },
    "qwen3-next_tp2": {
        "gqa_paged_decode_h8_kv1_d256_ps1": 6, "gqa_ragged_prefill_causal_h8_kv1_d256": 2,
        "gemma_fused_add_rmsnorm_h2048": 4, "gemma_rmsnorm_h2048": 4, "gemma_rmsnorm_h256": 8,
        "top_k_top_p_sampling_from_probs_v151936": 2,
    },
    "gemma-2-9b": {"gemma_rmsnorm_h3584": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_kernel_that_ran_has_its_workloads(name: str, tmp_path: Path) -> None:
    report, _, found = sanitized(name, tmp_path)
    assert {key: len(workloads) for key, workloads in found.items()} == EXPECTED[name]
    for workloads in found.values():
        assert all(w.provenance and w.provenance.weights == "dummy" for w in workloads)
    soft_cap = "computes something that no definition describes"
    assert list(report.unusable) == ([soft_cap] if name == "gemma-2-9b" else [])


def test_decode_steps_of_a_request_follow_each_other(tmp_path: Path) -> None:
    _, dataset, found = sanitized("llama-3.1-8b_paged", tmp_path)
    decode = "gqa_paged_decode_h32_kv8_d128_ps1"
    alone = [w for w in found[decode] if w.axes["batch_size"] == 1]
    assert sorted(w.axes["num_kv_indices"] for w in alone) == [17, 18, 19]
    for workload in found[decode]:
        pointers = tensor(dataset, decode, workload, "kv_indptr")
        pages = tensor(dataset, decode, workload, "kv_indices")
        assert pointers[-1] == len(pages) == workload.axes["num_kv_indices"]
        assert len(set(pages.tolist())) == len(pages)  # a page belongs to one request
        assert 0 <= pages.min() and pages.max() < workload.axes["num_pages"]


def test_the_scale_is_the_models_own(tmp_path: Path) -> None:
    """DeepSeek's YaRN: 192**-0.5 * (0.1 * ln(40) + 1)**2, recorded from the wrapper's plan."""
    _, _, found = sanitized("deepseek-v3_tp8_ep8", tmp_path)
    scale = 192**-0.5 * (0.1 * math.log(40) + 1) ** 2
    for name in (
        "mla_paged_decode_h16_ckv512_kpe64_ps1", "mla_ragged_prefill_causal_h16_qk192_vo128",
    ):  # fmt: skip
        for workload in found[name]:
            assert workload.inputs["sm_scale"].value == pytest.approx(scale, rel=1e-6)


def tensor(dataset: Dataset, definition: str, workload: Workload, name: str) -> Any:
    """A recorded input."""
    from safetensors.numpy import load_file

    source = workload.inputs[name]
    return load_file(dataset.root / source.path)[source.tensor_key]
