"""The sparse-attention indexer with knobs. Rows of indices are sets: compared by membership."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kernelkit.dataset.definition import Definition
from kernelkit.ops.base import Inputs
from kernelkit.solutions.doctor.mutant import Mutant, table

if TYPE_CHECKING:
    import torch

    Tensors = dict[str, torch.Tensor]

OUTPUT = "topk_indices"


@dataclass(frozen=True)
class Knobs:
    """What can be mistaken. The defaults are right."""

    relu: str = "inside"  # inside, none, outside (of the sum over heads)
    weights: bool = True
    scales: bool = True
    packing: str = "page"  # page (all keys, then all scales), token (key and scale by turns)
    heads: str = "sum"  # sum, maximum, first
    best: bool = True
    ids: str = "slots"  # slots, positions (in the request), pages
    lengths: str = "given"  # given, table (all of it), no-last-page, last-dropped
    table: str = "given"  # given, none, first
    pads: int = -1


def run(definition: Definition, inputs: Inputs, **knobs: Any) -> Tensors:
    """topk_indices [batch, topk]."""
    import torch

    turned = Knobs(**knobs)
    keys, scales = _unpacked(inputs, turned)
    count = definition.const_axes["topk"]
    batch = len(inputs["seq_lens"])
    result = torch.full((batch, count), turned.pads, dtype=torch.int32, device=keys.device)
    for row in range(batch):
        slots = _slots(inputs, row, turned)
        score = _scores(inputs, row, keys[slots], scales[slots], turned)
        order = torch.sort(score, descending=turned.best, stable=True).indices[:count]
        ids = {
            "slots": slots, "positions": torch.arange(len(slots)).to(slots),
            "pages": slots // inputs["k_index_cache_fp8"].shape[1],
        }[turned.ids]  # fmt: skip
        chosen = ids[order]
        result[row, : len(chosen)] = chosen.to(torch.int32)
    return {OUTPUT: result}


def _unpacked(inputs: Inputs, knobs: Knobs) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys [slots, dim] and scales [slots]."""
    import torch

    cache = inputs["k_index_cache_fp8"]
    pages, size = cache.shape[:2]
    dim = inputs["q_index_fp8"].shape[-1]
    if knobs.packing == "token":
        raw = cache.reshape(pages * size, -1).contiguous().view(torch.uint8)
        keys, scales = raw[:, :dim], raw[:, dim : dim + 4]
    else:
        raw = cache.reshape(pages, -1).contiguous().view(torch.uint8)
        keys, scales = raw[:, : size * dim], raw[:, size * dim :]
    keys = keys.contiguous().view(torch.float8_e4m3fn).view(pages * size, dim).float()
    return keys, scales.contiguous().view(torch.float32).view(-1)


def _slots(inputs: Inputs, row: int, knobs: Knobs) -> torch.Tensor:
    """The slots of a request's tokens, in order."""
    import torch

    size = inputs["k_index_cache_fp8"].shape[1]
    table = inputs["block_table"][0 if knobs.table == "first" else row].long().clamp(min=0)
    if knobs.table == "none":
        table = torch.arange(len(table), device=table.device)
    slots = (table[:, None] * size + torch.arange(size, device=table.device)).view(-1)
    length = int(inputs["seq_lens"][row])
    length = {
        "given": length, "table": len(slots), "no-last-page": (length - 1) // size * size,
        "last-dropped": length - 1, "first": int(inputs["seq_lens"][0]),
    }[knobs.lengths]  # fmt: skip
    return slots[: max(0, length)]


def _scores(
    inputs: Inputs, row: int, keys: torch.Tensor, scales: torch.Tensor, knobs: Knobs
) -> torch.Tensor:
    import torch

    keys = keys * scales[:, None] if knobs.scales else keys
    heads = inputs["q_index_fp8"][row].float() @ keys.t()
    if knobs.relu == "inside":
        heads = torch.relu(heads)
    if knobs.weights:
        heads = heads * inputs["weights"][row].float()[:, None]
    score = {"sum": heads.sum(dim=0), "maximum": heads.amax(dim=0), "first": heads[0]}[knobs.heads]
    score = torch.relu(score) if knobs.relu == "outside" else score
    return score.nan_to_num(nan=float("-inf"))


def membership(inputs: Inputs, indices: torch.Tensor) -> torch.Tensor:
    """[batch, slots + 2]: which slots are named; the last two columns: padding, and no slot."""
    import torch

    cache = inputs["k_index_cache_fp8"]
    slots = cache.shape[0] * cache.shape[1]
    columns = indices.long()
    columns = torch.where(columns == -1, slots, columns)
    columns = torch.where((columns < 0) | (columns > slots), slots + 1, columns)
    named = torch.zeros(len(indices), slots + 2, dtype=torch.bool, device=indices.device)
    return named.scatter_(1, columns.to(named.device), True)


def mutants(definition: Definition) -> list[Mutant]:
    """The mistakes that can show on this definition."""
    return table(_ROWS)


_SCORE = "score = sum over heads of relu(q . k) * weight, k dequantised by its own scale"
_PACKING = "a page holds the keys of all its tokens, then their scales: two views of the page"
_ROWS = [
    ("index-cache-packed-by-token", "key and scale are read token by token", _PACKING,
     {"packing": "token"}),
    ("key-scale-missing", "keys are not multiplied by their scales", _SCORE, {"scales": False}),
    ("head-weights-missing", "heads are summed without their weights", _SCORE, {"weights": False}),
    ("relu-missing", "scores lack the ReLU", _SCORE, {"relu": "none"}),
    ("relu-outside", "the ReLU comes behind the sum over heads", _SCORE, {"relu": "outside"}),
    ("maximum-over-heads", "the score is the largest head's", _SCORE, {"heads": "maximum"}),
    ("first-head-only", "the score is the first head's", _SCORE, {"heads": "first"}),
    ("lowest-scores-chosen", "the tokens of lowest score are chosen", "sort descending",
     {"best": False}),
    ("positions-for-slots", "indices are positions in the request",
     "an index is page * page_size + offset: go through block_table", {"ids": "positions"}),
    ("pages-for-slots", "indices are pages", "an index is page * page_size + offset",
     {"ids": "pages"}),
    ("seq-lens-ignored", "slots behind the request's length are chosen from",
     "mask positions from seq_lens[request] on", {"lengths": "table"}),
    ("seq-lens-of-first", "the first request's length is used for all",
     "use seq_lens[request]", {"lengths": "first"}),
    ("last-page-ignored", "the last page is not read", "read up to seq_lens[request]",
     {"lengths": "no-last-page"}),
    ("last-token-ignored", "the last token is not read", "read up to seq_lens[request]",
     {"lengths": "last-dropped"}),
    ("block-table-ignored", "pages are read in order, not through block_table",
     "page = block_table[request, position // page_size]", {"table": "none"}),
    ("block-table-of-first", "the first request's pages are used for all",
     "page = block_table[request, position // page_size]", {"table": "first"}),
    ("padding-with-zero", "missing indices are 0, not -1", "fill with -1", {"pads": 0}),
]  # fmt: skip


def groups(definition: Definition, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Requests with fewer tokens than indices, and with more."""
    short = (inputs["seq_lens"] <= definition.const_axes["topk"]).cpu()
    return {"requests of at most topk tokens": short, "requests of more than topk tokens": ~short}
