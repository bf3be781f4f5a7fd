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

import torch
import triton

from .sampling_passes import collect, narrow, scan
from .seeds import fresh_seed

ROWS = 8  # of 4 neighbours each: a group
WIDTH = 1024
SLOTS = 256  # groups that are read again
MOST_KEPT = 160  # the k up to which top-k is found so; some slots are left for ties
COARSE = 512  # maxima among which the k-th largest is sought: at most 1,023, counts take ten bits
SORTED = 512  # entries that are sorted
STEPS = 7
WARPS = 8
MOST_REGISTERS = 128  # so that two programs of `scan` fit a multiprocessor


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


def sample(probs: torch.Tensor, top_k: torch.Tensor, top_p: torch.Tensor | None) -> torch.Tensor:
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
    has_p = top_p is not None
    top_p = top_p if has_p else probs  # if not: not read
    sizes = {
        "VOCAB": vocab, "CHUNKS": chunks, "BLOCK_CHUNKS": triton.next_power_of_2(chunks),
        "num_warps": WARPS,
    }  # fmt: skip
    stride = probs.stride(0)
    with torch.cuda.device_of(probs):  # Triton launches on the current device
        scan[grid](
            probs, top_k, top_p, samples, w.maxima, w.sums, w.slots, w.keys, w.state, w.bracket,
            w.arrived, seed, stride, ROWS=ROWS, WIDTH=WIDTH, SLOTS=SLOTS, MOST_KEPT=MOST_KEPT,
            COARSE=COARSE, SORTED=SORTED, maxnreg=MOST_REGISTERS, HAS_P=has_p, **sizes,
        )  # fmt: skip
        if has_p:
            for first in (True, False):
                narrow[grid](
                    probs, top_p, w.sums, w.masses, w.state, w.bracket, w.arrived, stride,
                    CHUNK=chunk, STEPS=STEPS, FIRST=first, **sizes,
                )  # fmt: skip
        collect[grid](
            probs, top_k, top_p, samples, w.sums, w.masses, w.state, w.bracket, w.counter,
            w.entries, w.ids, w.arrived, seed, stride, CHUNK=chunk, ROOM=chunk, HAS_P=has_p,
            **sizes,
        )  # fmt: skip
    return samples
