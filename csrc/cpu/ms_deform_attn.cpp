// ms_deform_attn on the CPU. One head of one image at a time, since its cells lie apart in memory: where they are read
// often, they are first copied next to each other. In the backward each level of each head has one writer, always in
// the order of the queries: no atomics, and the same result for every number of threads.
#include "../ms_deform_attn.h"
#include "buffer.h"
#include "instruction_set.h"
#include "ms_deform_attn_kernels.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <cstring>
#include <tuple>
#include <vector>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t products_per_task = 131072; // below this, starting a thread costs more than the work it takes over

// A run of levels and the cells that they lie in.
struct Span {
  int64_t first_level;
  int64_t levels;
  int64_t first_cell;
  int64_t cells;
};

constexpr int64_t points_at_once = 64; // some whole vectors, and little enough to stay in the nearest cache

template <typename acc_t>
class PointTable {
 public:
  PointTable(const std::vector<Level>& levels, const Span& span, int64_t points_per_level)
      : count_(span.levels * points_per_level),
        block_(std::max<int64_t>(1, points_at_once / std::max<int64_t>(1, count_))),
        capacity_((block_ * count_ + 15) / 16 * 16), numbers_(2 * capacity_), sides_(3 * capacity_) {
    for (int64_t point = 0; point < block_ * count_; ++point) {
      const Level& level = levels[span.first_level + point % count_ / points_per_level];
      numbers_[point] = static_cast<acc_t>(level.width);
      numbers_[capacity_ + point] = static_cast<acc_t>(level.height);
      sides_[point] = static_cast<int32_t>(level.width);
      sides_[capacity_ + point] = static_cast<int32_t>(level.height);
      sides_[2 * capacity_ + point] = static_cast<int32_t>(level.start - span.first_cell);
    }
  }

  int64_t capacity() const { return capacity_; }
  Points<acc_t> points() const {
    return {count_, block_, capacity_, numbers_.data(), numbers_.data() + capacity_, sides_.data(),
        sides_.data() + capacity_, sides_.data() + 2 * capacity_};
  }

 private:
  int64_t count_, block_, capacity_;
  std::vector<acc_t> numbers_;
  std::vector<int32_t> sides_;
};

template <typename acc_t>
class SampleTable {
 public:
  explicit SampleTable(int64_t capacity) : capacity_(capacity), cells_(4 * capacity), numbers_(13 * capacity) {}

  Samples<acc_t> samples() {
    acc_t* const numbers = numbers_.data();
    return {cells_.data(), numbers, numbers + 4 * capacity_, numbers + 8 * capacity_, numbers + 10 * capacity_,
        numbers + 11 * capacity_, numbers + 12 * capacity_};
  }

 private:
  int64_t capacity_;
  std::vector<int32_t> cells_;
  std::vector<acc_t> numbers_;
};

// The kernels of the chosen instruction set.
template <typename scalar_t>
struct Kernels {
  decltype(&portable::attend<scalar_t>) attend = &portable::attend<scalar_t>;
  decltype(&portable::differentiate<scalar_t>) differentiate = &portable::differentiate<scalar_t>;
  decltype(&portable::load_cells<scalar_t>) load_cells = &portable::load_cells<scalar_t>;
  decltype(&portable::store_cells<scalar_t>) store_cells = &portable::store_cells<scalar_t>;

  Kernels() {
#if defined(__x86_64__)
    if (instruction_set() == InstructionSet::avx512) {
      attend = &avx512::attend<scalar_t>;
      differentiate = &avx512::differentiate<scalar_t>;
      load_cells = &avx512::load_cells<scalar_t>;
      store_cells = &avx512::store_cells<scalar_t>;
    } else if (instruction_set() == InstructionSet::avx2) {
      attend = &avx2::attend<scalar_t>;
      differentiate = &avx2::differentiate<scalar_t>;
      load_cells = &avx2::load_cells<scalar_t>;
      store_cells = &avx2::store_cells<scalar_t>;
    }
#endif
  }
};

// The tensors of one call, contiguous.
template <typename scalar_t>
struct Attention {
  using acc_t = accumulate_t<scalar_t>;
  AttentionSizes sizes;
  std::vector<Level> levels;
  const scalar_t* value;
  const acc_t* locations;
  const acc_t* weights;

