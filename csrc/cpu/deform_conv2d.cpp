// deform_conv2d on the CPU. An image lies cell by cell, its channels side by side, and so do the columns that its
// samples make; a block of positions at a time, as many as stay in the cache, is sampled and multiplied by the weight.
// In the backward each channel's gradient has one writer, always in the order of the positions: no atomics, and beside
// the matrix products the same result for every number of threads.
#include "../deform_conv2d.h"
#include "buffer.h"
#include "deform_conv2d_kernels.h"
#include "instruction_set.h"

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/Dispatch_v2.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

namespace detassign {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

constexpr int64_t products_per_task = 131072; // below this, starting a thread costs more than the work it takes over
constexpr int64_t numbers_at_once = 1 << 20;   // of a block's columns: 4 MB in float32
constexpr int64_t widest_slice = 64;          // channels whose gradients one thread adds to
constexpr int64_t tile = 16;

int64_t per_task(int64_t products) {
  return std::max<int64_t>(1, products_per_task / std::max<int64_t>(1, products));
}

// The kernels of the chosen instruction set.
template <typename real_t>
struct Kernels {
  decltype(&portable::sample_columns<real_t>) sample_columns = &portable::sample_columns<real_t>;
  decltype(&portable::scatter_columns<real_t>) scatter_columns = &portable::scatter_columns<real_t>;

  Kernels() {
#if defined(__x86_64__)
    if (instruction_set() == InstructionSet::avx512) {
      sample_columns = &avx512::sample_columns<real_t>;
      scatter_columns = &avx512::scatter_columns<real_t>;
    } else if (instruction_set() == InstructionSet::avx2) {
      sample_columns = &avx2::sample_columns<real_t>;
      scatter_columns = &avx2::scatter_columns<real_t>;
    }
#endif
  }
};

// A matrix within memory that outlives it.
template <typename real_t>
Tensor matrix(const real_t* data, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  const std::array<int64_t, 2> sizes{rows, columns}, strides{row_stride, column_stride};
  constexpr ScalarType type = std::is_same_v<real_t, double> ? ScalarType::Double : ScalarType::Float;
  return torch::stable::from_blob(
      const_cast<real_t*>(data), sizes, strides, torch::stable::Device(torch::headeronly::DeviceType::CPU), type);
}

// mm with `out`, which autocast leaves in its precision.
void multiply(const Tensor& left, const Tensor& right, const Tensor& product) {
  std::array<StableIValue, 3> stack{torch::stable::detail::from(left), torch::stable::detail::from(right),
      torch::stable::detail::from(product)};
  TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("aten::mm", "out", stack.data(), TORCH_ABI_VERSION));
  torch::stable::detail::to<Tensor>(stack[0]); // the caller's to release
}

// (rows, columns) becomes (columns, rows).
template <typename real_t>
void transpose(const real_t* from, int64_t rows, int64_t columns, real_t* to) {
  torch::stable::parallel_for(0, (columns + tile - 1) / tile, per_task(rows * tile), [&](int64_t begin, int64_t end) {
    for (int64_t column = begin * tile; column < std::min(end * tile, columns); column += tile) {
      for (int64_t row = 0; row < rows; row += tile) {
        const int64_t last_row = std::min(row + tile, rows), last_column = std::min(column + tile, columns);
        for (int64_t j = column; j < last_column; ++j) {
          for (int64_t i = row; i < last_row; ++i) {
            to[j * rows + i] = from[i * columns + j];
          }
        }
      }
    }
  });
}

template <typename real_t>
TapSample<real_t> locate(real_t y, real_t x, real_t mask, int64_t height, int64_t width) {
  const int32_t outside = static_cast<int32_t>(height * width);
  const bool reached = y > -1 && y < static_cast<real_t>(height) && x > -1 && x < static_cast<real_t>(width);
  if (!reached) { // also NaN
    return {{outside, outside, outside, outside}, {}, 0, 0, 0};
  }
  int64_t top = static_cast<int64_t>(y), left = static_cast<int64_t>(x); // towards zero
  top -= static_cast<real_t>(top) > y ? 1 : 0;                           // and so down
  left -= static_cast<real_t>(left) > x ? 1 : 0;
  const real_t right = x - static_cast<real_t>(left), down = y - static_cast<real_t>(top);
  const real_t lower = mask * down, upper = mask * (1 - down);
  const bool on_top = top >= 0, on_bottom = top + 1 < height, on_left = left >= 0, on_right = left + 1 < width;
  const int64_t cell = top * width + left, below = cell + width;
  const auto if_on = [outside](bool on, int64_t at) { return on ? static_cast<int32_t>(at) : outside; };
  return {{if_on(on_top && on_left, cell), if_on(on_top && on_right, cell + 1), if_on(on_bottom && on_left, below),
              if_on(on_bottom && on_right, below + 1)},
      {upper * (1 - right), upper * right, lower * (1 - right), lower * right}, right, down, mask};
}

