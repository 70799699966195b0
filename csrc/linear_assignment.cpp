// The schema of linear_assignment; its kernel registers itself in cpu/.
#include <torch/csrc/stable/library.h>

STABLE_TORCH_LIBRARY_FRAGMENT(detassign, m) {
  m.def(
      "linear_assignment(Tensor cost, Tensor rows, Tensor columns) -> (Tensor row, Tensor column, Tensor not_finite)");
}
