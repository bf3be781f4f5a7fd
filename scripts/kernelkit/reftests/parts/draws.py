"""Random values and index tables, on the generator's device."""

from __future__ import annotations

import torch


def normal(shape: tuple[int, ...], rng: torch.Generator, scale: float = 1.0) -> torch.Tensor:
    """Normal float32 values."""
    return torch.randn(shape, generator=rng, device=rng.device) * scale


def split(total: int, parts: int, rng: torch.Generator) -> list[int]:
    """`total` as `parts` integers of very different size, at least 1 each where it suffices."""
    least = 1 if total >= parts else 0
    weights = torch.rand(parts, generator=rng, device=rng.device).cpu().double().square() + 0.02
    ends = (weights.cumsum(0) / weights.sum() * (total - least * parts)).long().tolist()
    ends[-1:] = [total - least * parts] * min(1, parts)
    return [end - start + least for start, end in zip([0, *ends], ends, strict=False)]


def offsets(counts: list[int], like: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
    """Offsets of consecutive ranges: 0, then the running sum."""
    return torch.tensor([0, *counts], device=like.device).cumsum(0).to(dtype)


def shuffled_ids(count: int, pool: int, rng: torch.Generator) -> torch.Tensor:
    """`count` ids below `pool` in random order, distinct as far as there are enough."""
    rounds = -(-count // max(1, pool))
    ids = [torch.randperm(pool, generator=rng, device=rng.device) for _ in range(rounds)]
    return torch.cat(ids)[:count].to(torch.int32)
