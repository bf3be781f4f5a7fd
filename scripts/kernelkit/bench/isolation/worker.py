"""Inside a solution's process: load the solution, call it on the shared memory, say how long.

What this process says about time is held against clocks outside of it, and its outputs are judged
by another process: nothing here decides about a verdict.
"""

from __future__ import annotations

import gc
import inspect
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit import places
from kernelkit.bench.isolation import sandbox
from kernelkit.bench.isolation.arena import HostMemory, Layout
from kernelkit.bench.isolation.building import build
from kernelkit.bench.isolation.calling import BadOutputError, describe
from kernelkit.bench.isolation.channel import Channel, serve
from kernelkit.bench.isolation.slot import Slot, Slots

if TYPE_CHECKING:
    from kernelkit.bench.clock.cuda_driver import DeviceMemory, Driver, Stopwatch


def preload() -> None:
    """Import what every solution's process needs, before it is forked."""
    import importlib
    import importlib.util

    for name in ("torch", "numpy", "triton", "kernelkit.bench.clock.cuda_driver",
                 "kernelkit.bench.device"):  # fmt: skip
        if importlib.util.find_spec(name) is not None:
            importlib.import_module(name)


def main(channel: Channel, order: dict[str, Any]) -> None:
    """Serve the orchestrator's requests, locked in."""
    process = SolutionProcess(order)
    serve(channel, {
        "warm": process.warm, "start": process.start, "load": process.load,
        "workload": process.workload, "setup": process.setup, "call": process.call,
        "batch": process.batch,
        "rehearse_copies": process.rehearse_copies, "rehearse_call": process.rehearse_call,
        "times": process.times,
    })  # fmt: skip


