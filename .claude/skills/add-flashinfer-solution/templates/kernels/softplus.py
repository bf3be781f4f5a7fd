"""log(1 + e^x) in Triton."""

# ruff: noqa: ANN001, ANN201 (a Triton kernel is compiled for each type it is called with)

import triton
import triton.language as tl


@triton.jit
def softplus(x):
    """log(1 + e^x) in float32, without overflow, and without loss where e^x is small."""
    tail = tl.exp(-tl.abs(x))
    return tl.maximum(x, 0.0) + tl.where(tail < 1e-4, tail - 0.5 * tail * tail, tl.log(1.0 + tail))
