"""The contents of calls as slots hold them. A solution makes the calls of the one before in another
order, and calls to come can be made ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.bench.judge.contents import Contents
from kernelkit.bench.judge.kept import Kept
from kernelkit.bench.judge.slots import Slots

if TYPE_CHECKING:
    import torch


class Images:
    """Parts of images, by key."""

    def __init__(self, contents: Contents, slots: Slots, most_bytes: int) -> None:
        self.contents, self.slots = contents, slots
        self.kept: Kept[torch.Tensor] = Kept(most_bytes, lambda part: [part])

    def image(self, keys: list[str]) -> torch.Tensor:
        """The contents of some calls, as bytes [calls, first part of a slot]."""
        import torch

        return torch.stack([self.part(key) for key in keys])

    def part(self, key: str) -> torch.Tensor:
        """The contents of one call."""
        return self.kept.get(key, lambda: self.slots.part(self.contents.inputs(key)))
