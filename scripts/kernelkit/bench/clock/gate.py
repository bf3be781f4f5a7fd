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
        self.driver.call("cuCtxSynchronize")
        self.flag[0] = 0
        self.driver.call(
            "cuStreamWaitValue32_v2", self.handle, self.flag_address, ctypes.c_uint32(1), WAIT_GEQ
        )
        with torch.cuda.stream(self.stream):
            write()
        self.driver.call("cuEventRecord", self.begun, self.handle)
        self.driver.call("cuEventRecord", self.gate, self.handle)

    def open(self) -> None:
        """Let it run."""
        self.flag[0] = 1

    def close(self, seconds: float) -> tuple[float, torch.Tensor]:
        """Wait for the end: milliseconds since the gate, and the results as they were then.

        Raises DeadlineError after `seconds`.
        """
        import torch

        self.driver.call("cuStreamWaitEvent", self.handle, self.end, 0)
        self.driver.call("cuEventRecord", self.ended, self.handle)
        with torch.cuda.stream(self.stream):
            self.copy.copy_(self.results)
        deadline = time.monotonic() + seconds
        while self.driver.library.cuEventQuery(self.ended) == NOT_READY:
            if time.monotonic() > deadline:
                raise DeadlineError("a batch of calls did not end", received=f"{seconds:g} s")
            time.sleep(2e-4)
        self.driver.call("cuStreamSynchronize", self.handle)
        return self.driver.elapsed_ms(self.begun, self.ended), self.copy
