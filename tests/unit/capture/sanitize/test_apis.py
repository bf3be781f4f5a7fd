"""Each API's calls fit the definition that they compute, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernelkit.capture.sanitize import calls, pipeline
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, Origin, TensorArg, Unusable
from kernelkit.capture.sanitize.matching import Fit, Matcher
from kernelkit.capture.sanitize.payload import Payload
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.store import Dataset
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import gdn, gqa_paged, mamba_ssu, mla_paged, mla_ragged, rope, sampling
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.moe.forms import FP4, FP4_ROUTED, FP8_BLOCK, FP8_TENSOR, Form
from kernelkit.ops.moe.schema import definition_of

ORIGIN = Origin("level10")
MLA, RAGGED = "BatchMLAPagedAttentionWrapper", "BatchPrefillWithRaggedKVCacheWrapper"


def _float(*shape: int, dtype: str = "bfloat16") -> TensorArg:
    def absent() -> Payload:
        raise Unusable(calls.NO_DATA)

    return TensorArg(shape, dtype, absent)


def _values(values: Any, dtype: str = "int32") -> TensorArg:
    array = np.array(values, dtype)
    payload = Payload(dtype, array.shape, array.tobytes())
    return TensorArg(array.shape, dtype, lambda: payload)


def _call(api: str, arguments: dict[str, Any], plan: dict[str, Any] | None = None) -> Call:
    call = Call(api, APIS[api].method, arguments, "here", ORIGIN)
    if plan is not None:
        call.plan = Call(api, "plan", plan, "before", ORIGIN)
    return call


def _best(call: Call, *definitions: Definition) -> Fit:
    observed = APIS[call.api].read(call, True)
    return Matcher(list(definitions)).fits(call.api, observed)[0]


def _fits(call: Call, *definitions: Definition) -> list[str]:
    observed = APIS[call.api].read(call, True)
    found = Matcher(list(definitions)).fits(call.api, observed)
    return [fit.definition.name for fit in found if not fit.differences]


def _mla(q_lens: list[int], lengths: list[int], page_size: int = 1, **changes: Any) -> Call:
    pages = [-(-length // page_size) for length in lengths]
    rows, total = sum(q_lens), sum(pages)
    plan = {
        "qo_indptr": _values(np.cumsum([0, *q_lens])),
        "kv_indptr": _values(np.cumsum([0, *pages])),
        "kv_indices": _values([*range(total), 0, 0, 0]),
        "kv_len_arr": _values(lengths),
        "num_heads": 16, "head_dim_ckv": 512, "head_dim_kpe": 64, "page_size": page_size,
        "causal": False, "sm_scale": 0.135, **changes,
    }  # fmt: skip
    run = {
        "q_nope": _float(rows, 16, 512), "q_pe": _float(rows, 16, 64),
        "ckv_cache": _float(99, page_size, 512), "kpe_cache": _float(99, page_size, 64),
    }  # fmt: skip
    return _call(MLA, run, plan)


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

    assert _fits(_mla([1, 1], [5, 9]), *latent) == name("decode", 1)
    assert _fits(_mla([1, 1], [70, 64], 64), *latent) == name("decode", 64)
    assert _fits(_mla([3, 2], [5, 9], causal=True), *latent) == name("prefill_causal", 1)
    assert _fits(_mla([3, 2], [5, 9]), *latent) == []


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
        ({"kv_len_arr": _values([5, 8])}, calls.BAD_INDEX),
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
    offsets = _values([0, 3, 7])
    plan = {"qo_indptr": offsets, "kv_indptr": offsets, "num_qo_heads": 16, "num_kv_heads": 16,
            "head_dim_qk": 192, "head_dim_vo": 128}  # fmt: skip
    run = {"q": _float(7, 16, 192), "k": _float(7, 16, 192), "v": _float(7, 16, 128)}
    fit = _best(_call(RAGGED, run, plan), definition)
    assert (fit.differences, dict(fit.axes)) == ((), {"total_q": 7, "total_kv": 7, "len_indptr": 3})
    with pytest.raises(Unusable, match="dim of v"):
        _best(_call(RAGGED, run, {**plan, "head_dim_vo": None}), definition)


def test_numbers_become_settings_of_each_request() -> None:
    definition = sampling.FAMILY.definition("top_k_top_p", 1000)
    call = _call(
        "top_k_top_p_sampling_from_probs",
        {"probs": _float(3, 1000, dtype="float32"), "top_k": 50, "top_p": 0.9},
    )
    assert _fits(call, definition) == [definition.name]
    inputs = APIS[call.api].read(call, True).inputs
    assert inputs["top_k"].array.tolist() == [50] * 3
    assert (inputs["top_p"].dtype, inputs["top_k"].dtype) == ("float32", "int32")


def test_rope_heads_and_style() -> None:
    neox, other = (rope.FAMILY.definition(128, 64, neox=neox) for neox in (True, False))
    arguments = {
        "positions": _values([0, 5, 3], "int64"), "query": _float(3, 4096), "key": _float(3, 1024),
        "head_size": 128, "cos_sin_cache": _float(64, 64, dtype="float32"), "is_neox": True,
    }  # fmt: skip
    api = "apply_rope_with_cos_sin_cache_inplace"
    fit = _best(_call(api, arguments), neox, other)
    assert (fit.definition, fit.differences) == (neox, ())
    assert (fit.axes["num_qo_heads"], fit.axes["num_kv_heads"]) == (32, 8)
    assert _fits(_call(api, {**arguments, "is_neox": False}), neox, other) == [other.name]
    with pytest.raises(Unusable, match="positions"):
        _fits(_call(api, {**arguments, "positions": _values([0, 64, 3], "int64")}), neox)


def _gdn(tokens: int) -> dict[str, Any]:
    return {
        "q": _float(2, tokens, 4, 128), "k": _float(2, tokens, 4, 128),
        "v": _float(2, tokens, 8, 128), "a": _float(2, tokens, 8), "b": _float(2, tokens, 8),
        "A_log": _float(8, dtype="float32"), "dt_bias": _float(8), "scale": None,
    }  # fmt: skip


def test_gdn_decode_from_states_or_slots() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="decode")
    api = "gated_delta_rule_decode_pretranspose"
    direct = {**_gdn(1), "state": _float(2, 8, 128, 128, dtype="float32")}
    pooled = {
        **_gdn(1),
        "state": None,
        "initial_state": _float(9, 8, 128, 128, dtype="float32"),
        "initial_state_indices": _values([3, 8]),
    }
    for arguments in (direct, pooled):
        fit = _best(_call(api, arguments), definition)
        assert (fit.differences, dict(fit.axes)) == ((), {"batch_size": 2})
    with pytest.raises(Unusable, match="slot 9"):
        _best(_call(api, {**pooled, "initial_state_indices": _values([3, 9])}), definition)


def test_gdn_mtp_leaves_its_states() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="mtp")
    arguments = {
        **_gdn(4),
        "initial_state": _float(9, 8, 128, 128, dtype="float32"),
        "initial_state_indices": _values([3, 8]),
        "disable_state_update": True,
    }
    fit = _best(_call("gated_delta_rule_mtp", arguments), definition)
    assert (fit.differences, fit.axes["pool_size"]) == ((), 9)
    with pytest.raises(Unusable, match="disable_state_update"):
        _best(
            _call("gated_delta_rule_mtp", {**arguments, "disable_state_update": None}), definition
        )


def test_gdn_prefill_has_lengths_but_no_gates() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="prefill")
    arguments = {
        "q": _float(13, 4, 128), "k": _float(13, 4, 128), "v": _float(13, 8, 128),
        "g": _float(13, 8, dtype="float32"), "cu_seqlens": _values([0, 9, 13]), "scale": None,
        "initial_state": _float(2, 8, 128, 128, dtype="float32"),
    }  # fmt: skip
    call = _call("chunk_gated_delta_rule", arguments)
    fit = _best(call, definition)
    assert (fit.differences, fit.axes["num_seqs"]) == ((), 2)
    assert APIS[call.api].read(call, True).inputs["cu_seqlens"].dtype == "int64"
    with pytest.raises(Unusable, match="cu_seqlens end at 12"):
        _best(_call(call.api, {**arguments, "cu_seqlens": _values([0, 12])}), definition)


def test_mamba_slots_and_flags() -> None:
    definition = mamba_ssu.FAMILY.definition(8, 64, 128, 1)
    arguments = {
        "state": _float(5, 8, 64, 128), "x": _float(3, 8, 64), "dt": _float(3, 8, 64),
        "A": _float(8, 64, 128, dtype="float32"), "B": _float(3, 1, 128), "C": _float(3, 1, 128),
        "D": _float(8, 64, dtype="float32"), "dt_bias": _float(8, 64, dtype="float32"),
        "z": None, "dt_softplus": True, "state_batch_indices": _values([4, 99, 0]),
        "pad_slot_id": 99,
    }  # fmt: skip
    call = _call("selective_state_update", arguments)
    assert _fits(call, definition) == [definition.name]
    slots = APIS[call.api].read(call, True).inputs["state_batch_indices"].array
    assert slots.tolist() == [4, -1, 0]
    for change in ({"dt_softplus": False}, {"z": _float(3, 8, 64)}, {"pad_slot_id": -1}):
        with pytest.raises(Unusable):
            _fits(_call(call.api, {**arguments, **change}), definition)


DS = Form(FP8_BLOCK, "ds", 256, 32, 8, 7168, 2048, n_group=8, topk_group=4)
FORMS = [
    DS,
    Form(FP8_BLOCK, "ds", 256, 32, 8, 7168, 2048, n_group=1, topk_group=1),
    Form(FP8_BLOCK, "renorm", 128, 128, 8, 2048, 768),
    Form(FP8_TENSOR, "llama4", 16, 16, 1, 5120, 8192),
    Form(FP4, "renorm", 128, 128, 8, 2048, 768),
    Form(FP4_ROUTED, None, 128, 128, 8, 2048, 768),
]
METHODS = {"renorm": 1, "ds": 2, "llama4": 3}


def _experts(form: Form) -> Call:
    """The call that a definition of the form stands for."""
    definition = definition_of(form)
    arguments: dict[str, Any] = {}
    for name, spec in definition.inputs.items():
        shape = definition.shape_of(name, {"seq_len": 4})
        if shape is None:
            arguments[name] = 0 if name == "local_expert_offset" else 2.5
        elif name == "topk_ids":
            arguments[name] = _values(np.zeros(shape))
        elif form.kind in (FP4, FP4_ROUTED) and "weights" in name:
            arguments[name] = _float(*shape[:-1], shape[-1] // 2, dtype="uint8")
        else:
            arguments[name] = _float(*shape, dtype=spec.dtype.value)
    arguments |= {
        "top_k": form.top_k, "n_group": form.n_group, "topk_group": form.topk_group,
        "num_experts": form.num_experts, "local_num_experts": form.num_local_experts,
        "intermediate_size": form.intermediate_size,
        "routing_method_type": METHODS.get(form.routing or "", 0),
    }  # fmt: skip
    api = next(tag for tag in definition.tags if tag.startswith("fi_api:")).rpartition(".")[2]
    return _call(api, arguments)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_experts_by_shapes_and_routing(form: Form) -> None:
    definitions = [definition_of(each) for each in FORMS]
    assert _fits(_experts(form), *definitions) == [form.name]


def test_experts_that_differ_in_what_no_tensor_shows() -> None:
    call = _experts(DS)
    call.arguments["topk_group"] = 3
    fit = _best(call, definition_of(DS))
    assert [str(d) for d in fit.differences] == ["topk_group: recorded 3, definition 4"]


def test_an_axis_that_nothing_proves_keeps_a_call_out() -> None:
    definition = gqa_paged.FAMILY.definition(32, 8, 128, 1, prefill=False)
    axes = {**definition.axes, "window": {"type": "const", "value": 4096}}
    windowed = Definition.model_validate({**definition.to_json(), "axes": axes})
    plan = {"indptr": _values([0, 3]), "indices": _values([1, 2, 3]), "last_page_len": _values([1]),
            "num_qo_heads": 32, "num_kv_heads": 8, "head_dim": 128, "page_size": 1}  # fmt: skip
    pool = _float(99, 8, 128)
    run = {"q": _float(1, 32, 128), "paged_kv_cache": (pool, pool)}
    call = _call("BatchDecodeWithPagedKVCacheWrapper", run, plan)
    assert _fits(call, definition) == [definition.name]
    assert [str(d) for d in _best(call, windowed).differences] == [
        "window: recorded nothing, definition 4096"
    ]


REAL = {
    "dsv3": ("deepseek-ai__DeepSeek-V3", 8, {
        "mla_paged_decode_h16_ckv512_kpe64_ps1": 4, "mla_ragged_prefill_causal_h16_qk192_vo128": 1,
        "top_k_top_p_sampling_from_probs_v129280": 1,
    }),
    "qwen3next": ("Qwen__Qwen3-Next-80B-A3B-Instruct", 1, {
        "gqa_paged_decode_h16_kv2_d256_ps1": 4, "gqa_ragged_prefill_causal_h16_kv2_d256": 1,
        "gemma_rmsnorm_h2048": 1, "gemma_fused_add_rmsnorm_h2048": 1, "gemma_rmsnorm_h256": 1,
        "top_k_top_p_sampling_from_probs_v151936": 1,
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_dumps_of_other_models(extra: Path, dataset: Dataset, name: str) -> None:
    config, tp, expected = REAL[name]
    path = extra / "data" / "model_configs" / f"{config}.json"
    request = Request(parallel=(Parallelism(tp=tp),))
    definitions = [
        v.definition for v in derive(load_model(None, None, path).spec, request).variants
    ]
    for definition in definitions:
        dataset.write_definition(definition)
    dump = extra / "data" / "captures" / "level10_dumps" / name
    outcome = pipeline.sanitize(dump, dataset, definitions, pipeline.Settings())
    assert {item.name: item.distinct for item in outcome.definitions} == expected
    assert not outcome.missed