// The gradients of a sample's offset and mask.
template <typename real_t>
struct Slopes {
  real_t down, right, mask;
};

template <typename real_t>
Slopes<real_t> differentiate_sample(
    const TapSample<real_t>& sample, const std::array<real_t, 4>& products, int32_t outside) {
  const auto& cells = sample.cells;
  if (cells[0] == outside && cells[1] == outside && cells[2] == outside && cells[3] == outside) {
    return {0, 0, 0}; // not even an infinite product passes
  }
  const real_t right = sample.right, down = sample.down;
  const real_t top = (1 - right) * products[0] + right * products[1];
  const real_t bottom = (1 - right) * products[2] + right * products[3];
  const real_t left_to_right = (1 - down) * (products[1] - products[0]) + down * (products[3] - products[2]);
  return {sample.mask * (bottom - top), sample.mask * left_to_right, (1 - down) * top + down * bottom};
}

// Channels of one group of the weight and one offset group.
struct Slice {
  int64_t first, count, group, offset_group;
};

std::vector<Slice> slices(const ConvolutionSizes& sizes, int64_t widest) {
  std::vector<Slice> all;
  for (int64_t first = 0; first < sizes.channels; first += all.back().count) {
    const int64_t group = first / sizes.group_channels(), offset_group = first / sizes.offset_channels();
    const int64_t end = std::min((group + 1) * sizes.group_channels(), (offset_group + 1) * sizes.offset_channels());
    all.push_back({first, std::min(end - first, widest), group, offset_group});
  }
  return all;
}

// Some positions of an image, counted row by row.
struct Block {
  int64_t image, first, count;
};

// Where the gradients go, all zero at first; null where nobody asked.
template <typename real_t>
struct Gradients {
  real_t *input, *weight, *offset, *mask;
};

// The tensors of one call, contiguous, and room for an image and for a block. The weight is (groups, O / groups,
// taps * C / groups); so are the columns of a block, (groups, positions, taps * C / groups), and its samples
// (offset_groups, positions, taps).
template <typename real_t>
class Convolution {
 public:
  Convolution(const ConvolutionSizes& sizes, const Tensor& input, const Tensor& weight_rows, const Tensor& offset,
      const std::optional<Tensor>& mask)
      : sizes_(sizes), taps_(sizes.taps()), input_(input.const_data_ptr<real_t>()),
        weight_(weight_rows.const_data_ptr<real_t>()), offset_(offset.const_data_ptr<real_t>()),
        mask_(mask ? mask->const_data_ptr<real_t>() : nullptr), whole_(slices(sizes, sizes.channels)),
        narrow_(slices(sizes, widest_slice)),
        block_(std::clamp<int64_t>(
            numbers_at_once / (taps_ * (sizes.channels + 4 * narrow_.size())), 1, sizes.positions())),
        cells_(cell_numbers()), samples_(block_ * sizes.offset_groups * taps_),
        columns_(block_ * taps_ * sizes.channels) {
    std::fill_n(cells_.data() + sizes.cells() * sizes.channels, sizes.channels, real_t(0));
  }

  void forward(real_t* output) const {
    for (int64_t image = 0; image < sizes_.images; ++image) {
      load(image);
      for_each_block(image, [&](const Block& block) {
        sample(block);
        for (int64_t group = 0; group < sizes_.groups; ++group) {
          multiply(weight(group), columns(block, group, true), maps(output, block, group, false));
        }
      });
    }
  }

  void backward(const real_t* grad, const Gradients<real_t>& gradients) const {
    const Buffer<real_t> grad_cells(gradients.input ? cell_numbers() : 0);
    const Buffer<real_t> products(gradients.input ? 4 * narrow_.size() * block_ * taps_ : 0);
    const Buffer<real_t> part(gradients.weight ? sizes_.group_outputs() * row_length() : 0);
    for (int64_t image = 0; image < sizes_.images; ++image) {
      load(image);
      std::fill_n(grad_cells.data(), gradients.input ? cell_numbers() : 0, real_t(0));
      for_each_block(image, [&](const Block& block) {
        if (gradients.weight) {
          sample(block);
          add_weight_gradient(block, grad, part.data(), gradients.weight);
        }
        if (gradients.input) {
          scatter(block, grad, grad_cells.data(), products.data());
          differentiate(block, products.data(), gradients);
        }
      });
      if (gradients.input) {
        const int64_t at = image * sizes_.channels * sizes_.cells();
        transpose(grad_cells.data(), sizes_.cells(), sizes_.channels, gradients.input + at);
      }
    }
  }

