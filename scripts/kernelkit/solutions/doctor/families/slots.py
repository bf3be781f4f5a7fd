"""Which cache slots a request's tokens have, and the mistakes that can be made on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs

if TYPE_CHECKING:
    import torch

    Request = tuple[slice, torch.Tensor]  # query rows, slots in order


def requests(
    definition: Definition, inputs: Inputs, tokens: str, pads: str, count: int
) -> Iterator[Request]:
    """Each request's query rows and slots, `tokens` and `pads` naming a mistake or "right" and
    "masked". Slots are below `count`, however wrong."""
    if "sparse_indices" in inputs:
        yield from _sparse(inputs, tokens, pads, count, definition.const_axes["page_size"])
    elif "kv_indices" in inputs:
        yield from _paged(inputs, tokens, count, definition.const_axes["page_size"])
    else:
        yield from _ragged(inputs, tokens, count)


def _sparse(inputs: Inputs, tokens: str, pads: str, count: int, size: int) -> Iterator[Request]:
    import torch

    for row, indices in enumerate(inputs["sparse_indices"].long()):
        chosen = indices[indices >= 0]
        if pads == "slot-0":
            chosen = indices.clamp(min=0)
        elif pads == "last-slot":
            chosen = torch.where(indices < 0, count - 1, indices)
        if tokens == "page-ids":
            chosen = chosen * size
        elif tokens == "pages":
            chosen = chosen // size
        elif tokens == "last-dropped":
            chosen = chosen[:-1]
        elif tokens == "first-dropped":
            chosen = chosen[1:]
        elif tokens == "from-zero":
            chosen = torch.arange(len(chosen), device=chosen.device)
        yield slice(row, row + 1), chosen % count


def _ragged(inputs: Inputs, tokens: str, count: int) -> Iterator[Request]:
    import torch

    offsets = inputs["kv_indptr"].tolist()
    for number, rows in enumerate(_rows(inputs)):
        start, end = offsets[number], offsets[number + 1]
        if tokens == "query-offsets":
            start, end = rows.start, rows.start + end - start
        elif tokens == "from-zero":
            start, end = 0, end - start
        slots = torch.arange(start, end, device=inputs["kv_indptr"].device)
        yield rows, _cut(slots, tokens) % max(1, count)


def _paged(inputs: Inputs, tokens: str, count: int, size: int) -> Iterator[Request]:
    offsets, ids = inputs["kv_indptr"].tolist(), inputs["kv_indices"].long()
    last = inputs["kv_last_page_len"].tolist() if "kv_last_page_len" in inputs else None
    for number, rows in enumerate(_rows(inputs)):
        start, end = offsets[number], offsets[number + 1]
        filled = size
        if last is not None:
            filled = last[0 if tokens == "first-last-page-len" else number]
        yield rows, _request(ids, start, end, filled, size, tokens) % max(1, count)


def _rows(inputs: Inputs) -> Iterator[slice]:
    """The query rows of each request: one in a decode step."""
    if "qo_indptr" not in inputs:
        yield from (slice(i, i + 1) for i in range(len(inputs["kv_indptr"]) - 1))
        return
    offsets = inputs["qo_indptr"].tolist()
    yield from (slice(a, b) for a, b in zip(offsets, offsets[1:], strict=False))


def _request(
    ids: torch.Tensor, start: int, end: int, filled: int, size: int, tokens: str
) -> torch.Tensor:
    """The slots of one request: `filled` of `size` tokens in its last page."""
    import torch

    pages = end - start
    length = (pages - 1) * size + filled if pages else 0
    offset = torch.arange(size, device=ids.device)
    own = ids[start:end]
    if tokens == "page-per-token":
        return own
    if tokens == "first-of-page":
        return own * size
    if tokens == "ids-as-slots":
        return (own[:, None] + offset).view(-1)[:length]
    if tokens == "no-table":
        return torch.arange(start * size, start * size + length, device=ids.device)
    if tokens == "from-zero":
        return torch.arange(length, device=ids.device)
    if tokens == "first-request":
        own = ids[:pages]
    slots = (own[:, None] * size + offset).view(-1)
    if tokens == "full-last-page":
        return slots
    if tokens == "no-last-page":
        return slots[: max(0, pages - 1) * size]
    if tokens == "no-partial-page":
        return slots[: length // size * size]
    if tokens in ("one-more", "length-one-page-more"):  # reads the next request's first page
        beyond = (ids[start : end + 1, None] * size + offset).view(-1)
        more = 1 if tokens == "one-more" else size
        return beyond[: length + more] if pages else slots
    return _cut(slots[:length], tokens)


def _cut(slots: torch.Tensor, tokens: str) -> torch.Tensor:
    if tokens == "last-dropped":
        return slots[:-1]
    if tokens == "first-dropped":
        return slots[1:]
    if tokens == "reversed":
        return slots.flip(0)
    return slots
