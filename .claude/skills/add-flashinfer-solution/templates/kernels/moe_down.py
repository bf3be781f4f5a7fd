"""The second product of routed float8 experts in Triton.

The weights stand on the left (y.T = W @ middle.T) and become float16 in registers, where the tensor
cores take a left operand from: one instruction for two of them, which no other format has. SPLIT
programs share a tile's columns where few have work; `combine` adds their parts.
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
