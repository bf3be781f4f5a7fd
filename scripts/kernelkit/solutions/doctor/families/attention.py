"""Attention with knobs: grouped (paged, ragged), latent (paged) and sparse, request by request.

All of them become one problem: query rows, keys and values by slot, and for each request the rows
that belong to it and the slots of its tokens in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.families import slots
from kernelkit.solutions.doctor.families.attention_mutants import mutants

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

__all__ = ["groups", "mutants", "run"]

BLOCK = 1 << 24  # logits at a time


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    tokens: str = "right"  # see slots.py
    pads: str = "masked"  # of sparse indices: masked, slot-0, last-slot
    layout: str = "nhd"
    swap_kv: bool = False
    heads: str = "group"  # group, tile, first, per-head
    join: str = "right"  # of latent and rope parts: right, crossed, no-rope, no-latent
    values: str = "right"  # of latent attention: right, rope-first, rope-last
    scale: float | None = None  # in the place of sm_scale
    scale_power: int = 1
    weights_base: str = "e"
    mask: str = "bottom-right"  # bottom-right, top-left, none, strict, one-ahead, longest
    offset: str = "slots"  # of the mask: by the slots that are read, or true
    padding: str = "masked"  # to the longest request: masked, zero-logit, first-slot
    maximum: bool = True  # subtracted before the exponential
    normalised: bool = True
    empty: str = "zero"  # zero, nan, mean
    lse: str = "base-2"  # base-2, natural, unscaled, maximum, no-maximum ...


@dataclass
class Problem:
    """q [rows, heads, d], k and v [slots, kv heads, *], requests as (rows, slots), and the true
    number of each request's keys."""

    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    scale: float
    requests: list[tuple[slice, torch.Tensor]]
    lengths: list[int]


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """output and lse of the definition's shapes."""
    import torch

    turned = Knobs(**knobs)
    problem = _problem(definition, inputs, turned)
    rows, heads = problem.q.shape[:2]
    output = torch.zeros(rows, heads, problem.v.shape[2], device=problem.q.device)
    lse = torch.full((rows, heads), -math.inf, device=problem.q.device)
    longest = max((len(tokens) for _, tokens in problem.requests), default=0)
    if "sparse_indices" in inputs:
        longest = inputs["sparse_indices"].shape[1]
    for (part, tokens), length in zip(problem.requests, problem.lengths, strict=True):
        if part.stop > part.start:
            sizes = (length, longest)
            output[part], lse[part] = _request(problem, part, tokens, sizes, turned)
    kind = inputs["q"] if "q" in inputs else inputs["q_nope"]
    return {"output": output.to(kind.dtype), "lse": lse}


def _problem(definition: Definition, inputs: Inputs, knobs: Knobs) -> Problem:
    q, k, v = (_latent if "q_nope" in inputs else _grouped)(inputs, knobs)
    if knobs.swap_kv and k.shape == v.shape:
        k, v = v, k
    scale = float(inputs["sm_scale"]) if knobs.scale is None else knobs.scale
    requests = list(slots.requests(definition, inputs, knobs.tokens, knobs.pads, len(k)))
    true = requests
    if knobs.offset == "true":
        true = list(slots.requests(definition, inputs, "right", "masked", len(k)))
    lengths = [len(tokens) for _, tokens in true]
    return Problem(q, k.float(), v.float(), scale**knobs.scale_power, requests, lengths)


def _grouped(inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, ...]:
    """Queries, and the cache as slots."""
    q = inputs["q"].float()
    if "k" in inputs:
        return q, inputs["k"], inputs["v"]
    caches = []
    for name in ("k_cache", "v_cache"):
        cache = inputs[name]
        pages, size, heads, dim = cache.shape
        if knobs.layout == "hnd":  # the same memory, read as [pages, heads, size, dim]
            cache = cache.contiguous().view(pages, heads, size, dim).transpose(1, 2)
        caches.append(cache.reshape(pages * size, heads, dim))
    return q, caches[0], caches[1]


