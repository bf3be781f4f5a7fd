"""Top-p sampling in Triton by proposals: no sort, and no threshold is sought.

An entry is kept where the mass of the entries before it, in falling order, is below p of the whole.
So a token drawn from the whole row is a draw from the kept ones if it is kept itself, which one
pass over the row tells of many proposals at once; each is kept with probability p or more.

`sums` adds up chunks of a row. `propose` draws the proposals, a program each: as many as let one
in MISSES rows go without. `accept` finds the mass before each; a row's last program takes the first
that is kept. Where there is none, it goes on alone: all at or behind the foremost proposal are out,
so that it draws from those before it, until one is kept. Of equal entries those of lower id come
first.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .sampling_draw import draw_from_row, load, place_of
from .scratch import workspace
from .seeds import fresh_seed

CHUNK = 2048
PROPOSALS = 32  # at most
SOME = tl.constexpr(4)  # proposals that are held against a chunk at once
MISSES = tl.constexpr(1000.0)
STREAM = tl.constexpr(1 << 10)  # numbers of a row's own: proposals, then one a further try
WARPS = 4


def sample_top_p(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Tokens [rows], int64, drawn from probs [rows, vocabulary] float32 after top-p.

    top_p [rows] keeps the entry that crosses it, and always the likeliest; 1 filters nothing.
    """
    rows, vocab = probs.shape
    samples = torch.empty(rows, dtype=torch.int64, device=probs.device)
    if rows == 0:  # an empty grid is an error
        return samples
    probs = probs if probs.stride(1) == 1 else probs.contiguous()
    chunks = triton.cdiv(vocab, CHUNK)
    scratch = workspace(probs.device)
    each = rows * PROPOSALS
    scratch.reserve(rows * chunks + 2 * each + each * chunks, rows)
    sums, values, tokens, masses = scratch.parts.split_with_sizes(
        [rows * chunks, each, each, len(scratch.parts) - rows * chunks - 2 * each]
    )
    tokens = tokens.view(torch.int32)
    sizes = {"VOCAB": vocab, "CHUNK": CHUNK, "CHUNKS": chunks,
             "BLOCK_CHUNKS": triton.next_power_of_2(chunks), "num_warps": WARPS}  # fmt: skip
    seed, stride = fresh_seed(probs.device), probs.stride(0)
    with torch.cuda.device_of(probs):  # Triton launches on the current device
        add_up[chunks, rows](probs, sums, stride, VOCAB=vocab, CHUNK=CHUNK, CHUNKS=chunks,
                             num_warps=WARPS)  # fmt: skip
        propose[PROPOSALS, rows](
            probs, top_p, sums, values, tokens, seed, stride, PROPOSALS=PROPOSALS, **sizes
        )
        accept[chunks, rows](
            probs, top_p, samples, sums, values, tokens, masses, scratch.arrived, seed, stride,
            PROPOSALS=PROPOSALS, **sizes,
        )  # fmt: skip
    return samples


@triton.jit
def wanted(p, PROPOSALS: tl.constexpr):
    """How many proposals: all fail with probability (1 - p) ** n, which is to be 1 / MISSES."""
    enough = tl.ceil(tl.log(MISSES) / -tl.log(1.0 - tl.minimum(tl.maximum(p, 1e-3), 0.999)))
    return tl.minimum(enough, PROPOSALS).to(tl.int32)


@triton.jit
def before(x, ids, value, token):
    """Those of x that come before an entry in falling order, else 0."""
    return tl.where((x > value) | ((x == value) & (ids < token)), x, 0.0)


@triton.jit
def add_up(probs, sums, row_stride, VOCAB: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr):
    """sums [row, chunk]."""
    chunk, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    x, _ = load(probs + row * row_stride, chunk, VOCAB, CHUNK)
    tl.store(sums + row * CHUNKS + chunk, tl.sum(x, axis=0))


@triton.jit(do_not_specialize=["seed"])
def propose(
    probs, top_p, sums, values, tokens, seed, row_stride, PROPOSALS: tl.constexpr,
    VOCAB: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr, BLOCK_CHUNKS: tl.constexpr,
):  # fmt: skip
    """A token drawn from the whole row, and its value: values, tokens [row, proposal]."""
    number, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    if number < wanted(tl.load(top_p + row).to(tl.float32), PROPOSALS):
        chunks = tl.arange(0, BLOCK_CHUNKS)
        each = tl.load(sums + row * CHUNKS + chunks, mask=chunks < CHUNKS, other=0.0)
        token = draw_from_row(
            probs + row * row_stride, sums + row * CHUNKS,
            tl.rand(seed, row.to(tl.int32) * STREAM + number) * tl.sum(each, axis=0), 0.0,
            VOCAB, CHUNK, CHUNKS, BLOCK_CHUNKS,
        )  # fmt: skip
        tl.store(values + row * PROPOSALS + number, tl.load(probs + row * row_stride + token))
        tl.store(tokens + row * PROPOSALS + number, token)


