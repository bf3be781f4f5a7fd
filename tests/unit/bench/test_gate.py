"""The gate's order of driver calls, on a driver that only writes them down."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from kernelkit.bench.clock import gate as module  # noqa: E402
from kernelkit.bench.clock.gate import NOT_READY, Gate  # noqa: E402
from kernelkit.errors import DeadlineError  # noqa: E402


class Driver:
    """Writes calls down; events are numbers; an event has happened after a few questions."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.events = 0
        self.left = 3
        self.flag = ctypes.c_uint32(7)
        self.library = SimpleNamespace(cuEventQuery=self._query)

    def _query(self, event: object) -> int:
        self.left -= 1
        return NOT_READY if self.left >= 0 else 0

    def event(self, flags: int = 0) -> int:
        self.events += 1
        return self.events

    def export_event(self, event: int) -> str:
        return f"event {event}"

    def call(self, name: str, *arguments: Any) -> None:
        self.calls.append((name, *arguments))
        if name == "cuMemHostAlloc":
            ctypes.cast(arguments[0], ctypes.POINTER(ctypes.c_void_p))[0] = ctypes.addressof(
                self.flag
            )

    def elapsed_ms(self, start: int, end: int) -> float:
        return float(end - start)

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: SimpleNamespace(cuda_stream=5))
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    yield Gate(Driver(), "cpu")


def test_what_is_written_waits_for_the_flag_and_the_gate_for_what_is_written(gate: Gate) -> None:
    driver = gate.driver
    driver.calls.clear()
    results = torch.arange(12).view(3, 4)[:, 1:3]
    gate.prepare(lambda: driver.calls.append(("write",)), results)
    assert driver.flag.value == 0
    assert driver.names() == [
        "cuCtxSynchronize", "cuStreamWaitValue32_v2", "write", "cuEventRecord", "cuEventRecord",
    ]  # fmt: skip
    assert [call[1] for call in driver.calls[3:]] == [gate.begun, gate.gate]
    gate.open()
    assert driver.flag.value == 1
    driver.calls.clear()
    elapsed_ms, copy = gate.close(1.0)
    assert driver.calls[0][0] == "cuStreamWaitEvent" and driver.calls[0][2] == gate.end
    assert driver.calls[1][:2] == ("cuEventRecord", gate.ended)
    assert elapsed_ms == gate.ended - gate.begun
    results += 1  # what the batch left is kept as it was
    assert copy.tolist() == [[1, 2], [5, 6], [9, 10]]


def test_a_batch_that_does_not_end(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.prepare(lambda: None, torch.zeros(2))
    gate.driver.left = 1 << 40
    monkeypatch.setattr(module, "SPIN_SECONDS", 0.0)
    with pytest.raises(DeadlineError, match="did not end"):
        gate.close(0.02)


def test_work_is_timed_with_all_of_it_queued(gate: Gate) -> None:
    driver = gate.driver
    driver.calls.clear()
    seen: list[int] = []
    assert gate.time(lambda: seen.append(driver.flag.value)) == gate.ended - gate.begun
    assert seen == [0] and driver.flag.value == 1
    assert driver.names()[-1] == "cuStreamSynchronize"
