// The CUDA kernels of ms_deform_attn. A group of a block's threads takes one query of one head, a thread for every vector
// of channels, so that it reads the row of a cell at once. Where the samples lie is worked out once for the whole group,
// in shared memory. The gradients of a location and of its weight have one writer each; only to the value's gradient do
// several blocks add.
//
// Of CUDA this needs the built-in names alone, for which tests/support/cuda_on_host.h has stand-ins.
#pragma once

#include "../ms_deform_attn.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace detassign {
namespace {

constexpr int vector_bytes = 16; // the most that a thread reads at once
constexpr int warp_lanes = 32;
constexpr int most_threads = 256;
constexpr int few_threads = 64;            // of a block, where larger ones would leave much of the device idle:
constexpr int64_t filled_device = 1 << 18; // about as many threads run at once on the largest devices
constexpr int shared_budget = 40 * 1024;   // bytes of a block's samples; every device grants 48 KiB

// The tensors of one call, contiguous.
template <typename scalar_t>
struct Attention {
  using acc_t = accumulate_t<scalar_t>;
  AttentionSizes sizes;
  const scalar_t* value;
  const int64_t* spatial_shapes;
  const int64_t* level_start_index;
  const acc_t* locations;
  const acc_t* weights;

  C10_HOST_DEVICE int points() const { return static_cast<int>(sizes.levels * sizes.points); } // of a query
  C10_HOST_DEVICE int cell_stride() const { return static_cast<int>(sizes.heads * sizes.channels); }
  C10_HOST_DEVICE int64_t first_cell(int64_t image, int64_t head) const {
    return (image * sizes.cells * sizes.heads + head) * sizes.channels;
  }
  C10_HOST_DEVICE int64_t first_point(int64_t image, int64_t query, int64_t head) const {
    return ((image * sizes.queries + query) * sizes.heads + head) * points();
  }
  C10_HOST_DEVICE int64_t first_output(int64_t image, int64_t query, int64_t head) const {
    return ((image * sizes.queries + query) * sizes.heads + head) * sizes.channels;
  }
};

// How the work is shared out among blocks and their threads.
struct Grouping {
  int lanes;       // threads of a group
  int groups;      // of a block, each with a query of its own
  int threads;     // of a block
  int tile;        // points of a query that are located at once
  int64_t parts;   // that the channels are divided in, each for a group of its own
  int64_t batches; // of `groups` queries that a head of an image has
  int64_t tasks;   // what there is to do, for a block at a time

  C10_HOST_DEVICE int stride() const { return tile + 1; } // from group to group; keeps them on different memory banks
  int samples() const { return groups * stride(); }
};

// `width` channels for a thread. In the forward a group takes no more channels than it has threads for; the backward
// sums over channels, so there one group takes them all, in several turns, and `whole` is true.
template <typename sample_t>
Grouping group_threads(const AttentionSizes& sizes, int width, bool whole) {
  const int64_t vectors = (sizes.channels + width - 1) / width;
  Grouping grouping{};
  grouping.lanes = static_cast<int>(std::clamp<int64_t>(vectors, 1, warp_lanes));
  while (whole && (grouping.lanes & (grouping.lanes - 1))) {
    ++grouping.lanes; // to a power of two, which divides a warp
  }
  grouping.parts = whole ? 1 : (vectors + grouping.lanes - 1) / grouping.lanes;
  const int64_t heads = sizes.images * sizes.heads * grouping.parts;
  grouping.threads = heads * sizes.queries * grouping.lanes < filled_device ? few_threads : most_threads;
  grouping.groups = grouping.threads / grouping.lanes;
  grouping.batches = (sizes.queries + grouping.groups - 1) / grouping.groups;
  grouping.tasks = heads * grouping.batches;
  const int64_t points = std::max<int64_t>(1, sizes.levels * sizes.points);
  const int64_t most = shared_budget / static_cast<int64_t>(sizeof(sample_t)) / grouping.groups - 1;
  const int64_t tiles = (points + most - 1) / most;
  grouping.tile = static_cast<int>((points + tiles - 1) / tiles);
  return grouping;
}

// What one block does at a time: as many queries as it has groups.
struct Task {
  int64_t image;
  int64_t head;
  int64_t part;
  int64_t first_query;

