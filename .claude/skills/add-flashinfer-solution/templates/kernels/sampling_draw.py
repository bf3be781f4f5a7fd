"""Exact thresholds of top-k and top-p, and a draw, among entries that one program holds."""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl


@triton.jit
def as_float(bits):
    """The float of a pattern."""
    return tl.cast(bits, tl.float32, bitcast=True)


@triton.jit
def as_bits(value):
    """The pattern of a float, which orders like the float where that is not negative."""
    return tl.cast(value, tl.int32, bitcast=True)


@triton.jit
def load(row_pointer, chunk, VOCAB: tl.constexpr, CHUNK: tl.constexpr):
    """The entries of a chunk and their ids; 0 beyond the vocabulary."""
    token = chunk * CHUNK + tl.arange(0, CHUNK)
    return tl.load(row_pointer + token, mask=token < VOCAB, other=0.0), token


@triton.jit
def highest_with_count(x, count):
    """The highest t with at least `count` entries >= t."""
    bits = 0
    for step in range(31):
        trial = bits | (1 << (30 - step))
        enough = tl.sum((x >= as_float(trial)).to(tl.int32), axis=0) >= count
        bits = tl.where(enough, trial, bits)
    return as_float(bits)


@triton.jit
def coarse_with_count(x, count):
    """As highest_with_count for at most 1,023 entries, without its last bit: two bits at a time,
    three counts in one sum."""
    bits = 0
    for step in range(15):
        shift = 29 - 2 * step
        packed = (x >= as_float(bits | (1 << shift))).to(tl.int32)
        packed += (x >= as_float(bits | (2 << shift))).to(tl.int32) << 10
        packed += (x >= as_float(bits | (3 << shift))).to(tl.int32) << 20
        counts = tl.sum(packed, axis=0)
        digit = ((counts & 1023) >= count).to(tl.int32)
        digit += ((counts >> 10 & 1023) >= count).to(tl.int32)
        digit += ((counts >> 20) >= count).to(tl.int32)
        bits = bits | (digit << shift)
    return as_float(bits)


@triton.jit
def draw_sorted(keys, k, p, total, limited, uniform):
    """The token drawn from entries packed as pattern and complemented id, 0 where there is none."""
    size: tl.constexpr = keys.shape[0]
    ordered = tl.sort(keys, descending=True)
    value = as_float((ordered >> 32).to(tl.int32))
    rank = tl.arange(0, size)
    kept = tl.where((rank < k) | (not limited), value, 0.0)
    mass = p * tl.where(limited, tl.sum(kept, axis=0), total)
    before = tl.cumsum(kept, axis=0) - kept
    kept = tl.where((before >= mass) & (rank > 0), 0.0, kept)
    place = place_of(kept, uniform * tl.sum(kept, axis=0))
    ids = 2147483647 - (ordered & 2147483647)
    return tl.sum(tl.where(rank == place, ids, 0), axis=0).to(tl.int32)


@triton.jit
def highest_with_mass(x, base, mass):
    """The highest t for which base and the entries >= t have that mass: an entry, or 0."""
    bits = 0
    for step in range(31):
        trial = bits | (1 << (30 - step))
        enough = base + tl.sum(tl.where(x >= as_float(trial), x, 0.0), axis=0) >= mass
        bits = tl.where(enough, trial, bits)
    return as_float(bits)


@triton.jit
def place_of(weights, target):
    """The place at which the running sum of `weights` exceeds target; the last of positive weight
    where rounding leaves none."""
    size: tl.constexpr = weights.shape[0]
    place = tl.arange(0, size)
    running = tl.cumsum(weights, axis=0)
    found = tl.min(tl.where((running > target) & (weights > 0), place, size), axis=0)
    last = tl.max(tl.where(weights > 0, place, 0), axis=0)
    return tl.where(found < size, found, last)


@triton.jit
def draw_from_row(row_pointer, sums, target, floor, VOCAB: tl.constexpr, CHUNK: tl.constexpr,
                  CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr):  # fmt: skip
    """The token at `target` of the mass of entries >= floor, whose sums by chunk are given."""
    chunks = tl.arange(0, BLOCK_CHUNKS)
    each = tl.load(sums + chunks, mask=chunks < CHUNKS, other=0.0)
    chunk = place_of(each, target)
    before = tl.sum(tl.where(chunks < chunk, each, 0.0), axis=0)
    x, token = load(row_pointer, chunk, VOCAB, CHUNK)
    return chunk * CHUNK + place_of(tl.where(x >= floor, x, 0.0), target - before)


@triton.jit
def tie(x, ids, value, number):
    """The id that `number` lower ones of the same value precede; the last if there are fewer."""
    same = x == value
    number = tl.minimum(number, tl.sum(same.to(tl.int32), axis=0) - 1)
    bits = 0
    for step in range(31):
        trial = bits | (1 << (30 - step))
        below = tl.sum((same & (ids < trial)).to(tl.int32), axis=0)
        bits = tl.where(below <= number, trial, bits)
    return bits


