// The kernel as a function of torch tensors: checks, the current device and stream, the launch.

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <torch/extension.h>

#include <cstdint>

#include "rmsnorm.h"

// The kernel moves 16 bytes at a time; a slice of a tensor may start anywhere.
static torch::Tensor aligned(const torch::Tensor& tensor) {
  const torch::Tensor dense = tensor.contiguous();
  return reinterpret_cast<uintptr_t>(dense.data_ptr()) % 16 == 0 ? dense : dense.clone();
}

torch::Tensor run(const torch::Tensor& hidden_states, const torch::Tensor& weight) {
  TORCH_CHECK(hidden_states.is_cuda() && weight.is_cuda(), "the inputs must be on a CUDA device");
  TORCH_CHECK(
      hidden_states.scalar_type() == torch::kBFloat16 && weight.scalar_type() == torch::kBFloat16,
      "the inputs must be bfloat16");
  TORCH_CHECK(
      hidden_states.dim() == 2 && hidden_states.size(1) == hidden_size() &&
          weight.numel() == hidden_size(),
      "hidden_states must be [batch_size, ", hidden_size(), "], weight [", hidden_size(), "]");
  const c10::cuda::CUDAGuard guard(hidden_states.device());
  const torch::Tensor x = aligned(hidden_states), factor = aligned(weight);
  const torch::Tensor output = torch::empty_like(x);
  const char* error = launch_rmsnorm(
      x.data_ptr(), factor.data_ptr(), output.data_ptr(), x.size(0),
      c10::cuda::getCurrentCUDAStream());
  TORCH_CHECK(error == nullptr, error == nullptr ? "" : error);
  return output;
}

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) { module.def("run", &run, "RMSNorm"); }
