"""Numbers and pointers of a kernel that runs as plain Python (`gluon_on_cpu`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


class Constexpr(int):
    """A number known at compile time."""

    @property
    def value(self) -> int:
        return int(self)


@dataclass
class Pointer:
    """Elements of a tensor's storage, by offset."""

    flat: torch.Tensor
    offset: Any

    def __add__(self, more: Any) -> Pointer:
        return Pointer(self.flat, self.offset + more)

    def load(self, mask: Any, other: Any) -> Any:
        if not isinstance(self.offset, torch.Tensor):
            return self.flat[self.offset].item() if mask is None or mask else other
        inside = torch.ones_like(self.offset, dtype=torch.bool) if mask is None else mask
        offset, inside = torch.broadcast_tensors(self.offset.long(), inside)
        found = torch.full(offset.shape, other or 0, dtype=self.flat.dtype)
        found[inside] = self.flat[offset[inside]]
        return found

    def store(self, value: torch.Tensor, mask: torch.Tensor) -> None:
        offset, inside, value = torch.broadcast_tensors(self.offset.long(), mask, value)
        self.flat[offset[inside]] = value[inside].to(self.flat.dtype)
