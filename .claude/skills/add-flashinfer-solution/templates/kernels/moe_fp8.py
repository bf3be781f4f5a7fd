"""Mixture of experts on float8 weights with scales of blocks of 128, in Triton: five launches.

1. `choose`: each token's experts. 2. `gather`: each expert's tokens. 3. `up_and_gate`: both halves
of the first product in one program, float8 by float8, then silu(gate) * up in bfloat16.
4. `down`: the second product, its weights made bfloat16 on the way. 5. `combine`: the weighted sum
of a token's rows, in the order of its experts: the same bits in every call.

The intermediate is not rounded to float8: it would cost more matches than the tolerance has, and
the weights, not it, are what is read. A float8 product is summed for 128 columns, as far as one
scale reaches, and then added in float32 (Hopper's float8 sums keep about 14 bits).
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .moe_routing import block_of, choose, gather

SCALED = 128  # rows and columns that share a scale
BLOCK_PLACES = 1024
BLOCK_HIDDEN = 1024


@triton.jit
def up_and_gate(
    x, x_scale, w, w_scale, members, counts, middle, tokens, capacity,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    SCALED: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """silu(x gate^T) * (x up^T) for BLOCK_ROWS tokens of one expert; weights are [up; gate]."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        member = tl.load(members + expert.to(tl.int64) * capacity + row, mask=real, other=0)
        token = (member // TOP_K).to(tl.int64)
        column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
        inner = tl.arange(0, SCALED)
        steps: tl.constexpr = HIDDEN // SCALED
        x_place = x + token[:, None] * HIDDEN + inner[None, :]
        whole = expert.to(tl.int64) * (2 * WIDTH)
        up_place = w + (whole + column)[None, :] * HIDDEN + inner[:, None]
        gate_place = up_place + WIDTH * HIDDEN
        # Columns of a block share a scale: BLOCK_COLUMNS divides SCALED.
        up_scales = w_scale + (whole + tl.program_id(1) * BLOCK_COLUMNS) // SCALED * steps
        gate_scales = up_scales + WIDTH // SCALED * steps
        up = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], tl.float32)
        gate = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], tl.float32)
        for step in range(0, steps):
            values = tl.load(x_place + step * SCALED, mask=real[:, None], other=0.0).to(FACTOR)
            scale = tl.load(x_scale + step * tokens + token, mask=real, other=0.0)[:, None]
            part = tl.dot(values, tl.load(up_place + step * SCALED).to(FACTOR))
            up += part * (scale * tl.load(up_scales + step))
            part = tl.dot(values, tl.load(gate_place + step * SCALED).to(FACTOR))
            gate += part * (scale * tl.load(gate_scales + step))
        result = up * gate / (1.0 + tl.exp(-gate))
        place = (begin + row).to(tl.int64)[:, None] * WIDTH + column[None, :]
        tl.store(middle + place, result.to(middle.dtype.element_ty), mask=real[:, None])


