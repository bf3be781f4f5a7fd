"""RMSNorm, with a residual addition or without, in one Triton kernel for every batch size.

A program takes PROGRAM_ROWS rows whole. All of its loads, the weight's too, are issued before the
first is used, and the row stays in registers: one trip to memory, one reduction, one store. Few
rows want many threads for each (ELEMENTS small), many rows want every row in flight at once.
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

MOST_WARPS = 32


@triton.jit(do_not_specialize=["rows"])
def norm_kernel(
    x_ptr, residual_ptr, weight_ptr, output_ptr, rows, x_row, residual_row,
    SIZE: tl.constexpr, BLOCK: tl.constexpr, PROGRAM_ROWS: tl.constexpr, EPSILON: tl.constexpr,
    OFFSET: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """x / sqrt(mean(x^2) + EPSILON) * (weight + OFFSET), in float32, rounded once at the end."""
    row = tl.program_id(0).to(tl.int64) * PROGRAM_ROWS + tl.arange(0, PROGRAM_ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = (column < SIZE) & (row < rows)
    x = tl.load(x_ptr + row * x_row + column, mask=inside, other=0.0)
    if ADD:
        residual = tl.load(residual_ptr + row * residual_row + column, mask=inside, other=0.0)
    weight = tl.load(weight_ptr + column, mask=column < SIZE, other=0.0).to(tl.float32)
    x = x.to(tl.float32)
    if ADD:
        x += residual.to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, axis=1) / SIZE + EPSILON)
    normed = x * scale[:, None] * (weight + OFFSET)
    tl.store(output_ptr + row * SIZE + column, normed.to(output_ptr.dtype.element_ty), mask=inside)


def normalize(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    weight: torch.Tensor,
    eps: float,
    offset: float,
    *,
    PROGRAM_ROWS: int,
    ELEMENTS: int,
) -> torch.Tensor:
    """The norm of x [rows, size], or of x + residual, times weight [size] + offset.

    ELEMENTS is how many a thread holds; the number of warps follows.
    """
    rows, size = x.shape
    output = torch.empty((rows, size), dtype=x.dtype, device=x.device)
    if rows == 0:  # an empty grid is an error
        return output
    x = x if x.stride(1) == 1 else x.contiguous()
    other = x if residual is None else residual
    other = other if other.stride(1) == 1 else other.contiguous()
    block = triton.next_power_of_2(size)
    warps = min(max(block * PROGRAM_ROWS // (32 * ELEMENTS), 1), MOST_WARPS)
    with torch.cuda.device_of(x):  # Triton launches on the current device
        norm_kernel[(triton.cdiv(rows, PROGRAM_ROWS),)](
            x, other, weight.contiguous(), output, rows, x.stride(0), other.stride(0),
            SIZE=size, BLOCK=block, PROGRAM_ROWS=PROGRAM_ROWS, EPSILON=eps, OFFSET=offset,
            ADD=residual is not None, num_warps=warps,
        )  # fmt: skip
    return output
