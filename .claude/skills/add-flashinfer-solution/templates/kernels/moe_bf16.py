"""Mixture of experts in 16 bits with a given routing, in Triton: four launches, no sort, no wait
for the GPU.

1. `gather`: each expert's tokens. 2. `up_gate`: both halves of the first product and silu(gate) *
up, which is stored in the inputs' type. 3. `down`: the second product. 4. `combine`: the weighted
sum of a token's rows, in float32.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .moe_bf16_products import down, up_gate
from .moe_routing import combine, gather
from .scratch import multiprocessors, split_of, workspace

BLOCK_HIDDEN = 512
MOST_PLACES = 4096  # that a program of `gather` reads at once
FACTORS = {torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


class Places(NamedTuple):
    """Who chose whom: the rank of each choice among its expert's; and an expert's choices."""

    ranks: torch.Tensor
    members: torch.Tensor
    counts: torch.Tensor


def gathered(experts: torch.Tensor, local: int) -> Places:
    """One launch. An expert has room for all choices: a token may name it twice."""
    places = experts.numel()
    numbers = torch.empty(places + local * places + local, dtype=torch.int32, device=experts.device)
    found = Places(*numbers.split((places, local * places, local)))
    block = max(128, min(MOST_PLACES, triton.next_power_of_2(places)))
    gather[(local,)](experts, found.members, found.ranks, found.counts, places, places, block)
    return found


def moe_bf16(
    x: torch.Tensor,
    experts: torch.Tensor,
    factors: torch.Tensor,
    w1: torch.Tensor,
    w2: torch.Tensor,
    *,
    BLOCK_ROWS: int,
    BLOCK_COLUMNS: int,
    BLOCK_K: int,
    PROGRAMS_PER_SM: int,
    num_warps: int,
    num_stages: int,
) -> torch.Tensor:
    """x [tokens, hidden], experts [tokens, top_k] int32 with float32 factors, w1 [local, 2 width,
    hidden] ([up; gate]), w2 [local, hidden, width] -> [tokens, hidden] like x. Numbers outside
    [0, local) contribute nothing."""
    (tokens, hidden), (local, _, width), device = x.shape, w2.shape, x.device
    output = torch.empty_like(x, memory_format=torch.contiguous_format)
    if tokens == 0:  # an empty grid is an error
        return output
    x, experts, factors, w1, w2 = (each.contiguous() for each in (x, experts, factors, w1, w2))
    top_k, rows, pad, cdiv = experts.shape[1], experts.numel(), triton.next_power_of_2, triton.cdiv
    blocks = rows // BLOCK_ROWS + min(local, rows)
    # Of a tile of the first product both halves are summed: one of the second has as many columns.
    tiles, down_columns = cdiv(width, BLOCK_COLUMNS), 2 * BLOCK_COLUMNS
    down_tiles = cdiv(hidden, down_columns)
    live = max(min(local, rows), rows // BLOCK_ROWS)  # blocks that have work, or a few more
    wanted = PROGRAMS_PER_SM * multiprocessors(device)
    split = split_of(cdiv(hidden, BLOCK_K), tiles, live, wanted)
    down_split = split_of(cdiv(width, BLOCK_K), down_tiles, live, wanted)
    # The interpreter multiplies small floats as if they were integers, and cuts off instead of
    # rounding to them: float32 there.
    held, factor = (x.dtype, FACTORS[x.dtype]) if x.is_cuda else (torch.float32, tl.float32)
    middle = torch.empty((rows, width), dtype=held, device=device)
    kept = held if down_split == 1 else torch.float32
    result = torch.empty((down_split, rows, hidden), dtype=kept, device=device)
    scratch = workspace(device)
    if split > 1:
        scratch.reserve(blocks * tiles * split * down_columns * BLOCK_ROWS, blocks * tiles)
    sizes = (local, pad(local), hidden)
    tiling = {"BLOCK_ROWS": BLOCK_ROWS, "BLOCK_K": BLOCK_K, "FACTOR": factor,
              "num_warps": num_warps, "num_stages": num_stages}  # fmt: skip
    with torch.cuda.device_of(x):  # Triton launches on the current device
        found = gathered(experts, local)
        up_gate[(blocks, tiles * split)](
            x, w1, found.members, found.counts, middle, scratch.parts, scratch.arrived, rows,
            top_k, *sizes, width, BLOCK_COLUMNS=BLOCK_COLUMNS, SPLIT=split, **tiling,
        )  # fmt: skip
        down[(blocks, down_tiles * down_split)](
            middle, w2, found.counts, result, rows, *sizes, width, BLOCK_COLUMNS=down_columns,
            SPLIT=down_split, **tiling,
        )  # fmt: skip
        combine[(tokens, cdiv(hidden, BLOCK_HIDDEN))](
            result, experts, found.ranks, factors, found.counts, output, rows, top_k, *sizes,
            pad(top_k), BLOCK_HIDDEN, False, down_split,
        )  # fmt: skip
    return output
