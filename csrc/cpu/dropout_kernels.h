// The kernel of dropout, declared once for every instruction set that it is compiled for.
#pragma once

#include "../common.h"

#include <cstdint>

namespace detassign {

constexpr int64_t draws_per_word = 4; // numbers of 16 bits in one of 64
constexpr int64_t draw_range = 1 << 16;

// Which entries are zeroed: those whose number is below `dropped`.
struct Rule {
  uint64_t seed;
  int64_t dropped;
};

#define DETASSIGN_DROPOUT_KERNELS(instruction_set)                                                 \
  namespace instruction_set {                                                                      \
  template <typename scalar_t>                                                                     \
  void drop(const scalar_t* from, int64_t begin, int64_t end, const Rule& rule, scalar_t* to); \
  }

DETASSIGN_DROPOUT_KERNELS(portable)
DETASSIGN_DROPOUT_KERNELS(avx2)
DETASSIGN_DROPOUT_KERNELS(avx512)

#undef DETASSIGN_DROPOUT_KERNELS

} // namespace detassign
