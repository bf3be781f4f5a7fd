"""Many calls by one table: its rows are the sums of the detailed look; doubt settles nothing."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.judge import table  # noqa: E402
from kernelkit.bench.judge.compare import OutputError  # noqa: E402
from kernelkit.bench.judge.elements import (  # noqa: E402
    CPU_CHUNK,
    DEVICE_CHUNK,
    gain_of,
    measure,
    survey,
    width_of,
)
from kernelkit.ops.base import Tolerance  # noqa: E402

CALLS = 5
TOLERANCES = [
    Tolerance(atol=1e-2, rtol=1e-2),
    Tolerance(atol=1e-2, rtol=1e-2, of_rms=None),
    Tolerance(atol=1.0, rtol=0.0, of_rms=0.05),
]


def _calls(dtype: torch.dtype, shape: tuple[int, ...], *, odd: bool) -> tuple[Any, Any]:
    """(got, want) [CALLS, *shape]: rows of all scales, a call of zeros, errors at the limits."""
    rng = torch.Generator().manual_seed(3)
    scales = 10.0 ** torch.randint(-4, 2, (CALLS, *shape[:-1], 1), generator=rng)
    want = torch.randn(CALLS, *shape, generator=rng) * scales
    want[2] = 0.0
    noise = torch.randn(CALLS, *shape, generator=rng)
    got = want * (1 + 0.02 * noise) + 0.004 * noise.flip(0) * scales.sqrt()
    if odd:
        places = torch.rand(CALLS, *shape, generator=rng)
        for low, value in ((0.0, math.nan), (0.2, math.inf), (0.3, -math.inf)):
            here = (places >= low) & (places < low + 0.1 * torch.arange(CALLS).view(-1, 1, 1) / 4)
            here[1] = (places[1] > 0.5) & (value == -math.inf)  # a call without strays
            want[here] = value
            got[here & ((noise < 1) | (want == -math.inf))] = value
        got[3, 0, :2], got[4, 1, 3], got[4, 1, 5:9] = math.nan, math.inf, -math.inf
    return got.to(dtype), want.to(dtype)


@pytest.mark.parametrize("tolerance", TOLERANCES, ids=["scaled", "plain", "wide"])
@pytest.mark.parametrize("odd", [False, True])
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16", "float64"])
@pytest.mark.parametrize("shape", [(12, 24), (2, 5)])
def test_the_table_has_the_sums_of_the_detail(
    shape: tuple[int, int], kind: str, odd: bool, tolerance: Tolerance
) -> None:
    """But for the row's error and the count where there are strays, and thus no doubt."""
    got, want = _calls(getattr(torch, kind), shape, odd=odd)
    rows = table.tabulate(got, want, tolerance, odd=odd).tolist()
    for number in range(CALLS):
        row = dict(zip(table.COLUMNS, rows[number], strict=True))
        seen = survey(got[number], want[number], torch.float32)
        errors = measure(got[number], want[number], tolerance, seen)
        assert number != 1 or (not errors.stray and odd == bool(seen.want_infinite))
        bounds = [row[name] for name in ("low", "high", "got_low", "got_high")]
        assert bounds == pytest.approx([seen.low, seen.high, seen.got_low, seen.got_high], rel=1e-6)
        names = ("want_nan", "want_infinite", "got_odd", "stray", "wrong")[
            : 4 if errors.stray else 5
        ]
        counts = [seen.want_nan, seen.want_infinite, seen.got_odd, errors.stray, errors.wrong]
        assert [row[name] for name in names] == counts[: len(names)]
        gain = gain_of(row["dot"], row["energy"], row["squares"], 12 if shape[0] == 12 else 1)
        row_error = errors.row_error if errors.stray else math.sqrt(row["row_error"])
        sums = [row["max_abs"], row["max_rel"], row_error, *gain]
        assert sums == pytest.approx(
            [errors.max_abs, errors.max_rel, errors.row_error, errors.gain, errors.gain_noise],
            rel=1e-4, abs=1e-9,
        )  # fmt: skip


def test_a_step_of_the_type_is_allowed_and_no_more() -> None:
    want = torch.zeros(2, 4, 32).half()
    got = torch.stack([want[0] + 6e-8, want[1] + 1e-6])
    rows = table.tabulate(got, want, Tolerance(atol=1.0, rtol=0.0), odd=False)
    assert rows[:, table.COLUMNS.index("wrong")].tolist() == [0.0, 128.0]


def test_what_is_exactly_at_the_tolerance_is_not_wrong() -> None:
    exact = Tolerance(0.0, 0.0, of_rms=None)
    rows = table.tabulate(torch.ones(3, 32), torch.ones(3, 32), exact, odd=False)
    assert rows[:, table.COLUMNS.index("wrong")].tolist() == [0.0] * 3


