"""Mixture of experts on float8 weights in Triton: five launches, no sort, no wait for the GPU.

1. `choose`: each token's experts. 2. `gather`: each expert's tokens. 3. `few_rows` or `many_rows`:
both halves of the first product, float8 by float8, then silu(gate) * up in float16. 4. `down`: the
second product, its weights made float16 on the way. 5. `combine`: the weighted sum of a token's
rows.

The intermediate is not rounded to float8: it would cost more matches than the tolerance has, and
the weights, not it, are what is read. It is kept as float16 of a sixteenth: up to 2^20, and finer
than bfloat16 from 2^-12 on.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from .moe_down import down
from .moe_routing import choose, combine, gather
from .moe_up_gate import few_rows, many_rows
from .scratch import multiprocessors, split_of, workspace

SCALED = 128  # rows and columns that share a scale
BLOCK_HIDDEN = 512
MOST_PLACES = 4096  # that a program of `gather` reads at once
MANY = 64  # rows of a block that fill a tensor-core instruction


class Experts(NamedTuple):
    """w1 [local, 2 width, hidden] ([up; gate]) and w2 [local, hidden, width] in float8, with the
    scales of their blocks, or one an expert: then up's and gate's differ."""

    w1: torch.Tensor
    up_scale: torch.Tensor
    gate_scale: torch.Tensor
    w2: torch.Tensor
    w2_scale: torch.Tensor


class Routing(NamedTuple):
    """logits [tokens, experts]; bias [experts], added to ds's sigmoids or to llama4's logits.

    kind: ds, renorm, renorm_naive, default, llama4 or topk. on_input: the weights are the input's.
    """

    logits: torch.Tensor
    bias: torch.Tensor | None
    first_expert: int
    kind: str
    top_k: int
    n_group: int = 1
    topk_group: int = 1
    factor: float = 1.0
    on_input: bool = False


class Places(NamedTuple):
    """Who chose whom: a token's experts, ranks among their tokens and weights; and the converse."""

    experts: torch.Tensor
    ranks: torch.Tensor
    weights: torch.Tensor
    members: torch.Tensor
    counts: torch.Tensor


def route(routing: Routing, tokens: int, local: int) -> Places:
    """Two launches: `choose` and `gather`."""
    logits, bias = routing.logits.contiguous(), routing.bias
    total, top_k, pad, device = (
        logits.shape[1],
        routing.top_k,
        triton.next_power_of_2,
        logits.device,
    )
    places = tokens * top_k
    numbers = torch.empty(2 * places + local * tokens + local, dtype=torch.int32, device=device)
    experts, ranks, members, counts = numbers.split((places, places, local * tokens, local))
    weights = torch.empty(places, dtype=torch.float32, device=device)
    choose[(tokens,)](
        logits, logits if bias is None else bias, experts, weights, float(routing.factor),
        int(routing.first_expert), local, logits.stride(0), total, top_k, routing.n_group,
        routing.topk_group, routing.kind, bias is not None, pad(total), pad(top_k),
        pad(routing.n_group), num_warps=max(1, min(4, pad(total) // 64)),
    )  # fmt: skip
    block = max(128, min(MOST_PLACES, pad(places)))
    gather[(local,)](experts, members, ranks, counts, places, tokens, block)
    return Places(experts, ranks, weights, members, counts)


def moe_fp8(
    routing: Routing,
    x: torch.Tensor,
    x_scale: torch.Tensor | None,
    weights: Experts,
    *,
    BLOCK_ROWS: int,
    BLOCK_COLUMNS: int,
    PROGRAMS_PER_SM: int,
    num_warps: int,
    num_stages: int,
) -> torch.Tensor:
    """x [tokens, hidden] float8, with scales [hidden / 128, tokens] where the weights' scales are
    of blocks. Returns [tokens, hidden] bfloat16. Raises ValueError where 128 does not divide hidden
    or width."""
    (tokens, hidden), (local, _, width), device = x.shape, weights.w2.shape, x.device
    if hidden % SCALED or width % SCALED:
        raise ValueError(f"moe_fp8: {SCALED} must divide {hidden} and {width}")
    output = torch.empty((tokens, hidden), dtype=torch.bfloat16, device=device)
    if tokens == 0:  # an empty grid is an error
        return output
    blocked, top_k, pad = x_scale is not None, routing.top_k, triton.next_power_of_2
    x, weights = x.contiguous(), Experts(*(each.contiguous() for each in weights))
    x_scale = x if x_scale is None else x_scale.contiguous()
    rows = tokens * min(top_k, local)
    blocks = rows // BLOCK_ROWS + min(local, rows)
    # A rank's experts have their share of the choices: so many blocks have work, or a few more.
    live = min(local, max(1.0, tokens * top_k * local / routing.logits.shape[1]))
    wanted = PROGRAMS_PER_SM * multiprocessors(device)
    tiles, down_tiles = 2 * width // BLOCK_COLUMNS, hidden // BLOCK_COLUMNS
    many = BLOCK_ROWS >= MANY
    split = 1 if many else split_of(hidden // SCALED, tiles, live, wanted)
    down_split = split_of(width // SCALED, down_tiles, live, wanted)
    middle = torch.empty((rows, width), dtype=torch.float16, device=device)
    kept = torch.bfloat16 if down_split == 1 else torch.float32
    result = torch.empty((down_split, rows, hidden), dtype=kept, device=device)
    scratch = workspace(device)
    if split > 1:
        scratch.reserve(blocks * tiles * split * BLOCK_COLUMNS * BLOCK_ROWS, blocks * tiles)
    # The interpreter multiplies small floats as if they were integers: float32 there.
    eight, sixteen = (tl.float8e4nv, tl.float16) if x.is_cuda else (tl.float32, tl.float32)
    tiling = {"BLOCK_ROWS": BLOCK_ROWS, "BLOCK_COLUMNS": BLOCK_COLUMNS, "SCALED": SCALED,
              "BLOCKED": blocked, "num_warps": num_warps, "num_stages": num_stages}  # fmt: skip
    sizes = (local, pad(local), hidden)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        found = route(routing, tokens, local)
        first = (x, x_scale, weights.w1, weights.up_scale, weights.gate_scale, found.weights,
                 found.members, found.counts, middle)  # fmt: skip
        known = {"ON_INPUT": routing.on_input, "FACTOR": eight, **tiling}
        if many:
            many_rows[(blocks, tiles)](*first, tokens, top_k, *sizes, width, **known)
        else:
            few_rows[(blocks, tiles * split)](
                *first, scratch.parts, scratch.arrived, tokens, top_k, *sizes, width, SPLIT=split,
                **known,
            )  # fmt: skip
        down[(blocks, down_tiles * down_split)](
            middle, weights.w2, weights.w2_scale, found.counts, result, rows, *sizes, width,
            SPLIT=down_split, FACTOR=sixteen, **tiling,
        )  # fmt: skip
        combine[(tokens, triton.cdiv(hidden, BLOCK_HIDDEN))](
            result, found.experts, found.ranks, found.weights, found.counts, output, rows, top_k,
            *sizes, pad(top_k), BLOCK_HIDDEN, routing.on_input, down_split,
        )  # fmt: skip
    return output