 private:
  static const Kernels<real_t>& kernels() {
    static const Kernels<real_t> chosen;
    return chosen;
  }

  int64_t cell_numbers() const { return (sizes_.cells() + 1) * sizes_.channels; } // the last cell is outside
  int64_t row_length() const { return taps_ * sizes_.group_channels(); }

  void load(int64_t image) const {
    const int64_t at = image * sizes_.channels * sizes_.cells();
    transpose(input_ + at, sizes_.channels, sizes_.cells(), cells_.data());
  }

  template <typename work_t>
  void for_each_block(int64_t image, const work_t& work) const {
    for (int64_t first = 0; first < sizes_.positions(); first += block_) {
      const Block block{image, first, std::min(block_, sizes_.positions() - first)};
      torch::stable::parallel_for(0, sizes_.offset_groups * taps_, per_task(16 * block.count),
          [&](int64_t begin, int64_t end) {
            for (int64_t map = begin; map < end; ++map) {
              locate_tap(block, map / taps_, map % taps_);
            }
          });
      work(block);
    }
  }

  // The maps of an offset group's tap begin here, of which offsets have two.
  int64_t first_of_map(const Block& block, int64_t offset_group, int64_t tap) const {
    return ((block.image * sizes_.offset_groups + offset_group) * taps_ + tap) * sizes_.positions();
  }

  void locate_tap(const Block& block, int64_t offset_group, int64_t tap) const {
    const Axis &y = sizes_.rows, &x = sizes_.columns;
    const int64_t map = first_of_map(block, offset_group, tap) + block.first;
    const real_t* const down = offset_ + 2 * map - block.first;
    const real_t* const right = down + sizes_.positions();
    TapSample<real_t>* const samples = samples_.data() + offset_group * block.count * taps_ + tap;
    for (int64_t i = 0; i < block.count; ++i) {
      const int64_t row = (block.first + i) / x.steps, column = (block.first + i) % x.steps;
      const int64_t top = y.start(tap / x.taps, row), left = x.start(tap % x.taps, column);
      samples[i * taps_] = locate(static_cast<real_t>(top) + down[i], static_cast<real_t>(left) + right[i],
          mask_ ? mask_[map + i] : real_t(1), y.size, x.size);
    }
  }

  // Hands out all slices of a few positions before those of the next, which read much the same cells.
  template <typename work_t>
  void for_each_tile(
      const Slice* slices, const Slice* last_slice, int64_t position, int64_t last, const work_t& work) const {
    for (; position < last; position += tile) {
      for (const Slice* slice = slices; slice != last_slice; ++slice) {
        work(*slice, position * taps_, std::min(tile, last - position) * taps_);
      }
    }
  }

  void sample(const Block& block) const {
    const auto work = [&](const Slice& slice, int64_t first, int64_t count) {
      kernels().sample_columns(
          samples(block, slice) + first, count, channels(slice), column(block, slice, first), sizes_.group_channels());
    };
    torch::stable::parallel_for(0, block.count, per_task(4 * taps_ * sizes_.channels), [&](int64_t begin, int64_t end) {
      for_each_tile(whole_.data(), whole_.data() + whole_.size(), begin, end, work);
    });
  }

