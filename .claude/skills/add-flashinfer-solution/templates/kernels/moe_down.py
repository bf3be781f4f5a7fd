"""The second product of routed float8 experts in Triton, and each token's sum of its experts.

The weights stand on the left (y.T = W @ middle.T) and become float16 in registers, where the tensor
cores take a left operand from: one instruction for two of them, which no other format has. SPLIT
programs share a tile's columns where few have work; `combine` adds their parts, and the experts,
in one order: the same bits in every call.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl

from .moe_routing import block_of
from .moe_up_gate import STORED


@triton.jit(do_not_specialize=["all_rows"])
def down(
    middle, w, w_scale, counts, result, all_rows,
    LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, SCALED: tl.constexpr,
    BLOCKED: tl.constexpr, SPLIT: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """The second product for BLOCK_ROWS rows of one expert: a part of result [SPLIT, rows, ...]."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        tile, part = tl.program_id(1) // SPLIT, tl.program_id(1) % SPLIT
        STEPS: tl.constexpr = WIDTH // SCALED
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        place = (begin + row).to(tl.int64)
        column, inner = tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS), tl.arange(0, SCALED)
        whole = expert.to(tl.int64) * HIDDEN
        values_place = middle + place[:, None] * WIDTH + inner[None, :]
        w_place = w + (whole + column)[:, None] * WIDTH + inner[None, :]
        first, last = STEPS * part // SPLIT, STEPS * (part + 1) // SPLIT
        scale_place = w_scale + (whole + tile * BLOCK_COLUMNS) // SCALED * STEPS
        if BLOCKED:
            factor = tl.load(scale_place + first)
        total = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
        for step in range(first, last):
            values = tl.load(values_place + step * SCALED, mask=real[:, None], other=0.0)
            weights = tl.load(w_place + step * SCALED).to(FACTOR)
            if BLOCKED:
                next_factor = tl.load(scale_place + tl.minimum(step + 1, last - 1))
                total += tl.dot(weights, tl.trans(values.to(FACTOR))) * factor
                factor = next_factor
            else:
                total = tl.dot(weights, tl.trans(values.to(FACTOR)), total)
        total = total * (1.0 / STORED)
        if not BLOCKED:
            total = total * tl.load(w_scale + expert)
        out = result + (part * all_rows + place)[None, :] * HIDDEN + column[:, None]
        tl.store(out, total.to(result.dtype.element_ty), mask=real[None, :])


@triton.jit(do_not_specialize=["all_rows"])
def combine(
    result, experts, ranks, weights, counts, output, all_rows,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK: tl.constexpr, ON_INPUT: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """The weighted sum of one token's rows; 0 where none of its experts is here."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    number, k = tl.arange(0, BLOCK_LOCAL), tl.arange(0, BLOCK_K)
    inside = k < TOP_K
    count = tl.load(counts + number, mask=number < LOCAL, other=0)
    expert = tl.load(experts + token * TOP_K + k, mask=inside, other=-1)
    rank = tl.load(ranks + token * TOP_K + k, mask=inside & (expert >= 0), other=0)
    weight = tl.load(weights + token * TOP_K + k, mask=inside, other=0.0)
    before = tl.where(number[None, :] < expert[:, None], count[None, :], 0)
    row = (tl.sum(before, axis=1) + rank).to(tl.int64)
    there = (expert >= 0)[:, None] & (column < HIDDEN)[None, :]
    value = tl.zeros([BLOCK_K, BLOCK], tl.float32)
    for part in tl.static_range(SPLIT):
        place = result + (part * all_rows + row)[:, None] * HIDDEN + column[None, :]
        value += tl.load(place, mask=there, other=0.0).to(tl.float32)
    if not ON_INPUT:
        value = value * weight[:, None]
    total = tl.sum(value, axis=0)
    tl.store(output + token * HIDDEN + column, total.to(output.dtype.element_ty),
             mask=column < HIDDEN)  # fmt: skip
