"""Interfaces written out: rmsnorm, gemm, gdn, mamba_ssu, rope and sampling, without other data.

Each case is a definition and its interface as the format's users know it: axes in order (with the
value where it is constant), constraints, inputs and outputs as "name: axes dtype" ("?": optional).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from kernelkit.dataset.definition import Definition, TensorSpec
from kernelkit.ops import family


@dataclass(frozen=True)
class Interface:
    """What stands in a definition's file; `build` makes ours from the family."""

    name: str
    build: tuple[tuple[Any, ...], dict[str, Any]]
    axes: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    api: str | None = None
    stage: str | None = None


GROUPED = (
    "num_v_heads >= num_q_heads",
    "num_v_heads % num_q_heads == 0",
    "num_k_heads == num_q_heads",
)
GDN_STATE = "num_v_heads head_size head_size float32"
CASES = {
    "rmsnorm": [
        Interface(
            "fused_add_rmsnorm_h4096",
            ((4096, 1e-5), {"fused": True}),
            "batch_size hidden_size=4096",
            (
                "hidden_states: batch_size hidden_size bfloat16",
                "residual: batch_size hidden_size bfloat16",
                "weight: hidden_size bfloat16",
            ),
            ("output: batch_size hidden_size bfloat16",),
            api="flashinfer.norm.fused_add_rmsnorm",
        ),
        Interface(
            "gemma_rmsnorm_h256",
            ((256, 1e-6), {"gemma": True}),
            "batch_size hidden_size=256",
            ("hidden_states: batch_size hidden_size bfloat16", "weight: hidden_size bfloat16"),
            ("output: batch_size hidden_size bfloat16",),
            api="flashinfer.norm.gemma_rmsnorm",
        ),
    ],
    "gemm": [
        Interface(
            "gemm_n6144_k4096",
            ((6144, 4096), {}),
            "M N=6144 K=4096",
            ("A: M K float16", "B: N K float16"),
            ("C: M N float16",),
        ),
    ],
    "gdn": [
        Interface(
            "gdn_decode_qk4_v8_d128_k_last",
            ((4, 8, 128), {"stage": "decode"}),
            "batch_size seq_len=1 num_q_heads=4 num_k_heads=4 num_v_heads=8 head_size=128",
            (
                "q: batch_size seq_len num_q_heads head_size bfloat16",
                "k: batch_size seq_len num_k_heads head_size bfloat16",
                "v: batch_size seq_len num_v_heads head_size bfloat16",
                f"state: batch_size {GDN_STATE} ?",
                "A_log: num_v_heads float32",
                "a: batch_size seq_len num_v_heads bfloat16",
                "dt_bias: num_v_heads float32",
                "b: batch_size seq_len num_v_heads bfloat16",
                "scale: scalar float32",
            ),
            (
                "output: batch_size seq_len num_v_heads head_size bfloat16",
                f"new_state: batch_size {GDN_STATE}",
            ),
            GROUPED,
            "flashinfer.gdn_decode.gated_delta_rule_decode_pretranspose",
            "decode",
        ),
        Interface(
            "gdn_mtp_qk4_v8_d128_k_last",
            ((4, 8, 128), {"stage": "mtp"}),
            "batch_size seq_len num_q_heads=4 num_k_heads=4 num_v_heads=8 head_size=128 pool_size",
            (
                "q: batch_size seq_len num_q_heads head_size bfloat16",
                "k: batch_size seq_len num_k_heads head_size bfloat16",
                "v: batch_size seq_len num_v_heads head_size bfloat16",
                f"initial_state: pool_size {GDN_STATE}",
                "initial_state_indices: batch_size int32",
                "A_log: num_v_heads float32",
                "a: batch_size seq_len num_v_heads bfloat16",
                "dt_bias: num_v_heads float32",
                "b: batch_size seq_len num_v_heads bfloat16",
                "scale: scalar float32",
                f"intermediate_states_buffer: pool_size seq_len {GDN_STATE} ?",
            ),
            (
                "output: batch_size seq_len num_v_heads head_size bfloat16",
                f"final_state: pool_size {GDN_STATE}",
            ),
            (*GROUPED, "seq_len > 1"),
            "flashinfer.gdn_decode.gated_delta_rule_mtp",
            "mtp",
        ),
        Interface(
            "gdn_prefill_qk4_v8_d128_k_last",
            ((4, 8, 128), {"stage": "prefill"}),
            "total_seq_len num_seqs num_q_heads=4 num_k_heads=4 num_v_heads=8 head_size=128 "
            "len_cu_seqlens",
            (
                "q: total_seq_len num_q_heads head_size bfloat16",
                "k: total_seq_len num_k_heads head_size bfloat16",
                "v: total_seq_len num_v_heads head_size bfloat16",
                f"state: num_seqs {GDN_STATE} ?",
                "A_log: num_v_heads float32",
                "a: total_seq_len num_v_heads bfloat16",
                "dt_bias: num_v_heads float32",
                "b: total_seq_len num_v_heads bfloat16",
                "cu_seqlens: len_cu_seqlens int64",
                "scale: scalar float32",
            ),
            (
                "output: total_seq_len num_v_heads head_size bfloat16",
                f"new_state: num_seqs {GDN_STATE}",
            ),
            ("len_cu_seqlens == num_seqs + 1", "total_seq_len == cu_seqlens[-1].item()"),
            "flashinfer.gdn_prefill.chunk_gated_delta_rule",
            "prefill",
        ),
    ],
    "mamba_ssu": [
        Interface(
            "mamba_ssu_decode_h64_d64_s128_ng4",
            ((64, 64, 128, 4), {}),
            "batch_size state_cache_size nheads=64 head_dim=64 dstate=128 ngroups=4",
            (
                "state: state_cache_size nheads head_dim dstate bfloat16",
                "x: batch_size nheads head_dim bfloat16",
                "dt: batch_size nheads head_dim bfloat16",
                "A: nheads head_dim dstate float32",
                "B: batch_size ngroups dstate bfloat16",
                "C: batch_size ngroups dstate bfloat16",
                "D: nheads head_dim bfloat16",
                "dt_bias: nheads head_dim bfloat16",
                "state_batch_indices: batch_size int32",
            ),
            (
                "output: batch_size nheads head_dim bfloat16",
                "new_state: state_cache_size nheads head_dim dstate bfloat16",
            ),
            ("nheads % ngroups == 0", "state_cache_size >= batch_size"),
            "flashinfer.mamba.selective_state_update",
            "decode",
        ),
    ],
    "rope": [
        Interface(
            name,
            ((128, 64), {"neox": neox}),
            "num_tokens num_qo_heads num_kv_heads head_size=128 rotary_dim=64 max_seq_len",
            (
                "q: num_tokens num_qo_heads head_size bfloat16",
                "k: num_tokens num_kv_heads head_size bfloat16",
                "cos_sin_cache: max_seq_len rotary_dim float32",
                "positions: num_tokens int64",
            ),
            (
                "q_out: num_tokens num_qo_heads head_size bfloat16",
                "k_out: num_tokens num_kv_heads head_size bfloat16",
            ),
            api="flashinfer.rope.apply_rope_with_cos_sin_cache_inplace",
        )
        for neox, name in (
            (True, "rope_with_cos_sin_cache_neox_style_d128_rd64"),
            (False, "rope_with_cos_sin_cache_gptj_style_d128_rd64"),
        )
    ],
    "sampling": [
        Interface(
            f"{kind}_sampling_from_probs_v151936",
            ((kind, 151936), {}),
            "batch_size vocab_size=151936",
            ("probs: batch_size vocab_size float32", *filters),
            ("samples: batch_size int64",),
            api=f"flashinfer.sampling.{kind}_sampling_from_probs",
        )
        for kind, filters in (
            ("top_k", ("top_k: batch_size int32",)),
            ("top_p", ("top_p: batch_size float32",)),
            ("top_k_top_p", ("top_k: batch_size int32", "top_p: batch_size float32")),
        )
    ],
}
FLAT = [(op_type, case) for op_type, cases in CASES.items() for case in cases]


