// Runs the CUDA kernels of ms_deform_attn on the host, for test_ms_deform_attn_cuda_source.py.
#include "../../csrc/ms_deform_attn.h"
#include "../support/cuda_on_host.h"

namespace detassign {
namespace {
alignas(16) unsigned char shared[48 * 1024];
} // namespace
} // namespace detassign

#include "../../csrc/cuda/ms_deform_attn_kernels.cuh"

#include <type_traits>

using namespace detassign;

namespace {

struct Call {
  int32_t scalar;  // float64, float32, float16, bfloat16
  int32_t vectors; // whether the channels move in vectors
  int32_t order;   // in which the threads take their turns
  int32_t blocks;  // at most
  int64_t sizes[7];
  const void* value;
  const int64_t* spatial_shapes;
  const int64_t* level_start_index;
  const void* locations;
  const void* weights;
  void* output; // or its gradient
  void* grad_value;
  void* grad_locations;
  void* grad_weights;
};

template <typename scalar_t>
Attention<scalar_t> attention_of(const Call& call) {
  static_assert(sizeof(AttentionSizes) == sizeof(call.sizes) && std::is_standard_layout_v<AttentionSizes>);
  using acc_t = accumulate_t<scalar_t>;
  return {reinterpret_cast<const AttentionSizes&>(call.sizes), static_cast<const scalar_t*>(call.value),
      call.spatial_shapes, call.level_start_index, static_cast<const acc_t*>(call.locations),
      static_cast<const acc_t*>(call.weights)};
}

template <typename body_t>
void launch(const Call& call, int64_t blocks, int threads, size_t shared_bytes, const body_t& body) {
  if (shared_bytes > sizeof(shared)) {
    throw std::runtime_error("a block asks for more shared memory than every device has");
  }
  cuda_on_host::launch(std::min<int64_t>(blocks, call.blocks), threads, call.order, shared, sizeof(shared), body);
}

template <typename scalar_t, int width>
void run_forward(const Call& call) {
  using sample_t = Sample<accumulate_t<scalar_t>>;
  const auto attention = attention_of<scalar_t>(call);
  const Grouping grouping = group_threads<sample_t>(attention.sizes, width, false);
  launch(call, grouping.tasks, grouping.threads, grouping.samples() * sizeof(sample_t),
      [&] { attend<width>(attention, grouping, static_cast<scalar_t*>(call.output)); });
}

template <typename scalar_t, int width>
void run_backward(const Call& call) {
  using acc_t = accumulate_t<scalar_t>;
  using sample_t = Sample<acc_t>;
  const auto attention = attention_of<scalar_t>(call);
  const AttentionGradient<scalar_t> gradient{static_cast<const scalar_t*>(call.output),
      static_cast<acc_t*>(call.grad_value), static_cast<acc_t*>(call.grad_locations),
      static_cast<acc_t*>(call.grad_weights)};
  const Grouping grouping = group_threads<sample_t>(attention.sizes, width, true);
  launch(call, grouping.tasks, grouping.threads, grouping.samples() * sizeof(sample_t),
      [&] { differentiate<width>(attention, grouping, gradient); });
}

// With a sort of the host's in place of the device's.
template <typename scalar_t, int width>
void run_gather(const Call& call) {
  const auto attention = attention_of<scalar_t>(call);
  const auto& sizes = attention.sizes;
  const int lanes = static_cast<int>(std::clamp<int64_t>((sizes.channels + width - 1) / width, 1, warp_lanes));
  std::vector<uint32_t> cells(4 * sizes.queries * attention.points()), entries(cells.size()), sorted(cells.size());
  for (int64_t slice = 0; slice < sizes.images * sizes.heads; ++slice) {
    const Corners<scalar_t> corners{attention, slice / sizes.heads, slice % sizes.heads};
    launch(call, 2, most_threads, 0, [&] { list_corners(corners, cells.data(), entries.data()); });
    std::stable_sort(entries.begin(), entries.end(), [&](uint32_t a, uint32_t b) { return cells[a] < cells[b]; });
    std::transform(entries.begin(), entries.end(), sorted.begin(), [&](uint32_t entry) { return cells[entry]; });
    launch(call, 2, most_threads, 0, [&] {
      gather_gradients<width>(corners, lanes, static_cast<const scalar_t*>(call.output), sorted.data(), entries.data(),
          static_cast<scalar_t*>(call.grad_value));
    });
  }
}

std::string failure;

// Empty, or what went wrong.
template <typename run_t>
const char* run_in_dtype(const Call& call, const run_t& run) {
  failure.clear();
  try {
    switch (call.scalar) {
      case 0: run(double()); break;
      case 1: run(float()); break;
      case 2: run(c10::Half()); break;
      default: run(c10::BFloat16());
    }
  } catch (const std::exception& error) {
    failure = error.what();
  }
  return failure.c_str();
}

} // namespace

#define DETASSIGN_ON_HOST(name)                                                  \
  extern "C" const char* name##_on_host(const Call* call) {                      \
    return run_in_dtype(*call, [&](auto scalar) {                                \
      using scalar_t = decltype(scalar);                                         \
      constexpr int width = vector_bytes / sizeof(scalar_t);                     \
      call->vectors ? name<scalar_t, width>(*call) : name<scalar_t, 1>(*call);   \
    });                                                                          \
  }

DETASSIGN_ON_HOST(run_forward)
DETASSIGN_ON_HOST(run_backward)
DETASSIGN_ON_HOST(run_gather)
