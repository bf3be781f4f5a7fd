"""Inputs that make wrong attention kernels visible at any length.

coverage: all keys of a head are equal, so each token weighs the same. In most dimensions of the
values stand pairs of consecutive tokens, +M and -M: their sum is exact and near zero, whatever
precedes, and a token that is left out, seen twice or seen too early leaves M / length, which is far
above any tolerance. Half of these dimensions pair tokens 2 j and 2 j + 1, the others 2 j + 1 and
2 j + 2, so that no range of tokens is without an effect. Cache slots that no request sees hold keys
and values that would dominate.

logits: a common part of the keys moves all logits of a query to about +100 or -100, where softmax
without a maximum overflows or underflows, and in which only the differences decide.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from kernelkit.ops import probing

if TYPE_CHECKING:
    import torch

    Qkv = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    Latent = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

STRONG = 4.0  # keys that nobody may see: their logits are this many times as large
SHIFT = 100.0  # of the logits, in nats: e^100 is no float32
COMMON = 8.0  # magnitude of the keys' common part
SHARE = 4  # one dimension of this many has a constant value, which gives the output its scale


def magnitude(positions: torch.Tensor, dtype: torch.dtype) -> float:
    """M: a power of two near a quarter of the longest request, which the type holds 16 times."""
    import torch

    seen = positions[positions < probing.FAR]
    longest = int(seen.max()) + 1 if seen.numel() else 1
    most = math.log2(torch.finfo(dtype).max) - 4
    return 2.0 ** min(most // 1, max(0, math.ceil(math.log2(longest)) - 2))


def coverage(
    qkv: Qkv, positions: torch.Tensor, sm_scale: float, rng: torch.Generator, *, paired: bool = True
) -> Qkv:
    """q [rows, heads, d], k [slots, kv heads, d], v [slots, kv heads, e] of the coverage probe.

    `positions` [slots]: where a slot's token stands in its request, FAR where nobody sees it.
    Not `paired`: signs at random, for slots that are seen in no order.
    """
    import torch

    q, k, v = qkv
    kv_heads, dim = k.shape[1:]
    key = probing.normal((kv_heads, dim), rng, k)
    key = key / key.norm(dim=1, keepdim=True) * _unit(sm_scale)
    seen = (positions < probing.FAR)[:, None, None]
    keys = torch.where(seen, key.to(k.dtype), (STRONG * key).to(k.dtype))
    return (
        _queries(q, key, rng),
        keys.contiguous(),
        _values(v, positions, probing.normal((kv_heads, _base(v)), rng, v), rng, paired=paired),
    )


def latent_coverage(
    tensors: Latent,
    positions: torch.Tensor,
    sm_scale: float,
    rng: torch.Generator,
    *,
    paired: bool = True,
) -> Latent:
    """q_nope, q_pe [rows, heads, *], ckv, kpe [slots, *] of the coverage probe.

    Values are the latent keys too: queries are zero where the pairs stand.
    """
    import torch

    q_nope, q_pe, ckv, kpe = tensors
    base = _base(ckv)
    key = probing.normal((1, base + kpe.shape[1]), rng, ckv)
    key = key / key.norm() * _unit(sm_scale)
    q = _queries(q_nope.new_empty(*q_nope.shape[:2], base + kpe.shape[1]), key, rng)
    nope = torch.zeros_like(q_nope)
    nope[..., :base] = q[..., :base]
    values = _values(ckv[:, None], positions, key[:, :base], rng, paired=paired)[:, 0]
    seen = (positions < probing.FAR)[:, None]
    rope = key[:, base:].to(kpe.dtype)
    ropes = torch.where(seen, rope, (STRONG * rope.float()).to(kpe.dtype))
    return nope, q[..., base:].contiguous(), values, ropes.contiguous()


def shifted(
    q: torch.Tensor, k: torch.Tensor, sm_scale: float, rng: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """q [rows, heads, d] and k [slots, kv heads, d] of the logits probe, from given ones."""
    kv_heads, dim = k.shape[1:]
    common = COMMON * probing.signs((kv_heads, dim), rng, k)
    group = max(1, q.shape[1] // kv_heads)
    turn = SHIFT * probing.signs((*q.shape[:2], 1), rng, q)
    step = turn / (sm_scale or 1.0) / (COMMON**2 * dim)
    pull = step * common.repeat_interleave(group, dim=0)
    return (q.float() + pull).to(q.dtype), k + common.to(k.dtype)


def _unit(sm_scale: float) -> float:
    """The norm of a key whose logit with itself is one."""
    return abs(sm_scale or 1.0) ** -0.5


def _base(v: torch.Tensor) -> int:
    return max(1, v.shape[-1] // SHARE)


def _queries(q: torch.Tensor, key: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """[rows, heads, d]: each its KV head's key times 0.5 to 1.5, so that logits are that."""
    group = max(1, q.shape[1] // len(key))
    factor = probing.uniform(0.5, 1.5, (*q.shape[:2], 1), rng, q)
    return (factor * key.repeat_interleave(group, dim=0)).to(q.dtype)


def _values(
    v: torch.Tensor,
    positions: torch.Tensor,
    constant: torch.Tensor,
    rng: torch.Generator,
    *,
    paired: bool,
) -> torch.Tensor:
    """[slots, kv heads, e]: the constants in the first dimensions, one +-M in the others."""
    import torch

    slots, kv_heads, width = v.shape
    base, size = _base(v), magnitude(positions, v.dtype)
    values = torch.zeros_like(v)
    values[..., :base] = constant.to(v.dtype)
    place = positions.where(positions < probing.FAR, 0)
    head = torch.arange(kv_heads, device=v.device) * 7
    middle = (base + width) // 2
    for shift, first, last in ((0, base, middle), (1, middle, width)):
        if last > first:
            token = place + shift
            column = first + ((token // 2)[:, None] + head) % (last - first)
            sign = 1.0 - 2.0 * (token % 2) if paired else probing.signs((slots,), rng, v)
            spike = (sign * size).to(v.dtype)[:, None].expand(slots, kv_heads)
            values.scatter_(2, column[..., None], spike[..., None])
    hidden = (positions >= probing.FAR)[:, None, None]
    return values.masked_fill_(hidden, 8.0 * size)
