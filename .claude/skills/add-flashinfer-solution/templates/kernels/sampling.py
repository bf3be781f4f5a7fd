"""Top-k and top-p sampling in Triton without a sort of the vocabulary.

`scan` reads the probabilities once. A program takes a chunk of a row and keeps, for each group of
4 * ROWS entries, the largest, and the chunk's sum. The last program of a row then knows where to
look: the k-th largest of any maxima is no larger than the k-th largest entry, so every entry that
top-k keeps lies in a group whose maximum reaches it. Those few groups are read again, and the few
entries that reach it are sorted (where many tie, the thresholds are found bit by bit of the float
pattern instead): exact, ties by lower id.

A row whose top-p set is wider than these groups goes on: `narrow` (twice) brackets the threshold
with STEPS trial values over the whole row, `collect` gathers the entries of the bracket, and its
last program finishes among them. Rows that are done cost these launches nothing but a look. What
fits neither (top-k above MOST_KEPT, masses of ties) is searched by one program over the whole row:
right, but slow.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

ROWS = 8  # of 4 neighbours each: a group
WIDTH = 1024
SLOTS = 256  # groups that are read again
MOST_KEPT = 160  # the k up to which top-k is found so; some slots are left for ties
COARSE = 512  # maxima among which the k-th largest is sought: at most 1,023, counts take ten bits
SORTED = 512  # entries that are sorted
STEPS = 7
UNLIMITED = tl.constexpr(3.0)  # the p of rows that top-p does not filter: no mass reaches it
WARPS = 8
MOST_REGISTERS = 128  # so that two programs of `scan` fit a multiprocessor
GOLDEN = 0x9E3779B97F4A7C15
LEAST_SEED = 1 << 61  # a kernel is compiled anew for a number that fits 32 bits


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


@triton.jit(do_not_specialize=["seed"])
def scan(
    probs, top_k, top_p, samples, maxima, sums, slots, keys, state, bracket, arrived, seed,
    row_stride, VOCAB: tl.constexpr, HAS_K: tl.constexpr, HAS_P: tl.constexpr, ROWS: tl.constexpr,
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
        k, p = tl.full([], VOCAB, tl.int32), tl.full([], UNLIMITED, tl.float32)
        if HAS_K:
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
    seed, row_stride, VOCAB: tl.constexpr, HAS_K: tl.constexpr, HAS_P: tl.constexpr,
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
            k, p = tl.full([], VOCAB, tl.int32), tl.full([], UNLIMITED, tl.float32)
            if HAS_K:
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


class Workspace:
    """Scratch of one device, stream and vocabulary for up to `batch` rows. The counters are zero
    between calls; nothing else is read before it is written."""

    def __init__(self, device: torch.device, batch: int, chunks: int) -> None:
        def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
            return torch.empty(shape, dtype=dtype, device=device)

        room = ROWS * WIDTH
        self.batch = batch
        self.maxima = empty(batch, chunks, WIDTH // 4)
        self.sums = empty(batch, chunks)
        self.masses = empty(batch, chunks, STEPS)
        self.slots = empty(batch, SLOTS, dtype=torch.int32)
        self.keys = empty(batch, SORTED, dtype=torch.int64)
        self.state = empty(batch, dtype=torch.int32)
        self.bracket = empty(batch, 2, dtype=torch.int32)
        self.entries = empty(batch, room)
        self.ids = empty(batch, room, dtype=torch.int32)
        self.arrived = torch.zeros(batch, dtype=torch.int32, device=device)
        self.counter = torch.zeros(batch, dtype=torch.int32, device=device)


WORKSPACES: dict[tuple[torch.device, int, int], Workspace] = {}


def workspace(device: torch.device, batch: int, chunks: int) -> Workspace:
    """The workspace of the device's current stream: calls of one stream follow each other."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    known = WORKSPACES.get((device, stream, chunks))
    if known is None or known.batch < batch:
        known = WORKSPACES[device, stream, chunks] = Workspace(device, batch, chunks)
    return known


def fresh_seed(device: torch.device) -> int:
    """A number that differs from call to call, from torch's generator, without a launch."""
    if device.type != "cuda":
        return LEAST_SEED + int(torch.randint(LEAST_SEED, ()))
    index = device.index if device.index is not None else torch.cuda.current_device()
    generator = torch.cuda.default_generators[index]
    offset = generator.get_offset()
    generator.set_offset(offset + 4)
    return LEAST_SEED + (generator.initial_seed() + (offset + 1) * GOLDEN) % LEAST_SEED


def sample(
    probs: torch.Tensor, top_k: torch.Tensor | None, top_p: torch.Tensor | None
) -> torch.Tensor:
    """Tokens [rows], int64, drawn from probs [rows, vocabulary] float32 after top-k, then top-p.

    top_k [rows] outside 1..vocabulary filters nothing; of tied entries those of lower id are kept.
    top_p [rows] keeps the entry that crosses it, and always the likeliest; 1 filters nothing.
    """
    rows, vocab = probs.shape
    samples = torch.empty(rows, dtype=torch.int64, device=probs.device)
    if rows == 0:  # an empty grid is an error
        return samples
    probs = probs if probs.stride(1) == 1 else probs.contiguous()
    chunk = ROWS * WIDTH
    chunks = triton.cdiv(vocab, chunk)
    w = workspace(probs.device, rows, chunks)
    seed, grid = fresh_seed(probs.device), (chunks, rows)
    has_k, has_p = top_k is not None, top_p is not None
    top_k, top_p = top_k if has_k else probs, top_p if has_p else probs  # if not: not read
    sizes = {
        "VOCAB": vocab, "CHUNKS": chunks, "BLOCK_CHUNKS": triton.next_power_of_2(chunks),
        "num_warps": WARPS,
    }  # fmt: skip
    has = {"HAS_K": has_k, "HAS_P": has_p}
    stride = probs.stride(0)
    with torch.cuda.device_of(probs):  # Triton launches on the current device
        scan[grid](
            probs, top_k, top_p, samples, w.maxima, w.sums, w.slots, w.keys, w.state, w.bracket,
            w.arrived, seed, stride, ROWS=ROWS, WIDTH=WIDTH, SLOTS=SLOTS, MOST_KEPT=MOST_KEPT,
            COARSE=COARSE, SORTED=SORTED, maxnreg=MOST_REGISTERS, **has, **sizes,
        )  # fmt: skip
        if has_p:
            for first in (True, False):
                narrow[grid](
                    probs, top_p, w.sums, w.masses, w.state, w.bracket, w.arrived, stride,
                    CHUNK=chunk, STEPS=STEPS, FIRST=first, **sizes,
                )  # fmt: skip
        collect[grid](
            probs, top_k, top_p, samples, w.sums, w.masses, w.state, w.bracket, w.counter,
            w.entries, w.ids, w.arrived, seed, stride, CHUNK=chunk, ROOM=chunk, **has, **sizes,
        )  # fmt: skip
    return samples