@triton.jit
def ties_to(mass, above, value, most):
    """How many entries of `value` it takes from mass `above` to `mass`: 1 at least."""
    wanted = tl.ceil((mass - above) / tl.maximum(value, 1e-38))
    return tl.minimum(tl.maximum(wanted, 1.0), most.to(tl.float32)).to(tl.int32)


@triton.jit
def thresholds(x, base, total, k, p):
    """The lowest value kept, how many of that value, and the mass above it (base included).

    x: all entries that may be kept but those of mass `base` that are kept for sure; k: entries of
    x kept by top-k, 0 for no such limit; total: the mass without top-p, where k is 0.
    """
    lowest = 0.0
    ties = 0
    above = base
    if k > 0:
        lowest = highest_with_count(x, k)
        above = tl.sum(tl.where(x > lowest, x, 0.0), axis=0)
        ties = k - tl.sum((x > lowest).to(tl.int32), axis=0)
        total = above + ties * lowest
    if p < 1.0:
        mass = tl.maximum(p * total, 1e-37)
        cut = highest_with_mass(x, base, mass)
        if cut >= lowest:
            same = tl.sum((x == cut).to(tl.int32), axis=0)
            same = tl.where((cut == lowest) & (k > 0), ties, same)
            above = base + tl.sum(tl.where(x > cut, x, 0.0), axis=0)
            ties = ties_to(mass, above, cut, same)
            lowest = cut
    return lowest, ties, above


@triton.jit
def draw(x, ids, lowest, ties, above, base, uniform):
    """The token at `uniform` of the mass kept, where that is none of the `base` outside x."""
    target = uniform * (above + ties * lowest)
    if target >= above:
        number = tl.minimum(((target - above) / tl.maximum(lowest, 1e-38)).to(tl.int32), ties - 1)
        token = tie(x, ids, lowest, tl.maximum(number, 0))
    else:
        place = place_of(tl.where(x > lowest, x, 0.0), target - base)
        size: tl.constexpr = x.shape[0]
        token = tl.sum(tl.where(tl.arange(0, size) == place, ids, 0), axis=0)
    return token


@triton.jit
def search_row(row_pointer, sums, k, p, uniform, VOCAB: tl.constexpr, CHUNK: tl.constexpr,
               CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr):  # fmt: skip
    """The token drawn, by one program over the whole row: for rows that nothing else serves."""
    lowest = 0.0
    ties = 0
    above = 0.0
    total = 0.0
    same = 0
    for which in range(2):  # top-k, then top-p
        mass = tl.maximum(p * total, 1e-37)
        if (which == 0) | (p < 1.0):
            bits = 0
            for step in range(32):
                trial = bits | (1 << (30 - tl.minimum(step, 30)))
                floor = as_float(tl.where(step == 31, bits, trial))
                counts = tl.zeros([CHUNK], tl.int32)
                masses = tl.zeros([CHUNK], tl.float32)
                for chunk in range(CHUNKS):
                    x, _ = load(row_pointer, chunk, VOCAB, CHUNK)
                    inside = tl.where(step == 31, x > floor, x >= floor)
                    counts += inside.to(tl.int32)
                    masses += tl.where(inside, x, 0.0)
                count, sum_above = tl.sum(counts, axis=0), tl.sum(masses, axis=0)
                if step < 31:
                    enough = tl.where(which == 0, count >= k, sum_above >= mass)
                    bits = tl.where(enough, trial, bits)
                else:  # bits are those of a value, the sums those above it
                    value = as_float(bits)
                    if which == 0:
                        lowest, above, ties = value, sum_above, k - count
                        total = above + ties * lowest
                    elif value >= lowest:
                        same = tl.where(value == lowest, ties, VOCAB)
                        above = sum_above
                        ties = ties_to(mass, above, value, same)
                        lowest = value
    target = uniform * (above + ties * lowest)
    number = tl.minimum(((target - above) / tl.maximum(lowest, 1e-38)).to(tl.int32), ties - 1)
    number = tl.maximum(number, 0)
    among_ties = target >= above
    token = 0
    found = False
    for chunk in range(CHUNKS):
        x, ids = load(row_pointer, chunk, VOCAB, CHUNK)
        if among_ties:
            same = tl.sum((x == lowest).to(tl.int32), axis=0)
            if (not found) & (same > 0):
                token = tie(x, ids, lowest, number)
                found = number < same
            number -= same
        else:
            weights = tl.where(x > lowest, x, 0.0)
            here = tl.sum(weights, axis=0)
            if (not found) & (here > 0):
                token = chunk * CHUNK + place_of(weights, target)
                found = target < here
            target -= here
    return token
