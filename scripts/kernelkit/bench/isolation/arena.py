"""Memory that the verifier and a solution's process share: inputs and outputs between guard zones.

The verifier writes inputs and poison, the solution writes outputs, the verifier looks at all of it.
Both sides see the same addresses call after call. On a CPU it is a file mapped by both; on a GPU an
allocation of the verifier's, opened by its IPC handle.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import ITEM_BYTES, Definition
from kernelkit.errors import UsageError
from kernelkit.ops.base import torch_dtype

if TYPE_CHECKING:
    import torch

ALIGNMENT = 1024  # bytes; more than any kernel's vector loads and bulk copies ask for
GUARD_BYTES = 4096  # at least so many before and behind each tensor
Form = tuple[list[int], str]  # shape, format dtype


@dataclass(frozen=True)
class Place:
    """Where a tensor lies; `item_bytes` as torch holds its elements."""

    offset: int
    shape: list[int]
    dtype: str
    item_bytes: int

    @property
    def bytes(self) -> int:
        """The tensor's size."""
        return math.prod(self.shape) * self.item_bytes

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.bytes


@dataclass(frozen=True)
class Layout:
    """Places by name. `taken` is where outputs are copied to, right behind the call's end."""

    inputs: dict[str, Place]
    outputs: dict[str, Place]
    taken: dict[str, Place]
    bytes: int

    def guards(self) -> list[tuple[int, int]]:
        """All ranges [start, end) between the tensors."""
        places = sorted(
            [*self.inputs.values(), *self.outputs.values(), *self.taken.values()],
            key=lambda place: place.offset,
        )
        starts = [0, *(place.end for place in places)]
        ends = [*(place.offset for place in places), self.bytes]
        return list(zip(starts, ends, strict=True))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Layout:
        """The layout of `to_json`."""
        groups = {
            group: {name: Place(**place) for name, place in document[group].items()}
            for group in ("inputs", "outputs", "taken")
        }
        return cls(**groups, bytes=document["bytes"])

    def shifted(self, offset: int) -> Layout:
        """The same layout, `offset` bytes further on."""

        def move(places: dict[str, Place]) -> dict[str, Place]:
            return {
                name: Place(p.offset + offset, p.shape, p.dtype, p.item_bytes)
                for name, p in places.items()
            }

        return Layout(move(self.inputs), move(self.outputs), move(self.taken), self.bytes)


def lay_out(inputs: dict[str, Form], outputs: dict[str, Form]) -> Layout:
    """Places for all tensors, each at a multiple of ALIGNMENT, with guard zones between."""
    position = 0

    def put(forms: dict[str, Form]) -> dict[str, Place]:
        nonlocal position
        places = {}
        for name, (shape, dtype) in forms.items():
            offset = _aligned(position + GUARD_BYTES)
            places[name] = Place(offset, list(shape), dtype, item_bytes(dtype))
            position = places[name].end
        return places

    groups = put(inputs), put(outputs), put(outputs)
    return Layout(*groups, bytes=_aligned(position + GUARD_BYTES))


def layout_of(definition: Definition, axes: dict[str, int]) -> Layout:
    """The places of all tensors of a definition."""

    def forms(specs: dict[str, Any], *, scalars: bool) -> dict[str, Form]:
        return {
            name: (list(definition.shape_of(name, axes) or ()), spec.dtype.value)
            for name, spec in specs.items()
            if scalars or spec.shape is not None
        }

    return lay_out(forms(definition.inputs, scalars=False), forms(definition.outputs, scalars=True))


def item_bytes(dtype: str) -> int:
    """Bytes of an element as torch holds it."""
    return 4 if dtype == "float4_e2m1" else int(ITEM_BYTES[dtype])


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT


def view(memory: torch.Tensor, place: Place) -> torch.Tensor:
    """The tensor at `place` of `memory` (bytes): a view, for the trusted side."""
    raw = memory[place.offset : place.end]
    return raw.view(torch_dtype(place.dtype)).view(place.shape)


class HostMemory:
    """Memory of the CPU, mapped and writable by all that open its `path`."""

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.map = mmap.mmap(descriptor, size)

    @classmethod
    def create(cls, folder: Path, size: int) -> HostMemory:
        """New memory of zeros. On Linux it has no file: nothing of it stays, whatever ends this
        process. Raises UsageError where the machine has not so much."""
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
        if size > free:
            raise UsageError(
                "the workload needs more memory than is free",
                received=f"{size / 2**30:.1f} GiB", allowed=f"{free / 2**30:.1f} GiB",
            )  # fmt: skip
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("arena")  # stays open: others open it through /proc
            path = Path(f"/proc/{os.getpid()}/fd/{descriptor}")
        else:
            path = folder / f"arena-{time.monotonic_ns()}"
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.ftruncate(descriptor, size)
        return cls(path, descriptor, size)

    @classmethod
    def open(cls, path: Path, size: int) -> HostMemory:
        """The memory of another process."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            return cls(path, descriptor, size)
        finally:
            os.close(descriptor)

    def bytes(self) -> torch.Tensor:
        """All of it, as one tensor of bytes."""
        import torch

        return torch.frombuffer(self.map, dtype=torch.uint8)

    def tensor(self, place: Place) -> torch.Tensor:
        """A tensor whose storage is just `place`: nothing else is reached through it."""
        import torch

        dtype = torch_dtype(place.dtype)
        if not place.bytes:
            return torch.empty(place.shape, dtype=dtype)
        count = math.prod(place.shape)
        raw = torch.frombuffer(self.map, dtype=dtype, count=count, offset=place.offset)
        return raw.view(place.shape)
