"""Many calls judged at once: one bad call among good ones, by whatever it is bad."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge import rules, table  # noqa: E402
from kernelkit.bench.judge.compare import BadReferenceError  # noqa: E402
from kernelkit.bench.judge.lot import Found, Judge, Lot, some  # noqa: E402
from kernelkit.bench.judge.table import FAR  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import dsa_paged, gqa_paged, rmsnorm, sampling  # noqa: E402
from kernelkit.ops.base import Tolerance, generator  # noqa: E402

CALLS, ROWS, WIDTH, BAD = 12, 16, 64, 7
NORM = rmsnorm.FAMILY.definition(WIDTH, 1e-5)
DECODE = gqa_paged.FAMILY.definition(4, 2, 16, 1, prefill=False)
ALL = list(range(CALLS))
NONE = torch.zeros(0)
Tensors = dict[str, torch.Tensor]


def _want(definition: Definition = NORM, *, empty: bool = False) -> Tensors:
    rng = generator(1, "want")
    if definition is NORM:
        return {"output": torch.randn(CALLS, ROWS, WIDTH, generator=rng).bfloat16()}
    output = torch.randn(CALLS, 8, 4, 16, generator=rng).bfloat16()
    lse = torch.randn(CALLS, 8, 4, generator=rng)
    if empty:
        output[:, 3], lse[:, 3] = 0.0, -math.inf
    return {"output": output, "lse": lse}


def _judged(
    got: Tensors, want: Tensors, definition: Definition = NORM, *, full: list[int] = ALL,
    distance: list[int] | None = None,
) -> Found:  # fmt: skip
    judge = Judge(definition, rules.tolerance(definition))
    return judge.judge(Lot(got, want, lambda number: {}, full, distance or []), NONE)


def _near(want: Tensors) -> Tensors:
    """Right within roundings."""
    rng = generator(2, "noise")
    return {
        n: (v.float() * (1 + 1e-3 * torch.randn(v.shape, generator=rng))).to(v.dtype)
        for n, v in want.items()
    }


def test_good_calls_pass_with_the_worst_error_of_all() -> None:
    want = _want()
    found = _judged(_near(want), want)
    assert found.verdict.status is Status.PASSED and found.refused is None
    each = [
        rules.judge(
            NORM, {"output": _near(want)["output"][n]}, {"output": want["output"][n]}, {},
            rules.tolerance(NORM),
        )
        for n in ALL
    ]  # fmt: skip
    assert found.verdict.max_abs == pytest.approx(max(v.max_abs for v in each))
    assert found.verdict.max_rel == pytest.approx(max(v.max_rel for v in each), rel=1e-4)
    assert found.verdict.outputs["output"].matched_ratio == 1.0


def _one_nan(values: torch.Tensor) -> None:
    values[5, 9] = math.nan


def _one_infinite(values: torch.Tensor) -> None:
    values[5, 9] = math.inf


def _one_wrong(values: torch.Tensor) -> None:
    values[0, 0] += 0.3


def _gain(values: torch.Tensor) -> None:
    values.mul_(1.02)


def _one_row(values: torch.Tensor) -> None:
    values[3] = (values[3].float() * 1.03).to(values.dtype)


def _zeros(values: torch.Tensor) -> None:
    values.zero_()


def _poison(values: torch.Tensor) -> None:
    values.fill_(6.0e4)


def _huge(values: torch.Tensor) -> None:
    values[2, 2] = 3e38


PLANTED = [_one_nan, _one_infinite, _one_wrong, _gain, _one_row, _zeros, _poison, _huge]


@pytest.mark.parametrize("plant", PLANTED)
def test_one_bad_call_among_good_ones(plant: Callable[[torch.Tensor], None]) -> None:
    want = _want()
    got = _near(want)
    plant(got["output"][BAD])
    found = _judged(got, want)
    assert found.verdict.status is Status.INCORRECT_NUMERICAL
    assert found.refused == BAD
    assert found.verdict.message


def test_a_constant_within_every_tolerance_is_seen_in_its_call() -> None:
    """Each call's own spread counts: stacked, constants of different calls are none."""
    want = {"output": torch.full((CALLS, ROWS, WIDTH), 1.0)}
    want["output"] += torch.linspace(0, 1e-3, WIDTH)
    got = {"output": want["output"].clone()}
    got["output"][BAD] = 1.0005
    found = _judged(got, want)
    assert found.refused == BAD and "constant" in found.verdict.message


