"""Dumps of the families: what each loses, and what is made of it with and without context."""

from __future__ import annotations

import dumps
import pytest

from kernelkit.capture.normalize.outcome import Normalized
from kernelkit.capture.normalize.raw import RawDump
from kernelkit.models.config import parse_config
from kernelkit.ops import family


def name(result: Normalized) -> str:
    """The definition's name, or the refusal's code."""
    if result.definition is not None:
        return result.definition.name
    assert result.refusal is not None
    return result.refusal.code


def test_a_flat_cache_is_recognised() -> None:
    result = dumps.one(dumps.paged(128, 8))
    assert name(result) == "gqa_paged_decode_h32_kv8_d128_ps1"
    assert result.definition is not None
    assert result.definition.const_axes["num_kv_heads"] == 8
    assert any("kv128_ps8" in note for note in result.notes)
    assert not result.assumed


def test_a_flat_prefill_cache() -> None:
    raw = dumps.paged(256, 2, heads=16, dim=256, api=dumps.PREFILL)
    assert name(dumps.one(raw)) == "gqa_paged_prefill_causal_h16_kv2_d256_ps1"


def test_a_cache_of_which_both_readings_fit_is_refused() -> None:
    raw = dumps.paged(128, 8, heads=128)
    assert name(dumps.one(raw)) == "cache-rank-unknown"
    flat = dumps.call(
        raw, tensors={"paged_kv_cache.0": {"shape": [90, 8, 128], "dtype": "bfloat16"}}
    )
    assert name(dumps.one(raw, calls=(flat,))) == "gqa_paged_decode_h128_kv8_d128_ps1"
    nested = dumps.call(raw, facts={"kv_rank": 4, "kv_layout": "NHD"})
    assert name(dumps.one(raw, calls=(nested,))) == "gqa_paged_decode_h128_kv128_d128_ps8"


def test_a_cache_that_fits_no_reading_is_refused() -> None:
    assert name(dumps.one(dumps.paged(128, 7))) == "heads-do-not-divide"


def test_hnd_swaps_heads_and_page_size() -> None:
    raw = dumps.paged(16, 8)
    assert name(dumps.one(raw)) == "gqa_paged_decode_h32_kv16_d128_ps8"
    assert dumps.one(raw).assumed == ["cache layout NHD, FlashInfer's default"]
    shape = {"shape": [9, 8, 16, 128], "dtype": "bfloat16"}
    hnd = dumps.call(raw, tensors={"paged_kv_cache.0": shape}, plan={"kv_layout": "HND"})
    assert name(dumps.one(raw, calls=(hnd,))) == "gqa_paged_decode_h32_kv8_d128_ps16"


def test_vllms_single_cache_tensor() -> None:
    raw = dumps.paged(8, 16)
    shape = {"shape": [9, 2, 16, 8, 128], "dtype": "bfloat16"}
    one_tensor = dumps.call(raw, tensors={"paged_kv_cache": shape}, plan={"kv_layout": "NHD"})
    assert name(dumps.one(raw, calls=(one_tensor,))) == "gqa_paged_decode_h32_kv8_d128_ps16"


def test_strict_refuses_what_is_assumed() -> None:
    assert name(dumps.one(dumps.paged(8, 16), strict=True)) == "assumed"


def test_ragged_mla() -> None:
    raw = dumps.ragged(16, 16, 192)
    wanted = "mla_ragged_prefill_causal_h16_qk192_vo128"
    assert name(dumps.one(raw)) == "value-dim-unknown"
    assert name(dumps.one(raw, dumps.mla())) == wanted
    assert name(dumps.one(raw, dumps.mla(heads=32))) == "value-dim-unknown"
    shape = {"shape": [7, 16, 128], "dtype": "bfloat16"}
    known = dumps.call(raw, tensors={"v": shape}, plan={"causal": True})
    result = dumps.one(raw, calls=(known,))
    assert name(result) == wanted
    assert not result.assumed