  __device__ Task(int64_t index, const Grouping& grouping, const AttentionSizes& sizes)
      : image(index / grouping.batches / grouping.parts / sizes.heads),
        head(index / grouping.batches / grouping.parts % sizes.heads),
        part(index / grouping.batches % grouping.parts),
        first_query(index % grouping.batches * grouping.groups) {}
};

// The four cells around a location, -1 where there is none, and of each attention weight times bilinear weight.
template <typename acc_t>
struct alignas(16) Sample {
  int32_t cell[4]; // top left, top right, bottom left, bottom right
  acc_t share[4];  // until the backward puts there the product of the cell and the gradient of the output

  C10_HOST_DEVICE bool reached() const { return cell[0] >= 0 || cell[1] >= 0 || cell[2] >= 0 || cell[3] >= 0; }
};

// A location on its level.
template <typename acc_t>
struct Point {
  Sample<acc_t> sample;
  acc_t weight;
  acc_t width;
  acc_t height;
  acc_t right; // how far between the left and the right cells
  acc_t down;
};

template <typename acc_t>
C10_HOST_DEVICE inline Sample<acc_t> no_sample() {
  return {{-1, -1, -1, -1}, {acc_t(0), acc_t(0), acc_t(0), acc_t(0)}};
}

// The arithmetic is that of the CPU kernels; (across, along) are fractions of the level's width and height.
template <typename acc_t>
C10_HOST_DEVICE inline Point<acc_t> locate(const Level& level, acc_t across, acc_t along, acc_t weight) {
  const acc_t width = static_cast<acc_t>(level.width), height = static_cast<acc_t>(level.height);
  const acc_t x = across * width - acc_t(0.5), y = along * height - acc_t(0.5);
  Point<acc_t> point{no_sample<acc_t>(), weight, width, height, acc_t(0), acc_t(0)};
  if (!(x >= acc_t(-1) && x < width && y >= acc_t(-1) && y < height)) { // also NaN
    return point;
  }
  const acc_t left = std::floor(x), top = std::floor(y);
  point.right = x - left;
  point.down = y - top;
  const acc_t lower = weight * point.down, upper = weight - lower;
  const acc_t shares[4] = {
      upper * (1 - point.right), upper * point.right, lower * (1 - point.right), lower * point.right};
  for (int corner = 0; corner < 4; ++corner) {
    const int64_t row = static_cast<int64_t>(top) + corner / 2, column = static_cast<int64_t>(left) + corner % 2;
    if (row >= 0 && row < level.height && column >= 0 && column < level.width) {
      point.sample.cell[corner] = static_cast<int32_t>(level.start + row * level.width + column);
      point.sample.share[corner] = shares[corner];
    }
  }
  return point;
}

// `index` counts the points of all queries, `point` those of one.
template <typename scalar_t>
__device__ Point<accumulate_t<scalar_t>> locate_point(const Attention<scalar_t>& attention, int64_t index, int point) {
  const int level = point / static_cast<int>(attention.sizes.points);
  const Level map{attention.level_start_index[level], attention.spatial_shapes[2 * level],
      attention.spatial_shapes[2 * level + 1]};
  CUDA_KERNEL_ASSERT(map.within(attention.sizes.cells) && "every level must lie within the values");
  return locate(map, attention.locations[2 * index], attention.locations[2 * index + 1], attention.weights[index]);
}

// The threads of the block call `each` on every one of `count` points of every query of the task.
template <typename scalar_t, typename each_t>
__device__ void for_each_point(
    const Attention<scalar_t>& attention, const Grouping& grouping, const Task& task, int count, const each_t& each) {
  for (int i = threadIdx.x; i < grouping.groups * count; i += blockDim.x) {
    const int group = i / count;
    each(task.first_query + group, i % count, group * grouping.stride() + i % count);
  }
}

// Puts the samples of the points [first, first + count) in shared memory.
template <typename scalar_t>
__device__ void locate_samples(const Attention<scalar_t>& attention, const Grouping& grouping, const Task& task,
    int first, int count, Sample<accumulate_t<scalar_t>>* samples) {
  for_each_point(attention, grouping, task, count, [&](int64_t query, int point, int slot) {
    if (query < attention.sizes.queries) {
      const int64_t index = attention.first_point(task.image, query, task.head) + first + point;
      samples[slot] = locate_point(attention, index, first + point).sample;
    } else {
      samples[slot] = no_sample<accumulate_t<scalar_t>>();
    }
  });
}

// `width` neighbouring elements, moved at once: their address must be a multiple of their size.
template <typename scalar_t, int width>
struct alignas(sizeof(scalar_t) * width) Pack {
  scalar_t element[width];
};

template <int width, typename scalar_t>
__device__ inline Pack<scalar_t, width> load(const scalar_t* from) {
  return *reinterpret_cast<const Pack<scalar_t, width>*>(from);
}

template <int width, typename scalar_t, typename acc_t>
__device__ inline void store(scalar_t* to, const acc_t (&values)[width]) {
  Pack<scalar_t, width> pack;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    pack.element[i] = static_cast<scalar_t>(values[i]);
  }
  *reinterpret_cast<Pack<scalar_t, width>*>(to) = pack;
}

