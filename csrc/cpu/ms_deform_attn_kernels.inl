// The kernels of ms_deform_attn for DETASSIGN_INSTRUCTION_SET, on what vectors.inl has.

namespace detassign {
namespace DETASSIGN_INSTRUCTION_SET {
namespace {

constexpr int64_t line = 64; // bytes
constexpr int64_t queries_ahead = 8;

// Asks for memory that no processor foresees: from one query to the next it goes over all the other heads.
template <bool to_write, typename number_t>
inline void prefetch(const number_t* from, int64_t count) {
  for (int64_t i = 0; i < count; i += line / static_cast<int64_t>(sizeof(number_t))) {
    __builtin_prefetch(from + i, to_write);
  }
}

template <bool to_write, typename acc_t>
inline void prefetch_points(const acc_t* locations, const acc_t* weights, int64_t first, int64_t count) {
  prefetch<to_write>(locations + 2 * first, 2 * count);
  prefetch<to_write>(weights + first, count);
}

template <typename number_t>
inline void copy(const number_t* from, int64_t count, number_t* to) {
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    to[i] = from[i];
  }
}

// The points of `count` queries, side by side.
template <typename acc_t>
inline void gather_points(const Queries<acc_t>& queries, int64_t first, int64_t count, const Points<acc_t>& points,
    const Samples<acc_t>& samples) {
  for (int64_t query = 0; query < count; ++query) {
    const int64_t from = (first + query) * queries.point_stride, to = query * points.count;
    if (first + query + queries_ahead < queries.count) {
      const int64_t ahead = from + queries_ahead * queries.point_stride;
      prefetch_points<false>(queries.locations, queries.weights, ahead, points.count);
    }
    copy(queries.locations + 2 * from, 2 * points.count, samples.locations + 2 * to);
    copy(queries.weights + from, points.count, samples.weights + to);
  }
}

// Where the points of one (query, head) sample, and with which weights. What lies off the map is the cell `outside` and
// has no weight; so it is with all four cells of a point whose location is not finite.
template <typename acc_t>
inline void locate(const Points<acc_t>& points, const Samples<acc_t>& samples, const int32_t outside) {
  const int64_t capacity = points.capacity;
  const acc_t *const widths = points.width, *const heights = points.height;
  const int32_t *const columns = points.columns, *const rows = points.rows, *const starts = points.start;
  const acc_t* const locations = samples.locations;
  acc_t *const weights = samples.weights, *const rights = samples.right, *const downs = samples.down;
  int32_t *const top_left = samples.cells, *const top_right = top_left + capacity;
  int32_t *const bottom_left = top_right + capacity, *const bottom_right = bottom_left + capacity;
  acc_t *const top_left_share = samples.shares, *const top_right_share = top_left_share + capacity;
  acc_t *const bottom_left_share = top_right_share + capacity;
  acc_t *const bottom_right_share = bottom_left_share + capacity;
#pragma GCC ivdep
  for (int64_t i = 0; i < capacity; ++i) {
    const acc_t width = widths[i], height = heights[i];
    acc_t x = locations[2 * i] * width - acc_t(0.5), y = locations[2 * i + 1] * height - acc_t(0.5);
    const bool reached = (x >= acc_t(-1)) & (x < width) & (y >= acc_t(-1)) & (y < height); // false for NaN
    x = reached ? x : acc_t(0);
    y = reached ? y : acc_t(0);
    const acc_t weight = reached ? weights[i] : acc_t(0);

    int32_t left = static_cast<int32_t>(x), top = static_cast<int32_t>(y); // towards zero
    left -= static_cast<acc_t>(left) > x ? 1 : 0;                          // and so down
    top -= static_cast<acc_t>(top) > y ? 1 : 0;
    const acc_t right_part = x - static_cast<acc_t>(left), lower_part = y - static_cast<acc_t>(top);
    const acc_t lower = weight * lower_part, upper = weight - lower;

    const bool on_left = reached & (left >= 0), on_right = reached & (left + 1 < columns[i]);
    const bool on_top = top >= 0, on_bottom = top + 1 < rows[i];
    const int32_t cell = starts[i] + top * columns[i] + left;
    const int32_t below = cell + columns[i];
    top_left[i] = on_top & on_left ? cell : outside;
    top_right[i] = on_top & on_right ? cell + 1 : outside;
    bottom_left[i] = on_bottom & on_left ? below : outside;
    bottom_right[i] = on_bottom & on_right ? below + 1 : outside;
    top_left_share[i] = on_top & on_left ? upper * (1 - right_part) : acc_t(0);
    top_right_share[i] = on_top & on_right ? upper * right_part : acc_t(0);
    bottom_left_share[i] = on_bottom & on_left ? lower * (1 - right_part) : acc_t(0);
    bottom_right_share[i] = on_bottom & on_right ? lower * right_part : acc_t(0);
    weights[i] = weight;
    rights[i] = right_part;
    downs[i] = lower_part;
  }
}

template <bool in_place, typename scalar_t>
inline const scalar_t* row_of(const Cells<scalar_t>& cells, int32_t cell) {
  return in_place && cell == cells.outside ? cells.zeros : cells.first + cell * cells.stride;
}

// `blocks` vectors of channels of one query's output, whose samples begin at `first`.
template <int blocks, bool in_place, typename scalar_t, typename acc_t>
inline void attend_vectors(const Cells<scalar_t>& cells, const Points<acc_t>& points, const Samples<acc_t>& samples,
    int64_t first, int64_t channel, scalar_t* output) {
  Vector<acc_t> total[blocks] = {};
  for (int64_t i = first; i < first + points.count; ++i) {
    Vector<acc_t> sample[blocks] = {};
#pragma GCC unroll 4
    for (int corner = 0; corner < 4; ++corner) {
      const scalar_t* row = row_of<in_place>(cells, samples.cells[corner * points.capacity + i]) + channel;
      const acc_t share = samples.shares[corner * points.capacity + i];
      Vector<acc_t> cell[blocks];
      load_blocks(row, cell);
#pragma GCC unroll 8
      for (int block = 0; block < blocks; ++block) {
        sample[block] += share * cell[block];
      }
    }
#pragma GCC unroll 8
    for (int block = 0; block < blocks; ++block) {
      total[block] += sample[block];
    }
  }
  store_blocks(output + channel, total);
}

// The channels that fill no vector.
template <bool in_place, typename scalar_t, typename acc_t>
inline void attend_rest(const Cells<scalar_t>& cells, const Points<acc_t>& points, const Samples<acc_t>& samples,
    int64_t first, int64_t channel, int64_t channels, scalar_t* output) {
  acc_t total[lanes<acc_t>] = {};
  const int64_t rest = channels - channel;
  for (int64_t i = first; i < first + points.count; ++i) {
    for (int corner = 0; corner < 4; ++corner) {
      const scalar_t* row = row_of<in_place>(cells, samples.cells[corner * points.capacity + i]) + channel;
      const acc_t share = samples.shares[corner * points.capacity + i];
      for (int64_t lane = 0; lane < rest; ++lane) {
        total[lane] += share * static_cast<acc_t>(row[lane]);
      }
    }
  }
  for (int64_t lane = 0; lane < rest; ++lane) {
    output[channel + lane] = static_cast<scalar_t>(total[lane]);
  }
}

template <bool in_place, typename scalar_t, typename acc_t>
inline void attend_query(const Cells<scalar_t>& cells, const Points<acc_t>& points, const Samples<acc_t>& samples,
    int64_t first, int64_t channels, scalar_t* output) {
  constexpr int step = lanes<acc_t>;
  int64_t channel = 0;
  for (; channel + 4 * step <= channels; channel += 4 * step) {
    attend_vectors<4, in_place>(cells, points, samples, first, channel, output);
  }
  if (channel + 2 * step <= channels) {
    attend_vectors<2, in_place>(cells, points, samples, first, channel, output);
    channel += 2 * step;
  }
  if (channel + step <= channels) {
    attend_vectors<1, in_place>(cells, points, samples, first, channel, output);
    channel += step;
  }
  if (channel < channels) {
    attend_rest<in_place>(cells, points, samples, first, channel, channels, output);
  }
}

template <bool in_place, typename scalar_t, typename acc_t>
inline void attend_blocks(const Cells<scalar_t>& cells, const Queries<acc_t>& queries, const Points<acc_t>& points,
    const Samples<acc_t>& samples, scalar_t* output) {
  for (int64_t first = 0; first < queries.count; first += points.block) {
    const int64_t count = smaller(points.block, queries.count - first);
    gather_points(queries, first, count, points, samples);
    locate(points, samples, cells.outside);
    for (int64_t query = 0; query < count; ++query) {
      attend_query<in_place>(cells, points, samples, query * points.count, queries.channels,
          output + (first + query) * queries.output_stride);
    }
  }
}

template <int blocks, bool in_place, typename acc_t>
inline void scatter_query(const CellGradients<acc_t> cells, const Points<acc_t> points, const Samples<acc_t> samples,
    int64_t first, int64_t any_channels, const acc_t* upstream) {
  const int64_t channels = blocks ? blocks * lanes<acc_t> : any_channels;
  const int64_t stride = in_place ? cells.stride : 2 * channels;
  for (int64_t i = first; i < first + points.count; ++i) {
    const acc_t* values[4];
    acc_t* gradients[4];
    acc_t shares[4];
#pragma GCC unroll 4
    for (int corner = 0; corner < 4; ++corner) {
      const int32_t cell = samples.cells[corner * points.capacity + i];
      const bool off = in_place && cell == cells.outside;
      values[corner] = off ? cells.zeros : cells.values + cell * stride;
      gradients[corner] = off ? cells.spill : cells.gradients + cell * stride;
      shares[corner] = samples.shares[corner * points.capacity + i];
    }
    scatter_sample<blocks>(values, gradients, shares, upstream, channels, samples.products + 4 * i);
  }
}

// The gradients of the locations and weights in place of themselves, from the products of the output's gradient and the
// cells.
template <typename acc_t>
inline void differentiate_points(const Points<acc_t>& points, const Samples<acc_t>& samples, const int32_t outside) {
  const int64_t capacity = points.capacity;
  const int32_t* const cells = samples.cells;
  const acc_t *const widths = points.width, *const heights = points.height, *const products = samples.products;
  const acc_t *const rights = samples.right, *const downs = samples.down;
  acc_t *const locations = samples.locations, *const weights = samples.weights;
#pragma GCC ivdep
  for (int64_t i = 0; i < capacity; ++i) {
    const acc_t top_left = products[4 * i], top_right = products[4 * i + 1];
    const acc_t bottom_left = products[4 * i + 2], bottom_right = products[4 * i + 3];
    const acc_t right = rights[i], down = downs[i], weight = weights[i];
    const acc_t top = (1 - right) * top_left + right * top_right;
    const acc_t bottom = (1 - right) * bottom_left + right * bottom_right;
    const acc_t left_to_right = (1 - down) * (top_right - top_left) + down * (bottom_right - bottom_left);
    weights[i] = (1 - down) * top + down * bottom;
    locations[2 * i] = weight * widths[i] * left_to_right;
    locations[2 * i + 1] = weight * heights[i] * (bottom - top);
  }
  // In a loop of its own, without which the one above would be a branch at every point.
#pragma GCC ivdep
  for (int64_t i = 0; i < capacity; ++i) {
    const int32_t upper_cells = (cells[i] ^ outside) | (cells[capacity + i] ^ outside);
    const int32_t lower_cells = (cells[2 * capacity + i] ^ outside) | (cells[3 * capacity + i] ^ outside);
    const bool reached = (upper_cells | lower_cells) != 0;
    weights[i] = reached ? weights[i] : acc_t(0); // not even an infinite one passes
    locations[2 * i] = reached ? locations[2 * i] : acc_t(0);
    locations[2 * i + 1] = reached ? locations[2 * i + 1] : acc_t(0);
  }
}

// What differentiate_points left, where the tensors have it.
template <typename acc_t>
inline void scatter_points(const Samples<acc_t>& samples, const Points<acc_t>& points, int64_t first, int64_t count,
    int64_t point_stride, acc_t* locations, acc_t* weights) {
  for (int64_t query = 0; query < count; ++query) {
    const int64_t to = (first + query) * point_stride, from = query * points.count;
    copy(samples.locations + 2 * from, 2 * points.count, locations + 2 * to);
    copy(samples.weights + from, points.count, weights + to);
  }
}

template <typename from_t, typename to_t>
inline void convert(const from_t* from, int64_t count, to_t* to) {
  constexpr int step = DETASSIGN_VECTOR_BYTES / (sizeof(from_t) > sizeof(to_t) ? sizeof(from_t) : sizeof(to_t));
  int64_t i = 0;
  for (; i + step <= count; i += step) {
    store(to + i, load(from + i));
  }
  for (; i < count; ++i) {
    to[i] = static_cast<to_t>(from[i]);
  }
}

template <typename scalar_t>
inline const accumulate_t<scalar_t>* widened(const scalar_t* from, int64_t count, accumulate_t<scalar_t>* room) {
  if constexpr (sizeof(scalar_t) == sizeof(*room)) {
    return from;
  } else {
    convert(from, count, room);
    return room;
  }
}

template <int blocks, bool in_place, typename scalar_t, typename acc_t>
inline void differentiate_queries(const Queries<acc_t>& queries, const Points<acc_t>& points,
    const Samples<acc_t>& samples, const HeadGradient<scalar_t>& gradient) {
  const CellGradients<acc_t>& cells = gradient.cells;
  for (int64_t first = 0; first < queries.count; first += points.block) {
    const int64_t count = smaller(points.block, queries.count - first);
    gather_points(queries, first, count, points, samples);
    locate(points, samples, cells.outside);
    for (int64_t query = 0; query < count; ++query) {
      const scalar_t* output = gradient.output + (first + query) * queries.output_stride;
      if (first + query + queries_ahead < queries.count) {
        prefetch<false>(output + queries_ahead * queries.output_stride, queries.channels);
      }
      const int64_t gradients = (first + query) * queries.point_stride;
      prefetch_points<true>(gradient.locations, gradient.weights, gradients, points.count);
      const acc_t* upstream = widened(output, queries.channels, gradient.upstream);
      scatter_query<blocks, in_place>(cells, points, samples, query * points.count, queries.channels, upstream);
    }
    differentiate_points(points, samples, cells.outside);
    scatter_points(samples, points, first, count, queries.point_stride, gradient.locations, gradient.weights);
  }
}

template <int blocks, typename scalar_t, typename acc_t>
inline void differentiate_cells(const Queries<acc_t>& queries, const Points<acc_t>& points,
    const Samples<acc_t>& samples, const HeadGradient<scalar_t>& gradient) {
  if (gradient.cells.stride) {
    differentiate_queries<blocks, true>(queries, points, samples, gradient);
  } else {
    differentiate_queries<blocks, false>(queries, points, samples, gradient);
  }
}

} // namespace

template <typename scalar_t>
void attend(Cells<scalar_t> cells, Queries<accumulate_t<scalar_t>> queries, Points<accumulate_t<scalar_t>> points,
    Samples<accumulate_t<scalar_t>> samples, scalar_t* output) {
  if (cells.zeros) {
    attend_blocks<true>(cells, queries, points, samples, output);
  } else {
    attend_blocks<false>(cells, queries, points, samples, output);
  }
}

template <typename scalar_t>
void differentiate(Queries<accumulate_t<scalar_t>> queries, Points<accumulate_t<scalar_t>> points,
    Samples<accumulate_t<scalar_t>> samples, HeadGradient<scalar_t> gradient) {
  constexpr int step = lanes<accumulate_t<scalar_t>>;
  if (queries.channels == 4 * step) {
    differentiate_cells<4>(queries, points, samples, gradient);
  } else if (queries.channels == 2 * step) {
    differentiate_cells<2>(queries, points, samples, gradient);
  } else if (queries.channels == step) {
    differentiate_cells<1>(queries, points, samples, gradient);
  } else {
    differentiate_cells<0>(queries, points, samples, gradient);
  }
}

// Cells of a value, each followed by as many zeros.
template <typename scalar_t>
void load_cells(const scalar_t* from, int64_t stride, int64_t count, int64_t channels, accumulate_t<scalar_t>* values) {
  for (int64_t cell = 0; cell < count; ++cell, from += stride, values += 2 * channels) {
    convert(from, channels, values);
    for (int64_t channel = channels; channel < 2 * channels; ++channel) {
      values[channel] = 0;
    }
  }
}

// The second halves of such cells.
template <typename scalar_t>
void store_cells(
    const accumulate_t<scalar_t>* gradients, int64_t count, int64_t channels, scalar_t* to, int64_t stride) {
  for (int64_t cell = 0; cell < count; ++cell, gradients += 2 * channels, to += stride) {
    convert(gradients + channels, channels, to);
  }
}

#define DETASSIGN_INSTANTIATE(scalar_t)                                                                               \
  template void attend<scalar_t>(Cells<scalar_t>, Queries<accumulate_t<scalar_t>>, Points<accumulate_t<scalar_t>>,    \
      Samples<accumulate_t<scalar_t>>, scalar_t*);                                                                    \
  template void differentiate<scalar_t>(Queries<accumulate_t<scalar_t>>, Points<accumulate_t<scalar_t>>,              \
      Samples<accumulate_t<scalar_t>>, HeadGradient<scalar_t>);                                                       \
  template void load_cells<scalar_t>(const scalar_t*, int64_t, int64_t, int64_t, accumulate_t<scalar_t>*);            \
  template void store_cells<scalar_t>(const accumulate_t<scalar_t>*, int64_t, int64_t, scalar_t*, int64_t);

DETASSIGN_INSTANTIATE(double)
DETASSIGN_INSTANTIATE(float)
DETASSIGN_INSTANTIATE(c10::Half)
DETASSIGN_INSTANTIATE(c10::BFloat16)

} // namespace DETASSIGN_INSTRUCTION_SET
} // namespace detassign
