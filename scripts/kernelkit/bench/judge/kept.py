"""Tensors that are kept for the next solution, which will ask for the same: by key, in a limit."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


class Kept(Generic[T]):
    """Values as large as `most_bytes` together, and one at least: those asked for last. `tensors`:
    what a value holds."""

    def __init__(self, most_bytes: int, tensors: Callable[[T], Iterable[torch.Tensor]]) -> None:
        self.most_bytes, self.tensors = most_bytes, tensors
        self.values: OrderedDict[str, T] = OrderedDict()
        self.bytes = 0

    def get(self, key: str, make: Callable[[], T]) -> T:
        """The value of a key, made where it is not there."""
        if key not in self.values:
            self.values[key] = value = make()
            self.bytes += self._size(value)
            while len(self.values) > 1 and self.bytes > self.most_bytes:
                self.bytes -= self._size(self.values.popitem(last=False)[1])
            return value
        self.values.move_to_end(key)
        return self.values[key]

    @property
    def full(self) -> bool:
        """Whether one more would displace one that is kept."""
        return self.bytes + self.bytes / max(1, len(self.values)) > self.most_bytes

    def forget(self) -> None:
        """Keep none."""
        self.values.clear()
        self.bytes = 0

    def _size(self, value: T) -> int:
        return sum(tensor.nbytes for tensor in self.tensors(value))
