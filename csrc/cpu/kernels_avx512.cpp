// The kernels in AVX-512.
#if defined(__x86_64__)
#include "deform_conv2d_kernels.h"
#include "dropout_kernels.h"
#include "ms_deform_attn_kernels.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <immintrin.h>

// After the headers, so that nothing of theirs is compiled for processors that not every user has.
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")

#define DETASSIGN_INSTRUCTION_SET avx512
#define DETASSIGN_VECTOR_BYTES 64
#include "vectors.inl"

#include "deform_conv2d_kernels.inl"
#include "dropout_kernels.inl"
#include "ms_deform_attn_kernels.inl"
#endif