  Attention(const Tensor& value, const std::vector<Level>& levels, const Tensor& locations, const Tensor& weights)
      : sizes(value, locations), levels(levels), value(value.const_data_ptr<scalar_t>()),
        locations(locations.const_data_ptr<acc_t>()), weights(weights.const_data_ptr<acc_t>()) {}

  int64_t cell_stride() const { return sizes.heads * sizes.channels; }
  int64_t point_stride() const { return sizes.heads * sizes.levels * sizes.points; }
  int64_t first_cell(int64_t image, int64_t head, const Span& span) const {
    return ((image * sizes.cells + span.first_cell) * sizes.heads + head) * sizes.channels;
  }
  int64_t first_point(int64_t image, int64_t query, int64_t head, const Span& span) const {
    return (((image * sizes.queries + query) * sizes.heads + head) * sizes.levels + span.first_level) * sizes.points;
  }
  int64_t first_output(int64_t image, int64_t query, int64_t head) const {
    return ((image * sizes.queries + query) * sizes.heads + head) * sizes.channels;
  }
  Span all_levels() const { return {0, sizes.levels, 0, sizes.cells}; }

  Queries<acc_t> queries(int64_t image, int64_t head, const Span& span, int64_t first, int64_t count) const {
    const int64_t point = first_point(image, first, head, span);
    return {count, sizes.channels, locations + 2 * point, weights + point, point_stride(), cell_stride()};
  }
};

// The cells of one head: as they lie in the value, or copied next to each other where each is read more than once;
// after them a cell of zeros.
template <typename scalar_t>
class HeadCells {
 public:
  HeadCells(const Attention<scalar_t>& attention, const Span& span, int64_t queries)
      : attention_(attention), span_(span), channels_(attention.sizes.channels),
        dense_(attention.sizes.heads > 1 && queries * span.levels * attention.sizes.points > span.cells),
        copied_(dense_ ? span.cells : 0), room_((copied_ + 1) * channels_) {
    std::fill_n(zeros(), channels_, scalar_t(0));
  }

  Cells<scalar_t> cells(int64_t image, int64_t head) {
    const scalar_t* cells = attention_.value + attention_.first_cell(image, head, span_);
    if (!dense_) {
      return {cells, attention_.cell_stride(), -1, zeros()};
    }
    for (int64_t cell = 0; cell < copied_; ++cell) {
      std::memcpy(
          room_.data() + cell * channels_, cells + cell * attention_.cell_stride(), channels_ * sizeof(scalar_t));
    }
    return {room_.data(), channels_, static_cast<int32_t>(copied_), nullptr};
  }

 private:
  scalar_t* zeros() const { return room_.data() + copied_ * channels_; }

  const Attention<scalar_t>& attention_;
  Span span_;
  int64_t channels_;
  bool dense_;
  int64_t copied_;
  Buffer<scalar_t> room_;
};

int64_t queries_per_task(const AttentionSizes& sizes) {
  return std::max<int64_t>(
      1, products_per_task / std::max<int64_t>(1, 4 * sizes.levels * sizes.points * sizes.channels));
}

// The queries [begin, end) of all heads of all images, counted head by head.
template <typename scalar_t>
void attend_queries(const Attention<scalar_t>& attention, int64_t begin, int64_t end, scalar_t* output) {
  static const Kernels<scalar_t> kernels;
  const auto& sizes = attention.sizes;
  const PointTable<accumulate_t<scalar_t>> table(attention.levels, attention.all_levels(), sizes.points);
  SampleTable<accumulate_t<scalar_t>> samples(table.capacity());
  HeadCells<scalar_t> cells(attention, attention.all_levels(), std::min(end - begin, sizes.queries));
  while (begin < end) {
    const int64_t query = begin % sizes.queries, head = begin / sizes.queries % sizes.heads;
    const int64_t image = begin / sizes.queries / sizes.heads;
    const int64_t queries = std::min(end - begin, sizes.queries - query);
    kernels.attend(cells.cells(image, head), attention.queries(image, head, attention.all_levels(), query, queries),
        table.points(), samples.samples(), output + attention.first_output(image, query, head));
    begin += queries;
  }
}