  void add_weight_gradient(const Block& block, const real_t* grad, real_t* part, real_t* grad_weight) const {
    const int64_t outputs = sizes_.group_outputs(), count = outputs * row_length();
    for (int64_t group = 0; group < sizes_.groups; ++group) {
      const Tensor product = matrix(part, outputs, row_length(), row_length(), 1);
      multiply(maps(grad, block, group, false), columns(block, group, false), product);
      real_t* const total = grad_weight + group * count;
      torch::stable::parallel_for(0, count, products_per_task, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          total[i] += part[i];
        }
      });
    }
  }

  // The columns become their own gradients, which are added to those of the cells.
  void scatter(const Block& block, const real_t* grad, real_t* grad_cells, real_t* products) const {
    for (int64_t group = 0; group < sizes_.groups; ++group) {
      multiply(maps(grad, block, group, true), weight(group), columns(block, group, false));
    }
    const auto work = [&](const Slice& slice, int64_t first, int64_t count) {
      kernels().scatter_columns(samples(block, slice) + first, count, channels(slice), column(block, slice, first),
          sizes_.group_channels(), grad_cells + slice.first,
          products + 4 * ((&slice - narrow_.data()) * block.count * taps_ + first));
    };
    torch::stable::parallel_for(0, narrow_.size(), per_task(8 * block.count * taps_ * narrow_.front().count),
        [&](int64_t begin, int64_t end) {
          for_each_tile(narrow_.data() + begin, narrow_.data() + end, 0, block.count, work);
        });
  }

  // The gradients of offsets and masks, from the products of the columns' gradients and the cells.
  void differentiate(const Block& block, const real_t* products, const Gradients<real_t>& gradients) const {
    torch::stable::parallel_for(0, sizes_.offset_groups * taps_, per_task(8 * narrow_.size() * block.count),
        [&](int64_t begin, int64_t end) {
          for (int64_t map = begin; map < end; ++map) {
            differentiate_tap(block, map / taps_, map % taps_, products, gradients);
          }
        });
  }

  void differentiate_tap(const Block& block, int64_t offset_group, int64_t tap, const real_t* products,
      const Gradients<real_t>& gradients) const {
    const int64_t per_slice = block.count * taps_, channels = sizes_.offset_channels();
    const int64_t first_slice = slice_from(offset_group * channels), last_slice = slice_from((offset_group + 1) * channels);
    const int64_t map = first_of_map(block, offset_group, tap) + block.first;
    real_t* const down = gradients.offset + 2 * map - block.first;
    for (int64_t i = 0; i < block.count; ++i) {
      const int64_t at = i * taps_ + tap;
      std::array<real_t, 4> sums{};
      for (int64_t slice = first_slice; slice < last_slice; ++slice) {
        for (int corner = 0; corner < 4; ++corner) {
          sums[corner] += products[4 * (slice * per_slice + at) + corner];
        }
      }
      const Slopes<real_t> slopes = differentiate_sample(samples_.data()[offset_group * per_slice + at], sums, outside());
      down[i] = slopes.down;
      down[sizes_.positions() + i] = slopes.right;
      if (gradients.mask) {
        gradients.mask[map + i] = slopes.mask;
      }
    }
  }

  // Which of the narrow slices is the first that begins there or beyond.
  int64_t slice_from(int64_t channel) const {
    const auto before = [](const Slice& slice, int64_t channel) { return slice.first < channel; };
    return std::lower_bound(narrow_.begin(), narrow_.end(), channel, before) - narrow_.begin();
  }

  int32_t outside() const { return static_cast<int32_t>(sizes_.cells()); }

  const TapSample<real_t>* samples(const Block& block, const Slice& slice) const {
    return samples_.data() + slice.offset_group * block.count * taps_;
  }
  Channels<real_t> channels(const Slice& slice) const {
    return {cells_.data() + slice.first, sizes_.channels, slice.count};
  }
  real_t* column(const Block& block, const Slice& slice, int64_t sample) const {
    const int64_t channels = sizes_.group_channels();
    return columns_.data() + (slice.group * block.count * taps_ + sample) * channels + slice.first % channels;
  }
  Tensor weight(int64_t group) const {
    const int64_t outputs = sizes_.group_outputs();
    return matrix(weight_ + group * outputs * row_length(), outputs, row_length(), row_length(), 1);
  }
  Tensor columns(const Block& block, int64_t group, bool transposed) const {
    const real_t* const first = columns_.data() + group * block.count * row_length();
    return transposed ? matrix(first, row_length(), block.count, 1, row_length())
                      : matrix(first, block.count, row_length(), row_length(), 1);
  }
  // Those of a group's outputs.
  Tensor maps(const real_t* all, const Block& block, int64_t group, bool transposed) const {
    const int64_t outputs = sizes_.group_outputs(), positions = sizes_.positions();
    const real_t* const first = all + (block.image * sizes_.outputs + group * outputs) * positions + block.first;
    return transposed ? matrix(first, block.count, outputs, 1, positions)
                      : matrix(first, outputs, block.count, positions, 1);
  }

  ConvolutionSizes sizes_;
  int64_t taps_;
  const real_t *input_, *weight_, *offset_, *mask_;
  std::vector<Slice> whole_, narrow_;
  int64_t block_; // positions
  Buffer<real_t> cells_;
  Buffer<TapSample<real_t>> samples_;
  Buffer<real_t> columns_;
};

