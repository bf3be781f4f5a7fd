"""What a judgement and a filling of slots ask of a device: so many launches, so many waits.

On a GPU a launch costs the host some microseconds and a wait stalls it; there are thousands of
both in an evaluation. Counted are the operations that torch dispatches on a CPU: views are none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from kernelkit.bench.isolation.arena import layout_of  # noqa: E402
from kernelkit.bench.judge.equipment import Device  # noqa: E402
from kernelkit.bench.judge.station import Station  # noqa: E402
from kernelkit.dataset.definition import Definition  # noqa: E402
from kernelkit.dataset.trace import Status  # noqa: E402
from kernelkit.ops import gemm, gqa_paged, rmsnorm  # noqa: E402

CALLS = 12
KEYS = [f"0/free/0/{n}" for n in range(CALLS)]
CASES: list[tuple[Definition, dict[str, int]]] = [
    (rmsnorm.FAMILY.definition(64, 1e-5), {"batch_size": 5}),
    (gemm.FAMILY.definition(64, 64), {"M": 8}),
    (gqa_paged.FAMILY.definition(8, 2, 16, 1, prefill=False),
     {"batch_size": 4, "len_indptr": 5, "num_kv_indices": 64, "num_pages": 65}),
]  # fmt: skip
NAMES = ["rmsnorm", "gemm", "decode"]
PER_OUTPUT, BESIDES = 38, 14  # launches of a judgement: an output's table; guard zones and the rest
DISTANCE = 20  # an output's, of calls that are not judged in full
WARM_FILL = 4
VIEWS = {
    "view", "slice", "select", "_unsafe_view", "expand", "unsqueeze", "as_strided", "split",
    "detach", "alias", "reshape", "t", "transpose", "permute", "squeeze", "unbind", "empty",
    "empty_like", "empty_strided", "new_empty", "lift_fresh",
}  # fmt: skip
WAITS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero", "item", "masked_select"}


class Count(TorchDispatchMode):
    """Counts launches and waits. Reading a tensor as a list waits, too."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        as_list = torch.Tensor.tolist

        def tolist(tensor: torch.Tensor) -> Any:
            self.waits["tolist"] += 1
            return as_list(tensor)

        monkeypatch.setattr(torch.Tensor, "tolist", tolist)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        name = function.__name__.split(".")[0]
        if name in WAITS:
            self.waits[name] += 1
        elif name not in VIEWS:
            self.launches[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.fixture(params=CASES, ids=NAMES)
def station(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Station]:
    monkeypatch.chdir(tmp_path)
    definition, axes = request.param
    made = Station(Device("cpu"), definition, {})
    made.make_arena(CALLS * layout_of(definition, axes).bytes)
    made.workload(axes, {}, 1, "u")
    made.fill(KEYS)
    yield made
    made.close()


def _answer(station: Station) -> torch.Tensor:
    """Right outputs in all slots; the results as a gate hands them over."""
    results = station.slots.results(CALLS)
    want = station._want(list(range(CALLS)))
    for name, value in station.slots.outputs(results, taken=True).items():
        value.copy_(want[name])
    return results.clone()


def _counted(
    station: Station, monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]
) -> tuple[Any, int, int]:
    with Count(monkeypatch) as count:
        result = act()
    return result, sum(count.launches.values()), sum(count.waits.values())


@pytest.mark.parametrize("distance", [False, True])
def test_a_batch_is_judged_with_one_wait(
    station: Station, monkeypatch: pytest.MonkeyPatch, distance: bool
) -> None:
    results = _answer(station)
    full = list(range(0, CALLS, 2)) if distance else list(range(CALLS))
    rest = [n for n in range(CALLS) if n not in full]
    found, launches, waits = _counted(
        station, monkeypatch, lambda: station._judge(results, full, rest, taken=True)
    )
    assert found.verdict.status is Status.PASSED
    assert waits == 1
    outputs = len(station.definition.outputs)
    assert launches <= PER_OUTPUT * outputs + BESIDES + (DISTANCE * outputs if distance else 0)


def test_contents_that_are_known_are_filled_without_a_wait(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gate:
        def prepare(self, write: Callable[[], None], results: torch.Tensor) -> None:
            write()

    station.device.gate = Gate()
    mixed = KEYS[::-1]  # in another order: still known
    _, launches, waits = _counted(station, monkeypatch, lambda: station.fill(mixed, gated=True))
    assert waits == 0
    assert launches <= WARM_FILL


def test_a_byte_beside_or_inside_is_seen(station: Station) -> None:
    edges = [edge for start, end in station.layout.guards() for edge in (start, end - 1)]
    for offset in edges:
        station.fill(KEYS)
        results = _answer(station)
        assert not station.slots.touched(station.image).any()
        station.slots.arena[CALLS - 1, offset] ^= 1
        found = station._judge(results, [0], [], taken=True)
        assert found.verdict.status is Status.INCORRECT_NUMERICAL
        assert "guard zone" in found.verdict.message


def test_every_byte_of_the_inputs_and_zones_is_looked_at(station: Station) -> None:
    """Whole slots: what is not an output's own place is watched."""
    station.fill(KEYS)
    own = [*station.layout.outputs.values(), *station.layout.taken.values()]
    free = {byte for place in own for byte in range(place.offset, place.end)}
    watched = {*range(station.slots.cut), *(station.slots.zones + station.slots.cut).tolist()}
    assert watched == set(range(station.layout.bytes)) - free


def test_what_was_made_ahead_is_not_made_again(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    run = station.reference.run

    def counted(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return run(*arguments)

    monkeypatch.setattr(station.reference, "run", counted)
    before = station.keys, station.image
    assert station.expect("1/free/0/0") and calls == 1
    assert (station.keys, station.image) == before  # what is in hand stays as it is
    station.fill(["1/free/0/0"])
    want = station._want([0])
    assert calls == 1
    again = dict(zip(want, (v[0] for v in want.values()), strict=True))
    fresh = station.reference.call(station.inputs(0))
    assert all(torch.equal(again[name], fresh[name]) for name in fresh)


def test_no_more_is_made_ahead_than_is_kept(station: Station) -> None:
    assert station.images is not None
    size = station.image[0].nbytes
    station.images.kept.most_bytes = (len(station.images.kept.values) + 2) * size
    assert [station.expect(f"1/free/0/{n}") for n in range(2)] == [True, False]
    assert set(KEYS) <= set(station.images.kept.values)
