"""gdn and mamba_ssu: references against textbook recurrences, head by head in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import HYBRID, LINEAR  # noqa: E402

from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import MambaSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402


def delta_rule(
    state: torch.Tensor, rows: list[tuple[torch.Tensor, ...]], scale: float
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Outputs and last state of one head: rows of (q, k, v, A_log, a, dt_bias, b); state [V, K]."""
    outputs = []
    for q, k, v, a_log, a, dt_bias, b in rows:
        step = math.log1p(math.exp(float(a) + float(dt_bias)))
        state = state * math.exp(-math.exp(float(a_log)) * step)
        beta = 1 / (1 + math.exp(-float(b)))
        state = state + torch.outer(beta * (v - state @ k), k)
        outputs.append(scale * (state @ q))
    return outputs, state


def head_rows(inputs: dict[str, Any], index: list[Any], h: int, group: int) -> list[Any]:
    """The rows of value head h at the token positions `index`, in float64."""
    rows = []
    for at in index:
        q, k, v = (inputs[n][at][h // group if n != "v" else h].double() for n in "qkv")
        gates = (inputs["A_log"][h], inputs["a"][at][h], inputs["dt_bias"][h], inputs["b"][at][h])
        rows.append((q, k, v, *gates))
    return rows


@pytest.mark.parametrize(("qk", "v"), [(2, 2), (2, 4), (1, 5)])
@pytest.mark.parametrize("stage", ["decode", "mtp"])
def test_gdn_steps(stage: str, qk: int, v: int) -> None:
    op = family("gdn")
    definition = op.definition(qk, v, 16, stage=stage)
    axes = {"batch_size": 3, "seq_len": 4, "pool_size": 6}
    inputs = op.make_inputs(definition, {a: axes[a] for a in definition.var_axes}, seed=1)
    got, states = oracle.execute(definition, inputs)
    pool = inputs["state"] if stage == "decode" else inputs["initial_state"]
    steps = 1 if stage == "decode" else 4
    for request in range(3):
        slot = request if stage == "decode" else int(inputs["initial_state_indices"][request])
        for h in range(v):
            rows = head_rows(inputs, [(request, t) for t in range(steps)], h, v // qk)
            want, last = delta_rule(pool[slot, h].double(), rows, inputs["scale"])
            for t in range(steps):
                torch.testing.assert_close(
                    got[request, t, h].double(), want[t], atol=2e-3, rtol=8e-3
                )
            if stage == "decode":
                torch.testing.assert_close(states[request, h].double(), last, atol=1e-5, rtol=1e-4)
    if stage == "mtp":  # the pool is not updated
        assert torch.equal(states, pool)


def test_gdn_prefill_with_empty_and_single_token_sequences() -> None:
    op = family("gdn")
    definition = op.definition(2, 4, 16, stage="prefill")
    axes = {"total_seq_len": 12, "num_seqs": 5, "len_cu_seqlens": 6}
    inputs = op.make_inputs(definition, axes, seed=2)
    inputs["cu_seqlens"] = torch.tensor([0, 0, 1, 8, 8, 12])
    got, states = oracle.execute(definition, inputs)
    for s in range(5):
        index = list(range(int(inputs["cu_seqlens"][s]), int(inputs["cu_seqlens"][s + 1])))
        for h in range(4):
            rows = head_rows(inputs, index, h, 2)
            want, last = delta_rule(inputs["state"][s, h].double(), rows, inputs["scale"])
            torch.testing.assert_close(states[s, h].double(), last, atol=1e-5, rtol=1e-4)
            for at, row in zip(index, want, strict=True):
                torch.testing.assert_close(got[at, h].double(), row, atol=2e-3, rtol=8e-3)


@pytest.mark.parametrize("stage", ["decode", "prefill"])
@pytest.mark.parametrize("scale", [0.0, None])
def test_gdn_defaults(stage: str, scale: float | None) -> None:
    """No state is a state of zeros; no scale is 1/sqrt(K)."""
    op = family("gdn")
    definition = op.definition(1, 2, 16, stage=stage)
    inputs = op.make_inputs(definition, op.small_axes(definition), seed=3)
    absent = oracle.execute(definition, inputs | {"state": None, "scale": scale})
    present = oracle.execute(
        definition, inputs | {"state": torch.zeros_like(inputs["state"]), "scale": 0.25}
    )
    for one, other in zip(absent, present, strict=True):
        torch.testing.assert_close(one, other)


def test_prefill_of_one_token_is_decode() -> None:
    op = family("gdn")
    decode, prefill = (op.definition(2, 4, 16, stage=stage) for stage in ("decode", "prefill"))
    inputs = op.make_inputs(decode, {"batch_size": 3}, seed=4)
    flat = {n: x[:, 0] if n in ("q", "k", "v", "a", "b") else x for n, x in inputs.items()}
    order = [n for n in prefill.inputs]
    flat["cu_seqlens"] = torch.arange(4)
    one, two = oracle.execute(decode, inputs), oracle.execute(prefill, {n: flat[n] for n in order})
    torch.testing.assert_close(one[0][:, 0], two[0])
    torch.testing.assert_close(one[1], two[1])


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2), (5, 1)])
@pytest.mark.parametrize("state_dtype", ["bfloat16", "float32"])
def test_mamba_step(heads: int, groups: int, state_dtype: str) -> None:
    op = family("mamba_ssu")
    definition = op.definition(heads, 8, 16, groups, state_dtype=state_dtype)
    inputs = op.make_inputs(definition, {"batch_size": 4, "state_cache_size": 7}, seed=1)
    inputs["state_batch_indices"] = torch.tensor([6, -1, 0, 3], dtype=torch.int32)
    got, pool = oracle.execute(definition, inputs)
    d = {n: x.double() for n, x in inputs.items()}
    assert (got[1] == 0).all()
    for request, slot in ((0, 6), (2, 0), (3, 3)):
        for h in range(heads):
            g = h // (heads // groups)
            for p in range(8):
                step = math.log1p(math.exp(d["dt"][request, h, p] + d["dt_bias"][h, p]))
                row = d["state"][slot, h, p] * torch.exp(d["A"][h, p] * step)
                row = row + step * d["x"][request, h, p] * d["B"][request, g]
                y = row @ d["C"][request, g] + d["x"][request, h, p] * d["D"][h, p]
                assert float(got[request, h, p]) == pytest.approx(float(y), abs=6e-3, rel=8e-3)
                torch.testing.assert_close(pool[slot, h, p].double(), row, atol=2e-2, rtol=8e-3)
    for slot in (1, 2, 4, 5):
        assert torch.equal(pool[slot], inputs["state"][slot])