template <int width, typename acc_t, typename scalar_t>
__device__ inline void add_scaled(acc_t (&total)[width], acc_t share, const Pack<scalar_t, width>& pack) {
#pragma unroll
  for (int i = 0; i < width; ++i) {
    total[i] += share * static_cast<acc_t>(pack.element[i]);
  }
}

template <int width, typename acc_t, typename scalar_t>
__device__ inline void add_sample(
    acc_t (&total)[width], const Sample<acc_t>& sample, const scalar_t* cells, int cell_stride) {
  Pack<scalar_t, width> packs[4] = {};
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) { // all reads before any is waited for
    if (sample.cell[corner] >= 0) {
      packs[corner] = load<width>(cells + int64_t(sample.cell[corner]) * cell_stride);
    }
  }
#pragma unroll
  for (int corner = 0; corner < 4; ++corner) {
    add_scaled(total, sample.share[corner], packs[corner]);
  }
}

template <int width, typename scalar_t>
__device__ void attend_queries(const Attention<scalar_t>& attention, const Grouping& grouping, const Task& task,
    Sample<accumulate_t<scalar_t>>* samples, scalar_t* output) {
  const auto& sizes = attention.sizes;
  const int group = threadIdx.x / grouping.lanes, lane = threadIdx.x % grouping.lanes;
  const int64_t query = task.first_query + group, channel = (task.part * grouping.lanes + lane) * width;
  const bool busy = group < grouping.groups && query < sizes.queries && channel < sizes.channels;
  const scalar_t* const cells = attention.value + attention.first_cell(task.image, task.head) + channel;
  accumulate_t<scalar_t> total[width] = {};
  for (int first = 0; first < attention.points(); first += grouping.tile) {
    const int count = min(grouping.tile, attention.points() - first);
    __syncthreads(); // all have read the samples before
    locate_samples(attention, grouping, task, first, count, samples);
    __syncthreads();
#pragma unroll 2
    for (int i = 0; i < (busy ? count : 0); ++i) {
      add_sample(total, samples[group * grouping.stride() + i], cells, attention.cell_stride());
    }
  }
  if (busy) {
    store(output + attention.first_output(task.image, query, task.head) + channel, total);
  }
}

template <int width, typename scalar_t>
__global__ void __launch_bounds__(most_threads)
    attend(const Attention<scalar_t> attention, const Grouping grouping, scalar_t* output) {
  alignas(16) extern __shared__ unsigned char shared[];
  auto* const samples = reinterpret_cast<Sample<accumulate_t<scalar_t>>*>(shared);
  for (int64_t index = blockIdx.x; index < grouping.tasks; index += gridDim.x) {
    attend_queries<width>(attention, grouping, Task(index, grouping, attention.sizes), samples, output);
  }
}

template <typename scalar_t>
struct AttentionGradient {
  using acc_t = accumulate_t<scalar_t>;
  const scalar_t* output;
  acc_t* value; // to add to; null where another kernel has it
  acc_t* locations;
  acc_t* weights;
};

// To memory that other threads add to as well; four floats lie as aligned as the values that they are gradients of.
template <int width, typename acc_t>
__device__ inline void add_shared(acc_t* to, const acc_t (&amounts)[width]) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  constexpr bool at_once = false;
#else
  constexpr bool at_once = sizeof(acc_t) == sizeof(float) && width % 4 == 0;
#endif
#pragma unroll
  for (int i = 0; i < width; i += at_once ? 4 : 1) {
    if constexpr (at_once) {
      atomicAdd(reinterpret_cast<float4*>(to + i),
          make_float4(amounts[i], amounts[i + 1], amounts[i + 2], amounts[i + 3]));
    } else {
      atomicAdd(to + i, amounts[i]);
    }
  }
}

