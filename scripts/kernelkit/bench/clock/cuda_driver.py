"""What the evaluator needs of the CUDA driver, bound before any solution is loaded.

Python functions of torch that a solution could replace take no part in timing: events, waits and
copies are calls of the driver through ctypes.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kernelkit.bench.isolation.arena import Place
from kernelkit.errors import MissingDependencyError
from kernelkit.ops.base import torch_dtype

if TYPE_CHECKING:
    import torch

IPC_HANDLE_BYTES = 64
LAZY_PEER_ACCESS = 1
LARGE_PAGE = 2 << 20
NO_TIMING_INTERPROCESS = 2 | 4
SIGNALLED = 1


class CudaDriverError(Exception):
    """A call of the driver failed; the message is the driver's."""


class _Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_char * IPC_HANDLE_BYTES)]


class Driver:
    """Calls of libcuda that check what they return. Made after torch has opened its context."""

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise MissingDependencyError("no CUDA driver", received=error) from None
        self.joins = hasattr(self.library, "cuCtxRecordEvent")  # a driver for CUDA 12.5 or newer

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function. Raises CudaDriverError."""
        code = getattr(self.library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorString(code, ctypes.byref(text))
            raise CudaDriverError(f"{name}: {(text.value or b'').decode()} ({code})")

    def context(self) -> ctypes.c_void_p:
        """The current context."""
        found = ctypes.c_void_p()
        self.call("cuCtxGetCurrent", ctypes.byref(found))
        return found

    def event(self, flags: int = 0) -> ctypes.c_void_p:
        """A new event."""
        made = ctypes.c_void_p()
        self.call("cuEventCreate", ctypes.byref(made), flags)
        return made

    def elapsed_ms(self, start: ctypes.c_void_p, end: ctypes.c_void_p) -> float:
        """Milliseconds between two events that have happened."""
        found = ctypes.c_float()
        self.call("cuEventElapsedTime", ctypes.byref(found), start, end)
        return found.value

    def allocate(self, size: int) -> int:
        """Device memory, of at least `size` bytes: its address.

        Whole large pages: another process maps anything else in small ones, and a copy of 512 MiB
        then takes 0.51 ms instead of 0.26 ms (H200, driver 580).
        """
        address = ctypes.c_uint64()
        whole = -(-size // LARGE_PAGE) * LARGE_PAGE
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(whole))
        return address.value

    def free(self, address: int) -> None:
        """Give memory of `allocate` back."""
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def copy(self, target: int, source: int, size: int, stream: ctypes.c_void_p | None) -> None:
        """Queue a copy between addresses of the device on a stream (None: the default one)."""
        self.call(
            "cuMemcpyDtoDAsync_v2",
            ctypes.c_uint64(target), ctypes.c_uint64(source), ctypes.c_size_t(size), stream,
        )  # fmt: skip

    def export_memory(self, address: int) -> str:
        """A handle by which another process opens memory of `allocate`."""
        handle = _Handle()
        self.call("cuIpcGetMemHandle", ctypes.byref(handle), ctypes.c_uint64(address))
        return bytes(handle).hex()

    def open_memory(self, handle: str) -> int:
        """The address of another process's memory."""
        address = ctypes.c_uint64()
        self.call("cuIpcOpenMemHandle_v2", ctypes.byref(address), _handle(handle), LAZY_PEER_ACCESS)
        return address.value

    def export_event(self, event: ctypes.c_void_p) -> str:
        """A handle by which another process opens an interprocess event."""
        handle = _Handle()
        self.call("cuIpcGetEventHandle", ctypes.byref(handle), event)
        return bytes(handle).hex()

    def open_event(self, handle: str) -> ctypes.c_void_p:
        """Another process's event."""
        event = ctypes.c_void_p()
        self.call("cuIpcOpenEventHandle", ctypes.byref(event), _handle(handle))
        return event


def _handle(text: str) -> _Handle:
    made = _Handle()
    ctypes.memmove(ctypes.byref(made), bytes.fromhex(text), IPC_HANDLE_BYTES)
    return made


class _Region:
    """Device memory as the CUDA array interface shows it."""

    def __init__(self, address: int, size: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size,), "typestr": "|u1", "data": (address, False), "strides": None,
            "version": 3,
        }  # fmt: skip


class DeviceMemory:
    """An arena on a GPU: own memory, or another process's."""

    def __init__(self, address: int, size: int, device: str) -> None:
        self.address, self.size, self.device = address, size, device

    def bytes(self) -> torch.Tensor:
        """All of it, as one tensor of bytes."""
        return _tensor(self.address, self.size, self.device)

    def tensor(self, place: Place) -> torch.Tensor:
        """A tensor whose storage is just `place`."""
        import torch

        dtype = torch_dtype(place.dtype)
        if not place.bytes:
            return torch.empty(place.shape, dtype=dtype, device=self.device)
        raw = _tensor(self.address + place.offset, place.bytes, self.device)
        return raw.view(dtype).view(place.shape)


def _tensor(address: int, size: int, device: str) -> torch.Tensor:
    import torch

    return torch.as_tensor(_Region(address, size), device=device)


class Stopwatch:
    """Device time of calls, each between two events, with the work of all streams inside."""

    def __init__(self, driver: Driver) -> None:
        import torch

        self.driver = driver
        self.joined = driver.event()
        self.pairs: list[tuple[ctypes.c_void_p, ctypes.c_void_p]] = []
        self.spin: Callable[[int], None] = torch._C._cuda_sleep  # it has no public name
        self.context = driver.context()
        self.cycles_per_ms = self._calibrate()

    def reserve(self, count: int) -> None:
        """Have the events of `count` calls."""
        while len(self.pairs) < count:
            self.pairs.append((self.driver.event(), self.driver.event()))

    def idle(self, ms: float) -> None:
        """Queue idle work, so that what follows is queued before it runs."""
        self.spin(int(ms * self.cycles_per_ms))

    def begin(self, number: int = 0) -> None:
        """Mark the start of a call."""
        self.driver.call("cuEventRecord", self.pairs[number][0], None)

    def finish(self, number: int = 0) -> None:
        """Mark the end of a call on the default stream."""
        self.driver.call("cuEventRecord", self.pairs[number][1], None)

    def join(self) -> None:
        """Let the default stream wait for the work of every stream of the context."""
        if self.driver.joins:
            self.driver.call("cuCtxRecordEvent", self.context, self.joined)
            self.driver.call("cuStreamWaitEvent", None, self.joined, 0)
        else:
            self.driver.call("cuCtxSynchronize")

    def wait(self) -> None:
        """Wait for the device."""
        self.driver.call("cuCtxSynchronize")

    def elapsed_ms(self, number: int = 0) -> float:
        """The time of a call that has ended."""
        return self.driver.elapsed_ms(*self.pairs[number])

    def copy(self, target: int, source: int, size: int) -> None:
        """Queue a copy between addresses of the device."""
        self.driver.copy(target, source, size, None)

    def _calibrate(self) -> float:
        """Clock cycles in a millisecond of `spin`."""
        self.reserve(1)
        rates = []
        for cycles in (100_000, 1_000_000, 1_000_000):
            self.begin()
            self.spin(cycles)
            self.driver.call("cuEventRecord", self.pairs[0][1], None)
            self.wait()
            rates.append(cycles / max(self.elapsed_ms(), 1e-3))
        return math.ceil(min(rates[1:]))
