// sample_maps on the CPU. Threads share out the (batch, map) planes, so a plane's gradient has one writer, always in
// the same order: no atomics, and the same result for every number of threads.
#include "../sample_maps.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <tuple>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t cells_per_task = 16384; // below this, starting a thread costs more than the work it takes over

int64_t planes_per_task(const Planes& planes) {
  return std::max<int64_t>(1, cells_per_task / std::max<int64_t>(1, planes.cells()));
}

template <typename scalar_t>
void sample_plane(const scalar_t* plane, const scalar_t* offsets, scalar_t* output, const Planes& planes, bool clamp) {
  for (int64_t row = 0; row < planes.height; ++row) {
    for (int64_t column = 0; column < planes.width; ++column) {
      const auto sample = locate(offsets, row, column, planes, clamp);
      *output++ = static_cast<scalar_t>(interpolate(plane, sample).value);
    }
  }
}

struct Add {
  template <typename acc_t>
  void operator()(acc_t* cell, acc_t amount) const {
    *cell += amount;
  }
};

template <typename scalar_t>
void differentiate_plane(const scalar_t* grad, const scalar_t* plane, const scalar_t* offsets,
    accumulate_t<scalar_t>* grad_plane, scalar_t* grad_offsets, const Planes& planes, bool clamp) {
  for (int64_t row = 0; row < planes.height; ++row) {
    for (int64_t column = 0; column < planes.width; ++column, ++grad_offsets) {
      const auto sample = locate(offsets, row, column, planes, clamp);
      const auto local = interpolate(plane, sample);
      const auto upstream = static_cast<accumulate_t<scalar_t>>(*grad++);
      scatter(grad_plane, sample, upstream, Add{});
      grad_offsets[0] = static_cast<scalar_t>(upstream * local.by_row);
      grad_offsets[planes.cells()] = static_cast<scalar_t>(upstream * local.by_column);
    }
  }
}

template <typename scalar_t>
void run_forward(const Tensor& maps, const Tensor& offsets, Tensor& output, bool clamp) {
  const Planes planes(maps);
  const auto* map_data = maps.const_data_ptr<scalar_t>();
  const auto* offset_data = offsets.const_data_ptr<scalar_t>();
  auto* output_data = output.mutable_data_ptr<scalar_t>();
  torch::stable::parallel_for(0, planes.count, planes_per_task(planes), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t at = p * planes.cells();
      sample_plane(map_data + at, offset_data + 2 * at, output_data + at, planes, clamp);
    }
  });
}

template <typename scalar_t>
void run_backward(const Tensor& grad, const Tensor& maps, const Tensor& offsets, Tensor& grad_maps,
    Tensor& grad_offsets, bool clamp) {
  const Planes planes(maps);
  const auto* grad_data = grad.const_data_ptr<scalar_t>();
  const auto* map_data = maps.const_data_ptr<scalar_t>();
  const auto* offset_data = offsets.const_data_ptr<scalar_t>();
  auto* grad_map_data = grad_maps.mutable_data_ptr<accumulate_t<scalar_t>>();
  auto* grad_offset_data = grad_offsets.mutable_data_ptr<scalar_t>();
  torch::stable::parallel_for(0, planes.count, planes_per_task(planes), [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) {
      const int64_t at = p * planes.cells();
      differentiate_plane(grad_data + at, map_data + at, offset_data + 2 * at, grad_map_data + at,
          grad_offset_data + 2 * at, planes, clamp);
    }
  });
}

Tensor sample_maps(const Tensor& maps, const Tensor& offsets, bool clamp) {
  check_sample_maps(maps, offsets);
  const Tensor dense_maps = torch::stable::contiguous(maps), dense_offsets = torch::stable::contiguous(offsets);
  Tensor output = torch::stable::new_empty(dense_maps, dense_maps.sizes());
  THO_DISPATCH_V2(maps.scalar_type(), "sample_maps",
      AT_WRAP([&] { run_forward<scalar_t>(dense_maps, dense_offsets, output, clamp); }), AT_EXPAND(AT_FLOATING_TYPES),
      ScalarType::Half, ScalarType::BFloat16);
  return output;
}

std::tuple<Tensor, Tensor> sample_maps_backward(
    const Tensor& grad, const Tensor& maps, const Tensor& offsets, bool clamp) {
  check_sample_maps(maps, offsets);
  check_sample_maps_grad(grad, maps);
  const Tensor dense_grad = torch::stable::contiguous(grad);
  const Tensor dense_maps = torch::stable::contiguous(maps), dense_offsets = torch::stable::contiguous(offsets);
  const auto accumulated = maps.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
  Tensor grad_maps = torch::stable::new_zeros(dense_maps, dense_maps.sizes(), accumulated);
  Tensor grad_offsets = torch::stable::new_empty(dense_offsets, dense_offsets.sizes());
  THO_DISPATCH_V2(maps.scalar_type(), "sample_maps_backward", AT_WRAP([&] {
    run_backward<scalar_t>(dense_grad, dense_maps, dense_offsets, grad_maps, grad_offsets, clamp);
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return {torch::stable::to(grad_maps, maps.scalar_type()), grad_offsets};
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CPU, m) {
  m.impl("sample_maps", TORCH_BOX(&sample_maps));
  m.impl("sample_maps_backward", TORCH_BOX(&sample_maps_backward));
}

} // namespace
} // namespace detassign
