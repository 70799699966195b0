// The two kernels of ms_deform_attn, declared once for every instruction set that they are compiled for.
#pragma once

#include "../common.h"

#include <cstdint>

namespace detassign {

// The map that each point lies on, for as many queries as are located at once. One array for each field, so that a
// vector spans many points; `capacity` long, of which block * count are points and the rest fills the last vector.
template <typename acc_t>
struct Points {
  int64_t count; // points of one query
  int64_t block; // queries
  int64_t capacity;
  const acc_t* width;
  const acc_t* height;
  const int32_t* columns; // the width again
  const int32_t* rows;
  const int32_t* start; // the map's first cell
};

// The samples at those points. The kernels fill them in.
template <typename acc_t>
struct Samples {
  int32_t* cells;   // (4, capacity): top left, top right, bottom left, bottom right
  acc_t* shares;    // (4, capacity): attention weight times bilinear weight of those cells
  acc_t* products;  // (capacity, 4): gradient of the output times those cells
  acc_t* locations; // (capacity, 2), and from differentiate_points on their gradient
  acc_t* weights;   // attention weight, likewise
  acc_t* right;     // how far between the left and the right cells
  acc_t* down;
};

// What one head of one image samples, for some of its queries.
template <typename acc_t>
struct Queries {
  int64_t count;
  int64_t channels;
  const acc_t* locations; // the first query's points, as (x, y)
  const acc_t* weights;
  int64_t point_stride;  // points from one query to the next
  int64_t output_stride; // elements from one query's output to the next
};

// The cells of one head: where they lie in the tensor, or in a copy whose last cell, all zeros, is `outside`.
template <typename scalar_t>
struct Cells {
  const scalar_t* first;
  int64_t stride;
  int32_t outside;       // stands for the cells outside a map
  const scalar_t* zeros; // of the tensor, what that cell holds
};

// The cells of one head in the backward, and their gradients, which are added to. With a stride they lie in the tensors
// themselves; without, each value is followed by its gradient in a copy, whose last cell is `outside`.
template <typename acc_t>
struct CellGradients {
  const acc_t* values;
  acc_t* gradients;
  int64_t stride;
  int32_t outside;    // stands for the cells outside a map
  const acc_t* zeros; // with a stride, the value of that cell,
  acc_t* spill;       // and room for its gradient
};

// What the backward of one head reads and writes besides the samples.
template <typename scalar_t>
struct HeadGradient {
  using acc_t = accumulate_t<scalar_t>;
  const scalar_t* output; // the first query's
  acc_t* upstream;        // room for one query's
  CellGradients<acc_t> cells;
  acc_t* locations;
  acc_t* weights;
};

#define DETASSIGN_ATTENTION_KERNELS(instruction_set)                                                                   \
  namespace instruction_set {                                                                                          \
  template <typename scalar_t>                                                                                         \
  void attend(Cells<scalar_t>, Queries<accumulate_t<scalar_t>>, Points<accumulate_t<scalar_t>>,                        \
      Samples<accumulate_t<scalar_t>>, scalar_t* output);                                                              \
  template <typename scalar_t>                                                                                         \
  void differentiate(Queries<accumulate_t<scalar_t>>, Points<accumulate_t<scalar_t>>, Samples<accumulate_t<scalar_t>>, \
      HeadGradient<scalar_t>);                                                                                         \
  template <typename scalar_t>                                                                                         \
  void load_cells(                                                                                                     \
      const scalar_t* from, int64_t stride, int64_t count, int64_t channels, accumulate_t<scalar_t>* values);          \
  template <typename scalar_t>                                                                                         \
  void store_cells(                                                                                                    \
      const accumulate_t<scalar_t>* gradients, int64_t count, int64_t channels, scalar_t* to, int64_t stride);         \
  }

DETASSIGN_ATTENTION_KERNELS(portable)
DETASSIGN_ATTENTION_KERNELS(avx2)
DETASSIGN_ATTENTION_KERNELS(avx512)

#undef DETASSIGN_ATTENTION_KERNELS

} // namespace detassign
