"""The moe family's references against float64 loops over tokens and experts."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from moe_by_hand import (  # noqa: E402
    HIDDEN,
    KINDS,
    OP,
    PARTED,
    TOKENS,
    assert_close,
    expect,
    made,
    per_expert,
    routes,
    run,
    small,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("kind", "routing"), KINDS)
def test_reference_of_all_experts(kind: str, routing: str | None) -> None:
    definition = small(kind, routing)
    inputs = made(definition)
    want = expect(definition, routing, inputs)
    assert want.abs().mean() > 1e-3
    assert_close(run(definition, inputs), want)


@pytest.mark.parametrize(("kind", "routing"), PARTED)
@pytest.mark.parametrize(("local", "offset"), [(4, 0), (4, 12), (8, 5)])
def test_reference_of_a_part(kind: str, routing: str | None, local: int, offset: int) -> None:
    definition = small(kind, routing, num_local_experts=local)
    inputs = made(definition, local_expert_offset=offset)
    want = expect(definition, routing, inputs)
    assert want.abs().mean() > 1e-3
    assert_close(run(definition, inputs), want)


@pytest.mark.parametrize(("kind", "routing"), PARTED)
def test_shards_add_up(kind: str, routing: str | None) -> None:
    whole, part = small(kind, routing), small(kind, routing, num_local_experts=4)
    inputs = made(whole)
    total = torch.zeros(TOKENS, HIDDEN)
    for offset in range(0, 16, 4):
        shard = {
            name: value[offset : offset + 4] if per_expert(name) else value
            for name, value in inputs.items()
        } | {"local_expert_offset": offset}
        total += run(part, {name: shard[name] for name in part.inputs}).float()
    torch.testing.assert_close(total, run(whole, inputs).float(), atol=1e-2, rtol=2e-2)


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


def test_a_number_that_is_no_experts_contributes_nothing() -> None:
    definition = small("bf16", None)
    inputs = made(definition)
    inputs["token_selected_experts"][0] = torch.tensor([-1, 16, 1 << 30])
    inputs["token_selected_experts"][1, 1] = 16
    output = run(definition, inputs)
    assert (output[0] == 0).all() and (output[1] != 0).any()
    assert_close(output, expect(definition, None, inputs))
