// What every backend of sample_maps shares: the input checks and the bilinear rule.
#pragma once

#include "common.h"

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/macros/Macros.h>
#include <torch/headeronly/util/Exception.h>

#include <cmath>
#include <cstdint>

namespace detassign {

// One coordinate of a sample: its two neighbouring cells, -1 where there is none, and the weight of the second.
template <typename acc_t>
struct Neighbours {
  int64_t low;
  int64_t high;
  acc_t weight; // of `high`; `low` weighs 1 - weight
  acc_t slope;  // d weight / d coordinate
};

template <typename acc_t>
C10_HOST_DEVICE inline Neighbours<acc_t> nowhere() {
  return {-1, -1, acc_t(0), acc_t(0)};
}

template <typename acc_t>
C10_HOST_DEVICE inline Neighbours<acc_t> neighbours_padded(acc_t coordinate, int64_t size) {
  if (!(coordinate >= acc_t(-1) && coordinate < acc_t(size))) { // also NaN
    return nowhere<acc_t>();
  }
  const acc_t base = std::floor(coordinate);
  const int64_t low = static_cast<int64_t>(base);
  return {low, low + 1 < size ? low + 1 : -1, coordinate - base, acc_t(1)};
}

template <typename acc_t>
C10_HOST_DEVICE inline Neighbours<acc_t> neighbours_clamped(acc_t coordinate, int64_t size) {
  if (!std::isfinite(coordinate)) {
    return nowhere<acc_t>();
  }
  const acc_t last = acc_t(size - 1);
  const acc_t inside = coordinate < acc_t(0) ? acc_t(0) : (coordinate > last ? last : coordinate);
  const acc_t base = std::floor(inside);
  const int64_t low = static_cast<int64_t>(base);
  const int64_t high = low + 1 < size ? low + 1 : low; // on the last cell both are equal, and so is the slope zero
  return {low, high, inside - base, coordinate < acc_t(0) ? acc_t(0) : acc_t(1)};
}

template <typename acc_t>
C10_HOST_DEVICE inline Neighbours<acc_t> neighbours(acc_t coordinate, int64_t size, bool clamp) {
  return clamp ? neighbours_clamped(coordinate, size) : neighbours_padded(coordinate, size);
}

// The four cells around one sample, as flat indices into the plane, -1 where there is none.
template <typename acc_t>
struct Sample {
  Neighbours<acc_t> rows;
  Neighbours<acc_t> columns;
  int64_t width;

  C10_HOST_DEVICE int64_t cell(int64_t row, int64_t column) const {
    return row < 0 || column < 0 ? -1 : row * width + column;
  }
  C10_HOST_DEVICE int64_t top_left() const { return cell(rows.low, columns.low); }
  C10_HOST_DEVICE int64_t top_right() const { return cell(rows.low, columns.high); }
  C10_HOST_DEVICE int64_t bottom_left() const { return cell(rows.high, columns.low); }
  C10_HOST_DEVICE int64_t bottom_right() const { return cell(rows.high, columns.high); }
};

// The (batch, map) planes of a contiguous (B, K, H, W) tensor.
struct Planes {
  int64_t count;
  int64_t height;
  int64_t width;

  explicit Planes(const torch::stable::Tensor& maps)
      : count(maps.size(0) * maps.size(1)), height(maps.size(2)), width(maps.size(3)) {}

