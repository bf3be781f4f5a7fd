"""Interfaces of the attention families written out, without other data.

A case is a definition as the format's users know it: axes in order (with the value where it is
constant), constraints, inputs and outputs as "name: axes dtype", and the tags that say where it
comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from kernelkit.dataset.definition import Definition, TensorSpec
from kernelkit.ops import family


@dataclass(frozen=True)
class Interface:
    """What stands in a definition's file; `build` makes ours."""

    name: str
    build: Callable[[], Definition]
    axes: str
    constraints: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tags: tuple[str, ...]


def gqa(page_size: int, *, prefill: bool) -> Definition:
    """Llama-3.1-8B's heads."""
    op: Any = family("gqa_paged")
    return op.definition(32, 8, 128, page_size, prefill=prefill)


def mla(page_size: int, *, prefill: bool) -> Definition:
    """DeepSeek-V3's heads at TP 8."""
    op: Any = family("mla_paged")
    return op.definition(16, 512, 64, page_size, prefill=prefill)


def other(op_type: str, builder: str, *sizes: int) -> Definition:
    """A definition of another family."""
    return getattr(family(op_type), builder)(*sizes)


DECODE = ("len_indptr == batch_size + 1", "num_kv_indices == kv_indptr[-1].item()")
PREFILL = ("total_q == qo_indptr[-1].item()", "num_kv_indices == kv_indptr[-1].item()")
RAGGED = ("total_q == qo_indptr[-1].item()", "total_kv == kv_indptr[-1].item()")
CACHE = "num_pages page_size num_kv_heads head_dim bfloat16"
GQA_CACHES = (f"k_cache: {CACHE}", f"v_cache: {CACHE}")
MLA_CACHES = (
    "ckv_cache: num_pages page_size head_dim_ckv bfloat16",
    "kpe_cache: num_pages page_size head_dim_kpe bfloat16",
)
TABLE = ("kv_indptr: len_indptr int32", "kv_indices: num_kv_indices int32")
QO, LAST = "qo_indptr: len_indptr int32", "kv_last_page_len: batch_size int32"
RAGGED_TABLE = (QO, "kv_indptr: len_indptr int32")
SCALE = "sm_scale: scalar float32"
GQA_AXES = "num_qo_heads=32 num_kv_heads=8 head_dim=128"
MLA_AXES = "num_qo_heads=16 head_dim_ckv=512 head_dim_kpe=64"
DECODE_TAGS = (
    "stage:decode",
    "fi_api:flashinfer.decode.BatchDecodeWithPagedKVCacheWrapper",
)
PREFILL_TAGS = (
    "stage:prefill",
    "fi_api:flashinfer.prefill.BatchPrefillWithPagedKVCacheWrapper",
)
RAGGED_TAGS = (
    "stage:prefill",
    "fi_api:flashinfer.prefill.BatchPrefillWithRaggedKVCacheWrapper",
)
MLA_API = "fi_api:flashinfer.mla.BatchMLAPagedAttentionWrapper"


def rows(axis: str, dim: str) -> tuple[str, str]:
    """The outputs of attention."""
    return (f"output: {axis} num_qo_heads {dim} bfloat16", f"lse: {axis} num_qo_heads float32")


