// What every backend of ms_deform_attn shares: the sizes, the levels and the input checks.
#pragma once

#include "common.h"

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/macros/Macros.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <vector>

namespace detassign {

// The map of one level among the S cells of the value.
struct Level {
  int64_t start;
  int64_t height;
  int64_t width;

  C10_HOST_DEVICE int64_t cells() const { return height * width; }

  C10_HOST_DEVICE bool within(int64_t count) const {
    const bool countable = height >= 0 && height <= INT32_MAX && width >= 0 && width <= INT32_MAX;
    return countable && start >= 0 && start <= count && cells() <= count - start;
  }
};

// value (B, S, H, D), sampling_locations (B, Q, H, L, P, 2), attention_weights (B, Q, H, L, P), result (B, Q, H * D).
struct AttentionSizes {
  int64_t images, cells, heads, channels, queries, levels, points;

  AttentionSizes(const torch::stable::Tensor& value, const torch::stable::Tensor& sampling_locations)
      : images(value.size(0)), cells(value.size(1)), heads(value.size(2)), channels(value.size(3)),
        queries(sampling_locations.size(1)), levels(sampling_locations.size(3)), points(sampling_locations.size(4)) {}
};

inline torch::headeronly::ScalarType accumulated(const torch::stable::Tensor& value) {
  using torch::headeronly::ScalarType;
  return value.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

inline void check_attention_shapes(const torch::stable::Tensor& value, const torch::stable::Tensor& spatial_shapes,
    const torch::stable::Tensor& level_start_index, const torch::stable::Tensor& locations,
    const torch::stable::Tensor& weights) {
  STD_TORCH_CHECK(value.dim() == 4, "ms_deform_attn: expected value of shape (B, S, H, D) but got ", shape_text(value));
  STD_TORCH_CHECK(spatial_shapes.dim() == 2 && spatial_shapes.size(1) == 2,
      "ms_deform_attn: expected spatial_shapes of shape (L, 2) but got ", shape_text(spatial_shapes));
  const int64_t levels = spatial_shapes.size(0);
  STD_TORCH_CHECK(level_start_index.dim() == 1 && level_start_index.size(0) == levels,
      "ms_deform_attn: expected level_start_index of shape (", levels, ",) but got ", shape_text(level_start_index));
  const bool located = locations.dim() == 6 && locations.size(0) == value.size(0) &&
      locations.size(2) == value.size(2) && locations.size(3) == levels && locations.size(5) == 2;
  STD_TORCH_CHECK(located, "ms_deform_attn: expected sampling_locations of shape (", value.size(0), ", Q, ",
      value.size(2), ", ", levels, ", P, 2) but got ", shape_text(locations));
  bool weighted = weights.dim() == 5;
  for (int64_t axis = 0; weighted && axis < 5; ++axis) {
    weighted = weights.size(axis) == locations.size(axis);
  }
  STD_TORCH_CHECK(weighted, "ms_deform_attn: expected attention_weights of the shape of sampling_locations, ",
      shape_text(locations), ", less its last axis, but got ", shape_text(weights));
  STD_TORCH_CHECK(value.size(1) <= INT32_MAX, "ms_deform_attn: ", value.size(1), " values are too many");
}

inline void check_attention_types(const torch::stable::Tensor& value, const torch::stable::Tensor& spatial_shapes,
    const torch::stable::Tensor& level_start_index, const torch::stable::Tensor& locations,
    const torch::stable::Tensor& weights) {
  using torch::headeronly::ScalarType;
  STD_TORCH_CHECK(locations.scalar_type() == accumulated(value) && weights.scalar_type() == accumulated(value),
      "ms_deform_attn: expected sampling_locations and attention_weights in float32, or float64 where the value is");
  STD_TORCH_CHECK(
      spatial_shapes.scalar_type() == ScalarType::Long && level_start_index.scalar_type() == ScalarType::Long,
      "ms_deform_attn: expected spatial_shapes and level_start_index in int64");
  STD_TORCH_CHECK(locations.device() == value.device() && weights.device() == value.device(),
      "ms_deform_attn: expected sampling_locations and attention_weights on the value's device");
}

inline void check_attention_grad(
    const torch::stable::Tensor& grad, const torch::stable::Tensor& value, const torch::stable::Tensor& locations) {
  const AttentionSizes sizes(value, locations);
  const bool fits = grad.dim() == 3 && grad.size(0) == sizes.images && grad.size(1) == sizes.queries &&
      grad.size(2) == sizes.heads * sizes.channels;
  STD_TORCH_CHECK(fits, "ms_deform_attn_backward: expected grad of shape (", sizes.images, ", ", sizes.queries, ", ",
      sizes.heads * sizes.channels, ") but got ", shape_text(grad));
  STD_TORCH_CHECK(
      grad.scalar_type() == value.scalar_type(), "ms_deform_attn_backward: expected grad of the value's dtype");
  STD_TORCH_CHECK(grad.device() == value.device(), "ms_deform_attn_backward: expected grad on the value's device");
}

// The levels, each within the S cells; both tensors must be on the CPU.
inline std::vector<Level> read_levels(
    const torch::stable::Tensor& spatial_shapes, const torch::stable::Tensor& level_start_index, int64_t cells) {
  STD_TORCH_CHECK(spatial_shapes.is_cpu() && level_start_index.is_cpu(),
      "ms_deform_attn: expected spatial_shapes and level_start_index on the CPU");
  const auto shapes = torch::stable::contiguous(spatial_shapes), starts = torch::stable::contiguous(level_start_index);
  const int64_t* sides = shapes.const_data_ptr<int64_t>();
  const int64_t* start = starts.const_data_ptr<int64_t>();
  std::vector<Level> levels;
  for (int64_t l = 0; l < starts.size(0); ++l) {
    const Level level{start[l], sides[2 * l], sides[2 * l + 1]};
    STD_TORCH_CHECK(level.within(cells), "ms_deform_attn: spatial_shapes and level_start_index must lie within the ", cells,
        " values, but level ", l, " starts at ", level.start, " and is ", level.height, " x ", level.width);
    levels.push_back(level.cells() ? level : Level{level.start, 0, 0});
  }
  return levels;
}

} // namespace detassign