def test_ragged_grouped_query() -> None:
    result = dumps.one(dumps.ragged(32, 8, 128))
    assert name(result) == "gqa_ragged_prefill_causal_h32_kv8_d128"
    assert result.assumed == ["causal mask"]


@pytest.mark.parametrize(
    ("plan", "wanted"),
    [
        ({"causal": False}, "mla_paged_decode_h16_ckv512_kpe64_ps1"),
        ({"causal": True}, "mla_paged_prefill_causal_h16_ckv512_kpe64_ps1"),
    ],
)
def test_mla_stages_share_a_dump(plan: dict[str, bool], wanted: str) -> None:
    raw = dumps.mla()
    assert name(dumps.one(raw, calls=(dumps.call(raw, plan=plan),))) == wanted


def test_two_calls_of_one_dump_are_both_kept() -> None:
    from pathlib import Path

    from kernelkit.capture.normalize.normalizer import Source, merged, normalize

    raw = dumps.mla()
    calls = [dumps.call(raw, plan={"causal": value}) for value in (False, True, False)]
    results = normalize([raw], Source(calls=calls), Path("pass"))
    names = [variant.definition.name for variant in merged(results)]
    assert names == [
        "mla_paged_decode_h16_ckv512_kpe64_ps1", "mla_paged_prefill_causal_h16_ckv512_kpe64_ps1",
    ]  # fmt: skip


def test_eps_of_a_norm() -> None:
    raw = dumps.rmsnorm(4096)
    assert dumps.one(raw).assumed
    known = dumps.one(raw, calls=(dumps.call(raw, scalars={"eps": 1e-5}),))
    assert known.definition is not None
    assert "EPS = 1e-05" in known.definition.reference
    assert not known.assumed
    assert known.variant is not None
    assert known.variant.fallback_name == "rmsnorm_h4096_eps1e-5"


def test_a_norm_over_heads() -> None:
    raw = dumps.rmsnorm(32)
    assert name(dumps.one(raw)) == "axis-implausible"
    shape = {"shape": [7, 32, 128], "dtype": "bfloat16"}
    per_head = dumps.call(raw, tensors={"input": shape}, scalars={"eps": 1e-6})
    assert name(dumps.one(raw, calls=(per_head,))) == "rmsnorm_h128"


def test_element_types_are_told_apart() -> None:
    result = dumps.one(dumps.rmsnorm(4096, "float16"))
    assert name(result) == "rmsnorm_h4096_f16"
    assert result.definition is not None
    assert result.definition.outputs["output"].dtype.value == "float16"


def test_gemm_follows_the_datasets_policy() -> None:
    raw = dumps.dump("gemm_bf16_N4096_K7168", "flashinfer.gemm.gemm_base.mm_bf16",
                     {"N": 4096, "K": 7168}, {"A": ("M K", "bfloat16"), "B": ("K N", "bfloat16")},
                     {"C": ("M N", "bfloat16")}, variables=("M",), op_type="gemm_bf16")  # fmt: skip
    result = dumps.one(raw)
    assert name(result) == "gemm_n4096_k7168"
    assert result.definition is not None
    assert result.definition.inputs["B"].shape == ["N", "K"]


def test_k_major_states_are_refused() -> None:
    raw = dumps.dump("gdn_decode_qk4_v8_d128", "flashinfer.gdn_decode.gated_delta_rule_decode",
                     {"num_q_heads": 4, "num_v_heads": 8, "head_size": 128}, {}, {})  # fmt: skip
    assert name(dumps.one(raw)) == "state-layout"


MOE = {"num_local_experts": 32, "top_k": 8, "hidden_size": 7168, "intermediate_size": 2048}


def test_local_and_global_experts() -> None:
    raw = dumps.dump("moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048",
                     "flashinfer.fused_moe.core.trtllm_fp8_block_scale_moe",
                     {**MOE, "num_experts": 256, "n_group": 8, "topk_group": 4},
                     {}, {})  # fmt: skip
    result = dumps.one(raw)
    assert name(result) == "moe_fp8_block_scale_ds_routing_topk8_ng8_kg4_e32_h7168_i2048"
    assert result.definition is not None
    assert result.definition.const_axes["num_experts"] == 256
    assert "fi_api:flashinfer.fused_moe.trtllm_fp8_block_scale_moe" in result.definition.tags