def _latent(inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, ...]:
    """Queries and keys of both parts; values are the latent part alone."""
    import torch

    nope, pe = inputs["q_nope"].float(), inputs["q_pe"].float()
    ckv = inputs["ckv_cache"].flatten(0, 1).float()
    kpe = inputs["kpe_cache"].flatten(0, 1).float()
    rank = ckv.shape[1]
    values = {
        "right": ckv,
        "rope-first": torch.cat([kpe, ckv], dim=1)[:, :rank],
        "rope-last": torch.cat([ckv, kpe], dim=1)[:, -rank:],
    }[knobs.values]
    parts = {
        "right": ([nope, pe], [ckv, kpe]),
        "crossed": ([nope, pe], [kpe, ckv]),
        "no-rope": ([nope], [ckv]),
        "no-latent": ([pe], [kpe]),
    }[knobs.join]
    q, k = torch.cat(parts[0], dim=-1), torch.cat(parts[1], dim=-1)
    return q, k[:, None], values[:, None]


def _request(
    problem: Problem, part: slice, tokens: torch.Tensor, sizes: tuple[int, int], knobs: Knobs
) -> tuple[torch.Tensor, torch.Tensor]:
    """[m, heads, dv] and [m, heads] of one request, block of rows by block of rows.

    `sizes`: the request's length for the mask, and the longest request's."""
    import torch

    longest = sizes[1]
    heads = problem.q.shape[1]
    key, value = problem.k[tokens], problem.v[tokens]
    if knobs.padding == "first-slot":
        extra = problem.k[:1].expand(longest - len(tokens), -1, -1)
        key = torch.cat([key, extra])
        value = torch.cat([value, problem.v[:1].expand(longest - len(tokens), -1, -1)])
    elif knobs.padding == "zero-logit":
        key = torch.cat([key, key.new_zeros(longest - len(tokens), *key.shape[1:])])
        value = torch.cat([value, value.new_zeros(longest - len(tokens), *value.shape[1:])])
    chosen = _head_map(heads, key.shape[1], knobs.heads).to(key.device)
    key, value = key[:, chosen].transpose(0, 1), value[:, chosen].transpose(0, 1)
    step = max(1, BLOCK // max(1, heads * key.shape[1]))
    outs, logs = [], []
    for first in range(part.start, part.stop, step):
        last = min(part.stop, first + step)
        logits = problem.q[first:last].transpose(0, 1) @ key.transpose(1, 2)
        rows = slice(first - part.start, last - part.start)
        seen = _seen(rows, part.stop - part.start, key.shape[1], len(tokens), sizes, knobs)
        seen = seen.to(key.device)
        out, log = _softmax(logits, seen, value, problem.scale, knobs)
        outs.append(out.transpose(0, 1))
        logs.append(log.transpose(0, 1))
    return torch.cat(outs), torch.cat(logs)


def _head_map(heads: int, kv_heads: int, how: str) -> torch.Tensor:
    """For each query head its key head."""
    import torch

    head = torch.arange(heads)
    if how == "tile":
        return head % kv_heads
    if how == "first":
        return torch.zeros_like(head)
    if how == "per-head":
        return head.clamp(max=kv_heads - 1)
    return head // (heads // kv_heads)


def _seen(
    rows: slice, queries: int, width: int, read: int, sizes: tuple[int, int], knobs: Knobs
) -> torch.Tensor:
    """[rows, width]: which key a query may see, of `read` keys that the request has."""
    import torch

    i = torch.arange(rows.start, rows.stop)[:, None]
    j = torch.arange(width)[None, :]
    if knobs.padding != "masked":
        return torch.ones_like(i + j, dtype=torch.bool)
    offset = sizes[0] - queries
    last = {
        "bottom-right": i + offset, "top-left": i, "none": i * 0 + width,
        "strict": i + offset - 1, "one-ahead": i + offset + 1,
        "longest": i + sizes[1] - queries,
    }[knobs.mask]  # fmt: skip
    return (j <= last) & (j < read)


def _softmax(
    logits: torch.Tensor, seen: torch.Tensor, value: torch.Tensor, scale: float, knobs: Knobs
) -> tuple[torch.Tensor, torch.Tensor]:
    """[heads, m, dv] and the log-sum-exp [heads, m], of raw logits [heads, m, n]."""
    import torch

    raw = logits
    logits = logits * scale
    if knobs.weights_base == "2":
        logits = logits * math.log(2.0)
    elif knobs.weights_base == "log2e":
        logits = logits * math.log2(math.e)
    hidden = -1e30 if knobs.empty == "mean" else -math.inf
    logits = logits.masked_fill(~seen, hidden)
    if not logits.shape[-1]:
        logits = logits.new_full((*logits.shape[:2], 1), hidden)
        value = value.new_zeros(value.shape[0], 1, value.shape[2])
        raw = logits
    top = logits.amax(dim=-1, keepdim=True)
    shift = top if knobs.empty == "nan" else top.nan_to_num(neginf=0.0)
    shift = shift if knobs.maximum else torch.zeros_like(shift)
    weights = torch.exp(logits - shift)
    total = weights.sum(dim=-1, keepdim=True)
    out = weights @ value
    if knobs.normalised:
        sound = total if knobs.empty == "nan" or not knobs.maximum else total.clamp(min=1e-38)
        out = out / sound
    return out, _log(raw, logits, seen, shift[..., 0], total[..., 0], knobs)


def _log(
    raw: torch.Tensor, logits: torch.Tensor, seen: torch.Tensor, top: torch.Tensor,
    total: torch.Tensor, knobs: Knobs,
) -> torch.Tensor:  # fmt: skip
    """The log-sum-exp, right or mistaken."""
    import torch

    log2e = math.log2(math.e)
    if knobs.lse == "unscaled" and raw is not logits:
        hidden = raw.masked_fill(~seen, -math.inf)
        return torch.logsumexp(hidden, dim=-1) * log2e
    natural = top + torch.log(total)
    return {
        "base-2": natural * log2e, "natural": natural, "unscaled": natural * log2e,
        "maximum": top * log2e, "no-maximum": torch.log2(total), "no-logarithm": total,
        "mixed": top + torch.log2(total), "mixed-other": top * log2e + torch.log(total),
        "base-10": natural * math.log10(math.e), "twice": natural * log2e * log2e,
    }[knobs.lse]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Masks over query rows: what kind of request a row belongs to."""
    return dict(_groups(definition, inputs))


def _groups(definition: Definition, inputs: Inputs) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    found = list(slots.requests(definition, inputs, "right", "masked", 1 << 62))
    rows = inputs["q" if "q" in inputs else "q_nope"].shape[0]
    size = definition.const_axes.get("page_size", 1)

    def mask(wanted: list[bool]) -> torch.Tensor:
        rows_in = torch.zeros(rows, dtype=torch.bool)
        for (part, _), yes in zip(found, wanted, strict=True):
            rows_in[part] |= yes
        return rows_in

    counts = [(part.stop - part.start, len(tokens)) for part, tokens in found]
    yield "requests without keys", mask([not n for _, n in counts])
    yield "requests with q_len < kv_len", mask([m < n for m, n in counts])
    yield "requests with q_len > kv_len", mask([m > n for m, n in counts])
    yield "requests after the first", mask([i > 0 for i in range(len(found))])
    if size > 1 and "kv_last_page_len" in inputs:
        yield "requests whose last page is not full", mask([n % size > 0 for _, n in counts])
        yield "requests of more than one page", mask([n > size for _, n in counts])
    if "sparse_indices" in inputs:
        yield "tokens with padded indices", (inputs["sparse_indices"] < 0).any(dim=1).cpu()
