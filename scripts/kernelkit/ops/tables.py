"""Moving the index tensors of the attention families: pages, lengths, empty requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.ops import probing
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

REQUESTS = {"qo_indptr": True, "kv_indptr": True, "kv_last_page_len": False}


def vary(inputs: Inputs, num_pages: int, rng: torch.Generator) -> Inputs:
    """Requests in another order (queries and keys together), pages moved on."""
    moved = probing.roll_requests(inputs, REQUESTS, rng)
    if "kv_indices" in inputs:
        moved["kv_indices"] = probing.rotated(inputs["kv_indices"], num_pages, rng)
    return moved


def scatter(inputs: Inputs, num_pages: int, page_size: int, rng: torch.Generator) -> Inputs:
    """Requests in another order, pages in random order, last pages filled by any number of tokens
    that leaves a request no fewer keys than queries where it had enough pages for them."""
    import torch

    moved = {**inputs, **probing.roll_requests(inputs, REQUESTS, rng)}
    if "kv_indices" in inputs:
        moved["kv_indices"] = probing.scattered(inputs["kv_indices"], num_pages, rng)
    if "kv_last_page_len" in inputs:
        old, pages = moved["kv_last_page_len"], torch.diff(moved["kv_indptr"])
        least = torch.ones_like(pages)
        if "qo_indptr" in inputs:
            needed = torch.diff(moved["qo_indptr"]) - (pages - 1) * page_size
            least = needed.clamp(1, page_size)
        share = probing.uniform(0.0, 1.0, (len(pages),), rng, pages)
        last = least + (share * (page_size - least + 1)).to(least.dtype).clamp(max=page_size - 1)
        last = last.clamp(max=page_size).where(pages > 0, 0).to(old.dtype)
        moved["kv_last_page_len"] = torch.cat([last, old[len(last) :]])
    return moved


def emptied(inputs: Inputs, rng: torch.Generator) -> Inputs | None:
    """One request without keys; those are its neighbour's. None where no two requests have any."""
    import torch

    counts = torch.diff(inputs["kv_indptr"])
    lengths = counts.tolist()
    pairs = [i for i in range(len(lengths) - 1) if lengths[i] and lengths[i + 1]]
    if not pairs:
        return None
    first = pairs[probing.pick(rng, 0, len(pairs))]
    counts[first] += counts[first + 1]
    counts[first + 1] = 0
    changes: Inputs = {"kv_indptr": probing.from_counts(counts, inputs["kv_indptr"])}
    if "kv_last_page_len" in inputs:
        last = inputs["kv_last_page_len"].clone()
        last[first], last[first + 1] = last[first + 1].clone(), 0
        changes["kv_last_page_len"] = last
    return {**inputs, **changes}


def paged_positions(inputs: Inputs, num_pages: int, page_size: int) -> torch.Tensor:
    """[num_pages * page_size]: where each slot's token stands in its request, FAR if in none."""
    import torch

    pointer, ids = inputs["kv_indptr"].long(), inputs["kv_indices"].long()
    pages = torch.diff(pointer)
    request = torch.repeat_interleave(torch.arange(len(pages), device=ids.device), pages)
    ids = ids[int(pointer[0]) : int(pointer[-1])]
    entry = torch.arange(len(ids), device=ids.device) + pointer[0]
    offset = torch.arange(page_size, device=ids.device)
    position = (entry - pointer[request])[:, None] * page_size + offset
    slot = ids[:, None] * page_size + offset
    lengths = pages * page_size
    if "kv_last_page_len" in inputs:
        lengths = lengths - page_size + inputs["kv_last_page_len"][: len(pages)].long()
    valid = position < lengths[request][:, None]
    return probing.first_position(slot[valid], position[valid], num_pages * page_size)


def ragged_positions(inputs: Inputs, total: int) -> torch.Tensor:
    """[total]: where each key stands in its request, FAR if in none."""
    return paged_positions(
        {"kv_indptr": inputs["kv_indptr"], "kv_indices": _rows(inputs, total)}, total, 1
    )


def _rows(inputs: Inputs, total: int) -> torch.Tensor:
    import torch

    return torch.arange(total, device=inputs["kv_indptr"].device)
