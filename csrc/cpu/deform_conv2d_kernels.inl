// The kernels of deform_conv2d for DETASSIGN_INSTRUCTION_SET, on what vectors.inl has.

namespace detassign {
namespace DETASSIGN_INSTRUCTION_SET {
namespace {

template <typename real_t>
inline void sample_column(
    const real_t* const (&cells)[4], const real_t (&shares)[4], int64_t channels, real_t* column) {
  constexpr int step = lanes<real_t>;
  int64_t channel = 0;
  for (; channel + step <= channels; channel += step) {
    Vector<real_t> sum = shares[0] * load(cells[0] + channel);
#pragma GCC unroll 3
    for (int corner = 1; corner < 4; ++corner) {
      sum += shares[corner] * load(cells[corner] + channel);
    }
    store(column + channel, sum);
  }
  for (; channel < channels; ++channel) {
    column[channel] = shares[0] * cells[0][channel] + shares[1] * cells[1][channel] + shares[2] * cells[2][channel] +
        shares[3] * cells[3][channel];
  }
}

template <int blocks, typename real_t>
inline void scatter_channels(const TapSample<real_t>* samples, int64_t count, const Channels<real_t>& channels,
    const real_t* grad_columns, int64_t column_stride, real_t* grad_cells, real_t* products) {
  for (int64_t i = 0; i < count; ++i) {
    const real_t* values[4];
    real_t* gradients[4];
#pragma GCC unroll 4
    for (int corner = 0; corner < 4; ++corner) {
      const int64_t at = samples[i].cells[corner] * channels.stride;
      values[corner] = channels.first + at;
      gradients[corner] = grad_cells + at;
    }
    scatter_sample<blocks>(values, gradients, samples[i].shares, grad_columns + i * column_stride, channels.count,
        products + 4 * i);
  }
}

} // namespace

template <typename real_t>
void sample_columns(const TapSample<real_t>* samples, int64_t count, Channels<real_t> channels, real_t* columns,
    int64_t column_stride) {
  for (int64_t i = 0; i < count; ++i) {
    const real_t* cells[4];
#pragma GCC unroll 4
    for (int corner = 0; corner < 4; ++corner) {
      cells[corner] = channels.first + samples[i].cells[corner] * channels.stride;
    }
    sample_column(cells, samples[i].shares, channels.count, columns + i * column_stride);
  }
}

template <typename real_t>
void scatter_columns(const TapSample<real_t>* samples, int64_t count, Channels<real_t> channels,
    const real_t* grad_columns, int64_t column_stride, real_t* grad_cells, real_t* products) {
  constexpr int step = lanes<real_t>;
  const auto scatter = channels.count == 8 * step ? &scatter_channels<8, real_t>
      : channels.count == 4 * step                ? &scatter_channels<4, real_t>
                                                  : &scatter_channels<0, real_t>;
  scatter(samples, count, channels, grad_columns, column_stride, grad_cells, products);
}

#define DETASSIGN_INSTANTIATE(real_t)                                                                                  \
  template void sample_columns<real_t>(const TapSample<real_t>*, int64_t, Channels<real_t>, real_t*, int64_t);         \
  template void scatter_columns<real_t>(                                                                               \
      const TapSample<real_t>*, int64_t, Channels<real_t>, const real_t*, int64_t, real_t*, real_t*);

DETASSIGN_INSTANTIATE(double)
DETASSIGN_INSTANTIATE(float)

#undef DETASSIGN_INSTANTIATE

} // namespace DETASSIGN_INSTRUCTION_SET
} // namespace detassign
