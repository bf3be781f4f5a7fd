"""The indexer of sparse attention in Triton: scores of cached tokens, then the best of each row.

`score_pages` reads each page once: the float8 keys of its tokens are the rows of a product with the
index heads, made float16 on the way (exact, as are their products; the sums are float32's).

`select` takes the `topk` best of as many scores as one program holds (BLOCK), without a sort. The
value of the last one taken is found bit by bit, from the highest down, each bit with one count over
registers, and the search ends as soon as a count is right. Longer rows take rounds: each program
keeps the best of its block, and the next round chooses among those. No round loses a token that
belongs to the result, since ties are broken alike in all, by the lower position. Tokens come out in
the order of their positions. Nothing is kept between calls, and nothing is read back by the host.

Requests of at most `topk` tokens are not scored: they take all that they have.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .scratch import multiprocessors

FIELD = 16  # bits of a count in a packed pair: blocks end at 2^14
LARGEST_BLOCK = 1 << 14
ALIGNED = 16  # scores, of rows
ELEMENTS = 16  # of a block, a thread
MOST_WARPS = 32


@triton.jit(do_not_specialize=["splits"])
def score_pages(
    q, keys, scales, weights, lengths, table, scores, width, splits, q_request, q_head, key_page,
    scale_page, table_row,
    HEADS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr, TOPK: tl.constexpr,
    BLOCK_HEADS: tl.constexpr, BLOCK_DIM: tl.constexpr, FACTOR: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """sum over heads of relu(q_h . k) * weight_h for every splits-th page of one request."""
    # Requests and splits on the first axis: a grid's others end at 65,535.
    request, split = (tl.program_id(0) // splits).to(tl.int64), tl.program_id(0) % splits
    length = tl.minimum(tl.load(lengths + request), width)
    if length > TOPK:
        head, dim, token = tl.arange(0, BLOCK_HEADS), tl.arange(0, BLOCK_DIM), tl.arange(0, PAGE)
        heads = tl.load(
            q + request * q_request + head[None, :] * q_head + dim[:, None],
            mask=(head < HEADS)[None, :] & (dim < DIM)[:, None], other=0.0,
        ).to(FACTOR)  # fmt: skip
        weight = tl.load(weights + request * HEADS + head, mask=head < HEADS, other=0.0)
        for page in tl.range(split, (length + PAGE - 1) // PAGE, splits, num_stages=STAGES):
            held = tl.maximum(tl.load(table + request * table_row + page), 0).to(tl.int64)
            key = tl.load(
                keys + held * key_page + token[:, None] * DIM + dim[None, :],
                mask=(dim < DIM)[None, :], other=0.0,
            ).to(FACTOR)  # fmt: skip
            scale = tl.load(scales + held * scale_page + PAGE * DIM // 4 + token)
            logits = tl.dot(key, heads) * scale[:, None]
            score = tl.sum(tl.maximum(logits, 0.0) * weight[None, :], axis=1)
            position = page * PAGE + token
            tl.store(scores + request * width + position, score, mask=position < length)


@triton.jit
def ordered(score):
    """A pattern above 0 that orders like the score, -0 being 0."""
    bits = tl.cast(tl.where(score == 0.0, 0.0, score), tl.int32, bitcast=True)
    flipped = bits ^ ((bits >> 31) | -2147483648)
    return tl.maximum(tl.cast(flipped, tl.uint32, bitcast=True), tl.full([], 1, tl.uint32))


@triton.jit
def floor_of(pattern, count):
    """The highest value that `count` patterns reach, or one that exactly `count` reach."""
    bits, shift = tl.full([], 0, tl.uint32), tl.full([], 31, tl.int32)
    while shift >= 0:
        trial = bits | (tl.full([], 1, tl.uint32) << shift.to(tl.uint32))
        reached = tl.sum((pattern >= trial).to(tl.int32), axis=0)
        bits = tl.where(reached >= count, trial, bits)
        shift = tl.where(reached == count, -1, shift - 1)
    return bits


@triton.jit
def select(
    scores, positions, best_scores, best_positions, indices, lengths, table, width, row_size,
    best_size, table_row,
    ROUND: tl.constexpr, LAST: tl.constexpr, BLOCK: tl.constexpr, EARLIER: tl.constexpr,
    TOPK: tl.constexpr, BLOCK_TOPK: tl.constexpr, PAGE: tl.constexpr, FIELD: tl.constexpr,
    ALIGNED: tl.constexpr,
):  # fmt: skip
    """The TOPK best of one block of a row, in order; the last round's as slots, -1 behind them."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    count = tl.minimum(tl.load(lengths + row), width)
    scored = count > TOPK
    for _ in tl.static_range(ROUND):  # what the rounds before left: whole blocks, and a rest
        count = count // EARLIER * TOPK + tl.minimum(count % EARLIER, TOPK)
    count = tl.minimum(count - block * BLOCK, BLOCK)  # of this block
    place = tl.arange(0, BLOCK)
    here = place < count
    source = row * row_size + block * BLOCK + place
    pattern = here.to(tl.uint32)
    floor = tl.full([], 0, tl.uint32)
    if count > TOPK:
        # Whole vectors: rows are a multiple of ALIGNED long; what is behind `count` is put aside.
        whole = (count + ALIGNED - 1) // ALIGNED * ALIGNED
        score = tl.load(scores + source, mask=place < whole, other=0.0)
        pattern = tl.where(here, ordered(score), tl.full([], 0, tl.uint32))
        floor = floor_of(pattern, TOPK)
    above, level = pattern > floor, (pattern == floor) & here
    packed = above.to(tl.int32) + (level.to(tl.int32) << FIELD)
    wanted = TOPK - (tl.sum(packed, axis=0) & ((1 << FIELD) - 1))  # of those at the floor
    before = tl.cumsum(packed, axis=0) - packed
    levels = before >> FIELD
    chosen = above | (level & (levels < wanted))
    target = (before & ((1 << FIELD) - 1)) + tl.minimum(levels, wanted)
    # In 16 bits, with the mask: less to move where the store wants other threads than the scan.
    target = tl.where(chosen, target, TOPK).to(tl.int16).to(tl.int32)
    if LAST:
        to = indices + row * TOPK
    else:
        to = best_positions + row * best_size + block * TOPK
    tl.store(to + target, place, mask=target < TOPK)
    tl.debug_barrier()  # read back by other threads: what follows is for the chosen alone
    rank = tl.arange(0, BLOCK_TOPK)
    taken = rank < count
    inside = (rank < TOPK) & taken
    position = block * BLOCK + tl.load(to + rank, mask=inside, other=0)
    tl.debug_barrier()  # all of it is read before it is written over
    source = row * row_size + position
    if ROUND > 0:
        position = tl.load(positions + source, mask=inside, other=0)
    if LAST:
        page = tl.load(table + row * table_row + position // PAGE, mask=inside, other=0)
        slot = tl.maximum(page, 0) * PAGE + position % PAGE
        tl.store(to + rank, tl.where(taken, slot, -1), mask=rank < TOPK)
    else:
        tl.store(to + rank, position, mask=inside)
        score = tl.load(scores + source, mask=inside & scored, other=0.0)
        best = best_scores + row * best_size + block * TOPK
        tl.store(best + rank, score, mask=inside & scored)


def rounds_of(width: int, topk: int, most: int) -> list[tuple[int, int]]:
    """For each round: the block, and how many of them a row has."""
    found = []
    while True:
        block = min(most, max(16, triton.next_power_of_2(width)))
        blocks = triton.cdiv(width, block)
        found.append((block, blocks))
        if blocks == 1:
            return found
        width = blocks * topk


def index(
    q: torch.Tensor,
    cache: torch.Tensor,
    weights: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    topk: int,
    *,
    PROGRAMS_PER_SM: int,
    BLOCK: int,
    num_warps: int,
    num_stages: int,
) -> torch.Tensor:
    """q [requests, heads, dim] float8, cache [pages, page size, 1, dim + 4] as bytes: the keys of a
    page, then their float32 scales; weights [requests, heads] float32, lengths [requests], table
    [requests, pages]. Returns slots [requests, topk] int32 in the order of positions, -1 behind
    them. Raises ValueError for a topk above half of the largest block."""
    (requests, heads, dim), (pages, page_size) = q.shape, cache.shape[:2]
    if 2 * topk > LARGEST_BLOCK:
        raise ValueError(f"index: topk {topk} is above {LARGEST_BLOCK // 2}")
    indices = torch.empty((requests, topk), dtype=torch.int32, device=q.device)
    width = table.shape[1] * page_size
    if requests == 0 or width == 0:  # an empty grid is an error
        return indices.fill_(-1)
    raw = cache.reshape(pages, -1)
    q = q if q.stride(-1) == 1 else q.contiguous()
    table = table if table.stride(-1) == 1 else table.contiguous()
    scores = torch.empty((requests, width), dtype=torch.float32, device=q.device)
    wanted = max(1, PROGRAMS_PER_SM * multiprocessors(q.device) // requests)
    splits = min(table.shape[1], wanted)
    keys, scales = raw.view(torch.float8_e4m3fn), raw.view(torch.float32)
    with torch.cuda.device_of(q):  # Triton launches on the current device
        score_pages[(requests * splits,)](
            q, keys, scales, weights.contiguous(), lengths, table, scores, width, splits,
            q.stride(0), q.stride(1), keys.stride(0), scales.stride(0), table.stride(0),
            HEADS=heads, DIM=dim, PAGE=page_size, TOPK=topk,
            BLOCK_HEADS=max(16, triton.next_power_of_2(heads)),
            BLOCK_DIM=max(16, triton.next_power_of_2(dim)),
            # The interpreter has no float16 product with a float32 sum.
            FACTOR=tl.float16 if q.is_cuda else tl.float32,
            STAGES=num_stages, num_warps=num_warps,
        )  # fmt: skip
        choose(scores, indices, lengths, table, page_size, BLOCK)
    return indices


def choose(
    scores: torch.Tensor,
    indices: torch.Tensor,
    lengths: torch.Tensor,
    table: torch.Tensor,
    page_size: int,
    block: int,
) -> None:
    """Fill indices [requests, topk] from scores [requests, width], round by round."""
    (requests, width), topk = scores.shape, indices.shape[1]
    most = min(LARGEST_BLOCK, max(block, triton.next_power_of_2(2 * topk)))
    rounds = rounds_of(width, topk, most)
    positions = lengths  # the first round has none: a position is a place
    for number, (block, blocks) in enumerate(rounds):
        last = number == len(rounds) - 1
        kept = (requests, triton.cdiv(blocks * topk, ALIGNED) * ALIGNED)
        best = scores if last else scores.new_empty(kept)
        places = positions if last else lengths.new_empty(kept)
        select[(requests, blocks)](
            scores, positions, best, places, indices, lengths, table, width, scores.shape[1],
            best.shape[1], table.stride(0), ROUND=number, LAST=last, BLOCK=block, EARLIER=most,
            TOPK=topk, BLOCK_TOPK=triton.next_power_of_2(topk), PAGE=page_size, FIELD=FIELD,
            ALIGNED=ALIGNED,
            num_warps=min(max(block // (32 * ELEMENTS), 1), MOST_WARPS),
        )  # fmt: skip
        scores, positions = best, places