template <typename scalar_t>
void run_forward(const Attention<scalar_t>& attention, scalar_t* output) {
  const auto& sizes = attention.sizes;
  torch::stable::parallel_for(0, sizes.images * sizes.heads * sizes.queries, queries_per_task(sizes),
      [&](int64_t begin, int64_t end) { attend_queries(attention, begin, end, output); });
}

template <typename scalar_t>
struct AttentionGradient {
  using acc_t = accumulate_t<scalar_t>;
  const scalar_t* output;
  scalar_t* value;
  acc_t* locations;
  acc_t* weights;
};

// Whether adding to the tensor itself is cheaper than to a copy of its cells: where most of them are not read. What
// accumulates in a wider type needs the copy.
template <typename scalar_t>
bool differentiates_in_place(const AttentionSizes& sizes, const Span& span) {
  constexpr bool same_type = std::is_same_v<scalar_t, accumulate_t<scalar_t>>;
  return same_type && sizes.queries * span.levels * sizes.points <= span.cells;
}

// One head of one image on one span of levels: all that any sample adds to those cells. `room` is for the values and
// their gradients, and for one cell more.
template <typename scalar_t>
void differentiate_span(const Attention<scalar_t>& attention, const AttentionGradient<scalar_t>& gradient,
    const Span& span, int64_t image, int64_t head, accumulate_t<scalar_t>* room) {
  using acc_t = accumulate_t<scalar_t>;
  static const Kernels<scalar_t> kernels;
  const auto& sizes = attention.sizes;
  const int64_t channels = sizes.channels, point = attention.first_point(image, 0, head, span);
  const PointTable<acc_t> table(attention.levels, span, sizes.points);
  SampleTable<acc_t> samples(table.capacity());
  const Buffer<acc_t> upstream(channels);
  const int64_t first = attention.first_cell(image, head, span), stride = attention.cell_stride();
  const auto differentiate = [&](const CellGradients<acc_t>& cells) {
    kernels.differentiate(attention.queries(image, head, span, 0, sizes.queries), table.points(), samples.samples(),
        {gradient.output + attention.first_output(image, 0, head), upstream.data(), cells,
            gradient.locations + 2 * point, gradient.weights + point});
  };
  if constexpr (std::is_same_v<scalar_t, acc_t>) {
    if (differentiates_in_place<scalar_t>(sizes, span)) {
      std::fill_n(room, 2 * channels, acc_t(0));
      for (int64_t cell = 0; cell < span.cells; ++cell) {
        std::fill_n(gradient.value + first + cell * stride, channels, acc_t(0));
      }
      differentiate({attention.value + first, gradient.value + first, stride, -1, room, room + channels});
      return;
    }
  }
  std::fill_n(room + span.cells * 2 * channels, 2 * channels, acc_t(0)); // the cell that stands for those outside
  kernels.load_cells(attention.value + first, stride, span.cells, channels, room);
  differentiate({room, room + channels, 0, static_cast<int32_t>(span.cells), nullptr, nullptr});
  kernels.store_cells(room, span.cells, channels, gradient.value + first, stride);
}

// Whether every cell belongs to one level, and one only, as they do in every model.
bool levels_partition(std::vector<Level> levels, int64_t cells) {
  std::sort(levels.begin(), levels.end(), [](const Level& a, const Level& b) { return a.start < b.start; });
  int64_t next = 0;
  for (const Level& level : levels) {
    if (level.start != next || level.cells() == 0) {
      return false;
    }
    next += level.cells();
  }
  return next == cells && !levels.empty();
}

// What can be differentiated at once. The levels of a head together read the points as they lie in memory; where the
// heads are too few for the threads, each level is on its own, unless it shares cells with another.
template <typename scalar_t>
std::vector<Span> independent_spans(const Attention<scalar_t>& attention) {
  const int64_t threads = torch::stable::get_num_threads(), heads = attention.sizes.images * attention.sizes.heads;
  if (heads >= threads || !levels_partition(attention.levels, attention.sizes.cells)) {
    return {attention.all_levels()};
  }
  std::vector<Span> spans;
  for (const Level& level : attention.levels) {
    spans.push_back({static_cast<int64_t>(spans.size()), 1, level.start, level.cells()});
  }
  return spans;
}

