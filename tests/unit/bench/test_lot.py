"""Many calls judged at once: one bad call among good ones, by whatever it is bad."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from lots import ALL, BAD, CALLS, DECODE, NONE, NORM, ROWS, WIDTH, judged, near, want_of  # noqa: E402

from kernelkit.bench.judge import rules, table  # noqa: E402
from kernelkit.bench.judge.compare import BadReferenceError  # noqa: E402
from kernelkit.bench.judge.lot import Judge, Lot  # noqa: E402
from kernelkit.bench.judge.table import FAR  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops.base import Tolerance, generator  # noqa: E402


def test_good_calls_pass_with_the_worst_error_of_all() -> None:
    want = want_of()
    found = judged(near(want), want)
    assert found.verdict.status is Status.PASSED and found.refused is None
    each = [
        rules.judge(
            NORM, {"output": near(want)["output"][n]}, {"output": want["output"][n]}, {},
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
    want = want_of()
    got = near(want)
    plant(got["output"][BAD])
    found = judged(got, want)
    assert found.verdict.status is Status.INCORRECT_NUMERICAL
    assert found.refused == BAD
    assert found.verdict.message


def test_a_constant_within_every_tolerance_is_seen_in_its_call() -> None:
    """Each call's own spread counts: stacked, constants of different calls are none."""
    want = {"output": torch.full((CALLS, ROWS, WIDTH), 1.0)}
    want["output"] += torch.linspace(0, 1e-3, WIDTH)
    got = {"output": want["output"].clone()}
    got["output"][BAD] = 1.0005
    found = judged(got, want)
    assert found.refused == BAD and "constant" in found.verdict.message


def test_another_calls_result_is_refused_where_two_are_swapped() -> None:
    want = want_of()
    got = {"output": want["output"].clone()}
    got["output"][[3, 4]] = got["output"][[4, 3]]
    assert judged(got, want).refused == 3


def test_infinities_of_the_reference_are_expected_where_it_has_them() -> None:
    want = want_of(DECODE, empty=True)
    judge = Judge(DECODE, rules.tolerance(DECODE))
    lot = Lot(near(want), want, lambda number: {}, ALL, [])
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
    want = want_of(DECODE, empty=True)
    got = {n: v.clone() for n, v in want.items()}
    judged(got, want, DECODE)
    kept = want_of(DECODE, empty=True)
    assert all(torch.equal(got[n], kept[n]) and torch.equal(want[n], kept[n]) for n in kept)


def test_a_nan_of_the_reference_is_its_own_fault() -> None:
    want = want_of()
    want["output"][BAD, 0, 0] = math.nan
    with pytest.raises(BadReferenceError):
        judged(near(want), want)


def test_a_call_that_is_far_off_is_judged_though_nobody_asked_for_it() -> None:
    want = want_of()
    got = near(want)
    rest = [n for n in ALL if n not in (0, 1)]
    assert judged(got, want, full=[0, 1], distance=rest).verdict.status is Status.PASSED
    got["output"][BAD] = got["output"][BAD - 1]
    assert judged(got, want, full=[0, 1], distance=rest).refused == BAD
    got["output"][BAD] = want["output"][BAD] * (1 + 0.5 * FAR)  # not far: only a sample sees it
    assert judged(got, want, full=[0, 1], distance=rest).verdict.status is Status.PASSED
    assert judged(got, want, full=[0, BAD], distance=rest).refused == BAD


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("odd", [False, True])
def test_what_passes_by_the_table_passes_in_detail(seed: int, odd: bool) -> None:
    """Errors around every limit: the table lets nothing through that the detail refuses, and
    leaves open hardly anything that it lets through."""
    rng = generator(seed, "fuzz")
    tolerance = rules.tolerance(NORM)
    powers = 10.0 ** torch.randint(-3, 3, (CALLS, ROWS, 1), generator=rng)
    want = (want_of()["output"].float() * powers).bfloat16()
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


def test_no_call_need_be_judged_in_full() -> None:
    want = want_of()
    got = near(want)
    found = judged(got, want, full=[], distance=ALL)
    assert (found.verdict.status, found.refused) == (Status.PASSED, None)
    assert (found.verdict.max_abs, found.verdict.matched_ratio) == (0.0, 1.0)
    got["output"][BAD] = 0.0
    assert judged(got, want, full=[], distance=ALL).refused == BAD
    assert judged(got, want, full=[], distance=[0, 1]).refused is None


def test_four_refused_calls_are_enough() -> None:
    """The error of a call grows with its number: that of the fourth refused one is the largest."""
    want = want_of()
    got = {"output": want["output"].clone()}
    for number in ALL[2:]:
        got["output"][number, 0, 0] += 64.0 * number
    found = judged(got, want)
    assert found.refused == 2
    assert found.verdict.max_abs == pytest.approx(64.0 * 5, rel=0.02)
