// The kernels of deform_conv2d, declared once for every instruction set that they are compiled for.
#pragma once

#include <cstdint>

namespace detassign {

// What one tap reads at one position: four cells, top left, top right, bottom left and bottom right, and the mask times
// the bilinear weight of each. Cells off the map are the one after its last, which is zero.
template <typename real_t>
struct TapSample {
  int32_t cells[4];
  real_t shares[4];
  real_t right; // how far between the left and the right cells
  real_t down;
  real_t mask;
};

// Some channels of an image, cell by cell.
template <typename real_t>
struct Channels {
  const real_t* first;
  int64_t stride; // from one cell to the next
  int64_t count;
};

#define DETASSIGN_CONVOLUTION_KERNELS(instruction_set)                                                                 \
  namespace instruction_set {                                                                                          \
  /* The samples of the channels, `column_stride` apart. */                                                            \
  template <typename real_t>                                                                                           \
  void sample_columns(const TapSample<real_t>* samples, int64_t count, Channels<real_t> channels, real_t* columns,     \
      int64_t column_stride);                                                                                          \
  /* Adds to the gradients of the cells, laid out as the channels; products (count, 4) of gradients and cells. */      \
  template <typename real_t>                                                                                           \
  void scatter_columns(const TapSample<real_t>* samples, int64_t count, Channels<real_t> channels,                     \
      const real_t* grad_columns, int64_t column_stride, real_t* grad_cells, real_t* products);                        \
  }

DETASSIGN_CONVOLUTION_KERNELS(portable)
DETASSIGN_CONVOLUTION_KERNELS(avx2)
DETASSIGN_CONVOLUTION_KERNELS(avx512)

#undef DETASSIGN_CONVOLUTION_KERNELS

} // namespace detassign
