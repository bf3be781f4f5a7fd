"""The moe family: references against float64 loops over tokens and experts, inputs, cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from oracle import execute  # noqa: E402

from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.ops import family  # noqa: E402
from kernelkit.ops.moe.forms import ROUTINGS  # noqa: E402

OP: Any = family("moe")
TOKENS = 9
HIDDEN, INNER = 256, 128
KINDS = [(kind, routing) for kind, routings in ROUTINGS.items() for routing in routings]


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Products this small only lose by threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(kind: str, routing: str | None, **changes: int) -> Definition:
    """16 experts of 256 x 128; top-3 but for llama4; DeepSeek keeps 2 of 4 groups."""
    constants = {"num_experts": 16, "top_k": 1 if routing == "llama4" else 3}
    constants |= {"hidden_size": HIDDEN, "intermediate_size": INNER}
    if routing == "ds":
        constants |= {"n_group": 4, "topk_group": 2}
    return OP.definition(kind, routing, **(constants | changes))


def made(definition: Definition, seed: int = 0, **given: Any) -> dict[str, Any]:
    """Inputs for TOKENS tokens."""
    return OP.make_inputs(definition, {"seq_len": TOKENS}, seed, given=given)


def run(definition: Definition, inputs: dict[str, Any]) -> torch.Tensor:
    """The output of the definition's text: bfloat16, finite."""
    (output,) = execute(definition, inputs)
    assert output.dtype == torch.bfloat16 and output.isfinite().all()
    return output


def highest(scores: list[float], count: int) -> list[int]:
    """Positions of the `count` highest scores, the first where they tie."""
    return sorted(range(len(scores)), key=lambda e: (-scores[e], e))[:count]


def softmax(values: list[float]) -> list[float]:
    """Textbook softmax."""
    exps = [math.exp(v - max(values)) for v in values]
    return [e / sum(exps) for e in exps]


def sigmoid(x: float) -> float:
    """Textbook sigmoid that does not overflow."""
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def route(
    routing: str, top_k: int, logits: list[float], bias: list[float], factor: float
) -> dict[int, float]:
    """Expert -> weight of one token, but for DeepSeek's routing."""
    scores = [x + b for x, b in zip(logits, bias, strict=True)]
    chosen = highest(scores, top_k)
    share = softmax(scores)
    weights = {
        "renorm": softmax([scores[e] for e in chosen]),
        "default": [share[e] for e in chosen],
        "renorm_naive": [share[e] / sum(share[c] for c in chosen) for e in chosen],
        "llama4": [sigmoid(scores[e]) for e in chosen],
        "topk": [1 / top_k] * top_k,
    }[routing]
    return {e: w * factor for e, w in zip(chosen, weights, strict=True)}


