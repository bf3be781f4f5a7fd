"""Which rule judges an op, and with what tolerance."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge import rules  # noqa: E402
from kernelkit.bench.judge.compare import BadReferenceError, Verdict  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import base, family  # noqa: E402
from kernelkit.ops.base import Tolerance  # noqa: E402

PASSED = Status.PASSED


def _softmax(dtype: str = "float32") -> Definition:
    """An op type that no family knows."""
    rows = base.tensor("batch_size n", dtype)
    return Definition(
        name="softmax_n32768",
        op_type="softmax",
        axes={"batch_size": base.var(), "n": base.const(32768)},
        inputs={"x": rows},
        outputs={"output": rows},
        reference="import torch\n\ndef run(x):\n    return torch.softmax(x, dim=-1)\n",
    )


def _judge(definition: Definition, got: torch.Tensor, want: torch.Tensor, **inputs: Any) -> Verdict:
    name = next(iter(definition.outputs))
    return rules.judge(definition, {name: got}, {name: want}, inputs, rules.tolerance(definition))


def test_an_unknown_op_is_judged_by_its_dtype() -> None:
    definition = _softmax()
    x = torch.randn(4, 32768, generator=torch.Generator().manual_seed(0))
    want = torch.softmax(x, dim=-1)
    exact = torch.softmax(x.double(), dim=-1).float()
    assert _judge(definition, exact, want).status is PASSED
    for wrong in (torch.zeros_like(want), torch.full_like(want, 1 / 32768), want * 1.02, x):
        assert _judge(definition, wrong, want).status is Status.INCORRECT_NUMERICAL
    coarse = rules.tolerance(_softmax("bfloat16"))
    assert coarse.rtol > rules.tolerance(definition).rtol


def test_a_users_tolerance_widens_the_sums() -> None:
    found = Tolerance(1e-2, 5e-2, row_error=0.015, gain_error=0.01, each={"lse": Tolerance(1, 1)})
    assert rules.changed(found, {"atol": None, "rtol": None}) is found
    wider = rules.changed(found, {"rtol": 0.1})
    assert (wider.atol, wider.rtol, wider.each) == (1e-2, 0.1, {})
    assert (wider.row_error, wider.gain_error) == (pytest.approx(0.03), pytest.approx(0.02))
    stricter = rules.changed(found, {"rtol": 1e-3, "matched_ratio": 0.9})
    assert (stricter.row_error, stricter.matched_ratio) == (0.015, 0.9)
    assert rules.changed(found, {"matched_ratio": 0.9}).row_error == 0.015
    # Nothing is how many times as wide as no absolute tolerance at all.
    given = rules.changed(Tolerance(0.0, 5e-2, row_error=0.015), {"atol": 1e-3})
    assert (given.atol, given.row_error) == (1e-3, 0.015)


def test_form_comes_before_every_rule() -> None:
    definition = family("sampling").definition("top_k", 8)
    want = torch.zeros(2, dtype=torch.int64)
    probs = torch.full((2, 8), 1 / 8)
    assert _judge(definition, want.int(), want, probs=probs).status is Status.INCORRECT_DTYPE
    assert _judge(definition, want[:1], want, probs=probs).status is Status.INCORRECT_SHAPE


def test_a_draw_is_judged_by_what_may_be_drawn() -> None:
    definition = family("sampling").definition("top_k", 4)
    inputs = {"probs": torch.tensor([[0.4, 0.3, 0.2, 0.1]]), "top_k": torch.tensor([2])}
    want = torch.tensor([0])
    assert _judge(definition, torch.tensor([1]), want, **inputs).status is PASSED
    assert _judge(definition, torch.tensor([2]), want, **inputs).status is not PASSED


def test_many_draws_are_judged_by_frequency() -> None:
    probs = torch.tensor([[0.5, 0.5]])
    want = {"samples": torch.randint(0, 2, (300, 1))}
    got = {"samples": torch.zeros(300, 1, dtype=torch.int64)}
    assert rules.judge_draws(want, want, {"probs": probs}).status is PASSED
    assert rules.judge_draws(got, want, {"probs": probs}).status is not PASSED


def test_infinities_of_a_log_sum_exp() -> None:
    definition = family("gqa_paged").definition(4, 2, 64, 1, prefill=False)
    tolerance = rules.tolerance(definition)
    output = torch.randn(2, 4, 64).bfloat16()
    lse = torch.tensor([[1.0, 2.0, 3.0, 4.0], [-math.inf] * 4])
    want = {"output": output, "lse": lse}
    for value, status in ((-math.inf, PASSED), (-1e30, Status.INCORRECT_NUMERICAL)):
        got = {"output": output.clone(), "lse": lse.clamp(min=value)}
        assert rules.judge(definition, got, want, {}, tolerance).status is status
    got = {"output": output.clone(), "lse": torch.full_like(lse, -math.inf)}
    assert rules.judge(definition, got, want, {}, tolerance).status is not PASSED
    with pytest.raises(BadReferenceError):
        rules.judge(definition, got, {"output": output, "lse": lse * math.nan}, {}, tolerance)


def _experts() -> tuple[Definition, dict[str, Any]]:
    definition = family("moe").definition(
        "fp4_block", "renorm", num_experts=4, top_k=2, hidden_size=32, intermediate_size=32
    )
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 1.0, 1.0, 0.0]] * 4).bfloat16()
    return definition, {"routing_logits": logits}


def test_rows_whose_routing_is_a_tie_are_not_compared() -> None:
    definition, inputs = _experts()
    want = torch.randn(8, 32).bfloat16()
    got = want.clone()
    got[1::2] = torch.randn(4, 32).bfloat16()
    verdict = _judge(definition, got, want, **inputs)
    assert verdict.status is PASSED and "4 rows not compared" in verdict.message
    got[1] = math.nan
    assert _judge(definition, got, want, **inputs).status is not PASSED
    got[1], got[0] = 0.0, -want[0]
    assert _judge(definition, got, want, **inputs).status is not PASSED


def test_nothing_is_said_of_ties_where_there_are_none() -> None:
    definition, inputs = _experts()
    inputs["routing_logits"] = inputs["routing_logits"][::2].contiguous()
    want = torch.randn(4, 32).bfloat16()
    verdict = _judge(definition, want.clone(), want, **inputs)
    assert verdict.status is PASSED and not verdict.message


def test_inputs_that_are_all_ties_hide_nothing() -> None:
    definition, inputs = _experts()
    inputs["routing_logits"] = torch.zeros(8, 4).bfloat16()
    want = torch.randn(8, 32).bfloat16()
    assert _judge(definition, want.clone(), want, **inputs).status is PASSED
    assert _judge(definition, want.flip(0), want, **inputs).status is not PASSED


def test_an_indexers_order_and_ties_do_not_count() -> None:
    op = family("dsa_paged")
    definition = op.indexer(4, 32, 64)
    inputs = op.make_inputs(definition, {"batch_size": 2, "num_pages": 9, "max_num_pages": 2}, 1)
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    (want,) = namespace["run"](*inputs.values())
    assert _judge(definition, want.flip(1).contiguous(), want, **inputs).status is PASSED
    other = want.clone()
    other[1, 0] = (set(range(64 * 9)) - set(want[1].tolist())).pop()
    verdict = _judge(definition, other, want, **inputs)
    assert verdict.status is not PASSED and verdict.message.startswith("request 1: ")
    assert "topk_indices" in verdict.outputs
