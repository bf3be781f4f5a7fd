"""The fast kernels through Triton's interpreter, in a process of their own, where Triton is."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

DRIVER = Path(__file__).with_name("fast_cases.py")
UNFIT = "only 0-dimensional arrays"


FAMILIES = {
    "gqa": ["gqa_paged_decode"], "sampling": ["sampling"], "mla": ["mla_paged_decode"],
    "norms": ["rmsnorm", "gemma_fused_add_rmsnorm"], "gemm": ["gemm"], "gdn": ["gdn_decode"],
    "mtp": ["gdn_mtp"], "gdn_prefill": ["gdn_prefill"], "mamba": ["mamba_ssu_decode"],
    "sparse": ["dsa_sparse_attention"], "indexer": ["dsa_topk_indexer"],
    "rope": ["rope_with_cos_sin_cache_neox", "rope_with_cos_sin_cache_gptj"],
    "moe": [
        *(f"moe_fp8_block_scale_{routing}_topk"
          for routing in ("ds_routing", "renorm", "renorm_naive", "default", "llama4", "topk")),
        "per_tensor_scale_moe_topk1_", "per_tensor_scale_moe_topk2_",
    ],
    "moe_bf16": ["cutlass_fused_moe_e5_h72_i40_topk2", "cutlass_fused_moe_e4_h32_i136_topk3"],
    "prefill": ["gqa_ragged_prefill", "gqa_paged_prefill"],
}  # fmt: skip


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(DRIVER), "--only", name],
        capture_output=True, text=True, env={**os.environ, "TRITON_INTERPRET": "1"}, timeout=600,
    )  # fmt: skip
    if UNFIT in done.stdout:
        pytest.skip("this Triton's interpreter needs numpy below 2.4")
    rows = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"status"')]
    bad = [row for row in rows if row["status"] != "PASSED"]
    assert not bad, json.dumps(bad, indent=1)
    assert done.returncode == 0, done.stderr[-3000:]
    for part in FAMILIES[name]:
        assert any(part in row["definition"] for row in rows), part
