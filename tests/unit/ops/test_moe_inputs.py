"""The moe family's inputs, its tolerance and its costs."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from moe_by_hand import (  # noqa: E402
    HIDDEN,
    INNER,
    KINDS,
    OP,
    PARTED,
    TOKENS,
    made,
    per_expert,
    routes,
    run,
    scaled,
    small,
)

from kernelkit.dataset.definition import Definition  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_inputs(kind: str, routing: str | None) -> None:
    definition = small(kind, routing, num_local_experts=8 if (kind, routing) in PARTED else 16)
    inputs, again, other = made(definition, 3), made(definition, 3), made(definition, 4)
    for name, value in inputs.items():
        shape = definition.shape_of(name, {"seq_len": TOKENS})
        if shape is None:
            assert value == again[name] == {"local_expert_offset": 0}.get(name, 2.5)
            continue
        assert tuple(value.shape) == shape
        assert value.dtype == getattr(torch, definition.inputs[name].dtype.value)
        assert torch.equal(_bytes(value), _bytes(again[name]))
        assert not torch.equal(_bytes(value), _bytes(other[name]))
        assert value.float().isfinite().all()
    output = run(definition, inputs).float()
    assert 0.02 < output.std() < 2  # plausible activations


def _bytes(value: torch.Tensor) -> torch.Tensor:
    return value.contiguous().view(torch.uint8)


def test_quantised_weights_have_the_variance_of_a_layer() -> None:
    inputs = made(small("fp8_block", "renorm"))
    for name, fan_in in (("gemm1_weights", HIDDEN), ("gemm2_weights", INNER)):
        weights = torch.stack(list(map(scaled, inputs[name], inputs[f"{name}_scale"])))
        assert (weights.std() * fan_in**0.5).item() == pytest.approx(1.0, rel=0.1)
    x = inputs["hidden_states"].float() * inputs["hidden_states_scale"].T.repeat_interleave(128, 1)
    assert x.std().item() == pytest.approx(1.0, rel=0.1)
    assert inputs["hidden_states"].float().unflatten(1, (-1, 128)).abs().amax(2).min() == 448


def test_fp4_weights_are_mxfp4_numbers() -> None:
    """Each is one of float4's values times the power of two of its block of 32."""
    weights = made(small("fp4_block", "renorm"))["gemm1_weights"]
    assert (weights.std() * HIDDEN**0.5).item() == pytest.approx(1.0, rel=0.4)
    blocks = weights.unflatten(2, (-1, 32)).abs()
    grid = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    largest = torch.floor(torch.log2(blocks.amax(-1, keepdim=True)))
    on_grid = [torch.isin(blocks / torch.exp2(largest - k), grid).all(-1) for k in range(3)]
    assert torch.stack(on_grid).any(0).all()


def test_routed_ids_are_distinct_and_weights_sum_to_one() -> None:
    definition = small("fp4_routed", None)
    for weights in routes(definition, None, made(definition)):
        assert len(weights) == 3 and all(0 <= e < 16 for e in weights)
        assert sum(weights.values()) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_tolerance_tells_rounding_from_mistakes(kind: str, routing: str | None) -> None:
    """Kernels store what enters the second GEMM as float8, or in bfloat16; that passes, real
    errors do not."""
    definition = small(kind, routing)
    inputs = OP.make_inputs(definition, {"seq_len": 32}, seed=0)
    want = run(definition, inputs).float()
    assert _matches(definition, _rounding(definition, inputs), want)
    first = "fc1_expert_weights" if kind == "bf16" else "gemm1_weights"
    swapped = inputs | {first: _swapped(inputs[first])}
    for wrong in (torch.zeros_like(want), run(definition, swapped).float(), want * 1.5):
        assert not _matches(definition, wrong, want)


