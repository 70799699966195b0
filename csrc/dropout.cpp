// The schema of dropout; its kernel registers itself in cpu/.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(detassign, m) {
  m.def("dropout(Tensor x, int dropped, int seed) -> Tensor");
}
