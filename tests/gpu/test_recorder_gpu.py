"""The recorder on a GPU: copies hold the values before the call; captured graphs are counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernelkit.capture.recording import Recording, find

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.gpu
BUSY_CYCLES = 4_000_000_000  # about two seconds


def start(folder: Path) -> Any:
    """An observer with a sink of its own."""
    from kernelkit.capture.recorder.observer import Observer
    from kernelkit.capture.recorder.settings import Settings
    from kernelkit.capture.recorder.sink import Sink

    settings = Settings(str(folder), flush_s=0.1)
    sink = Sink(settings)
    sink.observer = Observer(settings, sink)
    return sink


def inplace(indices: Any, x: Any) -> None:
    indices.add_(1000)


def test_values_are_those_before_the_call_and_nothing_waits(tmp_path: Path) -> None:
    from kernelkit.capture.recorder import wrapping

    sink = start(tmp_path)
    call = wrapping._observed(sink.observer, inplace, "flashinfer.x.inplace", "")
    x = torch.zeros(4096, 4096, device="cuda")
    indices = torch.zeros(10_000, dtype=torch.int32, device="cuda")
    call(indices, x)  # the first one pins memory, and compiles
    torch.cuda.synchronize()
    torch.cuda._sleep(BUSY_CYCLES)  # the call must not wait for what the stream does
    done = torch.cuda.Event()
    for _ in range(4):
        call(indices, x)
    done.record()
    assert not done.query()
    torch.cuda.synchronize()
    sink.close()
    (path,) = find(tmp_path)
    found = Recording.open(path)
    firsts = [int(found.array(c.arguments["indices"])[0]) for c in found.calls()]
    assert firsts == [0, 1000, 2000, 3000, 4000]
    assert found.header["device"] == torch.cuda.get_device_name()


def test_calls_in_a_captured_graph_are_counted(tmp_path: Path) -> None:
    from kernelkit.capture.recorder import wrapping

    sink = start(tmp_path)
    call = wrapping._observed(sink.observer, inplace, "flashinfer.x.inplace", "")
    indices = torch.zeros(8, dtype=torch.int32, device="cuda")
    call(indices, indices)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call(indices, indices)
    graph.replay()
    torch.cuda.synchronize()
    assert int(indices[0]) == 2000  # once eager, once replayed: capturing runs nothing
    sink.close()
    (path,) = find(tmp_path)
    found = Recording.open(path)
    assert len(list(found.calls())) == 1
    counted = [e.detail["count"] for e in found.events if e.kind == "graph_capture"]
    assert counted == [1]
