// ms_deform_attn on CUDA. The usual backward adds to the value's gradient with atomics, so the order of those sums varies
// from run to run; the deterministic one sorts the samples by cell instead, a head of an image at a time.
#include "launch.h"
#include "ms_deform_attn_kernels.cuh"

#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/macros.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <cub/device/device_radix_sort.cuh>

#include <algorithm>
#include <initializer_list>
#include <tuple>
#include <type_traits>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Calls `run` with the channels that a thread moves at once: a full vector where all rows begin on a multiple of one.
template <typename scalar_t, typename run_t>
void with_width(int64_t channels, std::initializer_list<const void*> rows, const run_t& run) {
  constexpr int width = vector_bytes / sizeof(scalar_t);
  const bool aligned = std::all_of(rows.begin(), rows.end(),
      [](const void* row) { return reinterpret_cast<uintptr_t>(row) % vector_bytes == 0; });
  if (aligned && channels % width == 0) {
    run(std::integral_constant<int, width>());
  } else {
    run(std::integral_constant<int, 1>());
  }
}

template <typename scalar_t>
Attention<scalar_t> attention_of(const Tensor& value, const Tensor& spatial_shapes, const Tensor& level_start_index,
    const Tensor& locations, const Tensor& weights) {
  using acc_t = accumulate_t<scalar_t>;
  return {AttentionSizes(value, locations), value.const_data_ptr<scalar_t>(), spatial_shapes.const_data_ptr<int64_t>(),
      level_start_index.const_data_ptr<int64_t>(), locations.const_data_ptr<acc_t>(), weights.const_data_ptr<acc_t>()};
}

