"""The kernels of sampling: `scan`, `narrow`, `collect` (what for: see `sampling`)."""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl

from .sampling_draw import (
    as_bits,
    as_float,
    coarse_with_count,
    draw,
    draw_from_row,
    draw_sorted,
    load,
    search_row,
    thresholds,
)

UNLIMITED = tl.constexpr(3.0)  # the p of rows that top-p does not filter: no mass reaches it


@triton.jit(do_not_specialize=["seed"])
def scan(
    probs, top_k, top_p, samples, maxima, sums, slots, keys, state, bracket, arrived, seed,
    row_stride, VOCAB: tl.constexpr, HAS_P: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr, CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr, SLOTS: tl.constexpr,
    MOST_KEPT: tl.constexpr, COARSE: tl.constexpr, SORTED: tl.constexpr,
):  # fmt: skip
    """Group maxima and chunk sums; the row's last program draws, or says where to go on.

    state [row]: 0 done, 1 to be narrowed, 2 to be searched. bracket [row, 2]: patterns.
    """
    chunk, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    CHUNK: tl.constexpr = ROWS * WIDTH
    GROUPS: tl.constexpr = WIDTH // 4
    ALL: tl.constexpr = BLOCK_CHUNKS * GROUPS
    row_pointer = probs + row * row_stride
    token = chunk * CHUNK + tl.arange(0, ROWS)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    tile = tl.load(row_pointer + token, mask=token < VOCAB, other=0.0)
    largest = tl.max(tl.reshape(tl.max(tile, axis=0), [GROUPS, 4]), axis=1)
    tl.store(maxima + (row * CHUNKS + chunk) * GROUPS + tl.arange(0, GROUPS), largest)
    tl.store(sums + row * CHUNKS + chunk, tl.sum(tl.sum(tile, axis=0), axis=0))
    tl.debug_barrier()  # all of it is written before it is announced
    if tl.atomic_add(arrived + row, 1, sem="acq_rel") == CHUNKS - 1:
        tl.store(arrived + row, 0)  # for the next launch
        p = tl.full([], UNLIMITED, tl.float32)
        k = tl.load(top_k + row).to(tl.int32)
        k = tl.where((k <= 0) | (k > VOCAB), VOCAB, k)
        if HAS_P:
            p = tl.load(top_p + row).to(tl.float32)
            p = tl.where(p < 1.0, p, UNLIMITED)
        uniform = tl.rand(seed, row.to(tl.int32))
        chunks = tl.arange(0, BLOCK_CHUNKS)
        total = tl.sum(
            tl.load(sums + row * CHUNKS + chunks, mask=chunks < CHUNKS, other=0.0), axis=0
        )
        limited = k < VOCAB
        if (not limited) & (p >= 1.0):
            drawn = draw_from_row(
                row_pointer, sums + row * CHUNKS, uniform * total, 0.0, VOCAB, CHUNK, CHUNKS,
                BLOCK_CHUNKS,
            )  # fmt: skip
            tl.store(samples + row, drawn.to(samples.dtype.element_ty))
            tl.store(state + row, 0)
        else:
            group = tl.arange(0, ALL)
            peaks = tl.load(
                maxima + row * CHUNKS * GROUPS + group, mask=group < CHUNKS * GROUPS, other=0.0
            )
            SOME: tl.constexpr = COARSE if COARSE < ALL else ALL
            coarse = tl.max(tl.reshape(peaks, [SOME, ALL // SOME]), axis=1)
            floor = coarse_with_count(coarse, tl.minimum(k, MOST_KEPT))
            chosen = (peaks >= floor) & (peaks > 0)
            slot = tl.cumsum(chosen.to(tl.int32), axis=0) - 1
            count = tl.sum(chosen.to(tl.int32), axis=0)
            tl.store(slots + row * SLOTS + slot, group, mask=chosen & (slot < SLOTS))
            tl.debug_barrier()  # read back by other threads
            place = tl.arange(0, SLOTS * 4 * ROWS)
            number = place // (4 * ROWS)
            mine = tl.load(slots + row * SLOTS + number, mask=number < count, other=0)
            ids = mine // GROUPS * CHUNK + place // 4 % ROWS * WIDTH + mine % GROUPS * 4 + place % 4
            x = tl.load(row_pointer + ids, mask=(number < count) & (ids < VOCAB), other=0.0)
            ready = (count <= SLOTS) & (k <= MOST_KEPT)
            if not limited:  # all entries >= floor are here: is their mass enough?
                known = tl.sum(tl.where(x >= floor, x, 0.0), axis=0)
                ready = (count <= SLOTS) & (known >= p * total)
            if ready:
                reaches = (x >= floor) & (x > 0)
                among = tl.cumsum(reaches.to(tl.int32), axis=0) - 1
                entries = tl.sum(reaches.to(tl.int32), axis=0)
                if entries <= SORTED:
                    key = (as_bits(x).to(tl.int64) << 32) | (2147483647 - ids).to(tl.int64)
                    tl.store(keys + row * SORTED + among, key, mask=reaches)
                    tl.debug_barrier()  # read back by other threads
                    rank = tl.arange(0, SORTED)
                    few = tl.load(keys + row * SORTED + rank, mask=rank < entries, other=0)
                    drawn = draw_sorted(few, k, p, total, limited, uniform)
                else:
                    lowest, ties, above = thresholds(x, 0.0, total, tl.where(limited, k, 0), p)
                    drawn = draw(x, ids, lowest, ties, above, 0.0, uniform)
                tl.store(samples + row, drawn.to(samples.dtype.element_ty))
                tl.store(state + row, 0)
            else:
                tl.store(state + row, tl.where(limited, 2, 1))
                tl.store(bracket + row * 2, 0)
                tl.store(bracket + row * 2 + 1, as_bits(floor))


@triton.jit
def trial_at(low, high, step, FIRST: tl.constexpr):
    """The pattern of a trial value, rising with step: octaves below `high` first, then even steps
    of the pattern."""
    if FIRST:
        octaves = tl.where(step == 0, 12, tl.where(step == 1, 8, tl.where(step == 2, 6, 7 - step)))
        bits = tl.maximum(high - octaves * (1 << 23), low)
    else:
        bits = low + ((high - low) // 8) * (step + 1)
    return bits


@triton.jit
def narrow(
    probs, top_p, sums, masses, state, bracket, arrived, row_stride, VOCAB: tl.constexpr,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr, STEPS: tl.constexpr,
    FIRST: tl.constexpr,
):  # fmt: skip
    """Bracket the threshold of top-p between two of STEPS trial values."""
    chunk, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    if tl.load(state + row) == 1:
        x, _ = load(probs + row * row_stride, chunk, VOCAB, CHUNK)
        low, high = tl.load(bracket + row * 2), tl.load(bracket + row * 2 + 1)
        for step in tl.static_range(STEPS):
            floor = as_float(trial_at(low, high, step, FIRST))
            mass = tl.sum(tl.where(x >= floor, x, 0.0), axis=0)
            tl.store(masses + (row * CHUNKS + chunk) * STEPS + step, mass)
        tl.debug_barrier()  # all of it is written before it is announced
        if tl.atomic_add(arrived + row, 1, sem="acq_rel") == CHUNKS - 1:
            tl.store(arrived + row, 0)
            chunks = tl.arange(0, BLOCK_CHUNKS)
            each = sums + row * CHUNKS + chunks
            wanted = tl.load(top_p + row) * tl.sum(
                tl.load(each, mask=chunks < CHUNKS, other=0.0), axis=0
            )
            new_low, new_high = low, high
            for step in tl.static_range(STEPS):
                trial = trial_at(low, high, step, FIRST)
                parts = masses + (row * CHUNKS + chunks) * STEPS + step
                mass = tl.sum(tl.load(parts, mask=chunks < CHUNKS, other=0.0), axis=0)
                new_low = tl.where(mass >= wanted, tl.maximum(trial, new_low), new_low)
                new_high = tl.where(mass < wanted, tl.minimum(trial, new_high), new_high)
            tl.store(bracket + row * 2, new_low)
            tl.store(bracket + row * 2 + 1, new_high)


@triton.jit(do_not_specialize=["seed"])
def collect(
    probs, top_k, top_p, samples, sums, masses, state, bracket, counter, values, tokens, arrived,
    seed, row_stride, VOCAB: tl.constexpr, HAS_P: tl.constexpr,
    CHUNK: tl.constexpr, CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    """Gather the entries of the bracket; the row's last program draws."""
    chunk, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    status = tl.load(state + row)
    if status != 0:
        row_pointer = probs + row * row_stride
        low, high = tl.load(bracket + row * 2), tl.load(bracket + row * 2 + 1)
        if status == 1:
            ids = chunk * CHUNK + tl.arange(0, CHUNK)
            x = tl.load(row_pointer + ids, mask=ids < VOCAB, other=0.0)
            above = tl.sum(tl.where(x >= as_float(high), x, 0.0), axis=0)
            tl.store(masses + row * CHUNKS + chunk, above)
            inside = (x >= as_float(low)) & (x < as_float(high)) & (x > 0)
            count = tl.sum(inside.to(tl.int32), axis=0)
            place = tl.atomic_add(counter + row, count) + tl.cumsum(inside.to(tl.int32), axis=0) - 1
            kept = inside & (place < ROOM)
            tl.store(values + row * ROOM + place, x, mask=kept)
            tl.store(tokens + row * ROOM + place, ids, mask=kept)
        tl.debug_barrier()  # all of it is written before it is announced
        if tl.atomic_add(arrived + row, 1, sem="acq_rel") == CHUNKS - 1:
            tl.store(arrived + row, 0)
            p = tl.full([], UNLIMITED, tl.float32)
            k = tl.load(top_k + row).to(tl.int32)
            k = tl.where((k <= 0) | (k > VOCAB), VOCAB, k)
            if HAS_P:
                p = tl.load(top_p + row).to(tl.float32)
                p = tl.where(p < 1.0, p, UNLIMITED)
            uniform = tl.rand(seed, row.to(tl.int32))
            gathered = tl.load(counter + row)
            tl.store(counter + row, 0)
            place = tl.arange(0, ROOM)
            valid = place < gathered
            x = tl.load(values + row * ROOM + place, mask=valid, other=0.0)
            chunks = tl.arange(0, BLOCK_CHUNKS)
            each = row * CHUNKS + chunks
            total = tl.sum(tl.load(sums + each, mask=chunks < CHUNKS, other=0.0), axis=0)
            base = tl.sum(tl.load(masses + each, mask=chunks < CHUNKS, other=0.0), axis=0)
            mass = p * total
            reached = (base < mass) & (base + tl.sum(x, axis=0) >= mass)
            if (status == 1) & (gathered <= ROOM) & reached:
                ids = tl.load(tokens + row * ROOM + place, mask=valid, other=0)
                lowest, ties, up_to = thresholds(x, base, total, 0, p)
                target = uniform * (up_to + ties * lowest)
                if target < base:
                    drawn = draw_from_row(
                        row_pointer, masses + row * CHUNKS, target, as_float(high), VOCAB, CHUNK,
                        CHUNKS, BLOCK_CHUNKS,
                    )  # fmt: skip
                else:
                    drawn = draw(x, ids, lowest, ties, up_to, base, uniform)
            else:
                drawn = search_row(
                    row_pointer, sums + row * CHUNKS, k, p, uniform, VOCAB, CHUNK, CHUNKS,
                    BLOCK_CHUNKS,
                )  # fmt: skip
            tl.store(samples + row, drawn.to(samples.dtype.element_ty))