// One cell's part in a sample: its product with the gradient of the output, and what it gets of that gradient.
template <int width, typename acc_t, typename scalar_t>
__device__ inline acc_t differentiate_cell(
    const Pack<scalar_t, width>& upstream, acc_t share, const scalar_t* cell, acc_t* gradient) {
  const auto pack = load<width>(cell);
  acc_t product = 0, amounts[width] = {};
#pragma unroll
  for (int i = 0; i < width; ++i) {
    product += static_cast<acc_t>(upstream.element[i]) * static_cast<acc_t>(pack.element[i]);
  }
  if (gradient) {
    add_scaled(amounts, share, upstream);
    add_shared(gradient, amounts);
  }
  return product;
}

// The sum over a group, in each of its threads. Every thread of the warp must come here; groups lie within one warp.
template <typename acc_t>
__device__ inline acc_t sum_of_group(acc_t value, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  return value;
}

// Puts the products in place of the shares, for the query of this thread's group; none where it is beyond the last.
template <int width, typename scalar_t>
__device__ void differentiate_samples(const Attention<scalar_t>& attention, const Grouping& grouping, const Task& task,
    int count, const AttentionGradient<scalar_t>& gradient, Sample<accumulate_t<scalar_t>>* samples) {
  using acc_t = accumulate_t<scalar_t>;
  const auto& sizes = attention.sizes;
  const int group = threadIdx.x / grouping.lanes, lane = threadIdx.x % grouping.lanes;
  const int64_t query = task.first_query + group, first_cell = attention.first_cell(task.image, task.head);
  const int64_t channels = query < sizes.queries ? sizes.channels : 0;
  const scalar_t* const upstream = gradient.output + attention.first_output(task.image, query, task.head);
  for (int i = 0; i < count; ++i) {
    Sample<acc_t>& shared = samples[group * grouping.stride() + i];
    const Sample<acc_t> sample = shared;
    acc_t products[4] = {};
    for (int64_t channel = lane * width; channel < channels; channel += grouping.lanes * width) {
      const auto part = load<width>(upstream + channel);
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        if (sample.cell[corner] >= 0) {
          const int64_t cell = first_cell + int64_t(sample.cell[corner]) * attention.cell_stride() + channel;
          products[corner] += differentiate_cell(
              part, sample.share[corner], attention.value + cell, gradient.value ? gradient.value + cell : nullptr);
        }
      }
    }
#pragma unroll
    for (int corner = 0; corner < 4; ++corner) {
      products[corner] = sum_of_group(products[corner], grouping.lanes);
    }
    __syncwarp(); // all of the group have read their sample
    if (lane == 0) {
#pragma unroll
      for (int corner = 0; corner < 4; ++corner) {
        shared.share[corner] = products[corner];
      }
    }
  }
}

// The gradients of a location and its weight, from the products of the cells and the gradient of the output.
template <typename acc_t>
C10_HOST_DEVICE inline void differentiate_point(
    const Point<acc_t>& point, const acc_t (&products)[4], acc_t* grad_location, acc_t* grad_weight) {
  const acc_t top = (1 - point.right) * products[0] + point.right * products[1];
  const acc_t bottom = (1 - point.right) * products[2] + point.right * products[3];
  const acc_t left_to_right =
      (1 - point.down) * (products[1] - products[0]) + point.down * (products[3] - products[2]);
  const bool reached = point.sample.reached(); // else not even an infinite weight makes a gradient
  grad_location[0] = reached ? point.weight * point.width * left_to_right : acc_t(0);
  grad_location[1] = reached ? point.weight * point.height * (bottom - top) : acc_t(0);
  *grad_weight = reached ? (1 - point.down) * top + point.down * bottom : acc_t(0);
}

template <typename scalar_t>
__device__ void differentiate_points(const Attention<scalar_t>& attention, const Grouping& grouping, const Task& task,
    int first, int count, const AttentionGradient<scalar_t>& gradient,
    const Sample<accumulate_t<scalar_t>>* samples) {
  for_each_point(attention, grouping, task, count, [&](int64_t query, int point, int slot) {
    if (query < attention.sizes.queries) {
      const int64_t index = attention.first_point(task.image, query, task.head) + first + point;
      differentiate_point(locate_point(attention, index, first + point), samples[slot].share,
          gradient.locations + 2 * index, gradient.weights + index);
    }
  });
}

