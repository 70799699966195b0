// What every launch needs: the stream that torch works on, and blocks enough.
#pragma once

#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/tensor.h>

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

namespace detassign {

inline cudaStream_t current_stream(const torch::stable::Tensor& tensor) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(tensor.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

// For `count` pieces of work, `each` to a block; the blocks stride over what is left. None where there is no work.
inline unsigned blocks_for(int64_t count, int64_t each) {
  constexpr int64_t most_blocks = 65535;
  return static_cast<unsigned>(std::min(most_blocks, (count + each - 1) / each));
}

} // namespace detassign
