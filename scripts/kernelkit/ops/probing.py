"""What the families share to make further inputs of a call: fresh contents, moved tables.

A trial calls a kernel many times. Each call has contents of its own, made from given inputs by
moving and mixing them on their device: values keep their distribution, and no result can be kept
from one call to the next, nor made ahead for all calls to come.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from kernelkit.dataset.definition import Definition
    from kernelkit.ops.base import Inputs

MIXED_BYTES = 1 << 30
FAR = 1 << 62  # a position that no token has


def pick(rng: torch.Generator, low: int, high: int) -> int:
    """A random integer of [low, high)."""
    import torch

    return int(torch.randint(low, high, (), generator=rng))


def is_values(value: Any) -> bool:
    """Whether an input is a floating tensor: its contents may move."""
    return hasattr(value, "is_floating_point") and value.is_floating_point() and value.dim() > 0


def rolled(
    value: torch.Tensor, rng: torch.Generator, *, rows: bool = True, columns: bool = True
) -> torch.Tensor:
    """A copy whose rows (all axes but the last, as one) and columns are rolled by random non-zero
    offsets. One pass over the memory, any type."""
    import torch

    if value.dim() == 0 or not value.numel():
        return value.clone()
    source = value.contiguous().view(-1, value.shape[-1])
    result = torch.empty_like(source)
    # Types of one byte go by their bits: float8 lacks many operations.
    bits = (source, result) if value.element_size() > 1 else _bytes(source, result)
    height, width = source.shape
    down = pick(rng, 1, height) if rows and height > 1 else 0
    right = pick(rng, 1, width) if columns and width > 1 else 0
    for to_row, from_row in _halves(height, down):
        for to_column, from_column in _halves(width, right):
            bits[1][to_row, to_column] = bits[0][from_row, from_column]
    return result.view(value.shape)


def _bytes(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    import torch

    return tuple(tensor.view(torch.uint8) for tensor in tensors)


def _halves(size: int, offset: int) -> list[tuple[slice, slice]]:
    """(to, from) of the one or two ranges that a roll moves."""
    parts = [(slice(offset, size), slice(0, size - offset))]
    return parts + ([(slice(0, offset), slice(size - offset, size))] if offset else [])


def mixed(value: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """A copy in which each column comes, by chance, from one of two rolled ones.

    Of rolled contents alone there are few. Where one offset decides about a result (a product's is
    that between its factors' columns), a kernel could make the results of all offsets in a call
    that nobody times, and look one up later. Tensors of more than MIXED_BYTES, of which no such
    table can be had, are rolled only.
    """
    import torch

    made = rolled(value, rng)
    if value.dim() == 0 or value.shape[-1] < 2 or value.nbytes > MIXED_BYTES:
        return made
    columns = torch.randint(0, 2, (value.shape[-1],), generator=rng).bool().to(value.device)
    first, second = made, rolled(value, rng)
    if value.element_size() == 1:  # types of one byte go by their bits
        first, second = _bytes(first, second)
    return torch.where(columns, first, second).view(value.dtype)


def vary(inputs: Inputs, rng: torch.Generator, *, mix: bool = False) -> Inputs:
    """Every floating tensor rolled (with `mix`: mixed from itself), each in a way of its own; the
    rest as it is."""
    move = mixed if mix else rolled
    return {n: move(v, rng) if is_values(v) else v for n, v in inputs.items()}


def roll_requests(inputs: Inputs, names: dict[str, bool], rng: torch.Generator) -> Inputs:
    """Requests in another order: per-request tensors rolled by one offset.

    `names` maps a tensor to whether it is an indptr, whose differences are rolled. Tensors may have
    more entries than there are requests; those stay.
    """
    import torch

    present = {name: pointer for name, pointer in names.items() if name in inputs}
    counts = [len(inputs[name]) - pointer for name, pointer in present.items()]
    requests = min(counts, default=0)
    if requests < 2:
        return {}
    shift = pick(rng, 1, requests)
    moved: Inputs = {}
    for name, pointer in present.items():
        value = inputs[name]
        parts = torch.diff(value) if pointer else value
        parts = torch.cat([parts[:requests].roll(shift, 0), parts[requests:]])
        moved[name] = from_counts(parts, value) if pointer else parts
    return moved


def from_counts(counts: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """The indptr of these counts that starts where `like` does, in its type."""
    import torch

    return torch.cat([like[:1], like[:1] + counts.cumsum(0)]).to(like.dtype)


def rotated(ids: torch.Tensor, count: int, rng: torch.Generator) -> torch.Tensor:
    """Ids of `count` places, each moved on by one random offset; below 0 is padding and stays.

    A permutation that keeps neighbours: a call reads memory in the same pattern as before.
    """
    if count < 2:
        return ids.clone()
    return ids.where(ids < 0, (ids + pick(rng, 1, count)) % count)


def scattered(ids: torch.Tensor, count: int, rng: torch.Generator) -> torch.Tensor:
    """Ids under a random permutation without neighbours: id -> (a id + b) mod count."""
    if count < 3:
        return rotated(ids, count, rng)
    factor = pick(rng, 2, count)
    while math.gcd(factor, count) != 1:
        factor = factor % (count - 1) + 1
    moved = (ids.long() * factor + pick(rng, 0, count)) % count
    return ids.where(ids < 0, moved.to(ids.dtype))


def normal(shape: tuple[int, ...], rng: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Normal float32 values, drawn on the CPU, on the device of `like`: for small tensors."""
    import torch

    return torch.randn(shape, generator=rng).to(like.device)


def uniform(
    low: float, high: float, shape: tuple[int, ...], rng: torch.Generator, like: torch.Tensor
) -> torch.Tensor:
    """Uniform float32 values, drawn on the CPU, on the device of `like`: for small tensors."""
    import torch

    return (low + (high - low) * torch.rand(shape, generator=rng)).to(like.device)


def signs(shape: tuple[int, ...], rng: torch.Generator, like: torch.Tensor) -> torch.Tensor:
    """Random float32 signs on the device of `like`."""
    import torch

    return (torch.randint(0, 2, shape, generator=rng) * 2.0 - 1.0).to(like.device)


def first_position(slots: torch.Tensor, positions: torch.Tensor, count: int) -> torch.Tensor:
    """For each of `count` slots the least position that a token in it has, FAR where none is."""
    import torch

    least = torch.full((count,), FAR, dtype=torch.int64, device=slots.device)
    return least.scatter_reduce_(0, slots, positions, "amin")


def replaced(definition: Definition, inputs: Inputs, changes: Inputs) -> Inputs:
    """The inputs in the definition's order with some of them changed."""
    return {name: changes.get(name, inputs[name]) for name in definition.inputs}