  C10_HOST_DEVICE int64_t cells() const { return height * width; }
};

// Where the output cell (row, column) of a plane samples; `offsets` is that plane's (2, H, W).
template <typename scalar_t>
C10_HOST_DEVICE inline Sample<accumulate_t<scalar_t>> locate(
    const scalar_t* offsets, int64_t row, int64_t column, const Planes& planes, bool clamp) {
  using acc_t = accumulate_t<scalar_t>;
  const int64_t index = row * planes.width + column;
  const acc_t down = static_cast<acc_t>(offsets[index]), right = static_cast<acc_t>(offsets[planes.cells() + index]);
  return {neighbours(acc_t(row) + down, planes.height, clamp), neighbours(acc_t(column) + right, planes.width, clamp),
      planes.width};
}

template <typename scalar_t>
C10_HOST_DEVICE inline accumulate_t<scalar_t> read(const scalar_t* plane, int64_t cell) {
  return cell < 0 ? accumulate_t<scalar_t>(0) : static_cast<accumulate_t<scalar_t>>(plane[cell]);
}

// The value at a sample and its slopes along the rows and the columns.
template <typename acc_t>
struct Interpolated {
  acc_t value;
  acc_t by_row;
  acc_t by_column;
};

template <typename scalar_t, typename acc_t>
C10_HOST_DEVICE inline Interpolated<acc_t> interpolate(const scalar_t* plane, const Sample<acc_t>& sample) {
  const acc_t top_left = read(plane, sample.top_left()), top_right = read(plane, sample.top_right());
  const acc_t bottom_left = read(plane, sample.bottom_left()), bottom_right = read(plane, sample.bottom_right());
  const acc_t down = sample.rows.weight, right = sample.columns.weight;
  const acc_t top = (1 - right) * top_left + right * top_right;
  const acc_t bottom = (1 - right) * bottom_left + right * bottom_right;
  const acc_t left_to_right = (1 - down) * (top_right - top_left) + down * (bottom_right - bottom_left);
  return {(1 - down) * top + down * bottom, sample.rows.slope * (bottom - top), sample.columns.slope * left_to_right};
}

// Hands each existing cell around the sample its share of `grad`, through the backend's own way of adding.
template <typename acc_t, typename add_t>
C10_HOST_DEVICE inline void scatter(acc_t* plane, const Sample<acc_t>& sample, acc_t grad, const add_t& add) {
  const acc_t down = sample.rows.weight, right = sample.columns.weight;
  const int64_t cells[] = {sample.top_left(), sample.top_right(), sample.bottom_left(), sample.bottom_right()};
  const acc_t shares[] = {(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right};
  for (int corner = 0; corner < 4; ++corner) {
    if (cells[corner] >= 0) {
      add(plane + cells[corner], shares[corner] * grad);
    }
  }
}

inline void check_sample_maps(const torch::stable::Tensor& maps, const torch::stable::Tensor& offsets) {
  STD_TORCH_CHECK(maps.dim() == 4, "sample_maps: expected maps of shape (B, K, H, W) but got ", shape_text(maps));
  const bool fits = offsets.dim() == 5 && offsets.size(0) == maps.size(0) && offsets.size(1) == maps.size(1) &&
      offsets.size(2) == 2 && offsets.size(3) == maps.size(2) && offsets.size(4) == maps.size(3);
  STD_TORCH_CHECK(fits, "sample_maps: expected offsets of shape (B, K, 2, H, W) for maps of shape ", shape_text(maps),
      " but got ", shape_text(offsets));
  STD_TORCH_CHECK(maps.scalar_type() == offsets.scalar_type(), "sample_maps: expected maps and offsets of one dtype");
  STD_TORCH_CHECK(maps.device() == offsets.device(), "sample_maps: expected maps and offsets on one device");
}

inline void check_sample_maps_grad(const torch::stable::Tensor& grad, const torch::stable::Tensor& maps) {
  bool fits = grad.dim() == 4;
  for (int64_t axis = 0; fits && axis < 4; ++axis) {
    fits = grad.size(axis) == maps.size(axis);
  }
  STD_TORCH_CHECK(fits, "sample_maps_backward: expected grad of shape ", shape_text(maps), " but got ", shape_text(grad));
  STD_TORCH_CHECK(grad.scalar_type() == maps.scalar_type(), "sample_maps_backward: expected grad of the maps' dtype");
  STD_TORCH_CHECK(grad.device() == maps.device(), "sample_maps_backward: expected grad on the maps' device");
}

} // namespace detassign
