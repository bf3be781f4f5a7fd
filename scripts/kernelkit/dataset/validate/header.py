"""The header of a safetensors file, read without loading; integer tensors, loaded with numpy."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy

DTYPES = {
    "F32": "float32", "F16": "float16", "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2", "F4": "float4_e2m1", "I64": "int64", "I32": "int32", "I16": "int16",
    "I8": "int8", "BOOL": "bool",
}  # fmt: skip
BITS = {"F32": 32, "F16": 16, "BF16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "F4": 4, "I64": 64,
        "I32": 32, "I16": 16, "I8": 8, "BOOL": 8}  # fmt: skip
INTEGERS = ("int64", "int32", "int16", "int8")
HEADER_MOST = 100 << 20  # the limit of the safetensors library


@dataclass(frozen=True)
class Entry:
    """One tensor: its type as the file says, its shape, and its bytes in the file."""

    dtype: str
    shape: list[int]
    first: int
    last: int

    @property
    def name(self) -> str:
        """The type as the dataset's format names it."""
        return DTYPES.get(self.dtype, self.dtype)


def read_header(path: Path) -> dict[str, Entry]:
    """The tensors of a safetensors file. Raises ValueError for a file that is none, OSError."""
    state = path.stat()
    return _read(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, size: int, changed: int) -> dict[str, Entry]:
    with open(path, "rb") as file:
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ValueError("shorter than a header")
        (length,) = struct.unpack("<Q", prefix)
        if length > min(HEADER_MOST, size - 8):
            raise ValueError("header is longer than the file")
        document = json.loads(file.read(length))
    if not isinstance(document, dict):
        raise ValueError("header is no object")
    start = 8 + length
    return {
        name: _entry(name, entry, start, size)
        for name, entry in document.items()
        if name != "__metadata__"
    }


def _entry(name: str, entry: object, start: int, size: int) -> Entry:
    """One tensor of the header, with its place in the file. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError(f"{name} is no object")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    for numbers in (shape, offsets):
        if not isinstance(numbers, list) or any(type(n) is not int or n < 0 for n in numbers):
            raise ValueError(f"{name} has no shape or no offsets")
    if len(offsets) != 2 or offsets[1] < offsets[0] or start + offsets[1] > size:
        raise ValueError(f"data of {name} is cut off")
    dtype = str(entry.get("dtype"))
    if dtype in BITS and math.prod(shape) * BITS[dtype] != 8 * (offsets[1] - offsets[0]):
        raise ValueError(f"data of {name} has another size than its shape")
    return Entry(dtype, shape, start + offsets[0], start + offsets[1])


def load_integers(path: Path, entry: Entry) -> numpy.ndarray:
    """An integer tensor of the file."""
    import numpy

    with open(path, "rb") as file:
        file.seek(entry.first)
        data = file.read(entry.last - entry.first)
    return numpy.frombuffer(data, dtype=entry.name).reshape(entry.shape)
