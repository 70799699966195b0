// The kernels in AVX2.
#if defined(__x86_64__)
#include "deform_conv2d_kernels.h"
#include "dropout_kernels.h"
#include "ms_deform_attn_kernels.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <immintrin.h>

// After the headers, so that nothing of theirs is compiled for processors that not every user has.
#pragma GCC target("avx2,fma,f16c")

#define DETASSIGN_INSTRUCTION_SET avx2
#define DETASSIGN_VECTOR_BYTES 32
#include "vectors.inl"

#include "deform_conv2d_kernels.inl"
#include "dropout_kernels.inl"
#include "ms_deform_attn_kernels.inl"
#endif