@triton.jit(do_not_specialize=["seed"])
def accept(
    probs, top_p, samples, sums, values, tokens, masses, arrived, seed, row_stride,
    PROPOSALS: tl.constexpr, VOCAB: tl.constexpr, CHUNK: tl.constexpr, CHUNKS: tl.constexpr,
    BLOCK_CHUNKS: tl.constexpr,
):  # fmt: skip
    """The mass before each proposal, masses [row, chunk, proposal]; the last program draws."""
    chunk, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row_pointer = probs + row * row_stride
    p = tl.load(top_p + row).to(tl.float32)
    count = wanted(p, PROPOSALS)
    x, ids = load(row_pointer, chunk, VOCAB, CHUNK)
    for start in range(0, count, SOME):  # several at once: one wait for them, one sum over threads
        number = start + tl.arange(0, SOME)
        value = tl.load(values + row * PROPOSALS + number)[:, None]
        token = tl.load(tokens + row * PROPOSALS + number)[:, None]
        part = tl.sum(before(x[None, :], ids[None, :], value, token), axis=1)
        tl.store(masses + (row * CHUNKS + chunk) * PROPOSALS + number, part)
    tl.debug_barrier()  # all of it is written before it is announced
    if tl.atomic_add(arrived + row, 1, sem="acq_rel") == CHUNKS - 1:
        tl.store(arrived + row, 0)  # for the next call
        numbers, chunks = tl.arange(0, PROPOSALS), tl.arange(0, BLOCK_CHUNKS)
        total = tl.sum(tl.load(sums + row * CHUNKS + chunks, mask=chunks < CHUNKS, other=0.0))
        mass = tl.where(p < 1.0, tl.maximum(p * total, 1e-37), float("inf"))
        valid = numbers < count
        above = tl.sum(
            tl.load(
                masses + (row * CHUNKS + chunks[:, None]) * PROPOSALS + numbers[None, :],
                mask=(chunks[:, None] < CHUNKS) & valid[None, :], other=0.0,
            ),
            axis=0,
        )  # fmt: skip
        kept = valid & (above < mass)
        first = tl.min(tl.where(kept, numbers, PROPOSALS), axis=0)
        if first < PROPOSALS:
            drawn = tl.load(tokens + row * PROPOSALS + first)
        else:
            least = tl.min(tl.where(valid, above, float("inf")), axis=0)
            foremost = tl.min(tl.where(valid & (above == least), numbers, PROPOSALS), axis=0)
            value = tl.load(values + row * PROPOSALS + foremost)
            drawn = tl.load(tokens + row * PROPOSALS + foremost)
            number = row.to(tl.int32) * STREAM + PROPOSALS
            while least >= mass:
                target = tl.rand(seed, number) * least
                value, drawn = draw_before(row_pointer, value, drawn, target, VOCAB, CHUNK, CHUNKS)
                least = mass_before(row_pointer, value, drawn, VOCAB, CHUNK, CHUNKS)
                number += 1
        tl.store(samples + row, drawn.to(samples.dtype.element_ty))


@triton.jit
def mass_before(row_pointer, value, token, VOCAB: tl.constexpr, CHUNK: tl.constexpr,
                CHUNKS: tl.constexpr):  # fmt: skip
    """The mass of all entries before one."""
    found = tl.zeros([CHUNK], tl.float32)
    for chunk in range(CHUNKS):
        x, ids = load(row_pointer, chunk, VOCAB, CHUNK)
        found += before(x, ids, value, token)
    return tl.sum(found, axis=0)


@triton.jit
def draw_before(row_pointer, value, token, target, VOCAB: tl.constexpr, CHUNK: tl.constexpr,
                CHUNKS: tl.constexpr):  # fmt: skip
    """The entry at `target` of the mass of those before one: its value and id. Where rounding
    leaves none at it, the last of them."""
    chosen = -1
    rest = target
    for chunk in range(CHUNKS):
        x, ids = load(row_pointer, chunk, VOCAB, CHUNK)
        here = tl.sum(before(x, ids, value, token), axis=0)
        inside = (here > 0) & (target >= 0)
        chosen = tl.where(inside, chunk, chosen)
        rest = tl.where(inside, target, rest)
        target = tl.where(target < here, -1.0, target - here)
    x, ids = load(row_pointer, chosen, VOCAB, CHUNK)
    place = place_of(before(x, ids, value, token), rest)
    drawn = chosen * CHUNK + place
    return tl.load(row_pointer + drawn), drawn
