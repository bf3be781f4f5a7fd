"""Many calls judged at once: outputs of every form, and what the verdict tells of all of them."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lots import ALL, BAD, CALLS, DECODE, NONE, NORM, WIDTH, judged, want_of  # noqa: E402

from kernelkit.bench.judge import rules  # noqa: E402
from kernelkit.bench.judge.lot import Judge, Lot, some  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import dsa_paged, sampling  # noqa: E402
from kernelkit.ops.base import Tolerance, generator  # noqa: E402


def test_integers_must_be_equal() -> None:
    want = {"output": torch.randint(0, 9, (CALLS, 40), generator=generator(1, "i"))}
    got = {"output": want["output"].clone()}
    assert judged(got, want).verdict.status is Status.PASSED
    got["output"][BAD, 3] += 1
    assert judged(got, want).refused == BAD


def test_empty_outputs_pass() -> None:
    nothing = {"output": torch.zeros(CALLS, 0, WIDTH).bfloat16()}
    assert judged(nothing, nothing).verdict.status is Status.PASSED


def test_another_form_than_the_references_is_refused() -> None:
    want = want_of()
    found = judged({"output": want["output"].float()}, want)
    assert found.verdict.status is Status.INCORRECT_DTYPE


def test_draws_are_judged_by_what_may_be_drawn() -> None:
    definition = sampling.FAMILY.definition("top_p", 32)
    inputs = sampling.FAMILY.make_inputs(definition, {"batch_size": 4}, 1)
    tokens = inputs["probs"].argmax(-1)
    name = next(iter(definition.outputs))
    want = {name: tokens.repeat(3, 1)}
    judge = Judge(definition, rules.tolerance(definition))
    lot = Lot({name: want[name].clone()}, want, lambda number: inputs, [0, 1, 2], [])
    assert judge.judge(lot, NONE).verdict.status is Status.PASSED
    lot.got[name][1, 2] = 32
    assert judge.judge(lot, NONE).refused == 1


def test_what_was_asked_besides_comes_with_it() -> None:
    want = want_of()
    judge = Judge(NORM, rules.tolerance(NORM))
    lot = Lot(want, want, lambda number: {}, ALL, [])
    assert judge.judge(lot, torch.tensor([True, False])).besides == [1.0, 0.0]


def test_an_output_without_elements_is_far_from_nothing() -> None:
    want = {"output": torch.zeros(CALLS, 0, WIDTH).bfloat16()}
    assert judged(want, want, full=[], distance=ALL).verdict.status is Status.PASSED
    one = {"output": torch.ones(CALLS, 1)}
    other = {"output": torch.full((CALLS, 1), 3.0)}
    assert judged(other, one, full=[], distance=ALL).refused == 0


@pytest.mark.parametrize("change", ["another output", "one of another type", "another shape"])
def test_every_part_of_the_form_counts(change: str) -> None:
    want = want_of(DECODE)
    got = {name: value.clone() for name, value in want.items()}
    if change == "another output":
        got["extra"] = got["lse"]
    elif change == "one of another type":
        got["lse"] = got["lse"].double()
    else:
        got["lse"] = got["lse"].flatten(1)
    found = judged(got, want, DECODE)
    expected = "INCORRECT_DTYPE" if change == "one of another type" else "INCORRECT_SHAPE"
    assert (found.verdict.status.value, found.refused) == (expected, 0)


def test_the_worst_of_all_outputs_is_reported() -> None:
    want = {"a": torch.ones(CALLS, 32) * 4, "b": torch.arange(CALLS * 4).view(CALLS, 4)}
    got = {name: value.clone() for name, value in want.items()}
    got["a"][2, 3], got["b"][5, 1] = 4.125, 20
    lenient = Tolerance(1e-2, 1e-2, matched_ratio=0.7, of_rms=None)
    found = Judge(NORM, lenient).judge(Lot(got, want, lambda n: {}, ALL, []), NONE)
    assert found.verdict.status is Status.PASSED and found.refused is None
    assert (found.verdict.max_abs, found.verdict.matched_ratio) == (1.0, 0.75)
    assert found.verdict.max_rel == pytest.approx(1 / 21)
    assert found.verdict.outputs["a"].max_abs == 0.125


def test_a_large_call_is_judged_by_itself() -> None:
    """Its row is cut, and has a rest."""
    want = {"output": torch.ones(2, (1 << 17) + 5)}
    got = {"output": want["output"].clone()}
    judge = Judge(NORM, Tolerance(1e-3, 1e-3))
    lot = Lot(got, want, lambda number: {}, [0, 1], [])
    assert judge.judge(lot, NONE).verdict.status is Status.PASSED
    got["output"][1, -1] = 2.0
    assert judge.judge(lot, NONE).refused == 1


def test_draws_have_no_errors() -> None:
    definition = sampling.FAMILY.definition("top_p", 32)
    inputs = sampling.FAMILY.make_inputs(definition, {"batch_size": 4}, 1)
    want = {name: inputs["probs"].argmax(-1).repeat(3, 1) for name in definition.outputs}
    judge = Judge(definition, rules.tolerance(definition))
    assert judge.judge(Lot(want, want, lambda n: inputs, [0, 1, 2], []), NONE).verdict.outputs == {}


def test_an_indexers_calls_are_judged_by_their_scores() -> None:
    """One index of 64 that is no slot is within the share that may differ, and still refused."""
    op = dsa_paged.FAMILY
    definition = op.indexer(4, 32, 64)
    inputs = op.make_inputs(definition, {"batch_size": 2, "num_pages": 9, "max_num_pages": 2}, 1)
    namespace: dict[str, Any] = {}
    exec(definition.reference, namespace)
    (indices,) = namespace["run"](*inputs.values())
    want = {"topk_indices": torch.stack([indices, indices])}
    got = {"topk_indices": want["topk_indices"].flip(2).contiguous()}
    judge = Judge(definition, rules.tolerance(definition))
    lot = Lot(got, want, lambda number: inputs, [0, 1], [])
    assert judge.judge(lot, NONE).refused is None
    got["topk_indices"][1] = want["topk_indices"][1]
    got["topk_indices"][1, 0, 0] = 64 * 9 - 1 if 64 * 9 - 1 not in indices[0].tolist() else 0
    assert judge.judge(lot, NONE).refused == 1


def test_some_of_the_calls() -> None:
    stacked = torch.arange(6.0).view(3, 2)
    assert some(stacked, [0, 1, 2]) is stacked
    assert some(stacked, [2, 0]).tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert some(stacked, []).shape == (0, 2)
