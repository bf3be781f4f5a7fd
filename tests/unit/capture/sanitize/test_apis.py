"""Calls of sampling, rope, recurrent layers and experts fit what they compute, and no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_calls import best, call_of, fits, floats, values

from kernelkit.capture.sanitize import pipeline
from kernelkit.capture.sanitize.apis import APIS
from kernelkit.capture.sanitize.calls import Call, Unusable
from kernelkit.dataset.store import Dataset
from kernelkit.models.load import load_model
from kernelkit.models.parallelism import Parallelism
from kernelkit.ops import gdn, mamba_ssu, rope, sampling
from kernelkit.ops.derivation import Request, derive
from kernelkit.ops.moe.forms import BF16, FP4, FP4_ROUTED, FP8_BLOCK, FP8_TENSOR, Form
from kernelkit.ops.moe.schema import definition_of


def test_numbers_become_settings_of_each_request() -> None:
    definition = sampling.FAMILY.definition("top_k_top_p", 1000)
    call = call_of(
        "top_k_top_p_sampling_from_probs",
        {"probs": floats(3, 1000, dtype="float32"), "top_k": 50, "top_p": 0.9},
    )
    assert fits(call, definition) == [definition.name]
    inputs = APIS[call.api].read(call, True).inputs
    assert inputs["top_k"].array.tolist() == [50] * 3
    assert (inputs["top_p"].dtype, inputs["top_k"].dtype) == ("float32", "int32")


def test_rope_heads_and_style() -> None:
    neox, other = (rope.FAMILY.definition(128, 64, neox=neox) for neox in (True, False))
    arguments = {
        "positions": values([0, 5, 3], "int64"), "query": floats(3, 4096), "key": floats(3, 1024),
        "head_size": 128, "cos_sin_cache": floats(64, 64, dtype="float32"), "is_neox": True,
    }  # fmt: skip
    api = "apply_rope_with_cos_sin_cache_inplace"
    fit = best(call_of(api, arguments), neox, other)
    assert (fit.definition, fit.differences) == (neox, ())
    assert (fit.axes["num_qo_heads"], fit.axes["num_kv_heads"]) == (32, 8)
    assert fits(call_of(api, {**arguments, "is_neox": False}), neox, other) == [other.name]
    with pytest.raises(Unusable, match="positions"):
        fits(call_of(api, {**arguments, "positions": values([0, 64, 3], "int64")}), neox)


def _gdn(tokens: int) -> dict[str, Any]:
    return {
        "q": floats(2, tokens, 4, 128), "k": floats(2, tokens, 4, 128),
        "v": floats(2, tokens, 8, 128), "a": floats(2, tokens, 8), "b": floats(2, tokens, 8),
        "A_log": floats(8, dtype="float32"), "dt_bias": floats(8), "scale": None,
    }  # fmt: skip


def test_gdn_decode_from_states_or_slots() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="decode")
    api = "gated_delta_rule_decode_pretranspose"
    direct = {**_gdn(1), "state": floats(2, 8, 128, 128, dtype="float32")}
    pooled = {
        **_gdn(1),
        "state": None,
        "initial_state": floats(9, 8, 128, 128, dtype="float32"),
        "initial_state_indices": values([3, 8]),
    }
    for arguments in (direct, pooled):
        fit = best(call_of(api, arguments), definition)
        assert (fit.differences, dict(fit.axes)) == ((), {"batch_size": 2})
    with pytest.raises(Unusable, match="slot 9"):
        best(call_of(api, {**pooled, "initial_state_indices": values([3, 9])}), definition)


def test_gdn_mtp_leaves_its_states() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="mtp")
    arguments = {
        **_gdn(4),
        "initial_state": floats(9, 8, 128, 128, dtype="float32"),
        "initial_state_indices": values([3, 8]),
        "disable_state_update": True,
    }
    fit = best(call_of("gated_delta_rule_mtp", arguments), definition)
    assert (fit.differences, fit.axes["pool_size"]) == ((), 9)
    with pytest.raises(Unusable, match="disable_state_update"):
        best(
            call_of("gated_delta_rule_mtp", {**arguments, "disable_state_update": None}), definition
        )


def test_gdn_prefill_has_lengths_but_no_gates() -> None:
    definition = gdn.FAMILY.definition(4, 8, 128, stage="prefill")
    arguments = {
        "q": floats(13, 4, 128), "k": floats(13, 4, 128), "v": floats(13, 8, 128),
        "g": floats(13, 8, dtype="float32"), "cu_seqlens": values([0, 9, 13]), "scale": None,
        "initial_state": floats(2, 8, 128, 128, dtype="float32"),
    }  # fmt: skip
    call = call_of("chunk_gated_delta_rule", arguments)
    fit = best(call, definition)
    assert (fit.differences, fit.axes["num_seqs"]) == ((), 2)
    assert APIS[call.api].read(call, True).inputs["cu_seqlens"].dtype == "int64"
    with pytest.raises(Unusable, match="cu_seqlens end at 12"):
        best(call_of(call.api, {**arguments, "cu_seqlens": values([0, 12])}), definition)


def test_mamba_slots_and_flags() -> None:
    definition = mamba_ssu.FAMILY.definition(8, 64, 128, 1)
    arguments = {
        "state": floats(5, 8, 64, 128), "x": floats(3, 8, 64), "dt": floats(3, 8, 64),
        "A": floats(8, 64, 128, dtype="float32"), "B": floats(3, 1, 128), "C": floats(3, 1, 128),
        "D": floats(8, 64, dtype="float32"), "dt_bias": floats(8, 64, dtype="float32"),
        "z": None, "dt_softplus": True, "state_batch_indices": values([4, 99, 0]),
        "pad_slot_id": 99,
    }  # fmt: skip
    call = call_of("selective_state_update", arguments)
    assert fits(call, definition) == [definition.name]
    slots = APIS[call.api].read(call, True).inputs["state_batch_indices"].array
    assert slots.tolist() == [4, -1, 0]
    for change in ({"dt_softplus": False}, {"z": floats(3, 8, 64)}, {"pad_slot_id": -1}):
        with pytest.raises(Unusable):
            fits(call_of(call.api, {**arguments, **change}), definition)


DS = Form(FP8_BLOCK, "ds", 256, 32, 8, 7168, 2048, n_group=8, topk_group=4)
FORMS = [
    DS,
    Form(FP8_BLOCK, "ds", 256, 32, 8, 7168, 2048, n_group=1, topk_group=1),
    Form(FP8_BLOCK, "renorm", 128, 128, 8, 2048, 768),
    Form(FP8_TENSOR, "llama4", 16, 16, 1, 5120, 8192),
    Form(FP4, "renorm", 128, 128, 8, 2048, 768),
    Form(FP4_ROUTED, None, 128, 128, 8, 2048, 768),
    Form(BF16, None, 128, 128, 8, 2048, 768),
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
        elif name in ("topk_ids", "token_selected_experts"):
            arguments[name] = values(np.zeros(shape))
        elif form.kind in (FP4, FP4_ROUTED) and "weights" in name:
            arguments[name] = floats(*shape[:-1], shape[-1] // 2, dtype="uint8")
        else:
            arguments[name] = floats(*shape, dtype=spec.dtype.value)
    arguments |= {
        "top_k": form.top_k, "n_group": form.n_group, "topk_group": form.topk_group,
        "num_experts": form.num_experts, "local_num_experts": form.num_local_experts,
        "intermediate_size": form.intermediate_size,
        "routing_method_type": METHODS.get(form.routing or "", 0),
    }  # fmt: skip
    api = next(tag for tag in definition.tags if tag.startswith("fi_api:")).rpartition(".")[2]
    return call_of(api, arguments)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_experts_by_shapes_and_routing(form: Form) -> None:
    definitions = [definition_of(each) for each in FORMS]
    assert fits(_experts(form), *definitions) == [form.name]


@pytest.mark.parametrize(
    "change", [{"ep_size": 8}, {"activation_type": 6}, {"swiglu_limit": floats(128)}]
)
def test_other_experts_than_swiglu_on_one_rank(change: dict[str, Any]) -> None:
    form = FORMS[-1]
    call = _experts(form)
    call.arguments |= {"ep_size": 1, "activation_type": 3}
    assert fits(call, definition_of(form)) == [form.name]
    call.arguments |= change
    with pytest.raises(Unusable):
        fits(call, definition_of(form))


def test_experts_that_differ_in_what_no_tensor_shows() -> None:
    call = _experts(DS)
    call.arguments["topk_group"] = 3
    fit = best(call, definition_of(DS))
    assert [str(d) for d in fit.differences] == ["topk_group: recorded 3, definition 4"]


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
