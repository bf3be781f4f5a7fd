#pragma once

#include <cuda_runtime.h>

#include <cstdint>

int hidden_size();

// rows x hidden_size() elements of bfloat16, 16-byte aligned; returns the error's text or null.
const char* launch_rmsnorm(
    const void* x, const void* weight, void* output, int64_t rows, cudaStream_t stream);