def build(op_type: str, case: Interface) -> Definition:
    """Ours."""
    op: Any = family(op_type)
    arguments, options = case.build
    return op.definition(*arguments, **options)


def line(name: str, spec: TensorSpec) -> str:
    """A tensor as the cases have it."""
    axes = "scalar" if spec.shape is None else " ".join(spec.shape)
    return f"{name}: {axes} {spec.dtype.value}{' ?' if spec.optional else ''}"


@pytest.mark.parametrize(("op_type", "case"), FLAT, ids=[case.name for _, case in FLAT])
def test_interface(op_type: str, case: Interface) -> None:
    definition = build(op_type, case)
    constants = definition.const_axes
    axes = [f"{axis}={constants[axis]}" if axis in constants else axis for axis in definition.axes]
    assert (definition.name, definition.op_type) == (case.name, op_type)
    assert axes == case.axes.split()
    assert tuple(definition.constraints) == case.constraints
    assert tuple(line(*item) for item in definition.inputs.items()) == case.inputs
    assert tuple(line(*item) for item in definition.outputs.items()) == case.outputs


@pytest.mark.parametrize(("op_type", "case"), FLAT, ids=[case.name for _, case in FLAT])
def test_tags(op_type: str, case: Interface) -> None:
    """The API and the stage; no status, which a derivation cannot know."""
    tags = build(op_type, case).tags
    kinds = {tag.split(":")[0]: tag.split(":")[1] for tag in tags if ":" in tag}
    assert kinds.get("fi_api") == case.api
    assert kinds.get("stage") == case.stage
    assert kinds.get("layout") == ("k-last" if op_type == "gdn" else None)
    assert "status" not in kinds and len(tags) == len(set(tags))


@pytest.mark.parametrize(("op_type", "case"), FLAT, ids=[case.name for _, case in FLAT])
def test_inputs_have_the_interface(op_type: str, case: Interface) -> None:
    """Shape, dtype and order; the same from the same seed, others from another."""
    torch = pytest.importorskip("torch")
    op, definition = family(op_type), build(op_type, case)
    axes = op.small_axes(definition)
    one, two, other = (op.make_inputs(definition, axes, seed=seed) for seed in (1, 1, 2))
    assert list(one) == list(definition.inputs)
    for name, spec in definition.inputs.items():
        if spec.shape is None:
            assert one[name] == two[name] and isinstance(one[name], float)
            continue
        assert one[name].shape == definition.shape_of(name, axes)
        assert str(one[name].dtype) == f"torch.{spec.dtype.value}"
        assert torch.equal(one[name], two[name])
        assert one[name].isfinite().all()
    first = next(iter(one))
    assert not torch.equal(one[first], other[first])
