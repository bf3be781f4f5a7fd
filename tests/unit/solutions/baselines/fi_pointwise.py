"""Stand-ins for FlashInfer's norms (the fused ones work in place), sampling (int32) and rope."""

from __future__ import annotations

from typing import Any

import torch


def normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """RMSNorm in float32, rounded to x's type."""
    return torch.nn.functional.rms_norm(x.float(), x.shape[-1:], weight.float(), eps).to(x.dtype)


def rmsnorm(input: torch.Tensor, weight: torch.Tensor, *, eps: float) -> torch.Tensor:
    return normed(input, weight, eps)


def gemma_rmsnorm(input: torch.Tensor, weight: torch.Tensor, *, eps: float) -> torch.Tensor:
    return normed(input, weight.float() + 1, eps)


def fused_add_rmsnorm(
    input: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, *, eps: float
) -> None:
    residual.add_(input)
    input.copy_(normed(residual, weight, eps))


def gemma_fused_add_rmsnorm(
    input: torch.Tensor, residual: torch.Tensor, weight: torch.Tensor, *, eps: float
) -> None:
    fused_add_rmsnorm(input, residual, weight.float() + 1, eps=eps)


def kept(probs: torch.Tensor, top_k: Any, top_p: Any) -> torch.Tensor:
    """Probabilities of what may be drawn."""
    values, order = probs.sort(dim=1, descending=True)
    if top_k is not None:
        assert top_k.min() >= 1 and top_k.max() <= probs.shape[1]
        values = values.masked_fill(torch.arange(probs.shape[1]) >= top_k[:, None], 0.0)
        values = values / values.sum(dim=1, keepdim=True)
    if top_p is not None:
        assert top_p.min() > 0 and top_p.max() <= 1
        values = values.masked_fill(values.cumsum(dim=1) - values >= top_p[:, None], 0.0)
    return torch.zeros_like(probs).scatter(1, order, values)


def top_k_sampling_from_probs(probs: torch.Tensor, top_k: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(kept(probs, top_k, None), 1)[:, 0].to(torch.int32)


def top_p_sampling_from_probs(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    return torch.multinomial(kept(probs, None, top_p), 1)[:, 0].to(torch.int32)


def top_k_top_p_sampling_from_probs(
    probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor, *, filter_apply_order: str
) -> torch.Tensor:
    assert filter_apply_order == "top_k_first"
    return torch.multinomial(kept(probs, top_k, top_p), 1)[:, 0].to(torch.int32)


def apply_rope_with_cos_sin_cache(
    positions: torch.Tensor, query: torch.Tensor, key: torch.Tensor, head_size: int,
    cos_sin_cache: torch.Tensor, *, is_neox: bool,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    cos, sin = cos_sin_cache[positions].chunk(2, dim=-1)
    half = cos.shape[1]
    first = torch.arange(half) if is_neox else torch.arange(0, 2 * half, 2)
    second = first + half if is_neox else first + 1

    def turned(x: torch.Tensor) -> torch.Tensor:
        heads = x.view(len(x), -1, head_size).float()
        a, b = heads[..., first], heads[..., second]
        heads[..., first] = a * cos[:, None] - b * sin[:, None]
        heads[..., second] = b * cos[:, None] + a * sin[:, None]
        return heads.flatten(1).to(x.dtype)

    return turned(query), turned(key)