@pytest.mark.parametrize("elements", [2 * CPU_CHUNK, CPU_CHUNK // 2, 32])
def test_each_call_has_its_row_however_they_are_divided(elements: int) -> None:
    want = torch.arange(5.0)[:, None].expand(5, elements).contiguous() + 1
    got = want.clone()
    got[3, 7] += 3.0
    rows = table.tabulate(got, want, TOLERANCES[1], odd=False)
    assert rows.shape == (5, len(table.COLUMNS))
    assert rows[:, table.COLUMNS.index("high")].tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert rows[:, table.COLUMNS.index("wrong")].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert rows[:, table.COLUMNS.index("max_abs")].tolist() == [0.0, 0.0, 0.0, 3.0, 0.0]


def test_how_much_is_taken_whole() -> None:
    sizes = {0: False, 1: True, CPU_CHUNK: True, CPU_CHUNK + 1: False, 2 * CPU_CHUNK: False}
    assert {size: table.fits(torch.zeros(1, size)) for size in sizes} == sizes


def test_a_row_with_a_rest_is_not_taken_whole() -> None:
    """On a GPU, where a call may have more elements than a chunk."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    sizes = {4 * DEVICE_CHUNK: True, 5 * DEVICE_CHUNK: False, 20_000_000: False, 9: True}
    with FakeTensorMode():
        fits = {size: table.fits(torch.empty(2, size, device="cuda")) for size in sizes}
    assert fits == sizes


def test_integers_by_the_table() -> None:
    want = torch.tensor([[0, 4, -8, 2], [0, 4, -8, 2], [0, 4, -8, 2]])
    got = torch.tensor([[0, 4, -8, 2], [3, 4, -8, 2], [0, 4, -20, 3]])
    rows = table.tabulate(got, want, TOLERANCES[0], odd=False)
    found = [
        [row[table.COLUMNS.index(name)] for name in ("wrong", "max_abs", "max_rel")]
        for row in rows.tolist()
    ]
    assert found == [[0, 0, 0], [1, 3, 3], [2, 12, 1.5]]
    half = Tolerance(0.0, 0.0, matched_ratio=0.5)
    assert table.settle(rows[2].tolist(), want[2], half) == OutputError(12, 1.5, 0.5)
    assert table.settle(rows[2].tolist(), want[2], Tolerance(0.0, 0.0, 0.6)) is None


def _row(**values: float) -> list[float]:
    """The row of a call that is right: ones where the reference has ones and twos."""
    right = {"low": 1.0, "high": 2.0, "got_low": 1.0, "got_high": 2.0, "dot": 80.0, "energy": 80.0}
    return [{**right, **values}.get(name, 0.0) for name in table.COLUMNS]


@pytest.mark.parametrize(
    ("values", "settled"),
    [
        ({}, True),
        ({"wrong": 3.0}, True),
        ({"wrong": 4.0}, False),
        ({"stray": 1.0, "got_odd": 1.0}, False),
        ({"want_infinite": 1.0, "got_odd": 1.0}, True),
        ({"want_nan": 1.0}, False),
        ({"max_abs": math.inf}, False),
        ({"row_error": 0.03**2}, False),
        ({"row_error": 0.01**2}, True),
        ({"dot": 84.0}, False),
        ({"got_low": 1.5, "got_high": 1.5}, False),
        ({"got_high": 1.5e15}, False),
        ({"low": -1.5e15}, False),
        ({"got_high": 0.9e15}, True),
        ({"dot": 1e20, "energy": 1e20}, True),
    ],
)
def test_what_a_row_settles(values: dict[str, float], settled: bool) -> None:
    want = torch.ones(4, 16)
    tolerance = Tolerance(1.0, 1.0, matched_ratio=61 / 64, row_error=0.02, gain_error=0.01)
    found = table.settle(_row(**values), want, tolerance)
    assert (found is not None) is settled
    if found is not None:
        assert found.matched_ratio == 1.0 - values.get("wrong", 0.0) / 64


def test_the_noise_of_a_gain_counts_its_rows() -> None:
    """1.02 is allowed to one row with an error of three percent, to a hundred it is not."""
    tolerance = Tolerance(1.0, 1.0, gain_error=0.01)
    for rows, settled in ((1, True), (100, False)):
        row = _row(dot=81.6, energy=80.0, squares=0.001 * 80)
        assert (table.settle(row, torch.ones(rows, 64), tolerance) is not None) is settled
    assert width_of((100, 64), False) == 64


def test_what_is_far() -> None:
    want = torch.zeros(6, 4)
    want[:3, 0] = 1.0
    got = want.clone()
    got[0, 1], got[1, 1], got[2, 1] = 0.25 + 0.8e-6, 0.25 + 1.4e-6, 0.24
    got[3, 1], got[4, 1], got[5, 1] = 1e-6, 1.1e-6, math.nan
    assert table.far(got, want).tolist() == [False, True, False, False, True, True]


def test_what_is_far_beside_an_infinity() -> None:
    want = torch.tensor([[math.inf, 0.1, 0.0]] * 5)
    got = want.clone()
    got[1, 1], got[2, 1], got[3, 0], got[4, 2] = 0.15, 0.12, 3e38, -math.inf
    assert table.far(got, want).tolist() == [False, True, False, True, True]


def test_integers_are_far_where_more_than_a_quarter_differs() -> None:
    want = torch.zeros(3, 2, 4, dtype=torch.int32)
    got = want.clone()
    got[1, 0, :2], got[2, 1, :3] = 7, 1
    assert table.far(got, want).tolist() == [False, False, True]


def test_the_least_scale_of_a_row_is_by_the_finite_elements() -> None:
    """Half of the elements are infinite in both, a row is nothing but the others' roundings."""
    want = torch.ones(2, 16, 32)
    want[:, 8:] = -math.inf
    want[:, 4] = 0.0
    got = want.clone()
    got[:, 4] = 0.01
    rows = table.tabulate(got, want, TOLERANCES[1], odd=True)
    row_error = rows[:, table.COLUMNS.index("row_error")].sqrt()
    assert row_error.tolist() == pytest.approx([0.01 * 16 * math.sqrt(8 / 7)] * 2, rel=1e-5)