class SolutionProcess:
    """The state of a solution's process. `order`: folder, user, device, file_mb, cuda_graph."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.folder = Path(order["folder"])
        self.device: str = order["device"]
        self.on_cuda = self.device.startswith("cuda")
        self.function: Callable[..., Any] = _nothing
        self.setup_function: Callable[..., Any] | None = None
        self.passing = True
        self.driver: Driver | None = None
        self.stopwatch: Stopwatch | None = None
        self.slots: Sequence[Slot] = []

    def warm(self) -> bool:
        """What needs no arena, and takes its time: its environment, the device's context."""
        self._enter()
        if self.on_cuda:
            self._start_cuda()  # while its files can still be reached
        return True

    def start(self, arena: str, arena_bytes: int, events: list[str]) -> list[str]:
        """Open the arena, give up privileges. Names what holds it in. After `warm`."""
        isolation = ["own session", "resource limits"]
        if not self.on_cuda:
            self.memory: HostMemory | DeviceMemory = HostMemory.open(Path(arena), arena_bytes)
        else:
            self._open_cuda(arena, arena_bytes, events)
        sandbox.be_ended_first()
        isolation += ["no network"] if sandbox.leave_network() else []
        if self.order["user"] is not None:
            sandbox.become(self.order["user"])
            isolation.append("own user")
        _die_with_parent()
        sandbox.limit_resources(file_mb=self.order["file_mb"], processes=2048)
        return isolation + sandbox.restrict(self.folder)

    def _enter(self) -> None:
        """Its own folder and environment; no path of kernelkit for imports to come."""
        scrubbed = sandbox.environment(self.folder)
        os.environ.clear()
        os.environ.update(scrubbed)
        tempfile.tempdir = None  # an import of the zygote may have asked for it already
        os.chdir(self.folder)
        sys.path[:] = [p for p in sys.path if p and Path(p) != places.HIDDEN]
        sys.dont_write_bytecode = True

    def _start_cuda(self) -> None:
        import torch

        from kernelkit.bench.clock.cuda_driver import Driver, Stopwatch
        from kernelkit.bench.device import open_cuda

        open_cuda(self.device)
        torch.cuda.synchronize()
        self.driver = Driver()
        self.stopwatch = Stopwatch(self.driver)
        self.default_stream = torch.cuda.default_stream()
        self.set_stream = torch.cuda.set_stream
        self.new_graph, self.capture = torch.cuda.CUDAGraph, torch.cuda.graph

    def _open_cuda(self, arena: str, arena_bytes: int, events: list[str]) -> None:
        from kernelkit.bench.clock.cuda_driver import DeviceMemory

        assert self.driver is not None
        address = self.driver.open_memory(arena)
        self.memory = DeviceMemory(address, arena_bytes, self.device)
        self.gate, self.end = map(self.driver.open_event, events)

    def load(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Load the sources in `folder`/code; {"ok": true}, or {"ok": false, "error": text}."""
        code = self.folder / "code"
        try:
            module = build(code, spec)
        except BaseException as error:  # whatever it raises
            return {"ok": False, "error": describe(error, str(code))}
        self.function, self.setup_function = module
        self.passing = spec["destination_passing_style"]
        if self.setup_function is None:
            return {"ok": True, "setup": None}
        return {"ok": True, "setup": list(inspect.signature(self.setup_function).parameters)}

    def workload(
        self, layout: dict[str, Any], count: int, scalars: dict[str, Any], order: list[str]
    ) -> bool:
        """Place inputs and outputs: one slot for calls one by one, more for batches."""
        self.slots = Slots(self.memory, Layout.from_json(layout), count, scalars, order)
        return True

    def rehearse_call(self) -> dict[str, Any]:
        """One call on copies of the first slot, so that all is compiled: nothing of it counts."""
        slot = self.slots[0]
        try:
            arguments = slot.arguments(self.passing)
            self.function(*[a.clone() if hasattr(a, "clone") else a for a in arguments])
            self._wait()
        except BaseException as error:  # whatever it raises
            return self._failure(error)
        return {"ok": True}

    def setup(self, names: list[str]) -> dict[str, Any]:
        """Call the solution's setup on the named inputs; its milliseconds."""
        assert self.setup_function is not None
        start = time.perf_counter()
        try:
            self.setup_function(**{name: self.slots[0].inputs[name] for name in names})
            self._wait()
        except BaseException as error:  # noqa: BLE001
            return self._failure(error)
        return {"ok": True, "setup_ms": (time.perf_counter() - start) * 1e3}

    def call(self, spin_ms: float, take: bool, nothing: bool = False) -> dict[str, Any]:
        """One call on the first slot. With `take`, returned outputs are copied to the arena.

        `nothing`: a call of nothing instead. Only the control process is asked for it.
        """
        slot = self.slots[0]
        function = _nothing if nothing else self.function
        passing = self.passing or nothing
        try:
            if self.on_cuda:
                return self._call_cuda(slot, function, passing, spin_ms)
            result = function(*slot.arguments(passing))
            if take and not passing:
                slot.keep(result)
            return {"ok": True}
        except BadOutputError as error:
            return {"ok": False, "status": error.status, "error": str(error)}
        except BaseException as error:  # whatever it raises
            return self._failure(error)

    def rehearse_copies(self) -> dict[str, Any]:
        """Copy what `call` copies of returned outputs (CPU): only the control process is asked."""
        self.slots[0].keep(dict(self.slots[0].taken))
        return {"ok": True}

    def _call_cuda(
        self, slot: Slot, function: Callable[..., Any], passing: bool, spin_ms: float
    ) -> dict[str, Any]:
        watch = self.stopwatch
        assert watch is not None
        self.set_stream(self.default_stream)
        arguments = slot.arguments(passing)
        watch.idle(spin_ms)
        watch.begin()
        start = time.perf_counter()
        result = self._invoke(slot, function, arguments)
        host_ms = (time.perf_counter() - start) * 1e3
        watch.join()
        watch.finish()
        slot.take(result, passing, watch)
        watch.wait()
        return {"ok": True, "event_ms": watch.elapsed_ms(), "host_ms": host_ms}

    def _invoke(self, slot: Slot, function: Callable[..., Any], arguments: list[Any]) -> Any:
        """Call it; or, where graphs are asked for, replay what an earlier call has recorded."""
        if not self.order["cuda_graph"] or function is not self.function:
            return function(*arguments)
        if slot.graph is None:
            function(*arguments)  # compiles and allocates what a capture must not
            graph = self.new_graph()
            with self.capture(graph):
                slot.result = function(*arguments)
            slot.graph = graph
        slot.graph.replay()
        return slot.result

    def batch(self, count: int, take: bool, nothing: bool = False) -> dict[str, Any]:
        """Queue a call on each of the first slots behind the gate (another process's event), then
        mark the end by the other. Answers when all is queued, not when it is done.

        `take`: copy each call's outputs away. `nothing`: calls of nothing, by the control process.
        """
        assert self.driver is not None and self.stopwatch is not None
        driver, watch = self.driver, self.stopwatch
        function = _nothing if nothing else self.function
        passing = self.passing or nothing
        try:
            self.set_stream(self.default_stream)
            watch.reserve(count)
            slots = [(number, self.slots[number]) for number in range(count)]
            arguments = [slot.arguments(passing) for _, slot in slots]
            start = time.perf_counter()
            driver.call("cuStreamWaitEvent", None, self.gate, 0)
            for number, slot in slots:
                watch.begin(number)
                result = self._invoke(slot, function, arguments[number])
                watch.finish(number)
                if take:
                    slot.take(result, passing, watch)
            watch.join()  # what other streams still do counts for the clock outside
            driver.call("cuEventRecord", self.end, None)
        except BadOutputError as error:
            return {"ok": False, "status": error.status, "error": str(error)}
        except BaseException as error:  # whatever it raises
            return self._failure(error)
        return {"ok": True, "host_ms": (time.perf_counter() - start) * 1e3 / count}

    def times(self, count: int) -> list[float]:
        """The milliseconds of the last batch's calls."""
        assert self.stopwatch is not None
        self.stopwatch.wait()
        return [self.stopwatch.elapsed_ms(number) for number in range(count)]

    def _wait(self) -> None:
        if self.driver is not None:
            self.driver.call("cuCtxSynchronize")

    def _failure(self, error: BaseException) -> dict[str, Any]:
        text = describe(error, str(self.folder / "code"))
        try:
            self._wait()
        except Exception as again:  # whatever it raises
            text = f"{text}\n{again}"
        return {"ok": False, "error": text}


def _nothing(*arguments: object) -> None:
    """What is called before a solution is loaded: to measure the cost of a call itself."""


def _die_with_parent() -> None:
    """A change of user forgets the wish to die with the parent: say it again."""
    import ctypes
    import signal

    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    gc.collect()
