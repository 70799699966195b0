// sample_maps on CUDA, one thread for each output cell. The backward adds with atomics, so the order of its sums varies
// from run to run; the Python face takes the reference where deterministic algorithms are asked for.
#include "../sample_maps.h"
#include "launch.h"

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <tuple>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int threads_per_block = 256;

// One output cell: its plane's first cell in the maps, and its own row and column.
struct Cell {
  int64_t plane_start;
  int64_t row;
  int64_t column;

  __device__ Cell(int64_t index, const Planes& planes)
      : plane_start(index - index % planes.cells()),
        row(index % planes.cells() / planes.width),
        column(index % planes.width) {}
};

template <typename scalar_t>
__global__ void sample_cells(
    const scalar_t* maps, const scalar_t* offsets, scalar_t* output, const Planes planes, bool clamp) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; index < planes.count * planes.cells();
       index += step) {
    const Cell cell(index, planes);
    const auto sample = locate(offsets + 2 * cell.plane_start, cell.row, cell.column, planes, clamp);
    output[index] = static_cast<scalar_t>(interpolate(maps + cell.plane_start, sample).value);
  }
}

struct AtomicAdd {
  template <typename acc_t>
  __device__ void operator()(acc_t* cell, acc_t amount) const {
    atomicAdd(cell, amount);
  }
};

template <typename scalar_t>
__global__ void differentiate_cells(const scalar_t* grad, const scalar_t* maps, const scalar_t* offsets,
    accumulate_t<scalar_t>* grad_maps, scalar_t* grad_offsets, const Planes planes, bool clamp) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; index < planes.count * planes.cells();
       index += step) {
    const Cell cell(index, planes);
    const auto sample = locate(offsets + 2 * cell.plane_start, cell.row, cell.column, planes, clamp);
    const auto local = interpolate(maps + cell.plane_start, sample);
    const auto upstream = static_cast<accumulate_t<scalar_t>>(grad[index]);
    scatter(grad_maps + cell.plane_start, sample, upstream, AtomicAdd{});
    scalar_t* grad_offset = grad_offsets + cell.plane_start + index;
    grad_offset[0] = static_cast<scalar_t>(upstream * local.by_row);
    grad_offset[planes.cells()] = static_cast<scalar_t>(upstream * local.by_column);
  }
}

unsigned blocks_for(const Planes& planes) {
  return detassign::blocks_for(planes.count * planes.cells(), threads_per_block);
}

template <typename scalar_t>
void run_forward(const Tensor& maps, const Tensor& offsets, Tensor& output, bool clamp) {
  const Planes planes(maps);
  if (const unsigned blocks = blocks_for(planes)) { // CUDA refuses a launch without blocks
    sample_cells<<<blocks, threads_per_block, 0, current_stream(maps)>>>(maps.const_data_ptr<scalar_t>(),
        offsets.const_data_ptr<scalar_t>(), output.mutable_data_ptr<scalar_t>(), planes, clamp);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

template <typename scalar_t>
void run_backward(const Tensor& grad, const Tensor& maps, const Tensor& offsets, Tensor& grad_maps,
    Tensor& grad_offsets, bool clamp) {
  const Planes planes(maps);
  if (const unsigned blocks = blocks_for(planes)) {
    differentiate_cells<<<blocks, threads_per_block, 0, current_stream(maps)>>>(grad.const_data_ptr<scalar_t>(),
        maps.const_data_ptr<scalar_t>(), offsets.const_data_ptr<scalar_t>(),
        grad_maps.mutable_data_ptr<accumulate_t<scalar_t>>(), grad_offsets.mutable_data_ptr<scalar_t>(), planes, clamp);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
}

Tensor sample_maps(const Tensor& maps, const Tensor& offsets, bool clamp) {
  check_sample_maps(maps, offsets);
  const torch::stable::accelerator::DeviceGuard guard(maps.get_device_index());
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
  const torch::stable::accelerator::DeviceGuard guard(maps.get_device_index());
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

STABLE_TORCH_LIBRARY_IMPL(detassign, CUDA, m) {
  m.impl("sample_maps", TORCH_BOX(&sample_maps));
  m.impl("sample_maps_backward", TORCH_BOX(&sample_maps_backward));
}

} // namespace
} // namespace detassign
