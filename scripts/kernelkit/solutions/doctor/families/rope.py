"""Rotary embedding by a cache of cosines and sines, with knobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    style: str = "right"  # right, other (NEOX for interleaved and the reverse)
    layout: str = "right"  # interleaved pairs turned, but written as halves, or the reverse
    cache: str = "cos-sin"  # cos-sin, sin-cos, interleaved, no-sine
    sines: tuple[float, float] = (-1.0, 1.0)  # signs in the first and the second of a pair
    positions: str = "given"  # given, row, next, previous, zero
    dims: str = "rotary"  # rotary, half, all, last
    which: str = "both"  # both, q, k, none
    rest: str = "kept"  # kept, zero


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """q_out and k_out."""
    turned = Knobs(**knobs)
    cos, sin = _angles(inputs, turned)
    found = {}
    for name in ("q", "k"):
        x = inputs[name]
        same = turned.which not in ("both", name)
        out = x.float() if same else _rotate(definition, x.float(), cos, sin, turned)
        found[f"{name}_out"] = out.to(x.dtype)
    return found


def is_neox(definition: Definition) -> bool:
    """Whether dimension i is paired with i + rotary_dim / 2."""
    return "neox" in definition.name


def _angles(inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [tokens, 1, rotary_dim / 2]."""
    import torch

    cache, positions = inputs["cos_sin_cache"].float(), inputs["positions"].long()
    count = len(cache)
    rows = torch.arange(len(positions), device=positions.device)
    positions = {
        "given": positions, "row": rows, "next": positions + 1, "previous": positions - 1,
        "zero": positions * 0,
    }[knobs.positions] % max(1, count)  # fmt: skip
    picked = cache[positions][:, None]
    half = picked.shape[-1] // 2
    first, second = picked[..., :half], picked[..., half:]
    if knobs.cache == "sin-cos":
        first, second = second, first
    elif knobs.cache == "interleaved":
        first, second = picked[..., 0::2], picked[..., 1::2]
    elif knobs.cache == "no-sine":
        second = second * 0
    return first, second


def _rotate(
    definition: Definition, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, knobs: Knobs
) -> torch.Tensor:
    """x [tokens, heads, head_size] in float32."""
    import torch

    dim, size = 2 * cos.shape[-1], x.shape[-1]
    if knobs.dims == "half":
        cos, sin, dim = cos[..., : dim // 4], sin[..., : dim // 4], dim // 2
    if knobs.dims == "all":
        repeat = -(-size // dim)
        cos = cos.repeat(1, 1, repeat)[..., : size // 2]
        sin = sin.repeat(1, 1, repeat)[..., : size // 2]
        dim = size
    start = size - dim if knobs.dims == "last" else 0
    part = x[..., start : start + dim]
    halves = is_neox(definition) != (knobs.style == "other")
    if halves:
        one, two = part[..., : dim // 2], part[..., dim // 2 :]
    else:
        one, two = part[..., 0::2], part[..., 1::2]
    pair = (one * cos + knobs.sines[0] * two * sin, two * cos + knobs.sines[1] * one * sin)
    written_as_halves = halves != (knobs.layout == "other")
    turned = torch.cat(pair, -1) if written_as_halves else torch.stack(pair, -1).flatten(-2)
    result = x.clone() if knobs.rest == "kept" else torch.zeros_like(x)
    result[..., start : start + dim] = turned
    return result


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    neox = is_neox(definition)
    pairs = ("i with i + rotary_dim / 2", "2 i with 2 i + 1")
    right, wrong = pairs if neox else pairs[::-1]
    style = (
        "rope-interleaved-for-neox" if neox else "rope-neox-for-interleaved",
        f"dimensions are paired {wrong}", f"pair {right} (is_neox={neox})", {"style": "other"},
    )  # fmt: skip
    written = (
        "rope-written-in-other-order", "pairs are turned rightly and written in the other order",
        "write each half back to where it was read", {"layout": "other"},
    )  # fmt: skip
    rows = [style, written, *_ROWS]
    sizes = definition.const_axes
    return table(rows + (_PARTIAL if sizes["rotary_dim"] < sizes["head_size"] else []))


_ROWS = [
    ("rope-not-applied", "q and k are returned as they came: an in-place API turned a copy",
     "return the tensors that the API wrote", {"which": "none"}),
    ("rope-sine-sign", "the rotation goes the other way: the sine's sign is turned",
     "first * cos - second * sin, second * cos + first * sin", {"sines": (1.0, -1.0)}),
    ("rope-sign-of-one-half", "the sine's sign is wrong in the first of each pair",
     "first * cos - second * sin, second * cos + first * sin", {"sines": (1.0, 1.0)}),
    ("rope-sign-of-one-half", "the sine's sign is wrong in the second of each pair",
     "first * cos - second * sin, second * cos + first * sin", {"sines": (-1.0, -1.0)}),
    ("rope-sin-cos-swapped", "the cache's first half is taken for sines",
     "cosines are the first half of a cache row, sines the second", {"cache": "sin-cos"}),
    ("rope-cache-interleaved", "the cache is read as cosine, sine, cosine, sine",
     "cosines are the first half of a cache row, sines the second", {"cache": "interleaved"}),
    ("rope-without-sine", "only cosines are used", "use the second half of a cache row",
     {"cache": "no-sine"}),
    ("rope-positions-ignored", "the row number is taken for the position",
     "angles come from cos_sin_cache[positions]", {"positions": "row"}),
    ("rope-position-zero", "all tokens are turned as at position 0",
     "angles come from cos_sin_cache[positions]", {"positions": "zero"}),
    ("rope-position-off-by-one", "positions are one too high", "use positions as they are",
     {"positions": "next"}),
    ("rope-position-off-by-one", "positions are one too low", "use positions as they are",
     {"positions": "previous"}),
    ("rope-half-dims", "only the first half of the rotary dimensions is turned",
     "turn rotary_dim dimensions: rotary_dim / 2 pairs", {"dims": "half"}),
    ("rope-q-only", "k is not turned", "turn q and k", {"which": "q"}),
    ("rope-k-only", "q is not turned", "turn q and k", {"which": "k"}),
]  # fmt: skip
_PARTIAL = [
    ("rope-all-dims", "all dimensions of the head are turned, not rotary_dim of them",
     "dimensions beyond rotary_dim pass through", {"dims": "all"}),
    ("rope-last-dims", "the last dimensions of the head are turned, not the first",
     "turn the first rotary_dim dimensions", {"dims": "last"}),
    ("rope-rest-lost", "dimensions beyond rotary_dim are zero", "copy them from the input",
     {"rest": "zero"}),
]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Tokens at position 0, which no rotation changes."""
    return {"tokens at position 0": (inputs["positions"] == 0).cpu()}
