"""The time of a batch of calls, by a clock that the solution cannot reach.

The solution's process queues its calls behind a gate: an event of this process, which happens only
after this process has written the inputs. So no call can begin before the gate's time. The end is
an event that the solution's process records; behind it this process takes its time and copies the
outputs at once, so that calls which were not done by then are wrong. Both times are events of this
process's own context.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelkit.bench.clock.cuda_driver import NO_TIMING_INTERPROCESS, Driver
from kernelkit.errors import DeadlineError

if TYPE_CHECKING:
    import torch

WAIT_GEQ = 0
DEVICE_MAPPED = 2
NOT_READY = 600
SPIN_SECONDS = 0.01  # of a batch, during which its end is looked for without a pause


class Gate:
    """One gate for a device, used again and again."""

    def __init__(self, driver: Driver, device: str) -> None:
        import torch

        self.driver = driver
        self.stream = torch.cuda.Stream(device)
        self.handle = ctypes.c_void_p(self.stream.cuda_stream)
        self.begun, self.ended = driver.event(), driver.event()
        self.gate = driver.event(NO_TIMING_INTERPROCESS)
        self.end = driver.event(NO_TIMING_INTERPROCESS)
        self.handles = [driver.export_event(event) for event in (self.gate, self.end)]
        self.flag, self.flag_address = self._flag()
        _load_copies(device)

    def _flag(self) -> tuple[Any, ctypes.c_uint64]:
        """A number in host memory that the device waits for."""
        memory, address = ctypes.c_void_p(), ctypes.c_uint64()
        self.driver.call(
            "cuMemHostAlloc", ctypes.byref(memory), ctypes.c_size_t(4096), DEVICE_MAPPED
        )
        self.driver.call("cuMemHostGetDevicePointer_v2", ctypes.byref(address), memory, 0)
        return ctypes.cast(memory, ctypes.POINTER(ctypes.c_uint32)), address

    def prepare(self, write: Callable[[], None], results: torch.Tensor) -> None:
        """Queue `write`, and the gate behind it; nothing runs yet. `close` will copy `results`."""
        import torch

        self.results, self.copy = results, torch.empty_like(results)
        self._hold()
        with torch.cuda.stream(self.stream):
            write()
        self.driver.call("cuEventRecord", self.begun, self.handle)
        self.driver.call("cuEventRecord", self.gate, self.handle)

    def open(self) -> None:
        """Let it run."""
        self.flag[0] = 1

    def time(self, work: Callable[[], None]) -> float:
        """Device milliseconds of work of this process, all of it queued before it begins. It was
        done before: what is loaded at first use would wait for the stream, and that for us."""
        import torch

        self._hold()
        self.driver.call("cuEventRecord", self.begun, self.handle)
        with torch.cuda.stream(self.stream):
            work()
        self.driver.call("cuEventRecord", self.ended, self.handle)
        self.flag[0] = 1
        self.driver.call("cuStreamSynchronize", self.handle)
        return self.driver.elapsed_ms(self.begun, self.ended)

    def _hold(self) -> None:
        """Let the stream wait for the flag."""
        self.driver.call("cuCtxSynchronize")
        self.flag[0] = 0
        self.driver.call(
            "cuStreamWaitValue32_v2", self.handle, self.flag_address, ctypes.c_uint32(1), WAIT_GEQ
        )

    def close(self, seconds: float) -> tuple[float, torch.Tensor]:
        """Wait for the end: milliseconds since the gate, and the results as they were then.

        Raises DeadlineError after `seconds`.
        """
        import torch

        self.driver.call("cuStreamWaitEvent", self.handle, self.end, 0)
        self.driver.call("cuEventRecord", self.ended, self.handle)
        with torch.cuda.stream(self.stream):
            self.copy.copy_(self.results)
        start = time.monotonic()
        while self.driver.library.cuEventQuery(self.ended) == NOT_READY:
            waited = time.monotonic() - start
            if waited > seconds:
                raise DeadlineError("a batch of calls did not end", received=f"{seconds:g} s")
            if waited > SPIN_SECONDS:
                time.sleep(2e-4)
        self.driver.call("cuStreamSynchronize", self.handle)
        return self.driver.elapsed_ms(self.begun, self.ended), self.copy


def _load_copies(device: str) -> None:
    """Use the copies between slots and images once: what is loaded at first use may wait for the
    whole device, and so for a gate that is closed."""
    import torch

    slots, image = (torch.zeros(2, size, dtype=torch.int64, device=device) for size in (4, 2))
    slots[:, :2].copy_(image)
    slots[:, 2:].copy_(image[0])
    torch.empty_like(slots[:, 2:]).copy_(slots[:, 2:])
