"""The data of one tensor: read from safetensors or torch files without touching the others."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelkit.capture.sanitize.calls import BAD_DTYPE, CUT_TENSORS, NO_DATA, Unusable
from kernelkit.dataset.validate.header import DTYPES, read_header
from kernelkit.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy

SAFETENSORS, TORCH = "inputs.safetensors", "inputs.pt"
_NUMPY = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "bool")


@dataclass(frozen=True)
class Payload:
    """A tensor's bytes, row by row, and how to read them."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def array(self) -> numpy.ndarray:
        """As a numpy array. Raises Unusable for a type that numpy does not have."""
        import numpy

        if self.dtype not in _NUMPY:
            raise Unusable(BAD_DTYPE, f"{self.dtype} for values that must be read")
        try:
            return numpy.frombuffer(self.data, dtype=self.dtype).reshape(self.shape)
        except ValueError as error:  # the file has changed since its header was read
            raise Unusable(CUT_TENSORS, str(error)) from None


def serialised(tensors: Mapping[str, Payload]) -> bytes:
    """A safetensors file. Written here because the library's numpy form has no bfloat16 or float8,
    and its torch form needs torch. Layout: length of the header (8 bytes), header, data."""
    names = {name: code for code, name in DTYPES.items()}
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in sorted(tensors.items()):
        end = at + len(tensor.data)
        entry = {"dtype": names[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = {**entry, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of 8
    data = (tensor.data for _, tensor in sorted(tensors.items()))
    return struct.pack("<Q", len(text)) + text + b"".join(data)


def check_file(folder: str) -> None:
    """Raises Unusable where the folder's tensor file is cut or none; its data is not read."""
    path = os.path.join(folder, SAFETENSORS)
    if os.path.exists(path):
        _header(path)
    elif os.path.exists(path := os.path.join(folder, TORCH)):
        from zipfile import is_zipfile

        if not is_zipfile(path):
            raise Unusable(CUT_TENSORS, f"{TORCH} is no whole archive")


def read(folder: str, key: str, shape: tuple[int, ...], dtype: str) -> Payload:
    """The tensor `key` of a call's folder, as its record describes it. Raises Unusable."""
    path = os.path.join(folder, SAFETENSORS)
    if os.path.exists(path):
        found = _from_safetensors(path, key)
    elif os.path.exists(path := os.path.join(folder, TORCH)):
        found = _from_torch(path, key)
    else:
        raise Unusable(NO_DATA, f"neither {SAFETENSORS} nor {TORCH}")
    if (found.dtype, found.shape) != (dtype, shape):
        text = f"{key}: {found.dtype} {list(found.shape)} in the file, {dtype} {list(shape)} in"
        raise Unusable(CUT_TENSORS, f"{text} the record")
    return found


@lru_cache(maxsize=64)
def _header(path: str) -> Any:
    """A file's tensors; FlashInfer writes a file once."""
    try:
        return read_header(Path(path))
    except (ValueError, RecursionError, OSError) as error:
        raise Unusable(CUT_TENSORS, f"{os.path.basename(path)}: {error}") from None


def _from_safetensors(path: str, key: str) -> Payload:
    entry = _header(path).get(key)
    if entry is None:
        raise Unusable(NO_DATA, f"{key} is not in {SAFETENSORS}")
    with open(path, "rb") as file:
        file.seek(entry.first)
        data = file.read(entry.last - entry.first)
    return Payload(entry.name, tuple(entry.shape), data)


def _from_torch(path: str, key: str) -> Payload:
    tensors = _torch_file(path, os.stat(path).st_mtime_ns)
    if key not in tensors:
        raise Unusable(NO_DATA, f"{key} is not in {TORCH}")
    import torch

    tensor = tensors[key].contiguous()
    flat = tensor.reshape(-1).view(torch.uint8) if tensor.numel() else tensor.reshape(-1)
    name = str(tensor.dtype).removeprefix("torch.")
    return Payload(name, tuple(tensor.shape), flat.numpy().tobytes() if tensor.numel() else b"")


@lru_cache(maxsize=4)
def _torch_file(path: str, changed: int) -> dict[str, Any]:
    """The file's tensors, mapped into memory, not read."""
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "the dump is in torch's format, and torch is not installed",
            received=path,
            next_step="pip install torch, or record with FLASHINFER_DUMP_SAFETENSORS=1",
        ) from None
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # zip, pickle and torch each raise their own
        raise Unusable(CUT_TENSORS, f"{TORCH}: {error}") from None
