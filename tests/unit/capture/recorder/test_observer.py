"""The hot path alone: what is recorded, what is only counted, what never breaks a call."""

from __future__ import annotations

import enum
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.capture.recorded import EnumValue, OpaqueValue, decode_value  # noqa: E402
from kernelkit.capture.recorder import observer as observers  # noqa: E402
from kernelkit.capture.recorder import values, wrapping  # noqa: E402
from kernelkit.capture.recorder.observer import Observer  # noqa: E402
from kernelkit.capture.recorder.settings import Settings  # noqa: E402

from .conftest import Taker  # noqa: E402


@pytest.fixture
def taker() -> Taker:
    return Taker()


def observed(taker: Taker, function: Any, name: str, method: str = "", **limits: int) -> Any:
    watching = Observer(Settings("unused", **limits), taker)
    return watching, wrapping._observed(watching, function, f"flashinfer.x.{name}", method)


def norm(input: Any, weight: Any, eps: float = 1e-6, *, generator: Any = None) -> str:
    return "result"


def test_an_equal_call_is_counted_and_another_shape_recorded(taker: Taker) -> None:
    watching, call = observed(taker, norm, "norm")
    x, weight = torch.zeros(2, 8), torch.ones(8)
    assert [call(x, weight, 1e-5) for _ in range(3)] == ["result"] * 3
    call(x.to(torch.bfloat16), weight, 1e-5)
    call(x, weight, 1e-6)
    assert [entry.arguments["eps"] for entry in taker.entries] == [1e-5, 1e-5, 1e-6]
    assert dict(watching.repeats) == {taker.entries[0].serial: 2}


def test_what_differs_call_by_call_makes_no_new_form(taker: Taker) -> None:
    watching, call = observed(taker, norm, "norm")
    for seed in range(5):
        call(torch.zeros(2, 8), torch.ones(8), generator=f"g{seed}")
    assert len(taker.entries) == 1
    assert sum(watching.repeats.values()) == 4


def test_index_tensors_are_copied_before_the_call_changes_them(taker: Taker) -> None:
    def inplace(indices: Any) -> None:
        indices.zero_()

    _, call = observed(taker, inplace, "inplace")
    call(torch.tensor([3, 4], dtype=torch.int32))
    assert taker.entries[0].tensors["indices"].tolist() == [3, 4]


def test_a_call_inside_a_call_is_not_the_model_s(taker: Taker) -> None:
    watching, inner = observed(taker, norm, "inner")

    def outer(x: Any) -> str:
        return inner(x, x)

    call = wrapping._observed(watching, outer, "flashinfer.x.outer", "")
    call(torch.zeros(2))
    assert [entry.api.path for entry in taker.entries] == ["flashinfer.x.outer"]


def test_calls_during_graph_capture_are_counted(
    taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, call = observed(taker, norm, "norm")
    monkeypatch.setattr(observers, "_is_capturing", lambda: True)
    assert call(torch.zeros(2), torch.zeros(2)) == "result"
    assert (taker.entries, dict(watching.skipped)) == ([], {"graph_capture": 1})


def test_a_fault_of_the_recorder_never_reaches_the_caller(
    taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, call = observed(taker, norm, "norm")
    monkeypatch.setattr(values, "key_of", lambda _: 1 / 0)
    assert call(torch.zeros(2), torch.zeros(2)) == "result"
    assert list(watching.skipped) == ["error: ZeroDivisionError: division by zero"]


def test_the_caller_s_error_passes_through(taker: Taker) -> None:
    def fails(x: Any) -> None:
        raise ValueError("theirs")

    _, call = observed(taker, fails, "fails")
    with pytest.raises(ValueError, match="theirs"):
        call(torch.zeros(2))
    assert taker.entries[0].completed is False


def test_large_index_tensors_keep_their_shape_alone(taker: Taker) -> None:
    _, call = observed(taker, norm, "norm", max_tensor_bytes=100)
    call(torch.zeros(26, dtype=torch.int32), torch.zeros(25, dtype=torch.int32))
    assert list(taker.entries[0].tensors) == ["weight"]


def test_memory_of_what_is_queued_is_bounded(taker: Taker) -> None:
    watching, call = observed(taker, norm, "norm", max_pending_bytes=1000)
    taker.pending_bytes = 990
    call(torch.zeros(3, dtype=torch.int32), None)
    assert (taker.entries, dict(watching.skipped)) == ([], {"memory": 1})


class Mode(enum.Enum):
    CAUSAL = 1


@pytest.mark.parametrize(
    ("value", "back"),
    [
        (Mode.CAUSAL, EnumValue("Mode", "CAUSAL", 1)),
        (object(), OpaqueValue("object")),
        ({"a": (1, [2.5, None])}, {"a": (1, [2.5, None])}),
        (True, True),
        ("NHD", "NHD"),
    ],
)
def test_values_are_read_back(value: Any, back: Any) -> None:
    assert decode_value(values.encode(value)) == back


def test_settings_of_requests_are_kept_and_activations_are_not() -> None:
    settings = dict(values.kept("top_p", torch.full((4,), 0.9), 1000))
    assert list(settings) == ["top_p"]
    assert dict(values.kept("q", torch.zeros(4), 1000)) == {}
    cache = (torch.zeros(4), torch.zeros(4, dtype=torch.int64))
    assert list(dict(values.kept("cache", cache, 1000))) == ["cache.1"]
    assert dict(values.kept("x", torch.zeros(4, dtype=torch.int32, device="meta"), 1000)) == {}
