"""Routing of mixtures of experts in Triton: the experts of each token, the tokens of each expert,
and the sum of what a token's experts give.

`choose` takes one token a program. `gather` takes one expert a program and lists the places (token
* TOP_K + k) that chose it, by rising number: no sort, and the same order in every call. `combine`
takes a token's columns.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl


@triton.jit
def largest(values, taken, BLOCK: tl.constexpr):
    """The first of the largest values that is not taken, and the values' place of it."""
    place = tl.arange(0, BLOCK)
    highest = tl.max(tl.where(taken != 0, float("-inf"), values), axis=0)
    return tl.min(tl.where((values == highest) & (taken == 0), place, BLOCK - 1), axis=0), highest


@triton.jit(do_not_specialize=["first", "local"])
def choose(
    logits, bias, experts, weights, factor, first, local, logits_row,
    EXPERTS: tl.constexpr, TOP_K: tl.constexpr, N_GROUP: tl.constexpr, TOPK_GROUP: tl.constexpr,
    ROUTING: tl.constexpr, BIASED: tl.constexpr, BLOCK: tl.constexpr, BLOCK_K: tl.constexpr,
    BLOCK_GROUP: tl.constexpr,
):  # fmt: skip
    """Experts at hand (numbered from 0; -1: elsewhere) and weights of one token."""
    token = tl.program_id(0).to(tl.int64)
    place, k = tl.arange(0, BLOCK), tl.arange(0, BLOCK_K)
    real = place < EXPERTS
    score = tl.load(logits + token * logits_row + place, mask=real, other=0.0).to(tl.float32)
    taken = tl.where(real, 0, 1)
    if ROUTING == "ds":
        score = 1.0 / (1.0 + tl.exp(-score))
    rank = score
    if BIASED:
        rank = score + tl.load(bias + place, mask=real, other=0.0).to(tl.float32)
    if ROUTING == "ds":
        if N_GROUP > 1:
            size: tl.constexpr = EXPERTS // N_GROUP
            group = tl.arange(0, BLOCK_GROUP)
            sums = tl.full([BLOCK_GROUP], float("-inf"), tl.float32)
            for g in tl.static_range(N_GROUP):
                outside = tl.where(place // size == g, taken, 1)
                best, total = largest(rank, outside, BLOCK)
                if size > 1:
                    third, second = largest(rank, tl.where(place == best, 1, outside), BLOCK)
                    total += second
                sums = tl.where(group == g, total, sums)
            gone = tl.where(group < N_GROUP, 0, 1)
            kept = tl.zeros([BLOCK], tl.int32)
            for _n in tl.static_range(TOPK_GROUP):
                best, highest = largest(sums, gone, BLOCK_GROUP)
                gone = tl.where(group == best, 1, gone)
                kept = tl.where(place // size == best, 1, kept)
            taken = tl.where(kept == 1, taken, 1)
    else:  # the bias is one of the logits
        score = rank
    chosen = tl.full([BLOCK_K], -1, tl.int32)
    values = tl.zeros([BLOCK_K], tl.float32)
    for n in tl.static_range(TOP_K):
        best, highest = largest(rank, taken, BLOCK)
        value = tl.sum(tl.where(place == best, score, 0.0), axis=0)
        chosen = tl.where(k == n, best, chosen)
        values = tl.where(k == n, value, values)
        taken = tl.where(place == best, 1, taken)
    inside = k < TOP_K
    if ROUTING == "ds":
        values = values / (tl.sum(values, axis=0) + 1e-20) * factor
    elif ROUTING == "llama4":
        values = 1.0 / (1.0 + tl.exp(-values))
    elif ROUTING == "topk":
        values = tl.full([BLOCK_K], 1.0 / TOP_K, tl.float32)
    else:
        top = tl.max(tl.where(inside, values, float("-inf")), axis=0)
        values = tl.where(inside, tl.exp(values - top), 0.0)
        if ROUTING == "default":
            values = values / tl.sum(tl.where(real, tl.exp(score - top), 0.0), axis=0)
        else:  # renorm, renorm_naive
            values = values / tl.sum(values, axis=0)
    chosen -= first
    chosen = tl.where((chosen >= 0) & (chosen < local), chosen, -1)
    tl.store(experts + token * TOP_K + k, chosen, mask=inside)
    tl.store(weights + token * TOP_K + k, values, mask=inside)


@triton.jit(do_not_specialize=["places", "capacity"])
def gather(experts, members, ranks, counts, places, capacity, BLOCK: tl.constexpr):
    """The places that chose one expert; of each its rank among them; how many they are."""
    expert, count = tl.program_id(0), 0
    for start in range(0, places, BLOCK):
        place = start + tl.arange(0, BLOCK)
        mine = tl.load(experts + place, mask=place < places, other=-1) == expert
        rank = count + tl.cumsum(mine.to(tl.int32), axis=0) - 1
        tl.store(members + expert.to(tl.int64) * capacity + rank, place, mask=mine)
        tl.store(ranks + place, rank, mask=mine)
        count += tl.sum(mine.to(tl.int32), axis=0)
    tl.store(counts + expert, count)


@triton.jit
def block_of(counts, program, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, ROWS: tl.constexpr):
    """The expert whose block of rows the program has, which block of it, the row of all rows that
    the expert begins at, and its rows. Beyond the last block: expert LOCAL or above."""
    number = tl.arange(0, BLOCK_LOCAL)
    count = tl.load(counts + number, mask=number < LOCAL, other=0)
    ends = tl.cumsum(tl.cdiv(count, ROWS), axis=0)
    expert = tl.sum((ends <= program).to(tl.int32), axis=0)
    before = tl.max(tl.where(number < expert, ends, 0), axis=0)
    begin = tl.sum(tl.where(number < expert, count, 0), axis=0)
    rows = tl.sum(tl.where(number == expert, count, 0), axis=0)
    return expert, program - before, begin, rows


@triton.jit(do_not_specialize=["all_rows"])
def combine(
    result, experts, ranks, weights, counts, output, all_rows,
    TOP_K: tl.constexpr, LOCAL: tl.constexpr, BLOCK_LOCAL: tl.constexpr, HIDDEN: tl.constexpr,
    BLOCK_K: tl.constexpr, BLOCK: tl.constexpr, ON_INPUT: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """The weighted sum of one token's rows, the parts of a row and the experts in one order: the
    same bits in every call. 0 where none of its experts is here."""
    token = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    number, k = tl.arange(0, BLOCK_LOCAL), tl.arange(0, BLOCK_K)
    inside = k < TOP_K
    count = tl.load(counts + number, mask=number < LOCAL, other=0)
    expert = tl.load(experts + token * TOP_K + k, mask=inside, other=-1)
    here = inside & (expert >= 0) & (expert < LOCAL)
    rank = tl.load(ranks + token * TOP_K + k, mask=here, other=0)
    weight = tl.load(weights + token * TOP_K + k, mask=here, other=0.0)
    before = tl.where(number[None, :] < expert[:, None], count[None, :], 0)
    row = (tl.sum(before, axis=1) + rank).to(tl.int64)
    there = here[:, None] & (column < HIDDEN)[None, :]
    value = tl.zeros([BLOCK_K, BLOCK], tl.float32)
    for part in tl.static_range(SPLIT):
        place = result + (part * all_rows + row)[:, None] * HIDDEN + column[None, :]
        value += tl.load(place, mask=there, other=0.0).to(tl.float32)
    if not ON_INPUT:
        value = value * weight[:, None]
    total = tl.sum(value, axis=0)
    tl.store(output + token * HIDDEN + column, total.to(output.dtype.element_ty),
             mask=column < HIDDEN)  # fmt: skip