@triton.jit
def down(
    middle, w, w_scale, counts, result,
    LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, SCALED: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """The second product for BLOCK_ROWS rows of one expert."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        place = (begin + row).to(tl.int64)
        column = tl.program_id(1) * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS)
        inner = tl.arange(0, SCALED)
        steps: tl.constexpr = WIDTH // SCALED
        whole = expert.to(tl.int64) * HIDDEN
        values_place = middle + place[:, None] * WIDTH + inner[None, :]
        w_place = w + (whole + column)[None, :] * WIDTH + inner[:, None]
        scales = w_scale + (whole + tl.program_id(1) * BLOCK_COLUMNS) // SCALED * steps
        total = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], tl.float32)
        for step in range(0, steps):
            values = tl.load(values_place + step * SCALED, mask=real[:, None], other=0.0)
            part = tl.dot(values.to(FACTOR), tl.load(w_place + step * SCALED).to(FACTOR))
            total += part * tl.load(scales + step)
        out = result + place[:, None] * HIDDEN + column[None, :]
        tl.store(out, total.to(result.dtype.element_ty), mask=real[:, None])


@triton.jit
def combine(
    result, experts, ranks, weights, counts, output,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """The weighted sum of one token's rows; 0 where none of its experts is here."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    number = tl.arange(0, BLOCK_LOCAL)
    count = tl.load(counts + number, mask=number < LOCAL, other=0)
    total = tl.zeros([BLOCK], tl.float32)
    for k in tl.static_range(TOP_K):
        expert = tl.load(experts + token * TOP_K + k)
        if expert >= 0:
            begin = tl.sum(tl.where(number < expert, count, 0), axis=0)
            row = (begin + tl.load(ranks + token * TOP_K + k)).to(tl.int64)
            part = tl.load(result + row * HIDDEN + column, mask=column < HIDDEN, other=0.0)
            total += part.to(tl.float32) * tl.load(weights + token * TOP_K + k)
    tl.store(output + token * HIDDEN + column, total.to(output.dtype.element_ty),
             mask=column < HIDDEN)  # fmt: skip


def moe_fp8(
    logits: torch.Tensor,
    bias: torch.Tensor | None,
    x: torch.Tensor,
    x_scale: torch.Tensor,
    w1: torch.Tensor,
    w1_scale: torch.Tensor,
    w2: torch.Tensor,
    w2_scale: torch.Tensor,
    first_expert: int,
    factor: float,
    *,
    routing: str,
    top_k: int,
    n_group: int,
    topk_group: int,
    BLOCK_ROWS: int,
    BLOCK_COLUMNS: int,
    num_warps: int,
    num_stages: int,
) -> torch.Tensor:
    """logits [tokens, experts], bias [experts] or None, x [tokens, hidden] float8 with scales
    [hidden / 128, tokens], w1 [local, 2 width, hidden] and w2 [local, hidden, width] float8 with
    scales of their blocks. Returns [tokens, hidden] bfloat16. Raises ValueError where 128 does not
    divide hidden or width."""
    (tokens, hidden), (local, _, width), device = x.shape, w2.shape, x.device
    if hidden % SCALED or width % SCALED:
        raise ValueError(f"moe_fp8: {SCALED} must divide {hidden} and {width}")
    output = torch.empty((tokens, hidden), dtype=torch.bfloat16, device=device)
    if tokens == 0:  # an empty grid is an error
        return output
    inputs = (logits, x, x_scale, w1, w1_scale, w2, w2_scale)
    logits, x, x_scale, w1, w1_scale, w2, w2_scale = (each.contiguous() for each in inputs)
    places, rows = tokens * top_k, tokens * min(top_k, local)
    numbers = torch.empty((2 * places + local * tokens + local,), dtype=torch.int32, device=device)
    experts, ranks, members, counts = numbers.split((places, places, local * tokens, local))
    weights = torch.empty(places, dtype=torch.float32, device=device)
    middle = torch.empty((rows, width), dtype=torch.bfloat16, device=device)
    result = torch.empty((rows, hidden), dtype=torch.bfloat16, device=device)
    blocks = rows // BLOCK_ROWS + min(local, rows)
    total, pad = logits.shape[1], triton.next_power_of_2
    # The interpreter multiplies small floats as if they were integers: float32 there.
    eight, sixteen = (tl.float8e4nv, tl.bfloat16) if x.is_cuda else (tl.float32, tl.float32)
    tiles = {"BLOCK_ROWS": BLOCK_ROWS, "BLOCK_COLUMNS": BLOCK_COLUMNS, "SCALED": SCALED,
             "num_warps": num_warps, "num_stages": num_stages}  # fmt: skip
    sizes = (local, pad(local), hidden)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        choose[(tokens,)](
            logits, logits if bias is None else bias, experts, weights, float(factor),
            int(first_expert), local, logits.stride(0), total, top_k, n_group, topk_group, routing,
            pad(total), pad(top_k), pad(n_group), num_warps=max(1, min(4, pad(total) // 64)),
        )  # fmt: skip
        gather[(local,)](experts, members, ranks, counts, places, tokens, BLOCK_PLACES)
        up_and_gate[(blocks, width // BLOCK_COLUMNS)](
            x, x_scale, w1, w1_scale, members, counts, middle, tokens, tokens, top_k, *sizes,
            width, FACTOR=eight, **tiles,
        )  # fmt: skip
        down[(blocks, hidden // BLOCK_COLUMNS)](
            middle, w2, w2_scale, counts, result, *sizes, width, FACTOR=sixteen, **tiles
        )
        combine[(tokens, triton.cdiv(hidden, BLOCK_HIDDEN))](
            result, experts, ranks, weights, counts, output, top_k, *sizes, BLOCK_HIDDEN
        )
    return output
