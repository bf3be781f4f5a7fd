"""mamba_ssu: what FlashInfer's kernel demands of inputs, slots, padding in the cost, extremes."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import HYBRID  # noqa: E402

from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.errors import UsageError  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import MambaSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402

OP = family("mamba_ssu")
AXES = {"batch_size": 3, "state_cache_size": 5}
# Faults that a kernel may have: a piece of the reference's text, and what stands there instead.
FAULTS = {
    "softplus left out": ("torch.nn.functional.softplus(", "("),
    "no bias": (" + dt_bias.to(torch.float32)", ""),
    "no skip": (" + x32 * D.to(torch.float32)", ""),
    "heads paired in another order": (
        "repeat_interleave(heads // groups, dim=1)",
        "repeat(1, heads // groups, 1)",
    ),
    "no decay": ("torch.exp(A.to(torch.float32) * step[..., None])", "1.0"),
    "output before the update": ("y = (new *", "y = (old *"),
    "x without its step": ("(step * x32)", "x32"),
    "B and C exchanged": ("for t in (B, C)", "for t in (C, B)"),
    "state not written": ("new_state[slots[used]] = new[used].to(state.dtype)", "pass"),
    "state written by row": ("new_state[slots[used]]", "new_state[: len(slots)]"),
}


@pytest.mark.parametrize("seed", [0, 1])
def test_steps_decay_and_skip_have_one_value_a_head(seed: int) -> None:
    """FlashInfer reads A, dt, D and dt_bias at the first element of a head only."""
    definition = OP.definition(4, 8, 16, 2)
    inputs = OP.make_inputs(definition, AXES, seed=seed)
    for name in ("dt", "D", "dt_bias"):
        assert torch.equal(inputs[name], inputs[name][..., :1].expand_as(inputs[name]))
    assert torch.equal(inputs["A"], inputs["A"][:, :1, :1].expand_as(inputs["A"]))
    assert ((inputs["A"] <= -1) & (inputs["A"] >= -16)).all()
    assert len(inputs["A"].unique()) == 4 and len(inputs["dt"].unique()) > 4
    for name, spec in definition.inputs.items():
        assert inputs[name].shape == definition.shape_of(name, AXES)
        assert inputs[name].is_contiguous()
        assert str(inputs[name].dtype) == f"torch.{spec.dtype.value}"


def test_the_same_seed_gives_the_same_inputs() -> None:
    definition = OP.definition(4, 8, 16, 2)
    one, two, other = (OP.make_inputs(definition, AXES, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["dt"], other["dt"])


def test_slots_are_distinct() -> None:
    definition = OP.definition(4, 8, 16, 2)
    for batch in (0, 1, 5):
        axes = {"batch_size": batch, "state_cache_size": 5}
        slots = OP.make_inputs(definition, axes, seed=1)["state_batch_indices"]
        assert slots.shape == (batch,) and len(slots.unique()) == batch
        assert ((slots >= 0) & (slots < 5)).all()


def test_too_few_slots_are_refused() -> None:
    definition = OP.definition(4, 8, 16, 2)
    with pytest.raises(UsageError, match="fewer slots than requests"):
        OP.make_inputs(definition, {"batch_size": 4, "state_cache_size": 3}, seed=1)


def test_a_state_of_another_type_is_refused() -> None:
    with pytest.raises(UsageError, match="float16"):
        OP.definition(4, 8, 16, 2, state_dtype="float16")


@pytest.mark.parametrize("step", [-1e4, 1e4])
def test_extreme_steps_stay_finite(step: float) -> None:
    """A huge step forgets the state, a tiny one keeps it."""
    definition = OP.definition(4, 8, 16, 2, state_dtype="float32")
    inputs = OP.make_inputs(definition, AXES, seed=1)
    inputs["dt"] = torch.full_like(inputs["dt"], step)
    output, pool = oracle.execute(definition, inputs)
    assert output.isfinite().all() and pool.isfinite().all()
    if step < 0:
        assert torch.equal(pool, inputs["state"])
    else:
        inputs["state"].zero_()
        torch.testing.assert_close(oracle.execute(definition, inputs)[0], output)


def test_padding_moves_no_state() -> None:
    definition = OP.definition(2, 3, 5, 1)
    full = OP.cost(definition, AXES)
    slots = torch.tensor([4, -1, -1], dtype=torch.int32)
    padded = OP.cost(definition, AXES, {"state_batch_indices": slots})
    state = 2 * 3 * 5
    assert full.bytes_moved - padded.bytes_moved == 2 * 2 * state * 2  # two, in and out, bfloat16
    assert (full.flops, padded.flops) == (7 * 3 * state, 7 * state)


@pytest.mark.parametrize("state_dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("fault", FAULTS)
def test_tolerance_refuses(fault: str, state_dtype: str) -> None:
    definition = OP.definition(8, 16, 32, 2, state_dtype=state_dtype)
    inputs = OP.make_inputs(definition, {"batch_size": 4, "state_cache_size": 7}, seed=1)
    right, wrong = FAULTS[fault]
    assert right in definition.reference
    text = definition.reference.replace(right, wrong)
    faulty = definition.model_copy(update={"reference": text})
    outputs = (
        dict(zip(definition.outputs, oracle.execute(d, inputs), strict=True))
        for d in (faulty, definition)
    )
    verdict = compare(*outputs, OP.tolerance(definition)).status
    assert verdict is Status.INCORRECT_NUMERICAL


@pytest.mark.parametrize(
    ("heads", "groups", "tp", "name"),
    [
        (128, 8, 1, "h128_d64_s128_ng8"),
        (128, 8, 2, "h64_d64_s128_ng4"),
        (128, 8, 8, "h16_d64_s128_ng1"),
        (128, 8, 32, "h4_d64_s128_ng1"),  # replicated
        (96, 1, 4, "h24_d64_s128_ng1"),
    ],
)
def test_heads_and_groups_of_a_rank(heads: int, groups: int, tp: int, name: str) -> None:
    spec = replace(HYBRID, mamba=MambaSpec(heads, 64, 128, groups, 4))
    (variant,) = OP.derive(spec, Parallelism(tp=tp), ())
    assert variant.definition.name == f"mamba_ssu_decode_{name}"


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match="tp=3"):
        list(OP.derive(HYBRID, Parallelism(tp=3), ()))


def test_groups_that_cannot_be_replicated_are_named_as_groups() -> None:
    spec = replace(HYBRID, mamba=MambaSpec(96, 64, 128, 2, 4))
    with pytest.raises(UsageError, match="2 Mamba groups cannot be replicated evenly over tp=3"):
        list(OP.derive(spec, Parallelism(tp=3), ()))
