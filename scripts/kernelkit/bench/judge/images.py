"""The contents of calls as slots hold them: made once, kept for the next solution.

A solution's calls are those of the one before in another order, and calls to come can be made
ahead.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from kernelkit.bench.judge.contents import Contents
from kernelkit.bench.judge.slots import Slots

if TYPE_CHECKING:
    import torch


class Images:
    """Parts of images, by key: as many as `most_bytes` hold, those that were asked for last."""

    def __init__(self, contents: Contents, slots: Slots, most_bytes: int) -> None:
        self.contents, self.slots, self.most_bytes = contents, slots, most_bytes
        self.parts: OrderedDict[str, torch.Tensor] = OrderedDict()

    def image(self, keys: list[str]) -> torch.Tensor:
        """The contents of some calls, as bytes [calls, first part of a slot]."""
        import torch

        image = torch.stack([self.part(key) for key in keys])
        while len(self.parts) > 1 and len(self.parts) * image[0].nbytes > self.most_bytes:
            self.parts.popitem(last=False)
        return image

    def part(self, key: str) -> torch.Tensor:
        """The contents of one call."""
        if key not in self.parts:
            self.parts[key] = self.slots.part(self.contents.inputs(key))
        self.parts.move_to_end(key)
        return self.parts[key]

    @property
    def full(self) -> bool:
        """Whether one more would displace one that is kept."""
        each = next(iter(self.parts.values())).nbytes if self.parts else 0
        return (len(self.parts) + 1) * each > self.most_bytes

    def forget(self) -> None:
        """Keep none."""
        self.parts.clear()
