// Dropout on the CPU. What is zeroed follows from the seed and an entry's place alone, so the result is the same for
// every number of threads, and the gradient is the same op on the gradient.
#include "dropout_kernels.h"
#include "instruction_set.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t entries_per_task = 32768; // below this, starting a thread costs more than the work it takes over

template <typename scalar_t>
auto kernel() {
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512) {
    return &avx512::drop<scalar_t>;
  }
  if (instruction_set() == InstructionSet::avx2) {
    return &avx2::drop<scalar_t>;
  }
#endif
  return &portable::drop<scalar_t>;
}

template <typename scalar_t>
void run(const Tensor& x, const Rule& rule, Tensor& output) {
  const auto* from = x.const_data_ptr<scalar_t>();
  auto* to = output.mutable_data_ptr<scalar_t>();
  const int64_t count = x.numel(), tasks = (count + entries_per_task - 1) / entries_per_task;
  torch::stable::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    kernel<scalar_t>()(from, begin * entries_per_task, std::min(end * entries_per_task, count), rule, to);
  });
}

Tensor dropout(const Tensor& x, int64_t dropped, int64_t seed) {
  STD_TORCH_CHECK(
      dropped >= 0 && dropped < draw_range, "Expected dropped to be from 0 to ", draw_range - 1, " but got ", dropped, ".");
  const Tensor dense = torch::stable::contiguous(x);
  Tensor output = torch::stable::new_empty(dense, dense.sizes());
  const Rule rule{static_cast<uint64_t>(seed), dropped};
  THO_DISPATCH_V2(x.scalar_type(), "dropout", AT_WRAP([&] { run<scalar_t>(dense, rule, output); }),
      AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return output;
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CPU, m) {
  m.impl("dropout", TORCH_BOX(&dropout));
}

} // namespace
} // namespace detassign