def test_another_calls_result_is_refused_where_two_are_swapped() -> None:
    want = _want()
    got = {"output": want["output"].clone()}
    got["output"][[3, 4]] = got["output"][[4, 3]]
    assert _judged(got, want).refused == 3


def test_infinities_of_the_reference_are_expected_where_it_has_them() -> None:
    want = _want(DECODE, empty=True)
    judge = Judge(DECODE, rules.tolerance(DECODE))
    lot = Lot(_near(want), want, lambda number: {}, ALL, [])
    lot.got["lse"][:, 3] = -math.inf
    for _ in range(2):  # the second time it is known
        assert judge.judge(lot, NONE).verdict.status is Status.PASSED
    assert judge.odd == {"lse"}
    lot.got["lse"][BAD, 3] = math.inf
    assert judge.judge(lot, NONE).refused == BAD
    lot.got["lse"][BAD, 3] = -1e4
    assert judge.judge(lot, NONE).refused == BAD
    lot.got["lse"][BAD, 3] = -math.inf
    lot.got["lse"][BAD, 2, 1] = -math.inf
    assert judge.judge(lot, NONE).refused == BAD


def test_nothing_that_is_looked_at_is_changed() -> None:
    want = _want(DECODE, empty=True)
    got = {n: v.clone() for n, v in want.items()}
    _judged(got, want, DECODE)
    kept = _want(DECODE, empty=True)
    assert all(torch.equal(got[n], kept[n]) and torch.equal(want[n], kept[n]) for n in kept)


def test_a_nan_of_the_reference_is_its_own_fault() -> None:
    want = _want()
    want["output"][BAD, 0, 0] = math.nan
    with pytest.raises(BadReferenceError):
        _judged(_near(want), want)


def test_integers_must_be_equal() -> None:
    want = {"output": torch.randint(0, 9, (CALLS, 40), generator=generator(1, "i"))}
    got = {"output": want["output"].clone()}
    assert _judged(got, want).verdict.status is Status.PASSED
    got["output"][BAD, 3] += 1
    assert _judged(got, want).refused == BAD


def test_a_call_that_is_far_off_is_judged_though_nobody_asked_for_it() -> None:
    want = _want()
    got = _near(want)
    rest = [n for n in ALL if n not in (0, 1)]
    assert _judged(got, want, full=[0, 1], distance=rest).verdict.status is Status.PASSED
    got["output"][BAD] = got["output"][BAD - 1]
    assert _judged(got, want, full=[0, 1], distance=rest).refused == BAD
    got["output"][BAD] = want["output"][BAD] * (1 + 0.5 * FAR)  # not far: only a sample sees it
    assert _judged(got, want, full=[0, 1], distance=rest).verdict.status is Status.PASSED
    assert _judged(got, want, full=[0, BAD], distance=rest).refused == BAD


def test_empty_outputs_pass() -> None:
    nothing = {"output": torch.zeros(CALLS, 0, WIDTH).bfloat16()}
    assert _judged(nothing, nothing).verdict.status is Status.PASSED


