"""RMSNorm in CuTe DSL: one thread block a row, vectors of up to 16 bytes a thread.

The kernel is compiled at the first call on a device, for any number of rows. `python` is the
language of the solution: the DSL is Python, and its package does the compiling.

The sum of squares and the product with the weight are in float32; the result is rounded once. No
`from __future__ import annotations` here: the DSL reads the annotations of its functions.
"""

import math
from importlib import metadata

import torch

try:
    import cuda.bindings.driver as cuda
    import cutlass
    from cutlass import cute
    from cutlass.cute.runtime import from_dlpack
except ImportError as error:
    raise ImportError(
        "this solution needs nvidia-cutlass-dsl 4.5 to 4.x and the cuda-python that it names "
        f"(pip install 'nvidia-cutlass-dsl>=4.5,<5'); importing them failed: {error}"
    ) from error

HIDDEN_SIZE = 4096  # a multiple of 32
EPS = 1e-05
WEIGHT_OFFSET = 0.0  # 1.0 in Gemma, whose weights are stored less one
MAX_THREADS = 256

VECTOR = math.gcd(HIDDEN_SIZE // 32, 8)  # elements a thread reads at once; 8 are 16 bytes
VECTORS = HIDDEN_SIZE // VECTOR  # of a row
THREADS = max(n for n in range(32, MAX_THREADS + 1, 32) if VECTORS % n == 0)
WARPS = THREADS // 32

COMPILED: dict[torch.device, object] = {}


@cute.kernel
def rmsnorm_kernel(x: cute.Tensor, weight: cute.Tensor, output: cute.Tensor):  # noqa: ANN201
    """One row. The tensors are cut in vectors: ((1, VECTOR), (rows, VECTORS))."""
    thread, _, _ = cute.arch.thread_idx()
    block, _, _ = cute.arch.block_idx()
    row = cutlass.Int64(block)  # row * HIDDEN_SIZE exceeds 32 bits in a large batch
    shared = cutlass.utils.SmemAllocator()
    warp_sums = shared.allocate_tensor(cutlass.Float32, cute.make_layout(WARPS), 16)

    values = []
    squares = cutlass.Float32(0.0)
    for step in cutlass.range_constexpr(VECTORS // THREADS):
        value = x[(None, (row, thread + step * THREADS))].load().to(cutlass.Float32)
        squares += (value * value).reduce(cute.ReductionOp.ADD, 0.0, 0)
        values.append(value)

    squares = cute.arch.warp_reduction_sum(squares)
    if thread % 32 == 0:
        warp_sums[thread // 32] = squares
    cute.arch.sync_threads()
    total = cutlass.Float32(0.0)
    for warp in cutlass.range_constexpr(WARPS):
        total += warp_sums[warp]
    factor = cute.math.rsqrt(total / HIDDEN_SIZE + EPS)

    for step in cutlass.range_constexpr(VECTORS // THREADS):
        place = thread + step * THREADS
        gain = weight[(None, (0, place))].load().to(cutlass.Float32) + WEIGHT_OFFSET
        normed = values[step] * factor * gain
        output[(None, (row, place))].store(normed.to(output.element_type))


@cute.jit
def launch(x: cute.Tensor, weight: cute.Tensor, output: cute.Tensor, stream: cuda.CUstream):  # noqa: ANN201
    """x and output [rows, HIDDEN_SIZE], weight [1, HIDDEN_SIZE], compact."""
    x_vectors, weight_vectors, output_vectors = (
        cute.zipped_divide(tensor, (1, VECTOR)) for tensor in (x, weight, output)
    )
    rmsnorm_kernel(x_vectors, weight_vectors, output_vectors).launch(
        grid=(x.shape[0], 1, 1), block=(THREADS, 1, 1), stream=stream
    )


def any_rows(tensor: torch.Tensor) -> cute.Tensor:
    """A compact [rows, size] tensor for the DSL, its number of rows left open."""
    view = from_dlpack(tensor, assumed_align=16)
    return view.mark_compact_shape_dynamic(mode=0, stride_order=(0, 1))


def compiled(device: torch.device, arguments: tuple[object, ...]) -> object:
    """A device's kernel. Raises RuntimeError that names the versions where it cannot be made."""
    if device not in COMPILED:
        try:
            COMPILED[device] = cute.compile(launch, *arguments)
        except Exception as error:
            raise RuntimeError(
                f"nvidia-cutlass-dsl {metadata.version('nvidia-cutlass-dsl')} could not compile "
                f"for {device}, with torch {torch.__version__} (CUDA {torch.version.cuda}). Its "
                "nvidia-cutlass-dsl-libs-* packages must have its own version, and "
                "CUDA 13 needs nvidia-cutlass-dsl[cu13]."
            ) from error
    return COMPILED[device]


@torch.no_grad()
def run(hidden_states: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """hidden_states [rows, HIDDEN_SIZE], weight [HIDDEN_SIZE] -> output like hidden_states."""
    x = hidden_states.contiguous()
    output = torch.empty_like(x)
    if not x.shape[0]:
        return output
    with torch.cuda.device_of(x):
        stream = cuda.CUstream(torch.cuda.current_stream().cuda_stream)
        weights = from_dlpack(weight.contiguous().view(1, -1), assumed_align=16)
        arguments = any_rows(x), weights, any_rows(output), stream
        compiled(x.device, arguments)(*arguments)
    return output