def test_costs_by_hand() -> None:
    op = family("mamba_ssu")
    definition = op.definition(2, 3, 5, 1)
    cost = op.cost(definition, {"batch_size": 4, "state_cache_size": 100})
    rows, groups = 4 * 2 * 3 * 2, 4 * 5 * 2
    tied = 2 * 4 + (4 * 2 + 2 + 2) * 2  # A, then dt, D and dt_bias: one value a head
    moved = 2 * rows + 2 * groups + tied
    state = 4 * 2 * 3 * 5
    assert cost.bytes_moved == moved + 4 * 4 + 4 * state
    assert cost.flops == 7 * state
    decode = family("gdn").definition(1, 2, 4, stage="decode")
    assert family("gdn").cost(decode, {"batch_size": 3}).flops == 7 * 3 * 2 * 16


def test_heads_are_divided_and_groups_replicated() -> None:
    names = [v.definition.name for v in family("gdn").derive(LINEAR, Parallelism(tp=4), ())]
    assert names == [f"gdn_{stage}_qk4_v8_d128_k_last" for stage in ("decode", "mtp", "prefill")]
    (variant,) = family("mamba_ssu").derive(HYBRID, Parallelism(tp=16), ())
    assert variant.definition.name == "mamba_ssu_decode_h8_d64_s128_ng1"
    assert variant.fallback_name == "mamba_ssu_decode_h8_d64_s128_ng1_sbf16"


def test_a_float32_state_is_another_variant() -> None:
    from dataclasses import replace

    spec = replace(HYBRID, mamba=MambaSpec(128, 64, 128, 8, 4, state_dtype="float32"))
    (variant,) = family("mamba_ssu").derive(spec, Parallelism(), ())
    assert variant.definition.inputs["state"].dtype == "float32"
    assert variant.definition.outputs["new_state"].dtype == "float32"
    assert variant.fallback_name == "mamba_ssu_decode_h128_d64_s128_ng8_sf32"
