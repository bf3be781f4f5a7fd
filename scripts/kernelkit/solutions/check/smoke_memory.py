"""Memory of a smoke run: filled allocations, copies, addresses, comparisons bit by bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

CLEAN, POISON = 0x00, 0xFF  # bytes of uninitialised memory: zeros, then NaN and -1


@contextmanager
def allocations(fill: int) -> Iterator[None]:
    """Every torch.empty (and its kin) gives memory that holds the byte `fill`."""
    import torch

    places = [(torch, "empty"), (torch, "empty_like"), (torch, "empty_strided"),
              (torch.Tensor, "new_empty")]  # fmt: skip
    kept = [getattr(owner, name) for owner, name in places]

    def filled(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def allocate(*args: Any, **kwargs: Any) -> torch.Tensor:
            made = original(*args, **kwargs)
            if made.is_contiguous() and made.numel() and made.device.type != "meta":
                byte = fill & 1 if made.dtype == torch.bool else fill
                made.reshape(-1).view(torch.uint8).fill_(byte)
            return made

        return allocate

    for (owner, name), original in zip(places, kept, strict=True):
        setattr(owner, name, filled(original))
    try:
        yield
    finally:
        for (owner, name), original in zip(places, kept, strict=True):
            setattr(owner, name, original)


def is_tensor(value: object) -> bool:
    """Whether an input is a tensor."""
    return hasattr(value, "data_ptr")


def copied(inputs: Inputs) -> Inputs:
    """The inputs in memory of their own."""
    return {n: v.clone() if is_tensor(v) else v for n, v in inputs.items()}


def start(value: torch.Tensor) -> int:
    """The address of the memory that a tensor is a view of."""
    return value.untyped_storage().data_ptr()


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal shape, type and bits."""
    import torch

    bits = [t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other)]
    return (one.shape, one.dtype) == (other.shape, other.dtype) and torch.equal(*bits)


def alike(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal up to the rounding of another order of summation, NaN where NaN is."""
    import torch

    if not one.dtype.is_floating_point:
        return torch.equal(one, other)
    return torch.allclose(one.float(), other.float(), rtol=1e-2, atol=1e-3, equal_nan=True)
