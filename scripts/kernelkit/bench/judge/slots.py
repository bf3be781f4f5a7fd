"""The arena as slots: one layout again and again, written, poisoned and inspected all at once.

A slot's first part is its inputs and the guard zones around them: an *image* of it is made once,
copied into the arena before each use, and compared with it afterwards. The second part is its
outputs, filled with poison that changes from use to use, and their guard zones.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from kernelkit.bench.isolation.arena import Layout, Place, view
from kernelkit.ops.base import torch_dtype

if TYPE_CHECKING:
    import torch

WORD = 8  # bytes; a slot's parts are multiples of it (arena.ALIGNMENT)
POISONS = (float("nan"), 6.0e4, -3.0e3)

Tensors = dict[str, "torch.Tensor"]


class Slots:
    """The slots of one workload in an arena's bytes."""

    def __init__(self, raw: torch.Tensor, layout: Layout) -> None:
        self.layout = layout
        self.count = raw.numel() // layout.bytes
        self.arena = raw[: self.count * layout.bytes].view(self.count, layout.bytes)
        self.words = words(self.arena)
        self.cut = min(place.offset for place in layout.outputs.values())
        pattern = _random_bytes(layout.bytes, raw)
        self.ground = pattern[: self.cut]
        self.poisons = [self._poisoned(pattern[self.cut :], value) for value in POISONS]
        self.round = 0
        self.zones = self._zones(raw)  # of a slot's second part
        self.kept = [poisoned[self.zones] for poisoned in self.poisons]

    def _zones(self, raw: torch.Tensor) -> torch.Tensor:
        """The places of all bytes of the second part's guard zones."""
        import torch

        ranges = [(max(a, self.cut) - self.cut, b - self.cut) for a, b in self.layout.guards()]
        parts = [torch.arange(a, b) for a, b in ranges if b > a]
        return torch.cat(parts).to(raw.device)

    def _poisoned(self, pattern: torch.Tensor, value: float) -> torch.Tensor:
        made = pattern.clone()
        for place in (*self.layout.outputs.values(), *self.layout.taken.values()):
            poison(self._output(made, place), value)
        return made

    def _output(self, part: torch.Tensor, place: Place) -> torch.Tensor:
        """A tensor of a slot's second part."""
        moved = Place(place.offset - self.cut, place.shape, place.dtype, place.item_bytes)
        return view(part, moved)

    def part(self, contents: dict[str, Any]) -> torch.Tensor:
        """A slot's first part, as bytes [cut]. As many of them, stacked, are an image."""
        made = self.ground.clone()
        for name, place in self.layout.inputs.items():
            view(made, place).copy_(contents[name])
        return made

    def inputs(self, image: torch.Tensor, number: int) -> Tensors:
        """The input tensors of one slot of an image: views."""
        return {name: view(image[number], p) for name, p in self.layout.inputs.items()}

    def write(self, image: torch.Tensor) -> None:
        """Write an image to the first slots, and fresh poison to their outputs."""
        self.round = (self.round + 1) % len(self.poisons)
        used = self.words[: len(image)]
        used[:, : self.cut // WORD].copy_(words(image))
        used[:, self.cut // WORD :].copy_(words(self.poisons[self.round]))

    def write_integers(self, image: torch.Tensor) -> None:
        """Write the index tensors of an image's first slot; all else stays as it was."""
        for name, value in self.inputs(image, 0).items():
            if is_index(value):
                place = self.layout.inputs[name]
                self.arena[0, place.offset : place.end].copy_(image[0, place.offset : place.end])

    def results(self, count: int) -> torch.Tensor:
        """The second parts of the first slots, as they are, in words: a view."""
        return self.words[:count, self.cut // WORD :]

    def outputs(self, results: torch.Tensor, *, taken: bool) -> Tensors:
        """The outputs of all slots of `results` by name, [slots, ...], as the solution wrote them
        or as they were taken: views."""
        import torch

        places = self.layout.taken if taken else self.layout.outputs
        found = {}
        for name, place in places.items():
            raw = results.view(torch.uint8)[:, place.offset - self.cut : place.end - self.cut]
            found[name] = raw.view(torch_dtype(place.dtype)).view(len(results), *place.shape)
        return found

    def touched(self, image: torch.Tensor) -> torch.Tensor:
        """[2] bool, on the device: whether a byte of the inputs' part, or of the guard zones beside
        the outputs, has changed. No sync."""
        import torch

        used = self.arena[: len(image)]
        first = self.words[: len(image), : self.cut // WORD] != words(image)
        second = used[:, self.cut :].index_select(1, self.zones) != self.kept[self.round]
        return torch.stack([first.any(), second.any()])

    def trespass(self, image: torch.Tensor, allowed: set[str]) -> str:
        """What was written that may not be: an input outside of `allowed`, or a guard zone. Empty
        where all is well."""
        import torch

        used = self.arena[: len(image)]
        kept, poisoned = used[:, : self.cut], self.poisons[self.round]
        if not torch.equal(kept, image):
            changed = [
                name
                for name, place in self.layout.inputs.items()
                if not torch.equal(kept[:, place.offset : place.end],
                                   image[:, place.offset : place.end])
            ]  # fmt: skip
            if names := [name for name in changed if name not in allowed]:
                return f"writes to its inputs: {', '.join(names)}"
            if not changed:
                return GUARD
        for start, end in self.layout.guards():
            inside = poisoned[max(0, start - self.cut) : max(0, end - self.cut)]
            zone = used[:, max(start, self.cut) : max(end, self.cut)]
            if inside.numel() and not torch.equal(zone, inside.expand_as(zone)):
                return GUARD
        return ""


def is_index(tensor: torch.Tensor) -> bool:
    """Whether it can be a table (lengths, pages, positions), which a solution may plan by. Integers
    of a byte or two are values in a format of their own: quantised caches and weights."""
    kind = tensor.dtype
    return not kind.is_floating_point and not kind.is_complex and tensor.element_size() >= 4


def words(raw: torch.Tensor) -> torch.Tensor:
    """Bytes as integers of eight: a pass over them takes an eighth of the steps."""
    import torch

    return raw.view(torch.int64)


GUARD = "writes outside of its outputs: a guard zone beside a tensor has changed"


def poison(tensor: torch.Tensor, value: float) -> None:
    """Fill with `value`, or, where the dtype cannot hold it, with a pattern of bytes."""
    import torch

    if tensor.dtype.is_floating_point and tensor.element_size() > 1:
        tensor.fill_(value)
    else:
        tensor.view(torch.uint8).fill_(0xFF if value != value else 0x5A)


def _random_bytes(count: int, like: torch.Tensor) -> torch.Tensor:
    """Bytes that nobody can guess, on the device of `like`."""
    import torch

    rng = torch.Generator(like.device).manual_seed(secrets.randbits(62))
    return torch.randint(0, 256, (count,), dtype=torch.uint8, device=like.device, generator=rng)