CASES = [
    Interface(
        "gqa_paged_decode_h32_kv8_d128_ps1",
        lambda: gqa(1, prefill=False),
        f"batch_size {GQA_AXES} num_pages page_size=1 len_indptr num_kv_indices",
        DECODE,
        ("q: batch_size num_qo_heads head_dim bfloat16", *GQA_CACHES, *TABLE, SCALE),
        rows("batch_size", "head_dim"),
        DECODE_TAGS,
    ),
    Interface(
        "gqa_paged_decode_h32_kv8_d128_ps16",
        lambda: gqa(16, prefill=False),
        f"batch_size {GQA_AXES} num_pages page_size=16 len_indptr num_kv_indices",
        DECODE,
        ("q: batch_size num_qo_heads head_dim bfloat16", *GQA_CACHES, *TABLE, LAST, SCALE),
        rows("batch_size", "head_dim"),
        DECODE_TAGS,
    ),
    Interface(
        "gqa_paged_prefill_causal_h32_kv8_d128_ps1",
        lambda: gqa(1, prefill=True),
        f"{GQA_AXES} page_size=1 len_indptr total_q num_kv_indices num_pages",
        PREFILL,
        ("q: total_q num_qo_heads head_dim bfloat16", *GQA_CACHES, QO, *TABLE, SCALE),
        rows("total_q", "head_dim"),
        PREFILL_TAGS,
    ),
    Interface(
        "gqa_paged_prefill_causal_h32_kv8_d128_ps64",
        lambda: gqa(64, prefill=True),
        f"{GQA_AXES} page_size=64 len_indptr total_q num_kv_indices num_pages batch_size",
        PREFILL,
        ("q: total_q num_qo_heads head_dim bfloat16", *GQA_CACHES, QO, *TABLE, LAST, SCALE),
        rows("total_q", "head_dim"),
        PREFILL_TAGS,
    ),
    Interface(
        "gqa_ragged_prefill_causal_h32_kv8_d128",
        lambda: other("gqa_ragged", "definition", 32, 8, 128),
        f"{GQA_AXES} len_indptr total_q total_kv",
        RAGGED,
        (
            "q: total_q num_qo_heads head_dim bfloat16",
            "k: total_kv num_kv_heads head_dim bfloat16",
            "v: total_kv num_kv_heads head_dim bfloat16",
            *RAGGED_TABLE,
            SCALE,
        ),
        rows("total_q", "head_dim"),
        RAGGED_TAGS,
    ),
    Interface(
        "mla_paged_decode_h16_ckv512_kpe64_ps64",
        lambda: mla(64, prefill=False),
        f"batch_size {MLA_AXES} page_size=64 num_pages len_indptr num_kv_indices",
        DECODE,
        (
            "q_nope: batch_size num_qo_heads head_dim_ckv bfloat16",
            "q_pe: batch_size num_qo_heads head_dim_kpe bfloat16",
            *MLA_CACHES,
            *TABLE,
            LAST,
            SCALE,
        ),
        rows("batch_size", "head_dim_ckv"),
        ("stage:decode", MLA_API),
    ),
    Interface(
        "mla_paged_prefill_causal_h16_ckv512_kpe64_ps1",
        lambda: mla(1, prefill=True),
        f"{MLA_AXES} page_size=1 total_q num_pages len_indptr num_kv_indices",
        PREFILL,
        (
            "q_nope: total_q num_qo_heads head_dim_ckv bfloat16",
            "q_pe: total_q num_qo_heads head_dim_kpe bfloat16",
            *MLA_CACHES,
            QO,
            *TABLE,
            SCALE,
        ),
        rows("total_q", "head_dim_ckv"),
        ("stage:prefill", MLA_API),
    ),
    Interface(
        "mla_ragged_prefill_causal_h16_qk192_vo128",
        lambda: other("mla_ragged", "definition", 16, 192, 128),
        "num_qo_heads=16 num_kv_heads=16 qk_dim=192 vo_dim=128 total_q total_kv len_indptr",
        RAGGED,
        (
            "q: total_q num_qo_heads qk_dim bfloat16",
            "k: total_kv num_kv_heads qk_dim bfloat16",
            "v: total_kv num_kv_heads vo_dim bfloat16",
            *RAGGED_TABLE,
            SCALE,
        ),
        rows("total_q", "vo_dim"),
        RAGGED_TAGS,
    ),
    Interface(
        "dsa_sparse_attention_h16_ckv512_kpe64_topk2048_ps64",
        lambda: other("dsa_paged", "sparse", 16, 512, 64, 2048, 64),
        f"num_tokens {MLA_AXES} page_size=64 topk=2048 num_pages",
        (
            "sparse_indices.shape[0] == num_tokens",
            "sparse_indices.shape[-1] == topk",
            "ckv_cache.shape[1] == page_size",
        ),
        (
            "q_nope: num_tokens num_qo_heads head_dim_ckv bfloat16",
            "q_pe: num_tokens num_qo_heads head_dim_kpe bfloat16",
            *MLA_CACHES,
            "sparse_indices: num_tokens topk int32",
            SCALE,
        ),
        rows("num_tokens", "head_dim_ckv"),
        ("sparse:topk", "fi_api:flashinfer.mla.trtllm_batch_decode_with_kv_cache_mla"),
    ),
    Interface(
        "dsa_topk_indexer_fp8_h64_d128_topk2048_ps64",
        lambda: other("dsa_paged", "indexer", 64, 128, 2048),
        "batch_size num_index_heads=64 index_head_dim=128 page_size=64 topk=2048 max_num_pages "
        "num_pages kv_cache_num_heads=1 head_dim_with_scale=132",
        ("topk <= max_num_pages * page_size",),
        (
            "q_index_fp8: batch_size num_index_heads index_head_dim float8_e4m3fn",
            "k_index_cache_fp8: num_pages page_size kv_cache_num_heads head_dim_with_scale int8",
            "weights: batch_size num_index_heads float32",
            "seq_lens: batch_size int32",
            "block_table: batch_size max_num_pages int32",
        ),
        ("topk_indices: batch_size topk int32",),
        ("stage:indexer", "sparse:topk", "quantization:float8_e4m3fn"),
    ),
]


def line(name: str, spec: TensorSpec) -> str:
    """A tensor as the cases have it."""
    axes = "scalar" if spec.shape is None else " ".join(spec.shape)
    return f"{name}: {axes} {spec.dtype.value}{' ?' if spec.optional else ''}"


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_interface(case: Interface) -> None:
    definition = case.build()
    constants = definition.const_axes
    axes = [f"{axis}={constants[axis]}" if axis in constants else axis for axis in definition.axes]
    assert definition.name == case.name
    assert axes == case.axes.split()
    assert tuple(definition.constraints) == case.constraints
    assert tuple(line(*item) for item in definition.inputs.items()) == case.inputs
    assert tuple(line(*item) for item in definition.outputs.items()) == case.outputs
    assert tuple(definition.tags) == case.tags


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("gqa_paged_decode_h32_kv8_d128_ps1", 128**-0.5),
        ("gqa_ragged_prefill_causal_h32_kv8_d128", 128**-0.5),
        ("mla_paged_decode_h16_ckv512_kpe64_ps64", 192**-0.5),
        ("mla_ragged_prefill_causal_h16_qk192_vo128", 192**-0.5),
        ("dsa_sparse_attention_h16_ckv512_kpe64_topk2048_ps64", 192**-0.5),
    ],
)
def test_softmax_scale_of_the_inputs(name: str, scale: float) -> None:
    """Latent attention scales by the head dim before absorption, not by 576."""
    torch = pytest.importorskip("torch")
    definition = next(case.build() for case in CASES if case.name == name)
    op = family(definition.op_type)
    rng = torch.Generator()
    assert op.value_input(definition, "sm_scale", {}, rng) == pytest.approx(scale)