// (O, C / groups, kh, kw) as (O, kh * kw, C / groups).
Tensor weight_rows(const Tensor& weight) {
  const Tensor dense = torch::stable::contiguous(weight);
  const std::array<int64_t, 3> shape{weight.size(0), weight.size(1), weight.size(2) * weight.size(3)};
  return torch::stable::contiguous(torch::stable::transpose(torch::stable::view(dense, shape), 1, 2));
}

Tensor weight_of_rows(const Tensor& rows, const Tensor& like) {
  return torch::stable::view(torch::stable::contiguous(torch::stable::transpose(rows, 1, 2)), like.sizes());
}

std::optional<Tensor> dense(const std::optional<Tensor>& tensor) {
  return tensor ? std::optional<Tensor>(torch::stable::contiguous(*tensor)) : std::nullopt;
}

template <typename work_t>
void with_type(ScalarType type, const work_t& work) {
  THO_DISPATCH_V2(type, "deform_conv2d", AT_WRAP([&] { work(scalar_t()); }), AT_EXPAND(AT_FLOATING_TYPES));
}

Tensor deform_conv2d(const Tensor& input, const Tensor& weight, const Tensor& offset, const std::optional<Tensor>& mask,
    std::vector<int64_t> stride, std::vector<int64_t> padding, std::vector<int64_t> dilation) {
  const ConvolutionSizes sizes = check_convolution(input, weight, offset, mask, stride, padding, dilation);
  const Tensor maps = torch::stable::contiguous(input), rows = weight_rows(weight);
  const Tensor offsets = torch::stable::contiguous(offset);
  const std::optional<Tensor> masks = dense(mask);
  Tensor output =
      torch::stable::new_empty(maps, {sizes.images, sizes.outputs, sizes.rows.steps, sizes.columns.steps});
  if (output.numel() > 0) {
    with_type(input.scalar_type(), [&](auto real) {
      const Convolution<decltype(real)> convolution(sizes, maps, rows, offsets, masks);
      convolution.forward(output.mutable_data_ptr<decltype(real)>());
    });
  }
  return output;
}

void check_convolution_grad(const ConvolutionSizes& sizes, const Tensor& grad, const Tensor& input) {
  check_convolution_maps(sizes, grad, sizes.outputs, "grad");
  STD_TORCH_CHECK(grad.scalar_type() == input.scalar_type() && grad.device() == input.device(),
      "deform_conv2d_backward: expected grad of the input's dtype and device");
}

// Gradients of input, weight, offset and mask; those not asked for, and that of no mask, are empty.
std::tuple<Tensor, Tensor, Tensor, Tensor> deform_conv2d_backward(const Tensor& grad, const Tensor& input,
    const Tensor& weight, const Tensor& offset, const std::optional<Tensor>& mask, std::vector<int64_t> stride,
    std::vector<int64_t> padding, std::vector<int64_t> dilation, bool of_samples, bool of_weight) {
  const ConvolutionSizes sizes = check_convolution(input, weight, offset, mask, stride, padding, dilation);
  check_convolution_grad(sizes, grad, input);
  const Tensor maps = torch::stable::contiguous(input), rows = weight_rows(weight);
  const Tensor offsets = torch::stable::contiguous(offset), dense_grad = torch::stable::contiguous(grad);
  const std::optional<Tensor> masks = dense(mask);
  const auto zeros_if = [&](bool asked, const Tensor& like) {
    return asked ? torch::stable::new_zeros(like, like.sizes()) : torch::stable::new_empty(like, {0});
  };
  Tensor of_input = zeros_if(of_samples, maps), of_rows = zeros_if(of_weight, rows);
  Tensor of_offset = zeros_if(of_samples, offsets), of_mask = zeros_if(of_samples && masks, masks.value_or(offsets));
  if (grad.numel() > 0) {
    with_type(input.scalar_type(), [&](auto real) {
      using real_t = decltype(real);
      const auto data = [](Tensor& tensor, bool asked) { return asked ? tensor.mutable_data_ptr<real_t>() : nullptr; };
      const Convolution<real_t> convolution(sizes, maps, rows, offsets, masks);
      convolution.backward(dense_grad.const_data_ptr<real_t>(), {data(of_input, of_samples), data(of_rows, of_weight),
          data(of_offset, of_samples), data(of_mask, of_samples && masks)});
    });
  }
  return {of_input, of_weight ? weight_of_rows(of_rows, weight) : of_rows, of_offset, of_mask};
}

STABLE_TORCH_LIBRARY_IMPL(detassign, CPU, m) {
  m.impl("deform_conv2d", TORCH_BOX(&deform_conv2d));
  m.impl("deform_conv2d_backward", TORCH_BOX(&deform_conv2d_backward));
}

} // namespace
} // namespace detassign
