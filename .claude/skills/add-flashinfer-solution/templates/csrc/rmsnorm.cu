// RMSNorm: one block a row, 16-byte loads where the row allows them, the row kept in registers.
// x / sqrt(mean(x^2) + EPS) * (weight + WEIGHT_OFFSET) in float, rounded once at the end.
//
// No torch header here: nvcc compiles this file in seconds, on its own, too.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "rmsnorm.h"

constexpr int HIDDEN_SIZE = 4096;
constexpr float EPS = 1e-05;
constexpr float WEIGHT_OFFSET = 0.0;  // 1.0 in Gemma, whose weights are stored less one

namespace {

constexpr int kWidth = HIDDEN_SIZE % 8 == 0 ? 8 : 1;  // elements of one load
constexpr int kVectors = HIDDEN_SIZE / kWidth;
constexpr int kWarps = kVectors >= 512 ? 16 : (kVectors + 31) / 32;
constexpr int kThreads = 32 * kWarps;
constexpr int kEach = (kVectors + kThreads - 1) / kThreads;  // vectors of one thread

struct alignas(2 * kWidth) Vector {
  __nv_bfloat16 item[kWidth];
};

__device__ float warp_sum(float value) {
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

__device__ float block_sum(float value) {
  __shared__ float part[kWarps];
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = value;
  __syncthreads();
  return warp_sum(threadIdx.x % 32 < kWarps ? part[threadIdx.x % 32] : 0.0f);
}

__global__ void __launch_bounds__(kThreads)
    rmsnorm(const Vector* x, const Vector* weight, Vector* output) {
  const int64_t start = int64_t(blockIdx.x) * kVectors;  // exceeds 32 bits in a large batch
  Vector held[kEach];
  float squares = 0.0f;
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int place = i * kThreads + threadIdx.x;
    if (place >= kVectors) break;
    held[i] = x[start + place];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float value = __bfloat162float(held[i].item[j]);
      squares += value * value;
    }
  }
  const float scale = rsqrtf(block_sum(squares) / HIDDEN_SIZE + EPS);
#pragma unroll
  for (int i = 0; i < kEach; ++i) {
    const int place = i * kThreads + threadIdx.x;
    if (place >= kVectors) break;
    const Vector factor = weight[place];
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float value = __bfloat162float(held[i].item[j]) * scale;
      held[i].item[j] =
          __float2bfloat16(value * (__bfloat162float(factor.item[j]) + WEIGHT_OFFSET));
    }
    output[start + place] = held[i];
  }
}

}  // namespace

int hidden_size() { return HIDDEN_SIZE; }

const char* launch_rmsnorm(
    const void* x, const void* weight, void* output, int64_t rows, cudaStream_t stream) {
  if (rows == 0) return nullptr;  // an empty grid is an error
  if (rows > INT32_MAX) return "more rows than a grid has blocks";
  rmsnorm<<<static_cast<unsigned>(rows), kThreads, 0, stream>>>(
      static_cast<const Vector*>(x), static_cast<const Vector*>(weight),
      static_cast<Vector*>(output));
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
