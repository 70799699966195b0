// What the ops share: the type they accumulate in, and shapes in words.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstdint>
#include <string>
#include <type_traits>

namespace detassign {

// Half types accumulate, and locate their samples, in float.
template <typename scalar_t>
using accumulate_t = std::conditional_t<std::is_same_v<scalar_t, double>, double, float>;

inline std::string shape_text(const torch::stable::Tensor& tensor) {
  std::string text = "(";
  for (int64_t axis = 0; axis < tensor.dim(); ++axis) {
    text += (axis ? ", " : "") + std::to_string(tensor.size(axis));
  }
  return text + ")";
}

} // namespace detassign