class RoundingTorch:
    """torch, but every second matmul (a reference's second GEMM) rounds its input to float8, or
    both products' to bfloat16."""

    def __init__(self, *, coarse: bool) -> None:
        self.calls, self.coarse = 0, coarse

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)

    def matmul(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left @ right, left with a scale for 128 columns at the second call."""
        self.calls += 1
        if not self.coarse:
            return (left.bfloat16().float() @ right).bfloat16().float()
        if self.calls % 2 == 0:
            blocks = left.unflatten(1, (-1, 128))
            scale = blocks.abs().amax(2, keepdim=True).clamp(min=1e-9) / 448
            left = ((blocks / scale).to(torch.float8_e4m3fn).float() * scale).flatten(1)
        return left @ right


def _rounding(definition: Definition, inputs: dict[str, Any]) -> torch.Tensor:
    names: dict[str, Any] = {}
    exec(definition.reference, names)
    names["torch"] = RoundingTorch(coarse="gemm1_weights" in inputs)
    output = names["run"](*inputs.values()).float()
    assert names["torch"].calls >= 2
    return output


def _swapped(weights: torch.Tensor) -> torch.Tensor:
    """up and gate in the wrong order."""
    return torch.cat([weights[:, INNER:], weights[:, :INNER]], dim=1)


def _matches(definition: Definition, got: torch.Tensor, want: torch.Tensor) -> bool:
    tolerance = OP.tolerance(definition)
    close = torch.isclose(got, want, atol=tolerance.atol, rtol=tolerance.rtol)
    return bool(close.float().mean() >= tolerance.matched_ratio)


def test_cost_by_hand() -> None:
    definition = small("fp4_block", "renorm", num_experts=4, top_k=2, num_local_experts=2)
    expert = 4 * 3 * HIDDEN * INNER  # float32 weights
    fixed = 2 * 4 * 2 + 2 * (2 * HIDDEN * 2)  # bfloat16 logits, input and output of two tokens
    expected = OP.cost(definition, {"seq_len": 2})
    assert expected.flops == 2 * 6 * HIDDEN * INNER  # half of four pairs is local
    assert expected.bytes_moved == fixed + 2 * (1 - 0.25) * expert
    logits = torch.tensor([[3.0, 0, 2, 0], [0, 0, 3, 2]])  # experts 0 and 2; 2 and 3
    inputs = OP.make_inputs(definition, {"seq_len": 2}, 0, given={"routing_logits": logits})
    actual = OP.cost(definition, {"seq_len": 2}, inputs)
    assert (actual.flops, actual.bytes_moved) == (6 * HIDDEN * INNER, fixed + expert)
    second = OP.cost(definition, {"seq_len": 2}, inputs | {"local_expert_offset": 2})
    assert (second.flops, second.bytes_moved) == (18 * HIDDEN * INNER, fixed + 2 * expert)


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_cost_counts_the_experts_that_the_reference_uses(kind: str, routing: str | None) -> None:
    parted = (kind, routing) in PARTED
    definition = small(kind, routing, num_local_experts=8 if parted else 16)
    inputs = made(definition, **({"local_expert_offset": 4} if parted else {}))
    local = [
        [e for e in row if not parted or 4 <= e < 12] for row in routes(definition, routing, inputs)
    ]
    cost = OP.cost(definition, {"seq_len": TOKENS}, inputs)
    assert cost.flops == 6 * HIDDEN * INNER * sum(map(len, local))
    idle = OP.cost(definition, {"seq_len": 0}).bytes_moved
    used = len({e for row in local for e in row})
    expert = sum(inputs[n][0].nbytes for n in inputs if per_expert(n))
    moving = sum(v.nbytes for n, v in inputs.items() if n in MOVING) + TOKENS * HIDDEN * 2
    assert cost.bytes_moved == idle + moving + used * expert


MOVING = (
    "routing_logits", "topk_ids", "hidden_states", "hidden_states_scale", "input",
    "token_selected_experts", "token_final_scales",
)  # fmt: skip
