"""Detection heads: convolutions and queries that turn features into predictions, under any assigner."""

from ..compat import install as _install

_install()  # mmcv.cnn works without its extension; mmcv.ops needs it before the first import

from .branch_towers import BRANCH_TOWERS  # noqa: E402
from .dense import DenseHead  # noqa: E402
from .postprocess import Detections, PostProcess  # noqa: E402
from .query import QueryHead  # noqa: E402
from .refinement import BoxRefinement  # noqa: E402
from .task_aligned import TaskAlignedTower  # noqa: E402

__all__ = ["BRANCH_TOWERS", "BoxRefinement", "DenseHead", "Detections", "PostProcess", "QueryHead", "TaskAlignedTower"]
