"""The first product of routed float8 experts in Triton, silu(gate) * up: few rows, and many.

`few_rows` has the weights on the left (y.T = W @ x.T): 64 of their rows fill a Hopper tensor-core
instruction however few tokens an expert has. A program's weight rows are half up and half gate, so
that both come out of one product. Where few programs have work, SPLIT of them share a tile's
columns: the one that arrives last adds the parts, in the order of the columns, the same bits in
every call. `many_rows` has the tokens on the left, where a thread has few of their scales.

A float8 product is summed for 128 columns, as far as one scale reaches, and then added in float32
(Hopper's float8 sums keep about 14 bits). Scales are loaded a step ahead of their use.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl

from .moe_routing import block_of

STORED = tl.constexpr(2.0**-4)  # what is kept of up * silu(gate)
FLOAT16_MAX = tl.constexpr(65504.0)


@triton.jit
def stored(up, gate):
    """A sixteenth of up * silu(gate), which reaches 2^20 in float16. NaN stays."""
    value = up * gate / (1.0 + tl.exp(-gate)) * STORED
    value = tl.where(value > FLOAT16_MAX, FLOAT16_MAX, value)
    return tl.where(value < -FLOAT16_MAX, -FLOAT16_MAX, value)


@triton.jit(do_not_specialize=["tokens"])
def few_rows(
    x, x_scale, w, up_scale, gate_scale, weights, members, counts, middle, parts, arrived, tokens,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    SCALED: tl.constexpr, BLOCKED: tl.constexpr, ON_INPUT: tl.constexpr, SPLIT: tl.constexpr,
    FACTOR: tl.constexpr,
):  # fmt: skip
    """silu(x gate^T) * (x up^T) for BLOCK_ROWS tokens of one expert; weights are [up; gate].

    BLOCKED: scales of blocks; otherwise one an expert. ON_INPUT: the routing's weight is x's."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        tile, part = tl.program_id(1) // SPLIT, tl.program_id(1) % SPLIT
        HALF: tl.constexpr = BLOCK_COLUMNS // 2
        STEPS: tl.constexpr = HIDDEN // SCALED
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        member = tl.load(members + expert.to(tl.int64) * tokens + row, mask=real, other=0)
        token = (member // TOP_K).to(tl.int64)
        line, inner = tl.arange(0, BLOCK_COLUMNS), tl.arange(0, SCALED)
        is_gate = line >= HALF
        whole = expert.to(tl.int64) * (2 * WIDTH)
        source = whole + tile * HALF + line % HALF + tl.where(is_gate, WIDTH, 0)
        w_place = w + source[:, None] * HIDDEN + inner[None, :]
        x_place = x + token[:, None] * HIDDEN + inner[None, :]
        first, last = STEPS * part // SPLIT, STEPS * (part + 1) // SPLIT
        # Rows of a tile's half share a scale: HALF divides SCALED.
        up_place = up_scale + (whole + tile * HALF) // SCALED * STEPS
        gate_place = gate_scale + (whole + WIDTH + tile * HALF) // SCALED * STEPS
        if BLOCKED:
            up_factor, gate_factor = tl.load(up_place + first), tl.load(gate_place + first)
            factor = tl.load(x_scale + first * tokens + token, mask=real, other=0.0)
        total = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
        for step in range(first, last):
            values = tl.load(x_place + step * SCALED, mask=real[:, None], other=0.0).to(FACTOR)
            product = tl.dot(tl.load(w_place + step * SCALED).to(FACTOR), tl.trans(values))
            if BLOCKED:
                ahead = tl.minimum(step + 1, last - 1)
                next_up, next_gate = tl.load(up_place + ahead), tl.load(gate_place + ahead)
                next_factor = tl.load(x_scale + ahead * tokens + token, mask=real, other=0.0)
                both = tl.where(is_gate, gate_factor, up_factor)
                total += product * (both[:, None] * factor[None, :])
                up_factor, gate_factor, factor = next_up, next_gate, next_factor
            else:
                total += product
        done = True
        if SPLIT > 1:
            flat = line[:, None] * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)[None, :]
            ticket = tl.program_id(0) * (WIDTH // HALF) + tile
            place = parts + ticket.to(tl.int64) * (SPLIT * BLOCK_COLUMNS * BLOCK_ROWS) + flat
            tl.store(place + part * (BLOCK_COLUMNS * BLOCK_ROWS), total)
            tl.debug_barrier()  # all of the part is written before it is announced
            done = tl.atomic_add(arrived + ticket, 1, sem="acq_rel") == SPLIT - 1
            if done:
                tl.store(arrived + ticket, 0)  # for the next call
                total = tl.zeros([BLOCK_COLUMNS, BLOCK_ROWS], tl.float32)
                for other in range(0, SPLIT):
                    more = place + other * (BLOCK_COLUMNS * BLOCK_ROWS)
                    total += tl.load(more, cache_modifier=".cg")
        if done:
            if not BLOCKED:
                up_factor, gate_factor = tl.load(up_scale + expert), tl.load(gate_scale + expert)
                total = total * tl.where(is_gate, gate_factor, up_factor)[:, None]
            if ON_INPUT:
                total = total * tl.load(weights + member, mask=real, other=0.0)[None, :]
            pairs = tl.permute(tl.reshape(total, [2, HALF, BLOCK_ROWS]), (1, 2, 0))
            up, gate = tl.split(pairs)
            column = tile * HALF + tl.arange(0, HALF)
            out = (begin + row).to(tl.int64)[None, :] * WIDTH + column[:, None]
            tl.store(middle + out, stored(up, gate).to(middle.dtype.element_ty), mask=real[None, :])


@triton.jit(do_not_specialize=["tokens"])
def many_rows(
    x, x_scale, w, up_scale, gate_scale, weights, members, counts, middle, tokens,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK_ROWS: tl.constexpr, BLOCK_COLUMNS: tl.constexpr,
    SCALED: tl.constexpr, BLOCKED: tl.constexpr, ON_INPUT: tl.constexpr, FACTOR: tl.constexpr,
):  # fmt: skip
    """The same for many rows, without parts."""
    expert, block, begin, rows = block_of(counts, tl.program_id(0), LOCAL, BLOCK_LOCAL, BLOCK_ROWS)
    if expert < LOCAL:
        tile = tl.program_id(1)
        HALF: tl.constexpr = BLOCK_COLUMNS // 2
        STEPS: tl.constexpr = HIDDEN // SCALED
        row = block * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
        real = row < rows
        member = tl.load(members + expert.to(tl.int64) * tokens + row, mask=real, other=0)
        token = (member // TOP_K).to(tl.int64)
        line, inner = tl.arange(0, BLOCK_COLUMNS), tl.arange(0, SCALED)
        is_gate = line >= HALF
        whole = expert.to(tl.int64) * (2 * WIDTH)
        source = whole + tile * HALF + line % HALF + tl.where(is_gate, WIDTH, 0)
        w_place = w + source[None, :] * HIDDEN + inner[:, None]
        x_place = x + token[:, None] * HIDDEN + inner[None, :]
        up_place = up_scale + (whole + tile * HALF) // SCALED * STEPS
        gate_place = gate_scale + (whole + WIDTH + tile * HALF) // SCALED * STEPS
        if BLOCKED:
            up_factor, gate_factor = tl.load(up_place), tl.load(gate_place)
            factor = tl.load(x_scale + token, mask=real, other=0.0)
        total = tl.zeros([BLOCK_ROWS, BLOCK_COLUMNS], tl.float32)
        for step in range(0, STEPS):
            values = tl.load(x_place + step * SCALED, mask=real[:, None], other=0.0).to(FACTOR)
            product = tl.dot(values, tl.load(w_place + step * SCALED).to(FACTOR))
            if BLOCKED:
                ahead = tl.minimum(step + 1, STEPS - 1)
                next_up, next_gate = tl.load(up_place + ahead), tl.load(gate_place + ahead)
                next_factor = tl.load(x_scale + ahead * tokens + token, mask=real, other=0.0)
                of_up, of_gate = (factor * up_factor)[:, None], (factor * gate_factor)[:, None]
                total += product * tl.where(is_gate[None, :], of_gate, of_up)
                up_factor, gate_factor, factor = next_up, next_gate, next_factor
            else:
                total += product
        up, gate = tl.split(tl.permute(tl.reshape(total, [BLOCK_ROWS, 2, HALF]), (0, 2, 1)))
        if not BLOCKED:
            up, gate = up * tl.load(up_scale + expert), gate * tl.load(gate_scale + expert)
        if ON_INPUT:
            weight = tl.load(weights + member, mask=real, other=0.0)[:, None]
            up, gate = up * weight, gate * weight
        column = tile * HALF + tl.arange(0, HALF)
        place = (begin + row).to(tl.int64)[:, None] * WIDTH + column[None, :]
        tl.store(middle + place, stored(up, gate).to(middle.dtype.element_ty), mask=real[:, None])