def test_the_routing_of_a_record_wins() -> None:
    raw = dumps.dump("trtllm_fp8_per_tensor_scale_moe_topk8_e32_h7168_i2048",
                     "flashinfer.fused_moe.core.trtllm_fp8_per_tensor_scale_moe",
                     {**MOE, "num_experts": 32}, {}, {})  # fmt: skip
    assert name(dumps.one(raw)) == "routing-unknown"
    renorm = dumps.call(raw, scalars={"routing_method_type": 1})
    assert name(dumps.one(raw, calls=(renorm,))) == raw.name


CUTLASS = "cutlass_fused_moe_e16_h256_i128_topk2"
SELECTED = {
    "input": ("seq_len hidden_size", "bfloat16"),
    "token_selected_experts": ("seq_len top_k", "int32"),
    "token_final_scales": ("seq_len top_k", "float32"),
    "fc1_expert_weights": ("num_local_experts gemm1_out_size hidden_size", "bfloat16"),
    "fc2_expert_weights": ("num_local_experts hidden_size intermediate_size", "bfloat16"),
}


def _selected(inputs: dict[str, tuple[str, str]], **sizes: int) -> RawDump:
    """A dump of cutlass_fused_moe with 16 experts of 256 x 128."""
    consts = {"num_local_experts": 16, "hidden_size": 256, "intermediate_size": 128, "top_k": 2,
              "gemm1_out_size": 256, **sizes}  # fmt: skip
    return dumps.dump(CUTLASS, "flashinfer.fused_moe.core.cutlass_fused_moe", consts, inputs,
                      {"output": ("seq_len hidden_size", "bfloat16")})  # fmt: skip


def test_experts_of_a_given_routing() -> None:
    raw = _selected(SELECTED)
    plain = dumps.one(raw, calls=(dumps.call(raw, scalars={"ep_size": 1, "activation_type": 3}),))
    made = family("moe").definition("bf16", None, num_experts=16, top_k=2, hidden_size=256,
                                    intermediate_size=128)  # fmt: skip
    assert name(plain) == CUTLASS == made.name
    assert plain.definition.signature() == made.signature()
    assert plain.definition.reference == made.reference
    half = {n: (s, d.replace("bfloat16", "float16")) for n, (s, d) in SELECTED.items()}
    assert name(dumps.one(_selected(half))) == f"{CUTLASS}_f16"


@pytest.mark.parametrize("scalars", [{"ep_size": 8}, {"activation_type": 6}])
def test_calls_that_no_template_describes(scalars: dict[str, int]) -> None:
    raw = _selected(SELECTED)
    assert name(dumps.one(raw, calls=(dumps.call(raw, scalars=scalars),))) == "reference-false"


def test_quantised_and_ungated_experts_are_refused() -> None:
    weights = {n: (s, "float8_e4m3fn") for n, (s, _) in SELECTED.items() if n.startswith("fc")}
    assert name(dumps.one(_selected({**SELECTED, **weights}))) == "reference-false"
    assert name(dumps.one(_selected(SELECTED, gemm1_out_size=128))) == "reference-false"


def test_config_fills_what_is_lost() -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2,
        "hidden_size": 4096, "vocab_size": 1000, "num_attention_heads": 32, "rms_norm_eps": 1e-5,
        "num_key_value_heads": 8, "intermediate_size": 8192, "max_position_embeddings": 64,
        "rope_theta": 1e4,
    }  # fmt: skip
    spec = parse_config(config, name="m")
    assert not dumps.one(dumps.rmsnorm(4096), spec=spec).assumed
    swapped = dumps.one(dumps.paged(16, 8, heads=32), spec=spec)
    assert name(swapped) == "gqa_paged_decode_h32_kv8_d128_ps16"
