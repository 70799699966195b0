// What every backend of deform_conv2d shares: the sizes and the input checks.
#pragma once

#include "common.h"

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace detassign {

// The kernel along one axis, and how often it fits.
struct Axis {
  int64_t size, taps, stride, padding, dilation, steps;

  Axis(int64_t size, int64_t taps, int64_t stride, int64_t padding, int64_t dilation)
      : size(size), taps(taps), stride(stride), padding(padding), dilation(dilation),
        steps(fitting(size + 2 * padding - dilation * (taps - 1) - 1, stride)) {}

  // How often a kernel fits that can move so many cells; it does not where that is negative.
  static int64_t fitting(int64_t room, int64_t stride) { return room < 0 ? 0 : room / stride + 1; }

  // Where a tap reads at a step, without an offset.
  int64_t start(int64_t tap, int64_t step) const { return step * stride - padding + tap * dilation; }
};

// input (B, C, H, W), weight (O, C / groups, kh, kw), offset (B, 2 * offset_groups * kh * kw, Ho, Wo), mask, if any,
// (B, offset_groups * kh * kw, Ho, Wo), result (B, O, Ho, Wo).
struct ConvolutionSizes {
  int64_t images, channels, outputs, groups, offset_groups;
  Axis rows, columns;

  ConvolutionSizes(const torch::stable::Tensor& input, const torch::stable::Tensor& weight,
      const torch::stable::Tensor& offset, const std::vector<int64_t>& stride, const std::vector<int64_t>& padding,
      const std::vector<int64_t>& dilation)
      : images(input.size(0)), channels(input.size(1)), outputs(weight.size(0)), groups(channels / weight.size(1)),
        offset_groups(offset.size(1) / (2 * weight.size(2) * weight.size(3))),
        rows(input.size(2), weight.size(2), stride[0], padding[0], dilation[0]),
        columns(input.size(3), weight.size(3), stride[1], padding[1], dilation[1]) {}

  int64_t cells() const { return rows.size * columns.size; }
  int64_t taps() const { return rows.taps * columns.taps; }
  int64_t positions() const { return rows.steps * columns.steps; }
  int64_t group_channels() const { return channels / groups; }
  int64_t group_outputs() const { return outputs / groups; }
  int64_t offset_channels() const { return channels / offset_groups; }
};

inline void check_convolution_geometry(
    const std::vector<int64_t>& stride, const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation) {
  const bool pairs = stride.size() == 2 && padding.size() == 2 && dilation.size() == 2;
  STD_TORCH_CHECK(pairs, "deform_conv2d: expected stride, padding and dilation of two numbers each");
  for (int axis = 0; axis < 2; ++axis) {
    const bool valid = stride[axis] > 0 && dilation[axis] > 0 && padding[axis] >= 0;
    STD_TORCH_CHECK(valid, "deform_conv2d: expected stride and dilation of at least 1 and padding of at least 0");
    const bool small = stride[axis] <= INT32_MAX && dilation[axis] <= INT32_MAX && padding[axis] <= INT32_MAX;
    STD_TORCH_CHECK(small, "deform_conv2d: expected stride, padding and dilation below 2 ** 31");
  }
}

inline void check_convolution_input(
    const torch::stable::Tensor& input, const torch::stable::Tensor& weight, const torch::stable::Tensor& offset) {
  STD_TORCH_CHECK(input.dim() == 4, "deform_conv2d: expected input of shape (B, C, H, W) but got ", shape_text(input));
  STD_TORCH_CHECK(weight.dim() == 4 && weight.size(1) > 0 && weight.size(2) > 0 && weight.size(3) > 0,
      "deform_conv2d: expected weight of shape (O, C / groups, kh, kw) but got ", shape_text(weight));
  const int64_t groups = input.size(1) / weight.size(1);
  STD_TORCH_CHECK(groups > 0 && groups * weight.size(1) == input.size(1) && weight.size(0) % groups == 0,
      "deform_conv2d: expected weight of shape (O, C / groups, kh, kw) for the ", input.size(1),
      " channels of the input but got ", shape_text(weight));
  STD_TORCH_CHECK(input.size(2) <= INT32_MAX && input.size(3) <= INT32_MAX && input.size(2) * input.size(3) < INT32_MAX,
      "deform_conv2d: maps of ", input.size(2), " x ", input.size(3), " are too large");
  STD_TORCH_CHECK(weight.size(2) <= INT32_MAX && weight.size(3) <= INT32_MAX &&
          weight.size(2) * weight.size(3) <= INT32_MAX,
      "deform_conv2d: a kernel of ", weight.size(2), " x ", weight.size(3), " is too large");
  const int64_t values = 2 * weight.size(2) * weight.size(3);
  STD_TORCH_CHECK(offset.dim() == 4 && offset.size(1) > 0 && offset.size(1) % values == 0 &&
          input.size(1) % (offset.size(1) / values) == 0,
      "deform_conv2d: expected offset of shape (B, offset_groups * ", values, ", Ho, Wo), where offset_groups divides ",
      input.size(1), ", but got ", shape_text(offset));
}

inline void check_convolution_maps(const ConvolutionSizes& sizes, const torch::stable::Tensor& map, int64_t channels,
    const char* name) {
  const bool fits = map.dim() == 4 && map.size(0) == sizes.images && map.size(1) == channels &&
      map.size(2) == sizes.rows.steps && map.size(3) == sizes.columns.steps;
  STD_TORCH_CHECK(fits, "deform_conv2d: expected ", name, " of shape (", sizes.images, ", ", channels, ", ",
      sizes.rows.steps, ", ", sizes.columns.steps, ") but got ", shape_text(map));
}

// The sizes of arguments that fit together, all of the input's dtype and device.
inline ConvolutionSizes check_convolution(const torch::stable::Tensor& input, const torch::stable::Tensor& weight,
    const torch::stable::Tensor& offset, const std::optional<torch::stable::Tensor>& mask,
    const std::vector<int64_t>& stride, const std::vector<int64_t>& padding, const std::vector<int64_t>& dilation) {
  check_convolution_geometry(stride, padding, dilation);
  check_convolution_input(input, weight, offset);
  const ConvolutionSizes sizes(input, weight, offset, stride, padding, dilation);
  STD_TORCH_CHECK(sizes.rows.steps > 0 && sizes.columns.steps > 0,
      "deform_conv2d: the kernel does not fit on the padded input of shape ", shape_text(input));
  check_convolution_maps(sizes, offset, 2 * sizes.offset_groups * sizes.taps(), "offset");
  if (mask) {
    check_convolution_maps(sizes, *mask, sizes.offset_groups * sizes.taps(), "mask");
  }
  for (const torch::stable::Tensor& other : {weight, offset, mask.value_or(offset)}) {
    STD_TORCH_CHECK(other.scalar_type() == input.scalar_type() && other.device() == input.device(),
        "deform_conv2d: expected weight, offset and mask of the input's dtype and device");
  }
  return sizes;
}

} // namespace detassign