template <typename scalar_t>
void run_backward(const Attention<scalar_t>& attention, const AttentionGradient<scalar_t>& gradient) {
  const auto& sizes = attention.sizes;
  const std::vector<Span> spans = independent_spans(attention);
  const int64_t count = spans.size();
  const int64_t most_cells = std::max_element(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return a.cells < b.cells;
  })->cells;
  const int64_t tasks = sizes.images * sizes.heads * count;
  const int64_t at_once = std::max<int64_t>(1, queries_per_task(sizes) / std::max<int64_t>(1, sizes.queries));
  torch::stable::parallel_for(0, tasks, at_once, [&](int64_t begin, int64_t end) {
    const Buffer<accumulate_t<scalar_t>> room((most_cells + 1) * 2 * sizes.channels);
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task / count % sizes.heads, image = task / count / sizes.heads;
      differentiate_span(attention, gradient, spans[task % count], image, head, room.data());
    }
  });
}

Tensor ms_deform_attn(const Tensor& value, const Tensor& spatial_shapes, const Tensor& level_start_index,
    const Tensor& sampling_locations, const Tensor& attention_weights) {
  check_attention_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  check_attention_types(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  const std::vector<Level> levels = read_levels(spatial_shapes, level_start_index, value.size(1));
  const Tensor cells = torch::stable::contiguous(value);
  const Tensor locations = torch::stable::contiguous(sampling_locations);
  const Tensor weights = torch::stable::contiguous(attention_weights);
  const AttentionSizes sizes(value, sampling_locations);
  Tensor output = torch::stable::new_empty(cells, {sizes.images, sizes.queries, sizes.heads * sizes.channels});
  THO_DISPATCH_V2(value.scalar_type(), "ms_deform_attn", AT_WRAP([&] {
    run_forward(Attention<scalar_t>(cells, levels, locations, weights), output.mutable_data_ptr<scalar_t>());
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return output;
}

std::tuple<Tensor, Tensor, Tensor> ms_deform_attn_backward(const Tensor& grad, const Tensor& value,
    const Tensor& spatial_shapes, const Tensor& level_start_index, const Tensor& sampling_locations,
    const Tensor& attention_weights, bool) { // deterministic in any case
  check_attention_shapes(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  check_attention_types(value, spatial_shapes, level_start_index, sampling_locations, attention_weights);
  check_attention_grad(grad, value, sampling_locations);
  const std::vector<Level> levels = read_levels(spatial_shapes, level_start_index, value.size(1));
  const Tensor cells = torch::stable::contiguous(value);
  const Tensor locations = torch::stable::contiguous(sampling_locations);
  const Tensor weights = torch::stable::contiguous(attention_weights), dense_grad = torch::stable::contiguous(grad);
  Tensor grad_value = torch::stable::new_empty(cells, cells.sizes());
  Tensor grad_locations = torch::stable::new_empty(locations, locations.sizes());
  Tensor grad_weights = torch::stable::new_empty(weights, weights.sizes());
  THO_DISPATCH_V2(value.scalar_type(), "ms_deform_attn_backward", AT_WRAP([&] {
    using acc_t = accumulate_t<scalar_t>;
    run_backward(Attention<scalar_t>(cells, levels, locations, weights),
        AttentionGradient<scalar_t>{dense_grad.const_data_ptr<scalar_t>(), grad_value.mutable_data_ptr<scalar_t>(),
            grad_locations.mutable_data_ptr<acc_t>(), grad_weights.mutable_data_ptr<acc_t>()});
  }), AT_EXPAND(AT_FLOATING_TYPES), ScalarType::Half, ScalarType::BFloat16);
  return {grad_value, grad_locations, grad_weights};
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CPU, m) {
  m.impl("ms_deform_attn", TORCH_BOX(&ms_deform_attn));
  m.impl("ms_deform_attn_backward", TORCH_BOX(&ms_deform_attn_backward));
}

} // namespace
} // namespace detassign
