"""rope: full rotary, a cache of real angles, positions within it, the cost by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

import oracle  # noqa: E402
from specs import LINEAR  # noqa: E402

from kernelkit.bench.judge.compare import compare  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.models.parallelism import Parallelism  # noqa: E402
from kernelkit.models.spec import RopeSpec  # noqa: E402
from kernelkit.ops import family  # noqa: E402

OP = family("rope")
AXES = {"num_tokens": 6, "num_qo_heads": 3, "num_kv_heads": 1, "max_seq_len": 50}
# Faults that a kernel may have: a piece of the reference's text, and what stands there instead.
FAULTS = {
    "turned the other way": ("first * cos - second * sin", "first * cos + second * sin"),
    "sines first": ("cos, sin = cos_sin", "sin, cos = cos_sin"),
    "positions in order": ("cos_sin_cache[positions]", "cos_sin_cache[: len(positions)]"),
    "k left as it is": ("rotate(k, cos, sin)", "k"),
    "the rest left out": ("x[..., 2 * half :]", "0 * x[..., 2 * half :]"),
}


@pytest.mark.parametrize("neox", [True, False])
@pytest.mark.parametrize(("size", "rotary"), [(8, 8), (16, 2)])
def test_rotation_keeps_lengths_and_relative_angles(size: int, rotary: int, neox: bool) -> None:
    """q(m) . k(n) depends on m - n alone: what a rotary embedding is for."""
    definition = OP.definition(size, rotary, neox=neox)
    inputs = OP.make_inputs(definition, AXES, seed=1)
    inputs["q"] = inputs["q"][:1, :1].expand(6, 3, size).contiguous()
    inputs["k"] = inputs["k"][:1].expand(6, 1, size).contiguous()
    inputs |= {name: inputs[name].float() for name in ("q", "k")}
    inputs["positions"] = torch.tensor([0, 3, 10, 13, 40, 43])
    q, k = oracle.execute(definition, inputs)
    torch.testing.assert_close(q.norm(dim=-1), inputs["q"].norm(dim=-1))
    dots = (q[:, 0] * k[:, 0].roll(1, dims=0)).sum(dim=-1)  # token 2 i + 1 with token 2 i
    torch.testing.assert_close(dots[1::2], dots[1].expand(3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(q[0], inputs["q"][0])


def test_the_cache_holds_cosines_then_sines() -> None:
    definition = OP.definition(16, 4)
    inputs = OP.make_inputs(definition, AXES, seed=1)
    cache = inputs["cos_sin_cache"]
    assert cache.shape == (50, 4) and cache.dtype == torch.float32
    for position in (0, 1, 49):
        angles = position, position * 10000**-0.5
        want = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
        assert cache[position].tolist() == pytest.approx(want, abs=1e-5)
    assert inputs["positions"].dtype == torch.int64
    assert ((inputs["positions"] >= 0) & (inputs["positions"] < 50)).all()


def test_no_tokens() -> None:
    definition = OP.definition(16, 4)
    q, k = oracle.execute(definition, OP.make_inputs(definition, AXES | {"num_tokens": 0}, seed=1))
    assert q.shape == (0, 3, 16) and k.shape == (0, 1, 16)


def test_cost_by_hand() -> None:
    """Four heads of 16 bfloat16 in and out, one cache row of 4 float32, one int64 position."""
    cost = OP.cost(OP.definition(16, 4), AXES)
    assert cost.bytes_moved == 6 * (2 * 4 * 16 * 2 + 4 * 4 + 8)
    assert cost.flops == 3 * 6 * 4 * 4


@pytest.mark.parametrize(("rotary", "count"), [(64, 1), (256, 0)])
def test_full_rotary_is_not_derived(rotary: int, count: int) -> None:
    spec = replace(LINEAR, rope=RopeSpec(256, rotary, 1e7))
    assert len(list(OP.derive(spec, Parallelism(), ()))) == count


def verdict(wrong: str, neox: bool) -> Status:
    """The evaluator's, on the outputs of a definition with the text `wrong`."""
    definition = OP.definition(16, 8, neox=neox)
    inputs = OP.make_inputs(definition, AXES, seed=1)
    faulty = definition.model_copy(update={"reference": wrong})
    outputs = (
        dict(zip(definition.outputs, oracle.execute(d, inputs), strict=True))
        for d in (faulty, definition)
    )
    return compare(*outputs, OP.tolerance(definition)).status


@pytest.mark.parametrize("neox", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
def test_tolerance_refuses(fault: str, neox: bool) -> None:
    text = OP.definition(16, 8, neox=neox).reference
    right, wrong = FAULTS[fault]
    assert right in text
    assert verdict(text.replace(right, wrong), neox) is Status.INCORRECT_NUMERICAL


@pytest.mark.parametrize("neox", [True, False])
def test_tolerance_tells_the_styles_apart(neox: bool) -> None:
    assert verdict(OP.definition(16, 8, neox=not neox).reference, neox) is (
        Status.INCORRECT_NUMERICAL
    )


def test_style_is_the_model_s() -> None:
    spec = replace(LINEAR, rope=RopeSpec(128, 64, 1e4, is_neox=False))
    (variant,) = OP.derive(spec, Parallelism(tp=2), ())
    assert variant.definition.name == "rope_with_cos_sin_cache_gptj_style_d128_rd64"
