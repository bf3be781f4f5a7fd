"""C = A @ B.T in tiles, float32 accumulation."""

import torch
import triton
import triton.language as tl

BLOCK_M = 64
BLOCK_N = 128
BLOCK_K = 64
NUM_WARPS = 4
NUM_STAGES = 3


@triton.jit
def gemm_kernel(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    rows = tl.program_id(0) * BM + tl.arange(0, BM).to(tl.int64)
    columns = tl.program_id(1) * BN + tl.arange(0, BN).to(tl.int64)
    inner = tl.arange(0, BK)
    total = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        depth = start + inner
        left = tl.load(
            a + rows[:, None] * K + depth[None, :],
            mask=(rows[:, None] < M) & (depth[None, :] < K), other=0.0,
        )  # fmt: skip
        right = tl.load(
            b + columns[None, :] * K + depth[:, None],
            mask=(columns[None, :] < N) & (depth[:, None] < K), other=0.0,
        )  # fmt: skip
        total = tl.dot(left, right, total)
    inside = (rows[:, None] < M) & (columns[None, :] < N)
    tl.store(c + rows[:, None] * N + columns[None, :], total.to(c.dtype.element_ty), inside)


@torch.no_grad()
def run(A, B, C):
    (m, k), n = A.shape, B.shape[0]
    grid = (triton.cdiv(m, BLOCK_M), triton.cdiv(n, BLOCK_N))
    gemm_kernel[grid](
        A, B, C, m, n, k, BM=BLOCK_M, BN=BLOCK_N, BK=BLOCK_K,
        num_warps=NUM_WARPS, num_stages=NUM_STAGES,
    )  # fmt: skip
