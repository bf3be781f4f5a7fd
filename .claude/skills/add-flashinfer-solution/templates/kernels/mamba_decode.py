"""One token of Mamba-2's selective state update in Triton, states in a pool by slot: one launch.

The pool that is returned is a new one, so every state moves once, whether a request uses it or not.
Programs of requests read a state, update it and write it to the new pool; programs of slots copy
those that no request names. So no state is read or written twice, as it would be by a copy of the
pool and an update of the copy (twice the bytes).
"""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import torch
import triton
import triton.language as tl

from .softplus import softplus

BLOCK_REQUESTS = 256


@triton.jit(do_not_specialize=["requests"])
def mamba_kernel(
    state_ptr, x_ptr, dt_ptr, A_ptr, B_ptr, C_ptr, D_ptr, bias_ptr, slots_ptr, output, new_state,
    requests, x_row, dt_row, b_row, c_row, A_head, D_head, bias_head,
    HEADS: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, SIZE: tl.constexpr,
    BLOCK_DIM: tl.constexpr, BLOCK_SIZE: tl.constexpr, BLOCK_REQUESTS: tl.constexpr,
):  # fmt: skip
    """BLOCK_DIM rows of one head's state: of one request, or of one slot."""
    parts: tl.constexpr = (DIM + BLOCK_DIM - 1) // BLOCK_DIM
    # One axis: a grid's others end at 65,535.
    part, head = tl.program_id(0) % parts, tl.program_id(0) // parts % HEADS
    program = tl.program_id(0) // (parts * HEADS)
    i = part * BLOCK_DIM + tl.arange(0, BLOCK_DIM)
    j = tl.arange(0, BLOCK_SIZE)
    tile = (head * DIM + i[:, None]) * SIZE + j[None, :]
    inside = (i[:, None] < DIM) & (j[None, :] < SIZE)
    size: tl.constexpr = HEADS * DIM * SIZE
    if program < requests:
        request = program.to(tl.int64)
        slot = tl.load(slots_ptr + request).to(tl.int64)
        out = output + (request * HEADS + head) * DIM + i
        if slot < 0:
            tl.store(out, tl.zeros([BLOCK_DIM], output.dtype.element_ty), mask=i < DIM)
        else:
            place = slot * size + tile
            state = tl.load(state_ptr + place, mask=inside, other=0.0)
            step = tl.load(dt_ptr + request * dt_row + head * DIM).to(tl.float32)
            step += tl.load(bias_ptr + head * bias_head).to(tl.float32)
            step = softplus(step)
            decay = tl.exp(tl.load(A_ptr + head * A_head).to(tl.float32) * step)
            group = head // GROUP * SIZE + j
            x = tl.load(x_ptr + request * x_row + head * DIM + i, mask=i < DIM, other=0.0)
            b = tl.load(B_ptr + request * b_row + group, mask=j < SIZE, other=0.0)
            c = tl.load(C_ptr + request * c_row + group, mask=j < SIZE, other=0.0)
            skip = tl.load(D_ptr + head * D_head).to(tl.float32)
            x, b, c = x.to(tl.float32), b.to(tl.float32), c.to(tl.float32)
            updated = state.to(tl.float32) * decay + (step * x)[:, None] * b[None, :]
            y = tl.sum(updated * c[None, :], axis=1) + x * skip
            tl.store(new_state + place, updated.to(new_state.dtype.element_ty), mask=inside)
            tl.store(out, y.to(output.dtype.element_ty), mask=i < DIM)
    else:
        slot = (program - requests).to(tl.int64)
        users = 0
        for start in range(0, requests, BLOCK_REQUESTS):
            request = start + tl.arange(0, BLOCK_REQUESTS)
            named = tl.load(slots_ptr + request, mask=request < requests, other=-1)
            users += tl.sum((named == slot).to(tl.int32), axis=0)
        if users == 0:
            place = slot * size + tile
            kept = tl.load(state_ptr + place, mask=inside)
            tl.store(new_state + place, kept, mask=inside)


def mamba_decode(
    state: torch.Tensor,
    x: torch.Tensor,
    dt: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor,
    dt_bias: torch.Tensor,
    slots: torch.Tensor,
    *,
    BLOCK_DIM: int,
    num_warps: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """state [slots, heads, dim, size], x and dt [batch, heads, dim], A [heads, dim, size], B and C
    [batch, groups, size], D and dt_bias [heads, dim], slots [batch] (below 0: padding). A, dt, D
    and dt_bias have one value a head. Returns output like x, and the new pool."""
    batch, heads, dim = x.shape
    size, groups = state.shape[3], B.shape[1]
    state, x, dt, B, C = (each.contiguous() for each in (state, x, dt, B, C))
    output, new_state = torch.empty_like(x), torch.empty_like(state)
    programs = batch + state.shape[0]
    if programs == 0:  # an empty grid is an error
        return output, new_state
    with torch.cuda.device_of(state):  # Triton launches on the current device
        mamba_kernel[(triton.cdiv(dim, BLOCK_DIM) * heads * programs,)](
            state, x, dt, A, B, C, D, dt_bias, slots, output, new_state, batch, x.stride(0),
            dt.stride(0), B.stride(0), C.stride(0), A.stride(0), D.stride(0), dt_bias.stride(0),
            heads, heads // groups, dim, size, BLOCK_DIM, triton.next_power_of_2(size),
            BLOCK_REQUESTS, num_warps=num_warps,
        )  # fmt: skip
    return output, new_state