def test_another_form_than_the_references_is_refused() -> None:
    want = _want()
    found = _judged({"output": want["output"].float()}, want)
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


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("odd", [False, True])
def test_what_passes_by_the_table_passes_in_detail(seed: int, odd: bool) -> None:
    """Errors around every limit: the table lets nothing through that the detail refuses, and
    leaves open hardly anything that it lets through."""
    rng = generator(seed, "fuzz")
    tolerance = rules.tolerance(NORM)
    powers = 10.0 ** torch.randint(-3, 3, (CALLS, ROWS, 1), generator=rng)
    want = (_want()["output"].float() * powers).bfloat16()
    size = 10.0 ** (-3.5 + 2.0 * torch.rand(CALLS, 1, 1, generator=rng))
    noise = size * torch.randn(CALLS, ROWS, WIDTH, generator=rng)
    gain = 1 + 0.01 * torch.rand(CALLS, 1, 1, generator=rng) ** 3
    got = (want.float() * (gain + noise)).bfloat16()
    rows = table.tabulate(got, want, tolerance, odd=odd).tolist()
    settled = [table.settle(rows[n], want[n], tolerance) is not None for n in ALL]
    detail = [
        rules.judge(NORM, {"output": got[n]}, {"output": want[n]}, {}, tolerance).status
        is Status.PASSED
        for n in ALL
    ]
    assert not any(s and not d for s, d in zip(settled, detail, strict=True))
    assert sum(detail) - sum(settled) <= 1
    assert 0 < sum(detail) < CALLS


def test_a_tolerance_without_row_scale() -> None:
    want = {"lse": torch.linspace(-9, 9, CALLS * 40).view(CALLS, 40)}
    judge = Judge(NORM, Tolerance(atol=1e-2, rtol=1e-3, of_rms=None))
    got = {"lse": want["lse"] + 5e-3}
    assert judge.judge(Lot(got, want, lambda n: {}, ALL, []), NONE).refused is None
    got["lse"][BAD, 5] += 1.0
    assert judge.judge(Lot(got, want, lambda n: {}, ALL, []), NONE).refused == BAD


def test_what_was_asked_besides_comes_with_it() -> None:
    want = _want()
    judge = Judge(NORM, rules.tolerance(NORM))
    lot = Lot(want, want, lambda number: {}, ALL, [])
    assert judge.judge(lot, torch.tensor([True, False])).besides == [1.0, 0.0]


def test_no_call_need_be_judged_in_full() -> None:
    want = _want()
    got = _near(want)
    found = _judged(got, want, full=[], distance=ALL)
    assert (found.verdict.status, found.refused) == (Status.PASSED, None)
    assert (found.verdict.max_abs, found.verdict.matched_ratio) == (0.0, 1.0)
    got["output"][BAD] = 0.0
    assert _judged(got, want, full=[], distance=ALL).refused == BAD
    assert _judged(got, want, full=[], distance=[0, 1]).refused is None


def test_an_output_without_elements_is_far_from_nothing() -> None:
    want = {"output": torch.zeros(CALLS, 0, WIDTH).bfloat16()}
    assert _judged(want, want, full=[], distance=ALL).verdict.status is Status.PASSED
    one = {"output": torch.ones(CALLS, 1)}
    other = {"output": torch.full((CALLS, 1), 3.0)}
    assert _judged(other, one, full=[], distance=ALL).refused == 0


@pytest.mark.parametrize("change", ["another output", "one of another type", "another shape"])
def test_every_part_of_the_form_counts(change: str) -> None:
    want = _want(DECODE)
    got = {name: value.clone() for name, value in want.items()}
    if change == "another output":
        got["extra"] = got["lse"]
    elif change == "one of another type":
        got["lse"] = got["lse"].double()
    else:
        got["lse"] = got["lse"].flatten(1)
    found = _judged(got, want, DECODE)
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


def test_four_refused_calls_are_enough() -> None:
    """The error of a call grows with its number: that of the fourth refused one is the largest."""
    want = _want()
    got = {"output": want["output"].clone()}
    for number in ALL[2:]:
        got["output"][number, 0, 0] += 64.0 * number
    found = _judged(got, want)
    assert found.refused == 2
    assert found.verdict.max_abs == pytest.approx(64.0 * 5, rel=0.02)


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
