// The schema of sample_maps; its kernels register themselves in cpu/ and cuda/.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(detassign, m) {
  m.def("sample_maps(Tensor maps, Tensor offsets, bool clamp) -> Tensor");
  m.def("sample_maps_backward(Tensor grad, Tensor maps, Tensor offsets, bool clamp) -> (Tensor, Tensor)");
}
