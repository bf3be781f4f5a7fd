"""Judge the indices of an indexer: as sets by row, with the scores that they stand for.

Order does not count, and which of two tokens of nearly equal score is taken neither. What counts:
each index is a slot of its request, none twice, as many as there are tokens up to k; no token is
taken whose score is clearly below the k-th best, none left out whose score is clearly above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernelkit.bench.judge.compare import OutputError, Verdict
from kernelkit.dataset.definition import Definition
from kernelkit.dataset.trace import Status
from kernelkit.ops.base import Inputs, Tolerance

if TYPE_CHECKING:
    import torch

    from kernelkit.bench.judge.compare import Tensors

OUTPUT = "topk_indices"
NEEDED = ("q_index_fp8", "k_index_cache_fp8", "weights", "seq_lens", "block_table")
# Of the spread of a request's scores: what another order of summation, or 13 bits of it, can move.
SLACK = 0.01


def applies(definition: Definition, inputs: Inputs) -> bool:
    """Whether the definition is an indexer of the known interface."""
    return list(definition.outputs) == [OUTPUT] and all(name in inputs for name in NEEDED)


def judge(
    definition: Definition, got: Tensors, want: Tensors, inputs: Inputs, tolerance: Tolerance
) -> Verdict:
    """The verdict over all requests; `matched_ratio` is the least overlap of a row."""
    mine, theirs = got[OUTPUT], want[OUTPUT]
    mine = mine.to(theirs.device)
    overlaps, reasons = [], []
    for row in range(len(theirs)):
        overlap, reason = _row(mine[row], theirs[row], row, inputs)
        if not reason and overlap < tolerance.matched_ratio:
            reason = f"{overlap:.1%} of the tokens are the reference's"
        overlaps.append(overlap)
        reasons += [f"request {row}: {reason}"] if reason else []
    ratio = min(overlaps, default=1.0)
    text = "; ".join(reasons[:3]) + (f" and {len(reasons) - 3} more" if len(reasons) > 3 else "")
    status = Status.INCORRECT_NUMERICAL if reasons else Status.PASSED
    return Verdict(status, 0.0, 0.0, ratio, text, {OUTPUT: OutputError(matched_ratio=ratio)})


def _row(mine: torch.Tensor, theirs: torch.Tensor, row: int, inputs: Inputs) -> tuple[float, str]:
    """The overlap of one request's indices, and why they are refused."""
    import torch

    slots, scores = slot_scores(inputs, row)
    chosen, wanted = mine[mine >= 0].long(), theirs[theirs >= 0].long()
    if len(chosen) != len(wanted):
        return 0.0, f"{len(chosen)} indices, expected {len(wanted)}"
    if not len(wanted):
        return 1.0, ""
    if len(chosen.unique()) < len(wanted.unique()):  # a page may occur twice in a block table
        return 0.0, "an index occurs twice"
    if not bool(torch.isin(chosen, slots).all()):
        return 0.0, "an index is no slot of the request"
    overlap = float(torch.isin(chosen, wanted).float().mean())
    cut = scores.topk(len(wanted)).values[-1]
    slack = SLACK * float(scores.std(correction=0))
    taken = torch.isin(slots, chosen)
    low, high = (taken & (scores < cut - slack)), (~taken & (scores > cut + slack))
    if bool(low.any()):
        return overlap, f"{int(low.sum())} tokens score too low to be taken"
    if bool(high.any()):
        return overlap, f"{int(high.sum())} tokens of higher score are left out"
    return overlap, ""


def slot_scores(inputs: Inputs, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The slots of a request's tokens, and their scores in float32.

    score = sum over heads of relu(q_h . k) * weight_h, with k dequantised by its own scale.
    """
    import torch

    cache, table = inputs["k_index_cache_fp8"], inputs["block_table"]
    pages, size = cache.shape[:2]
    dim = inputs["q_index_fp8"].shape[-1]
    count = int(inputs["seq_lens"][row])
    used = table[row, : -(-count // size)].long()
    raw = cache.reshape(pages, -1)[used].contiguous().view(torch.uint8)
    keys = raw[:, : size * dim].contiguous().view(torch.float8_e4m3fn).view(-1, dim)[:count]
    scales = raw[:, size * dim :].contiguous().view(torch.float32).view(-1)[:count]
    query = inputs["q_index_fp8"][row].to(torch.float32)
    heads = torch.relu(query @ keys.to(torch.float32).T) * inputs["weights"][row][:, None]
    offsets = torch.arange(size, device=used.device)
    return (used[:, None] * size + offsets).view(-1)[:count], heads.sum(dim=0) * scales
