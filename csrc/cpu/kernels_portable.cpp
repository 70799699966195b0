// The kernels in any processor's 16-byte vectors.
#include "deform_conv2d_kernels.h"
#include "dropout_kernels.h"
#include "ms_deform_attn_kernels.h"

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#define DETASSIGN_INSTRUCTION_SET portable
#define DETASSIGN_VECTOR_BYTES 16
#include "vectors.inl"

#include "deform_conv2d_kernels.inl"
#include "dropout_kernels.inl"
#include "ms_deform_attn_kernels.inl"