template <int width, typename scalar_t>
__global__ void __launch_bounds__(most_threads)
    differentiate(const Attention<scalar_t> attention, const Grouping grouping, AttentionGradient<scalar_t> gradient) {
  alignas(16) extern __shared__ unsigned char shared[];
  auto* const samples = reinterpret_cast<Sample<accumulate_t<scalar_t>>*>(shared);
  for (int64_t index = blockIdx.x; index < grouping.tasks; index += gridDim.x) {
    const Task task(index, grouping, attention.sizes);
    for (int first = 0; first < attention.points(); first += grouping.tile) {
      const int count = min(grouping.tile, attention.points() - first);
      __syncthreads(); // all have read the products before
      locate_samples(attention, grouping, task, first, count, samples);
      __syncthreads();
      differentiate_samples<width>(attention, grouping, task, count, gradient, samples);
      __syncthreads();
      differentiate_points(attention, grouping, task, first, count, gradient, samples);
    }
  }
}

// The value's gradient in an order that does not vary: every cell has one writer, which finds the samples that reach it
// side by side, as `list_corners` and a stable sort by cell have put them. One head of one image at a time.

// Corner c of point i is entry 4 * i + c; the points are those of one head of one image, query by query.
template <typename scalar_t>
struct Corners {
  const Attention<scalar_t> attention;
  int64_t image;
  int64_t head;

  C10_HOST_DEVICE int64_t points() const { return attention.sizes.queries * attention.points(); }
  C10_HOST_DEVICE uint32_t outside() const { return static_cast<uint32_t>(attention.sizes.cells); }
  __device__ int64_t query(int64_t point) const { return point / attention.points(); }
  __device__ Sample<accumulate_t<scalar_t>> sample(int64_t point) const {
    const int within_query = static_cast<int>(point % attention.points());
    const int64_t index = attention.first_point(image, query(point), head) + within_query;
    return locate_point(attention, index, within_query).sample;
  }
};

template <typename scalar_t>
__global__ void list_corners(const Corners<scalar_t> corners, uint32_t* cells, uint32_t* entries) {
  const int64_t step = int64_t(gridDim.x) * blockDim.x;
  for (int64_t point = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; point < corners.points(); point += step) {
    const auto sample = corners.sample(point);
    for (int corner = 0; corner < 4; ++corner) {
      const int32_t cell = sample.cell[corner];
      cells[4 * point + corner] = cell >= 0 ? static_cast<uint32_t>(cell) : corners.outside();
      entries[4 * point + corner] = static_cast<uint32_t>(4 * point + corner);
    }
  }
}

// The first of `count` ascending numbers that is not below `bound`.
C10_HOST_DEVICE inline int64_t lower_bound(const uint32_t* numbers, int64_t count, uint32_t bound) {
  int64_t first = 0;
  while (count > 0) {
    const int64_t half = count / 2;
    if (numbers[first + half] < bound) {
      first += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return first;
}

// A group of `lanes` threads for each cell; `cells` and `entries` are sorted by cell.
template <int width, typename scalar_t>
__global__ void gather_gradients(const Corners<scalar_t> corners, int lanes, const scalar_t* upstream,
    const uint32_t* cells, const uint32_t* entries, scalar_t* grad_value) {
  const auto& attention = corners.attention;
  const int groups = blockDim.x / lanes, group = threadIdx.x / lanes, lane = threadIdx.x % lanes;
  const int64_t channels = group < groups ? attention.sizes.channels : 0;
  for (int64_t cell = int64_t(blockIdx.x) * groups + group; cell < attention.sizes.cells;
       cell += int64_t(gridDim.x) * groups) {
    const int64_t first = lower_bound(cells, 4 * corners.points(), static_cast<uint32_t>(cell));
    const int64_t last = lower_bound(cells, 4 * corners.points(), static_cast<uint32_t>(cell) + 1);
    const int64_t row = attention.first_cell(corners.image, corners.head) + cell * attention.cell_stride();
    for (int64_t channel = lane * width; channel < channels; channel += lanes * width) {
      accumulate_t<scalar_t> total[width] = {};
      for (int64_t i = first; i < last; ++i) {
        const int64_t point = entries[i] / 4;
        const int64_t from = attention.first_output(corners.image, corners.query(point), corners.head) + channel;
        add_scaled(total, corners.sample(point).share[entries[i] % 4], load<width>(upstream + from));
      }
      store(grad_value + row + channel, total);
    }
  }
}

} // namespace
} // namespace detassign
