"""Wrong and right kernels of gemm, rmsnorm and rope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Kernel = Callable[..., Any]
EPS = 1e-6


def gemm(
    *,
    skipped: slice | None = None,
    half: int = 0,
    gain: float = 1.0,
    shift: int = 0,
    split: int = 1,
) -> Kernel:
    """C = A @ B.T, right without a flaw. `skipped`: columns of K that are left out; `half`: sums in
    float16 every so many products; `shift`: rows of B taken too far. `split`
    parts of K, added in float16 as split kernels do, are right."""

    def run(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        left, right = a.float(), b.float().roll(-shift, 0)
        if skipped is not None:
            left = left.clone()
            left[:, skipped] = 0.0
        step = half or -(-a.shape[1] // split)
        total = torch.zeros(len(a), len(b), dtype=torch.float32)
        for start in range(0, a.shape[1], step):
            part = slice(start, start + step)
            total = (total + left[:, part] @ right[:, part].T).half().float()
        return (total * gain).to(a.dtype)

    return run


GEMM_FLAWS: dict[str, dict[str, Any]] = {
    "last 64 of K": {"skipped": slice(-64, None)},
    "last of K": {"skipped": slice(-1, None)},
    "first of K": {"skipped": slice(0, 1)},
    "a block of K": {"skipped": slice(128, 160)},
    "times 1.02": {"gain": 1.02},
    "times 1.005": {"gain": 1.005},
    "rows of B off by one": {"shift": 1},
}


def rmsnorm(
    definition: Any,
    *,
    eps: float = EPS,
    outside: bool = False,
    gain: float = 1.0,
    count: int = 0,
    skipped: int = 0,
    weight: bool = True,
    squares: torch.dtype = torch.float32,
    residual: bool = True,
    other_form: bool = False,
    twice: bool = False,
    mean: bool = False,
) -> Kernel:
    """Right without a flaw. `outside`: eps added to the root; `count`: elements that the mean
    divides by too many; `skipped`: last elements that the mean does not see; `other_form`: Gemma's
    1 + w for w and the reverse; `mean`: subtracts the mean. `twice` rounds before the weight, which
    is right."""
    gemma = definition.name.startswith("gemma_") != other_form

    def run(*arguments: torch.Tensor) -> torch.Tensor:
        *rows, w = arguments
        x = rows[0].float() + (rows[1].float() if len(rows) > 1 and residual else 0.0)
        x = x - x.mean(dim=1, keepdim=True) if mean else x
        width = x.shape[1]
        seen = x[:, : width - skipped].to(squares)
        total = seen.square().sum(dim=1, keepdim=True).float() / (width + count)
        root = total.sqrt() + eps if outside else (total + eps).sqrt()
        normed = x / root
        normed = normed.to(w.dtype).float() if twice else normed
        factor = (1.0 + w.float()) if gemma else w.float()
        return (normed * (factor if weight else 1.0) * gain).to(w.dtype)

    return run


RMSNORM_FLAWS: dict[str, dict[str, Any]] = {
    "eps ten times larger": {"eps": 1e-5},
    "eps ten times smaller": {"eps": 1e-7},
    "no eps": {"eps": 0.0},
    "eps outside of the root": {"outside": True},
    "times 1.02": {"gain": 1.02},
    "mean over 3 % too many": {"count": 30},
    "last 16 not in the mean": {"skipped": 16},
    "weight ignored": {"weight": False},
    "weight of the other form": {"other_form": True},
    "mean subtracted": {"mean": True},
    "squares in float16": {"squares": torch.float16},
}


def rope(
    *,
    neox: bool = True,
    sign: float = 1.0,
    shift: int = 0,
    only_q: bool = False,
    tail: float = 1.0,
    swapped: bool = False,
    own: bool = False,
) -> Kernel:
    """Right without a flaw. `shift`: positions off; `tail`: factor of what passes through; `own`:
    angles computed for theta 10000 instead of taken from the cache."""

    def run(
        q: torch.Tensor, k: torch.Tensor, cache: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = cache[(positions + shift).clamp(max=len(cache) - 1)]
        if own:
            size = cache.shape[1]
            angle = positions[:, None] * 10000.0 ** (-torch.arange(0, size, 2).float() / size)
            rows = torch.cat([angle.cos(), angle.sin()], dim=1)
        cos, sin = rows.float()[:, None].chunk(2, dim=-1)
        if swapped:
            cos, sin = sin, cos
        turned = [_turn(x, cos, sin * sign, neox, tail) for x in (q, k)]
        return turned[0], k.clone() if only_q else turned[1]

    return run


def _turn(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, neox: bool, tail: float
) -> torch.Tensor:
    half = cos.shape[-1]
    rotary = x[..., : 2 * half].float()
    first, second = rotary.chunk(2, dim=-1) if neox else (rotary[..., 0::2], rotary[..., 1::2])
    pair = first * cos - second * sin, second * cos + first * sin
    joined = torch.cat(pair, dim=-1) if neox else torch.stack(pair, dim=-1).flatten(-2)
    return torch.cat([joined.to(x.dtype), (x[..., 2 * half :] * tail)], dim=-1)


ROPE_FLAWS: dict[str, dict[str, Any]] = {
    "pairs of the other style": {"neox": False},
    "turned the other way": {"sign": -1.0},
    "positions off by one": {"shift": 1},
    "k not turned": {"only_q": True},
    "rest not passed through": {"tail": 0.0},
    "cosine for sine": {"swapped": True},
    "angles of its own": {"own": True},
}
