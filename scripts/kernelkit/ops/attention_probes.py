"""The probes of the attention families: coverage, logits, an empty request. See attending.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernelkit.ops import attending, probing, tables
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

    from kernelkit.dataset.definition import Definition

Probes = Iterator[tuple[str, Inputs]]


def grouped(definition: Definition, inputs: Inputs, rng: torch.Generator, k: str, v: str) -> Probes:
    """Probes of attention with keys `k` and values `v`: caches [pages, page, heads, dim] where
    there are kv_indices, else ragged [tokens, heads, dim]."""
    moved, positions = _places(inputs, k, rng)
    flat = [moved[name].reshape(-1, *moved[name].shape[-2:]) for name in (k, v)]
    scale = float(inputs["sm_scale"])
    q, keys, values = attending.coverage((moved["q"], *flat), positions, scale, rng)
    changes = {"q": q, k: keys.view_as(moved[k]), v: values.view_as(moved[v])}
    yield "coverage", probing.replaced(definition, moved, changes)
    fresh = probing.vary(inputs, rng)
    keys = fresh[k].reshape(-1, *fresh[k].shape[-2:])
    q, keys = attending.shifted(fresh["q"], keys, scale, rng)
    yield "logits", probing.replaced(definition, fresh, {"q": q, k: keys.view_as(fresh[k])})
    yield from _empty(definition, inputs, rng)


def latent(definition: Definition, inputs: Inputs, rng: torch.Generator) -> Probes:
    """Probes of latent attention over ckv_cache and kpe_cache [pages, page, dim]."""
    moved, positions = _places(inputs, "ckv_cache", rng)
    yield "coverage", _latent_coverage(definition, moved, positions, rng, paired=True)
    yield "logits", _latent_logits(definition, probing.vary(inputs, rng), rng)
    yield from _empty(definition, inputs, rng)


def sparse(definition: Definition, inputs: Inputs, rng: torch.Generator) -> Probes:
    """Probes of latent attention over the slots of sparse_indices [tokens, topk]."""
    import torch

    pages, size = inputs["ckv_cache"].shape[:2]
    indices = probing.scattered(inputs["sparse_indices"], pages * size, rng)
    used = indices[indices >= 0].long()
    order = torch.arange(pages * size, device=used.device)
    positions = probing.first_position(used, order[used], pages * size)
    # Slots are seen in no order, a token sees topk of them: that is the length that counts.
    spread = positions.where(positions >= probing.FAR, positions % indices.shape[1])
    moved = {**inputs, "sparse_indices": indices}
    yield "coverage", _latent_coverage(definition, moved, spread, rng, paired=False)
    yield "logits", _latent_logits(definition, probing.vary(inputs, rng), rng)
    if len(indices) > 1:
        row = probing.pick(rng, 0, len(indices))
        indices = inputs["sparse_indices"].clone()
        indices[row] = -1
        fresh = probing.vary(inputs, rng)
        yield "empty", probing.replaced(definition, fresh, {"sparse_indices": indices})


def _places(inputs: Inputs, cache: str, rng: torch.Generator) -> tuple[Inputs, torch.Tensor]:
    """Moved tables, and where the token of each slot stands in its request."""
    if "kv_indices" not in inputs:
        moved = tables.scatter(inputs, 1, 1, rng)
        return moved, tables.ragged_positions(moved, len(inputs[cache]))
    pages, size = inputs[cache].shape[:2]
    moved = tables.scatter(inputs, pages, size, rng)
    return moved, tables.paged_positions(moved, pages, size)


def _latent_coverage(
    definition: Definition,
    inputs: Inputs,
    positions: torch.Tensor,
    rng: torch.Generator,
    *,
    paired: bool,
) -> Inputs:
    names = ("q_nope", "q_pe", "ckv_cache", "kpe_cache")
    q_nope, q_pe, ckv, kpe = (inputs[name] for name in names)
    tensors = attending.latent_coverage(
        (q_nope, q_pe, ckv.flatten(0, 1), kpe.flatten(0, 1)),
        positions,
        float(inputs["sm_scale"]),
        rng,
        paired=paired,
    )
    changes = {n: t.view_as(inputs[n]) for n, t in zip(names, tensors, strict=True)}
    return probing.replaced(definition, inputs, changes)


def _latent_logits(definition: Definition, inputs: Inputs, rng: torch.Generator) -> Inputs:
    """The shift goes by the rope part, which is no value."""
    kpe = inputs["kpe_cache"]
    scale = float(inputs["sm_scale"])
    q_pe, keys = attending.shifted(inputs["q_pe"], kpe.flatten(0, 1)[:, None], scale, rng)
    changes = {"q_pe": q_pe, "kpe_cache": keys.view_as(kpe)}
    return probing.replaced(definition, inputs, changes)


def _empty(definition: Definition, inputs: Inputs, rng: torch.Generator) -> Probes:
    changed = tables.emptied(inputs, rng)
    if changed is not None:
        yield "empty", probing.replaced(definition, probing.vary(changed, rng), {})
