// The schema of deform_conv2d; its kernels register themselves in cpu/.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(detassign, m) {
  m.def(
      "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor? mask, int[] stride, int[] padding, "
      "int[] dilation) -> Tensor");
  m.def(
      "deform_conv2d_backward(Tensor grad, Tensor input, Tensor weight, Tensor offset, Tensor? mask, int[] stride, "
      "int[] padding, int[] dilation, bool of_samples, bool of_weight) -> (Tensor, Tensor, Tensor, Tensor)");
}
