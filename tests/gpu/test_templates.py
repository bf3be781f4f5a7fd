"""Every template, as it lies, on a CUDA device: correct on small, large and awkward calls.

Each runs in a process of its own, so that none can harm another. The speeds that are printed say
what a template reaches with a cold L2 cache (`pytest -s`).
"""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernelkit.solutions.templates import FOLDER, Template, load_all

pytestmark = pytest.mark.gpu

DRIVER = Path(__file__).parents[1] / "templates" / "try_template.py"
LIMIT_SECONDS = 480  # FlashInfer and CUDA C++ are compiled at the first call
PACKAGES = {
    "linear_attention": "fla",
    "linear_attention_prefill": "fla",
    "flashinfer_wrapper": "flashinfer",
    "cute_dsl": "cutlass",
}

Cases = list[dict[str, Any]]


def lengths(count: int, mean: int) -> list[int]:
    """Requests of very different lengths, some of them empty."""
    chance = random.Random(count * mean)
    return [int(2 * mean * chance.random() ** 2) * (chance.random() > 0.05) for _ in range(count)]


PAGED: Cases = [
    {"lengths": each}
    for each in (
        [1], [17], [200], [0], [0, 0, 5, 0], [1] * 33, [3, 0, 64, 128, 1, 0, 2049],
        [32768], lengths(256, 100), lengths(64, 4096), [4096] * 64,
    )
]  # fmt: skip
NORM: Cases = [{"axes": {"batch_size": rows}} for rows in (0, 1, 7, 333, 16384)]
SAMPLING: Cases = [{"axes": {"batch_size": rows}} for rows in (1, 3, 64, 256)]
CASES: dict[str, Cases] = {
    **{f"gqa_paged_decode_h32_kv8_d128_ps{size}": PAGED for size in (1, 64)},
    **{f"mla_paged_decode_h16_ckv512_kpe64_ps{size}": PAGED for size in (1, 64)},
    **{
        f"{kind}_sampling_from_probs_v128256": SAMPLING
        for kind in ("top_k", "top_p", "top_k_top_p")
    },
    "gdn_decode_qk4_v8_d128_k_last": [
        *({"axes": {"batch_size": size}} for size in (1, 3, 64, 256)),
        {"axes": {"batch_size": 5}, "given": {"scale": 0.0}},
        {"axes": {"batch_size": 5}, "given": {"scale": None, "state": None}},
        {"axes": {"batch_size": 5}, "given": {"scale": 0.5}},
    ],
    "gdn_mtp_qk4_v8_d128_k_last": [
        {"axes": {"batch_size": batch, "seq_len": tokens, "pool_size": pool}}
        for batch, tokens, pool in ((1, 2, 1), (3, 4, 7), (64, 4, 64), (100, 3, 128))
    ],
    "gdn_prefill_qk4_v8_d128_k_last": [
        {"axes": {"total_seq_len": tokens, "num_seqs": count, "len_cu_seqlens": count + 1}}
        for tokens, count in ((1, 1), (64, 1), (200, 7), (1000, 3), (4096, 64))
    ],
    "mamba_ssu_decode_h64_d64_s128_ng1": [
        {"axes": {"batch_size": batch, "state_cache_size": pool}}
        for batch, pool in ((1, 1), (3, 7), (64, 64), (100, 256))
    ],
    "dsa_sparse_attention_h16_ckv512_kpe64_topk2048_ps64": [
        {"axes": {"num_tokens": tokens, "num_pages": 256}} for tokens in (1, 3, 64, 1024)
    ],
    "gqa_ragged_prefill_causal_h32_kv8_d128": [
        {"axes": {"total_q": queries, "total_kv": keys, "len_indptr": requests + 1}}
        for queries, keys, requests in ((1, 1, 1), (77, 333, 5), (4096, 4096, 2), (300, 8192, 64))
    ],
    **{
        f"gqa_paged_prefill_causal_h32_kv8_d128_ps{size}": [
            {
                "axes": {
                    "total_q": queries,
                    "len_indptr": requests + 1,
                    "num_kv_indices": pages,
                    "num_pages": pages + 3,
                }
            }
            for queries, pages, requests in (
                (1, 1, 1),
                (77, 999 // size, 5),
                (4096, 4096 // size, 2),
                (300, 8192 // size, 64),
            )
        ]
        for size in (1, 64)
    },
    **{
        name: [{"axes": {"seq_len": tokens}} for tokens in (1, 7, 64, 1000, 4096)]
        for name in (
            "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048",
            "moe_fp8_block_scale_renorm_topk8_e128_h2048_i768",
            "moe_fp8_block_scale_renorm_topk8_e16_h2048_i768",
            "trtllm_fp8_per_tensor_scale_moe_topk8_e128_h2048_i768",
            "trtllm_fp8_per_tensor_scale_moe_topk8_e16_h2048_i768",
            "trtllm_fp8_per_tensor_scale_moe_topk1_e16_h5120_i8192",
            "trtllm_fp8_per_tensor_scale_moe_topk1_e2_h5120_i8192",
            "cutlass_fused_moe_e128_h2048_i768_topk8",
        )
    },
    "rmsnorm_h4096": NORM,
    "fused_add_rmsnorm_h4096": NORM,
    "gemm_n4096_k4096": [{"axes": {"M": rows}} for rows in (1, 17, 128, 4096)],
    "rope_with_cos_sin_cache_neox_style_d128_rd64": [
        {"axes": {"num_tokens": tokens, "num_qo_heads": 8, "num_kv_heads": 2, "max_seq_len": 4096}}
        for tokens in (1, 77, 4096)
    ],
}


@pytest.mark.parametrize("template", load_all(FOLDER), ids=lambda template: template.name)
def test_template(template: Template) -> None:
    package = PACKAGES.get(template.name)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    definition = template.metadata["definition"]
    assert definition in CASES, f"no cases for {definition}: add them to {Path(__file__).name}"
    rows = run(template.name, CASES[definition])
    bad = [json.dumps(row) for row in rows if row["status"] != "PASSED"]
    assert not bad, "\n".join([f"{template.name}: {len(bad)} of {len(rows)} cases", *bad])
    assert len(rows) == len(CASES[definition])
    report(template.name, rows)


@pytest.mark.parametrize("template", load_all(FOLDER), ids=lambda template: template.name)
def test_another_than_the_current_device(template: Template) -> None:
    """Inputs on the second GPU while the first is the current one: launches need a guard."""
    import torch

    package = PACKAGES.get(template.name)
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f"the package {package} is not installed")
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU only")
    cases = CASES[template.metadata["definition"]][:2]
    rows = run(template.name, cases, device="cuda:1")
    assert [row["status"] for row in rows] == ["PASSED"] * len(cases), rows


def run(name: str, cases: Cases, device: str = "cuda") -> list[dict[str, Any]]:
    """The driver's verdicts. Fails with its output where it ended without them all."""
    command = [sys.executable, str(DRIVER), name, "--device", device, "--cases", json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"case"')]
    if len(lines) != len(cases):
        pytest.fail(f"ended with code {done.returncode}\n{done.stdout}\n{done.stderr[-4000:]}")
    return [json.loads(line) for line in lines]


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Print what each case took."""
    for row in rows:
        sizes = row["case"].get("lengths") or row["case"]["axes"]
        text = f"{len(sizes)} requests, {sum(sizes)} tokens" if isinstance(sizes, list) else sizes
        print(f"{name}: {text}: {row['median_ms'] * 1e3:.1f} us, {row['gb_per_s']:.0f} GB/s")