def route_ds(
    top_k: int, groups: int, kept: int, logits: list[float], bias: list[float], factor: float
) -> dict[int, float]:
    """Expert -> weight of one token by DeepSeek-V3's rule."""
    scores = [sigmoid(x) for x in logits]
    biased = [s + b for s, b in zip(scores, bias, strict=True)]
    size = len(scores) // groups
    totals = [sum(sorted(biased[g * size : (g + 1) * size])[-2:]) for g in range(groups)]
    best = highest(totals, kept)
    open_to = [e for e in range(len(scores)) if e // size in best]
    chosen = [open_to[i] for i in highest([biased[e] for e in open_to], top_k)]
    total = sum(scores[e] for e in chosen) + 1e-20
    return {e: scores[e] / total * factor for e in chosen}


def routes(definition: Definition, routing: str | None, inputs: dict[str, Any]) -> list[dict]:
    """Expert -> weight of every token."""
    if routing is None:
        pairs = inputs["topk_ids"].tolist()
        return [{p >> 16: bfloat(p & 0xFFFF) for p in row} for row in pairs]
    logits, top_k = inputs["routing_logits"].double(), definition.const_axes["top_k"]
    bias = inputs.get("routing_bias", torch.zeros(logits.shape[1])).double().tolist()
    factor = inputs.get("routed_scaling_factor", 1.0)
    if routing == "ds":
        return [route_ds(top_k, 4, 2, row, bias, factor) for row in logits.tolist()]
    return [route(routing, top_k, row, bias, factor) for row in logits.tolist()]


def bfloat(bits: int) -> float:
    """The value of a bfloat16's bits."""
    sign, exponent, fraction = bits >> 15, bits >> 7 & 0xFF, bits & 0x7F
    return (-1) ** sign * 2.0 ** (exponent - 127) * (1 + fraction / 128)


def scaled(values: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Values of [R, C] times the scale of their 128 x 128 block, one element at a time."""
    rows, columns = torch.meshgrid(*(torch.arange(n) for n in values.shape), indexing="ij")
    return values.double() * scale.double()[rows // 128, columns // 128]


def expect(definition: Definition, routing: str | None, inputs: dict[str, Any]) -> torch.Tensor:
    """The sum over each token's local experts, in float64."""
    w13, w2 = inputs["gemm1_weights"].double(), inputs["gemm2_weights"].double()
    x = inputs["hidden_states"].double()
    if "hidden_states_scale" in inputs:
        x = x * inputs["hidden_states_scale"].double().T.repeat_interleave(128, 1)
        w13 = torch.stack(list(map(scaled, w13, inputs["gemm1_weights_scale"])))
        w2 = torch.stack(list(map(scaled, w2, inputs["gemm2_weights_scale"])))
    ones = torch.ones(len(w13))
    up_scale = inputs.get("output1_scales_scalar", ones).double()
    gate_scale = inputs.get("output1_scales_gate_scalar", ones).double()
    out_scale = inputs.get("output2_scales_scalar", ones).double()
    on_input = "output1_scales_scalar" in inputs and routing == "llama4"
    output = torch.zeros_like(x)
    for t, weights in enumerate(routes(definition, routing, inputs)):
        for expert, weight in weights.items():
            e = expert - inputs.get("local_expert_offset", 0)
            if not 0 <= e < len(w13):
                continue
            row = x[t] * weight if on_input else x[t]
            up = w13[e][:INNER] @ row * up_scale[e]
            gate = w13[e][INNER:] @ row * gate_scale[e]
            y = w2[e] @ (gate / (1 + torch.exp(-gate)) * up) * out_scale[e]
            output[t] += y if on_input else y * weight
    return output


def assert_close(got: torch.Tensor, want: torch.Tensor) -> None:
    """One rounding to bfloat16."""
    torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=5e-3)


@pytest.mark.parametrize(("kind", "routing"), KINDS)
@pytest.mark.parametrize(("local", "offset"), [(16, 0), (4, 0), (4, 12), (8, 5)])
def test_reference(kind: str, routing: str | None, local: int, offset: int) -> None:
    definition = small(kind, routing, num_local_experts=local)
    given = {"local_expert_offset": offset} if local < 16 else {}
    inputs = made(definition, **given)
    want = expect(definition, routing, inputs)
    assert want.abs().mean() > 1e-3
    assert_close(run(definition, inputs), want)


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_shards_add_up(kind: str, routing: str | None) -> None:
    whole, part = small(kind, routing), small(kind, routing, num_local_experts=4)
    inputs = made(whole)
    total = torch.zeros(TOKENS, HIDDEN)
    for offset in range(0, 16, 4):
        shard = {
            name: value[offset : offset + 4] if _per_expert(name) else value
            for name, value in inputs.items()
        } | {"local_expert_offset": offset}
        total += run(part, {name: shard[name] for name in part.inputs}).float()
    torch.testing.assert_close(total, run(whole, inputs).float(), atol=1e-2, rtol=2e-2)


def _per_expert(name: str) -> bool:
    return name.startswith(("gemm", "output"))


@pytest.mark.parametrize(("kind", "routing"), [k for k in KINDS if k[1] is not None])
def test_ties_take_the_lower_expert(kind: str, routing: str) -> None:
    definition = small(kind, routing)
    inputs = made(definition)
    inputs["routing_logits"] = torch.zeros_like(inputs["routing_logits"])
    inputs["routing_logits"][0, 14] = 2.0  # one clear winner, the others tie
    if "routing_bias" in inputs:
        inputs["routing_bias"] = torch.zeros_like(inputs["routing_bias"])
    chosen = list(routes(definition, routing, inputs)[1])
    assert chosen == list(range(definition.const_axes["top_k"]))
    assert_close(run(definition, inputs), expect(definition, routing, inputs))


@pytest.mark.parametrize(("kind", "routing"), [k for k in KINDS if k[1] is not None])
@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_logits_stay_finite(kind: str, routing: str, logit: float) -> None:
    definition = small(kind, routing)
    inputs = made(definition)
    inputs["routing_logits"] = inputs["routing_logits"] * abs(logit) + logit
    assert_close(run(definition, inputs), expect(definition, routing, inputs))


@pytest.mark.parametrize("bias", [8.0, -8.0])  # -8: below what any masked score may be
def test_ds_bias_selects_and_does_not_weigh(bias: float) -> None:
    definition = small("fp8_block", "ds")
    inputs = made(definition)
    plain = run(definition, inputs)
    # Equal for all experts: it can change neither the selection nor, if excluded, the weights.
    inputs["routing_bias"] = torch.full_like(inputs["routing_bias"], bias)
    zero = inputs | {"routing_bias": torch.zeros_like(inputs["routing_bias"])}
    assert torch.equal(run(definition, inputs), run(definition, zero))
    assert not torch.equal(plain, run(definition, zero))


def test_ds_groups_limit_the_choice() -> None:
    """Three experts, each best of a group of its own: only those of the two best groups count."""
    definition = small("fp8_block", "ds")
    inputs = made(definition)
    logits = torch.full((TOKENS, 16), -4.0)
    logits[:, [0, 4, 8]] = torch.tensor([3.0, 2.0, 1.0])
    logits[:, 9] = 0.5  # the third group's two together are the best group
    inputs["routing_logits"] = logits
    inputs["routing_bias"] = torch.zeros_like(inputs["routing_bias"])
    weights = routes(definition, "ds", inputs)[0]
    assert sorted(weights) == [0, 8, 9] and sum(weights.values()) == pytest.approx(2.5)
    assert_close(run(definition, inputs), expect(definition, "ds", inputs))


def test_one_expert_a_group() -> None:
    definition = small("fp8_block", "ds", n_group=16, topk_group=3)
    inputs = made(definition)
    ungrouped = small("fp8_block", "ds", n_group=1, topk_group=1)
    assert torch.equal(run(definition, inputs), run(ungrouped, inputs))


@pytest.mark.parametrize(("kind", "routing"), KINDS)
@pytest.mark.parametrize("tokens", [0, 1])
def test_few_tokens(kind: str, routing: str | None, tokens: int) -> None:
    definition = small(kind, routing)
    inputs = OP.make_inputs(definition, {"seq_len": tokens}, seed=1)
    assert run(definition, inputs).shape == (tokens, HIDDEN)
    assert_close(run(definition, inputs), expect(definition, routing, inputs))


def test_a_rank_without_tokens_gives_zeros() -> None:
    definition = small("fp8_block", "renorm", num_local_experts=4)
    inputs = made(definition, local_expert_offset=12)
    inputs["routing_logits"] = torch.arange(16).flip(0).expand(TOKENS, 16).bfloat16()
    assert (run(definition, inputs) == 0).all()


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_inputs(kind: str, routing: str | None) -> None:
    definition = small(kind, routing, num_local_experts=8)
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
    """Kernels store what enters the second GEMM as float8; that passes, real errors do not."""
    definition = small(kind, routing)
    inputs = OP.make_inputs(definition, {"seq_len": 32}, seed=0)
    want = run(definition, inputs).float()
    assert _matches(definition, _rounding(definition, inputs), want)
    swapped = inputs | {"gemm1_weights": _swapped(inputs["gemm1_weights"])}
    for wrong in (torch.zeros_like(want), run(definition, swapped).float(), want * 1.5):
        assert not _matches(definition, wrong, want)


class RoundingTorch:
    """torch, but every second matmul (a reference's second GEMM) rounds its input to float8."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> object:
        return getattr(torch, name)

    def matmul(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left @ right, left with a scale for 128 columns at the second call."""
        self.calls += 1
        if self.calls % 2 == 0:
            blocks = left.unflatten(1, (-1, 128))
            scale = blocks.abs().amax(2, keepdim=True).clamp(min=1e-9) / 448
            left = ((blocks / scale).to(torch.float8_e4m3fn).float() * scale).flatten(1)
        return left @ right


def _rounding(definition: Definition, inputs: dict[str, Any]) -> torch.Tensor:
    names: dict[str, Any] = {}
    exec(definition.reference, names)
    names["torch"] = RoundingTorch()
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
    definition = small(kind, routing, num_local_experts=8)
    inputs = made(definition, local_expert_offset=4)
    local = [[e for e in row if 4 <= e < 12] for row in routes(definition, routing, inputs)]
    cost = OP.cost(definition, {"seq_len": TOKENS}, inputs)
    assert cost.flops == 6 * HIDDEN * INNER * sum(map(len, local))
    idle = OP.cost(definition, {"seq_len": 0}).bytes_moved
    used = len({e for row in local for e in row})
    per_expert = sum(inputs[n][0].nbytes for n in inputs if _per_expert(n))
    moving = sum(v.nbytes for n, v in inputs.items() if n in MOVING) + TOKENS * HIDDEN * 2
    assert cost.bytes_moved == idle + moving + used * per_expert


MOVING = ("routing_logits", "topk_ids", "hidden_states", "hidden_states_scale")
