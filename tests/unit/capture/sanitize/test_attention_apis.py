"""Each attention API's calls fit the definition that they compute, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recorded_calls import best, call_of, fits, floats, values

from kernelkit.capture.sanitize import calls
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, Unusable
from kernelkit.dataset.definition import Definition
from kernelkit.ops import gqa_paged, mla_paged, mla_ragged

MLA, RAGGED = "BatchMLAPagedAttentionWrapper", "BatchPrefillWithRaggedKVCacheWrapper"


def _mla(q_lens: list[int], lengths: list[int], page_size: int = 1, **changes: Any) -> Call:
    pages = [-(-length // page_size) for length in lengths]
    rows, total = sum(q_lens), sum(pages)
    plan = {
        "qo_indptr": values(np.cumsum([0, *q_lens])),
        "kv_indptr": values(np.cumsum([0, *pages])),
        "kv_indices": values([*range(total), 0, 0, 0]),
        "kv_len_arr": values(lengths),
        "num_heads": 16, "head_dim_ckv": 512, "head_dim_kpe": 64, "page_size": page_size,
        "causal": False, "sm_scale": 0.135, **changes,
    }  # fmt: skip
    run = {
        "q_nope": floats(rows, 16, 512), "q_pe": floats(rows, 16, 64),
        "ckv_cache": floats(99, page_size, 512), "kpe_cache": floats(99, page_size, 64),
    }  # fmt: skip
    return call_of(MLA, run, plan)


@pytest.fixture(scope="module")
def latent() -> list[Definition]:
    """MLA definitions, decode and prefill, page sizes 1 and 64."""
    return [
        mla_paged.FAMILY.definition(16, 512, 64, size, prefill=prefill)
        for size in (1, 64)
        for prefill in (False, True)
    ]


def test_mla_stages_and_pages(latent: list[Definition]) -> None:
    def name(stage: str, size: int) -> list[str]:
        return [f"mla_paged_{stage}_h16_ckv512_kpe64_ps{size}"]

    assert fits(_mla([1, 1], [5, 9]), *latent) == name("decode", 1)
    assert fits(_mla([1, 1], [70, 64], 64), *latent) == name("decode", 64)
    assert fits(_mla([3, 2], [5, 9], causal=True), *latent) == name("prefill_causal", 1)
    assert fits(_mla([3, 2], [5, 9]), *latent) == []


def test_mla_lengths_become_last_pages() -> None:
    observed = APIS[MLA].read(_mla([1, 1, 1], [70, 64, 0], 64), True)
    assert observed.inputs["kv_last_page_len"].array.tolist() == [6, 64, 0]
    assert observed.inputs["kv_indices"].shape == (3,)
    assert observed.inputs["sm_scale"] == 0.135


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"num_heads": 8}, calls.CONTRADICTION),
        ({"head_dim_kpe": 32}, calls.CONTRADICTION),
        ({"kv_len_arr": values([5, 8])}, calls.BAD_INDEX),
        ({"sm_scale": None}, calls.OTHER_SEMANTICS),
        ({"qo_indptr": None}, calls.OTHER_SEMANTICS),
    ],
)
def test_mla_calls_that_say_too_little(changes: dict[str, Any], kind: str) -> None:
    with pytest.raises(Unusable) as caught:
        APIS[MLA].read(_mla([1, 1], [5, 9], **changes), True)
    assert caught.value.kind == kind


def test_ragged_prefill_of_both_kinds() -> None:
    """FlashInfer's own template calls the MLA one gqa_ragged_h16_kv16_d192."""
    definition = mla_ragged.FAMILY.definition(16, 192, 128)
    offsets = values([0, 3, 7])
    plan = {"qo_indptr": offsets, "kv_indptr": offsets, "num_qo_heads": 16, "num_kv_heads": 16,
            "head_dim_qk": 192, "head_dim_vo": 128}  # fmt: skip
    run = {"q": floats(7, 16, 192), "k": floats(7, 16, 192), "v": floats(7, 16, 128)}
    fit = best(call_of(RAGGED, run, plan), definition)
    assert (fit.differences, dict(fit.axes)) == ((), {"total_q": 7, "total_kv": 7, "len_indptr": 3})
    with pytest.raises(Unusable, match="dim of v"):
        best(call_of(RAGGED, run, {**plan, "head_dim_vo": None}), definition)


def test_an_axis_that_nothing_proves_keeps_a_call_out() -> None:
    definition = gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)
    axes = {**definition.axes, "window": {"type": "const", "value": 4096}}
    windowed = Definition.model_validate({**definition.to_json(), "axes": axes})
    plan = {"indptr": values([0, 3]), "indices": values([1, 2, 3]), "last_page_len": values([1]),
            "num_qo_heads": 32, "num_kv_heads": 8, "head_dim": 128, "page_size": 1}  # fmt: skip
    pool = floats(99, 8, 128)
    run = {"q": floats(1, 32, 128), "paged_kv_cache": (pool, pool)}
    call = call_of("BatchDecodeWithPagedKVCacheWrapper", run, plan)
    assert fits(call, definition) == [definition.name]
    assert [str(d) for d in best(call, windowed).differences] == [
        "window: recorded nothing, definition 4096"
    ]
