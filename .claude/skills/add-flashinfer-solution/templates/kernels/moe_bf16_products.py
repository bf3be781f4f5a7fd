"""The products of routed experts in 16 bits in Triton, for few rows of an expert and for many.

The weights stand on the left of both (y.T = W @ x.T): 64 of their rows fill a Hopper tensor-core
instruction however few tokens an expert has, and with many tokens neither side is better. Both
operands have the summed axis last, as they lie in memory.

Where few programs have work, SPLIT of them share a tile's sum. Of the first product the one that
arrives last adds the parts, in the order of the columns, before silu(gate) * up; those of the
second are added where a token's experts are. So every call has the same bits.

Rows and columns beyond the last one read another's numbers and store nothing.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl

from .moe_routing import block_of


@triton.jit
def factor_of(place, left, SIZE: tl.constexpr, BLOCK_K: tl.constexpr, FACTOR: tl.constexpr):
    """[rows, BLOCK_K] of a matrix whose rows have `left` numbers more, then zeros."""
    if SIZE % BLOCK_K == 0:
        return tl.load(place).to(FACTOR)
    return tl.load(place, mask=(tl.arange(0, BLOCK_K) < left)[None, :], other=0.0).to(FACTOR)


@triton.jit
def sum_of_parts(place, total, SPLIT: tl.constexpr, SIZE: tl.constexpr):
    """The parts of all SPLIT programs in their order."""
    total = tl.zeros_like(total)
    for other in range(0, SPLIT):
        total += tl.load(place + other * SIZE, cache_modifier=".cg")
    return total


@triton.jit(do_not_specialize=["capacity"])
def up_gate(
    x, w, members, counts, middle, parts, arrived, capacity,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    BLOCK_K: tl.constexpr, SPLIT: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """BLOCK_COLUMNS of silu(x gate^T) * (x up^T) for BLOCK_ROWS tokens of one expert; the rows of
    its weights are [up; gate]."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        tile, part = tl.program_id(1) // SPLIT, tl.program_id(1) % SPLIT
        STEPS: tl.constexpr = (HIDDEN + BLOCK_K - 1) // BLOCK_K
        SIZE: tl.constexpr = BLOCK_COLUMNS * BLOCK_ROWS
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        member = tl.load(members + expert.to(tl.int64) * capacity + row, mask=real, other=0)
        token = (member // TOP_K).to(tl.int64)
        column, inner = tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS), tl.arange(0, BLOCK_K)
        source = expert.to(tl.int64) * (2 * WIDTH) + tl.minimum(column, WIDTH - 1)
        up_place = w + source[:, None] * HIDDEN + inner[None, :]
        x_place = x + token[:, None] * HIDDEN + inner[None, :]
        up = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
        gate = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
        for step in range(STEPS * part // SPLIT, STEPS * (part + 1) // SPLIT):
            at = step * BLOCK_K
            values = tl.trans(factor_of(x_place + at, HIDDEN - at, HIDDEN, BLOCK_K, FACTOR))
            of_up = factor_of(up_place + at, HIDDEN - at, HIDDEN, BLOCK_K, FACTOR)
            up = tl.dot(of_up, values, up)
            gate_place = up_place + WIDTH * HIDDEN
            of_gate = factor_of(gate_place + at, HIDDEN - at, HIDDEN, BLOCK_K, FACTOR)
            gate = tl.dot(of_gate, values, gate)
        done = True
        if SPLIT > 1:
            line = tl.arange(0, BLOCK_COLUMNS)[:, None] * BLOCK_ROWS
            ticket = tl.program_id(0) * tl.cdiv(WIDTH, BLOCK_COLUMNS) + tile
            place = parts + ticket.to(tl.int64) * (2 * SPLIT * SIZE)
            place += line + tl.arange(0, BLOCK_ROWS)[None, :]
            tl.store(place + part * SIZE, up)
            tl.store(place + (SPLIT + part) * SIZE, gate)
            tl.debug_barrier()  # all of the part is written before it is announced
            done = tl.atomic_add(arrived + ticket, 1, sem="acq_rel") == SPLIT - 1
            if done:
                tl.store(arrived + ticket, 0)  # for the next call
                up = sum_of_parts(place, up, SPLIT, SIZE)
                gate = sum_of_parts(place + SPLIT * SIZE, gate, SPLIT, SIZE)
        if done:
            value = up * gate / (1.0 + tl.exp(-gate))
            out = (begin + row).to(tl.int64)[None, :] * WIDTH + column[:, None]
            tl.store(middle + out, value.to(middle.dtype.element_ty),
                     mask=real[None, :] & (column < WIDTH)[:, None])  # fmt: skip


@triton.jit(do_not_specialize=["all_rows"])
def down(
    middle, w, counts, result, all_rows,
    LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr, BLOCK_K: tl.constexpr,
    SPLIT: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """The second product for BLOCK_ROWS rows of one expert: a part of result [SPLIT, rows, ...]."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        tile, part = tl.program_id(1) // SPLIT, tl.program_id(1) % SPLIT
        STEPS: tl.constexpr = (WIDTH + BLOCK_K - 1) // BLOCK_K
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        place = (begin + row).to(tl.int64)
        last = (begin + rows - 1).to(tl.int64)
        column, inner = tile * BLOCK_COLUMNS + tl.arange(0, BLOCK_COLUMNS), tl.arange(0, BLOCK_K)
        source = expert.to(tl.int64) * HIDDEN + tl.minimum(column, HIDDEN - 1)
        x_place = middle + tl.minimum(place, last)[:, None] * WIDTH + inner[None, :]
        w_place = w + source[:, None] * WIDTH + inner[None, :]
        total = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
        for step in range(STEPS * part // SPLIT, STEPS * (part + 1) // SPLIT):
            at = step * BLOCK_K
            values = tl.trans(factor_of(x_place + at, WIDTH - at, WIDTH, BLOCK_K, FACTOR))
            weights = factor_of(w_place + at, WIDTH - at, WIDTH, BLOCK_K, FACTOR)
            total = tl.dot(weights, values, total)
        out = result + (part * all_rows + place)[None, :] * HIDDEN + column[:, None]
        tl.store(out, total.to(result.dtype.element_ty),
                 mask=(row < rows)[None, :] & (column < HIDDEN)[:, None])  # fmt: skip
