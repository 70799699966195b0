"""`--outputs`: what every output of a query detector's training learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...evidence.inspection.outputs import OutputInspection
    from ...evidence.inspection.scene import Scene


def inspections_of(
    specs: Sequence[Any] | None, config: Mapping[str, Any], checkpoint: Path, scene: Scene, seed: int
) -> list[OutputInspection]:
    """The run's outputs under its own assigners; noise of denoising is drawn from the seed."""
    from ...evidence.inspection.outputs import inspect_outputs
    from ..scenes import load_model, predict_scene_in_training

    if specs:
        raise ValueError("--assigners: outputs are shown under the run's own; leave it out, or --outputs")
    torch.manual_seed(seed)
    model = load_model(config, checkpoint)
    return inspect_outputs(model.bbox_head, predict_scene_in_training(model, scene), scene.targets)


def draw(scene: Scene, inspections: Sequence[OutputInspection], subtitle: str) -> Figure:
    """The picture."""
    from ...evidence.drawing.outputs import draw

    return draw(scene, inspections, subtitle)
