"""C = A @ B.T for few rows of A, in Triton: the weights B are read once, evenly by all programs.

The work is a list: for each tile of BLOCK_N weight rows, its blocks of BLOCK_K columns. Program p
takes blocks [p * span, (p + 1) * span) of the list, whatever tiles they belong to (stream-K). A
tile that lies within one program is written at once. Otherwise part (p, t) goes to slot p + t, and
the program that arrives last at a tile adds its parts: one launch, no second pass.

Weights stand on the left of the products (C.T = B @ A.T): 64 of them fill the rows of a Hopper
tensor-core instruction, where few rows of A would leave it empty.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .scratch import multiprocessors, workspace


@triton.jit(do_not_specialize=["rows"])
def few_rows_kernel(
    a_ptr, b_ptr, c_ptr, parts, arrived, rows, a_row, b_row,
    SIZE_N: tl.constexpr, SIZE_K: tl.constexpr, SPAN: tl.constexpr, BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One span of the list of blocks, for BLOCK_M rows of A."""
    program, row_tile = tl.program_id(0), tl.program_id(1)
    STEPS: tl.constexpr = (SIZE_K + BLOCK_K - 1) // BLOCK_K
    TILES: tl.constexpr = (SIZE_N + BLOCK_N - 1) // BLOCK_N
    begin = program * SPAN
    end = tl.minimum(begin + SPAN, TILES * STEPS)
    row = row_tile * BLOCK_M + tl.arange(0, BLOCK_M)
    inner = tl.arange(0, BLOCK_K)
    flat = tl.arange(0, BLOCK_N)[:, None] * BLOCK_M + tl.arange(0, BLOCK_M)[None, :]
    slots = tl.num_programs(0) + TILES
    for tile in range(begin // STEPS, (end - 1) // STEPS + 1):
        first = tl.maximum(begin, tile * STEPS)
        last = tl.minimum(end, (tile + 1) * STEPS)
        column = tile * BLOCK_N + tl.arange(0, BLOCK_N)
        b_place = b_ptr + column.to(tl.int64)[:, None] * b_row
        a_place = a_ptr + row.to(tl.int64)[:, None] * a_row
        total = tl.zeros((BLOCK_N, BLOCK_M), dtype=tl.float32)
        for block in range(first - tile * STEPS, last - tile * STEPS):
            k = (block * BLOCK_K + inner)[None, :]
            b_mask, a_mask = column[:, None] < SIZE_N, row[:, None] < rows
            if SIZE_K % BLOCK_K != 0:
                b_mask, a_mask = b_mask & (k < SIZE_K), a_mask & (k < SIZE_K)
            b = tl.load(b_place + k, mask=b_mask, other=0.0, eviction_policy="evict_first")
            a = tl.load(a_place + k, mask=a_mask, other=0.0)
            total = tl.dot(b, tl.trans(a), total)
        whole = last - first == STEPS
        if not whole:
            first_part = tile * STEPS // SPAN
            last_part = (tile * STEPS + STEPS - 1) // SPAN
            base = (row_tile * slots + tile).to(tl.int64)
            tl.store(parts + (base + program) * BLOCK_N * BLOCK_M + flat, total)
            tl.debug_barrier()  # all of the part is written before it is announced
            ticket = arrived + row_tile * TILES + tile
            whole = tl.atomic_add(ticket, 1, sem="acq_rel") == last_part - first_part
            if whole:
                tl.store(ticket, 0)  # for the next call
                for part in range(first_part, last_part + 1):
                    if part != program:
                        total += tl.load(parts + (base + part) * BLOCK_N * BLOCK_M + flat)
        if whole:
            c_place = c_ptr + row.to(tl.int64)[None, :] * SIZE_N + column[:, None]
            inside = (row[None, :] < rows) & (column[:, None] < SIZE_N)
            tl.store(c_place, total.to(c_ptr.dtype.element_ty), mask=inside)


def gemm_few_rows(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    BLOCK_M: int,
    BLOCK_N: int,
    BLOCK_K: int,
    PROGRAMS_PER_SM: int,
    num_warps: int,
    num_stages: int,
) -> torch.Tensor:
    """a [rows, k] @ b.T, b [n, k]: c [rows, n] of a's type."""
    a = a if a.stride(1) == 1 else a.contiguous()
    b = b if b.stride(1) == 1 else b.contiguous()
    rows, (n, k) = a.shape[0], b.shape
    output = torch.empty((rows, n), dtype=a.dtype, device=a.device)
    if rows == 0:  # an empty grid is an error
        return output
    row_tiles, tiles = triton.cdiv(rows, BLOCK_M), triton.cdiv(n, BLOCK_N)
    blocks = tiles * triton.cdiv(k, BLOCK_K)
    span = triton.cdiv(blocks, PROGRAMS_PER_SM * multiprocessors(a.device))
    programs = triton.cdiv(blocks, span)
    scratch = workspace(a.device)
    scratch.reserve(row_tiles * (programs + tiles) * BLOCK_M * BLOCK_N, row_tiles * tiles)
    with torch.cuda.device_of(a):  # Triton launches on the current device
        few_rows_kernel[(programs, row_tiles)](
            a, b, output, scratch.parts, scratch.arrived, rows, a.stride(0), b.stride(0),
            SIZE_N=n, SIZE_K=k, SPAN=span, BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, BLOCK_K=BLOCK_K,
            num_warps=num_warps, num_stages=num_stages,
        )  # fmt: skip
    return output