template <typename scalar_t>
void run_forward(const Attention<scalar_t>& attention, scalar_t* output, cudaStream_t stream) {
  using sample_t = Sample<accumulate_t<scalar_t>>;
  with_width<scalar_t>(attention.sizes.channels, {attention.value, output}, [&](auto width) {
    const Grouping grouping = group_threads<sample_t>(attention.sizes, width, false);
    if (const unsigned blocks = blocks_for(grouping.tasks, 1)) { // CUDA refuses a launch without blocks
      attend<width.value><<<blocks, grouping.threads, grouping.samples() * sizeof(sample_t), stream>>>(
          attention, grouping, output);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
  });
}

template <typename scalar_t>
void run_backward(
    const Attention<scalar_t>& attention, const AttentionGradient<scalar_t>& gradient, cudaStream_t stream) {
  using sample_t = Sample<accumulate_t<scalar_t>>;
  with_width<scalar_t>(attention.sizes.channels, {attention.value, gradient.output, gradient.value}, [&](auto width) {
    const Grouping grouping = group_threads<sample_t>(attention.sizes, width, true);
    if (const unsigned blocks = blocks_for(grouping.tasks, 1)) {
      differentiate<width.value><<<blocks, grouping.threads, grouping.samples() * sizeof(sample_t), stream>>>(
          attention, grouping, gradient);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
  });
}

// The entries of one head of one image, which the next overwrites: cells and entries, each with room to sort into.
class SortedCorners {
 public:
  SortedCorners(const Tensor& like, int64_t count, int64_t cells)
      : count_(count), bits_(bits_of(cells)), numbers_(torch::stable::new_empty(like, {4 * count}, ScalarType::Int)),
        room_(torch::stable::new_empty(like, {room_bytes()}, ScalarType::Byte)) {}

  template <typename scalar_t>
  void fill(const Corners<scalar_t>& corners, cudaStream_t stream) {
    if (const unsigned blocks = blocks_for(corners.points(), most_threads)) {
      cells_ = buffer(0);
      entries_ = buffer(2);
      list_corners<<<blocks, most_threads, 0, stream>>>(corners, cells_.Current(), entries_.Current());
      STD_CUDA_KERNEL_LAUNCH_CHECK();
      auto bytes = static_cast<size_t>(room_.numel());
      sort(room_.mutable_data_ptr<uint8_t>(), bytes, stream);
    }
  }

  const uint32_t* cells() { return cells_.Current(); }
  const uint32_t* entries() { return entries_.Current(); }

 private:
  // Of the largest number, which stands for the cells outside a map.
  static int bits_of(int64_t cells) {
    int bits = 1;
    while (cells >> bits) {
      ++bits;
    }
    return bits;
  }

  cub::DoubleBuffer<uint32_t> buffer(int64_t first) {
    auto* const numbers = reinterpret_cast<uint32_t*>(numbers_.mutable_data_ptr<int32_t>());
    return {numbers + first * count_, numbers + (first + 1) * count_};
  }

  int64_t room_bytes() {
    size_t bytes = 0;
    sort(nullptr, bytes, nullptr);
    return static_cast<int64_t>(bytes);
  }

  // Stable, so the entries of a cell keep their order.
  void sort(void* room, size_t& bytes, cudaStream_t stream) {
    STD_CUDA_CHECK(cub::DeviceRadixSort::SortPairs(
        room, bytes, cells_, entries_, static_cast<int>(count_), 0, bits_, stream));
  }

  int64_t count_;
  int bits_;
  Tensor numbers_;
  cub::DoubleBuffer<uint32_t> cells_, entries_;
  Tensor room_;
};

template <typename scalar_t>
void gather_value(const Attention<scalar_t>& attention, const scalar_t* upstream, Tensor& grad_value, cudaStream_t stream) {
  const auto& sizes = attention.sizes;
  SortedCorners sorted(grad_value, 4 * sizes.queries * attention.points(), sizes.cells);
  auto* const gradient = grad_value.mutable_data_ptr<scalar_t>();
  with_width<scalar_t>(sizes.channels, {upstream, gradient}, [&](auto width) {
    const int64_t vectors = (sizes.channels + width - 1) / width;
    const int lanes = static_cast<int>(std::clamp<int64_t>(vectors, 1, warp_lanes));
    const unsigned blocks = blocks_for(sizes.cells, most_threads / lanes);
    for (int64_t slice = 0; blocks && slice < sizes.images * sizes.heads; ++slice) {
      const Corners<scalar_t> corners{attention, slice / sizes.heads, slice % sizes.heads};
      sorted.fill(corners, stream);
      gather_gradients<width.value><<<blocks, most_threads, 0, stream>>>(
          corners, lanes, upstream, sorted.cells(), sorted.entries(), gradient);
      STD_CUDA_KERNEL_LAUNCH_CHECK();
    }
  });
}

void check_attention(const Tensor& value, const Tensor& spatial_shapes, const Tensor& level_start_index,
    const Tensor& locations, const Tensor& weights) {
  check_attention_shapes(value, spatial_shapes, level_start_index, locations, weights);
  check_attention_types(value, spatial_shapes, level_start_index, locations, weights);
  STD_TORCH_CHECK(spatial_shapes.device() == value.device() && level_start_index.device() == value.device(),
      "ms_deform_attn: expected spatial_shapes and level_start_index on the value's device");
  const AttentionSizes sizes(value, locations);
  STD_TORCH_CHECK(sizes.heads * sizes.channels <= INT32_MAX && sizes.levels * sizes.points <= INT32_MAX,
      "ms_deform_attn: ", sizes.heads * sizes.channels, " channels or ", sizes.levels * sizes.points,
      " points of a query are too many");
}

Tensor ms_deform_attn(const Tensor& value, const Tensor& spatial_shapes, const Tensor& level_start_index,
    const Tensor& sampling_locations, const Tensor& attention_weights) {
  check_attention(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  const torch::stable::accelerator::DeviceGuard guard(value.get_device_index());
  const Tensor cells = torch::stable::contiguous(value), shapes = torch::stable::contiguous(spatial_shapes);
  const Tensor starts = torch::stable::contiguous(level_start_index);
  const Tensor locations = torch::stable::contiguous(sampling_locations);
  const Tensor weights = torch::stable::contiguous(attention_weights);
  const AttentionSizes sizes(value, sampling_locations);
  Tensor output = torch::stable::new_empty(cells, {sizes.images, sizes.queries, sizes.heads * sizes.channels});
  THO_DISPATCH_V2(value.scalar_type(), "ms_deform_attn", AT_WRAP([&] {
    run_forward(attention_of<scalar_t>(cells, shapes, starts, locations, weights), output.mutable_data_ptr<scalar_t>(),
        current_stream(value));
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return output;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward(const Tensor& grad, const Tensor& value,
    const Tensor& spatial_shapes, const Tensor& level_start_index, const Tensor& sampling_locations,
    const Tensor& attention_weights, bool deterministic) {
  check_attention(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  check_attention_grad(grad, value, sampling_locations);
  const AttentionSizes sizes(value, sampling_locations);
  STD_TORCH_CHECK(!deterministic || sizes.queries * sizes.levels * sizes.points <= INT32_MAX / 4,
      "ms_deform_attn_backward: ", sizes.queries * sizes.levels * sizes.points,
      " points of a head are too many for the deterministic backward");
  const torch::stable::accelerator::DeviceGuard guard(value.get_device_index());
  const Tensor cells = torch::stable::contiguous(value), shapes = torch::stable::contiguous(spatial_shapes);
  const Tensor starts = torch::stable::contiguous(level_start_index);
  const Tensor locations = torch::stable::contiguous(sampling_locations);
  const Tensor weights = torch::stable::contiguous(attention_weights), dense_grad = torch::stable::contiguous(grad);
  Tensor grad_value = deterministic ? torch::stable::new_empty(cells, cells.sizes())
                                    : torch::stable::new_zeros(cells, cells.sizes(), accumulated(value));
  Tensor grad_locations = torch::stable::new_empty(locations, locations.sizes());
  Tensor grad_weights = torch::stable::new_empty(weights, weights.sizes());
  THO_DISPATCH_V2(value.scalar_type(), "ms_deform_attn_backward", AT_WRAP([&] {
    using acc_t = accumulate_t<scalar_t>;
    const auto attention = attention_of<scalar_t>(cells, shapes, starts, locations, weights);
    const scalar_t* const upstream = dense_grad.const_data_ptr<scalar_t>();
    run_backward(attention,
        AttentionGradient<scalar_t>{upstream, deterministic ? nullptr : grad_value.mutable_data_ptr<acc_t>(),
            grad_locations.mutable_data_ptr<acc_t>(), grad_weights.mutable_data_ptr<acc_t>()},
        current_stream(value));
    if (deterministic) {
      gather_value(attention, upstream, grad_value, current_stream(value));
    }
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return {torch::stable::to(grad_value, value.scalar_type()), grad_locations, grad_weights};
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CUDA, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward));
}

} // namespace
} // namespace detassign
