"""One generated picture: textured background, distractors, objects told apart by outline alone.

Objects lie in depth order, later ones in front. An object of which too little stays visible is left out of the scene
altogether, so every shape of a class that can be seen has its box. Boxes are amodal as to occlusion (the part hidden
behind another object counts) and tight around the part inside the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .layout import keep_visible, place_distractor, place_objects
from .painting import expose, paint, paint_background
from .style import SceneStyle

__all__ = ["Scene", "draw_scene"]


@dataclass(frozen=True)
class Scene:
    """A picture and its M objects, back to front."""

    image: np.ndarray  # (size, size, 3) uint8 RGB
    boxes: np.ndarray  # (M, 4) xyxy, pixels
    labels: np.ndarray  # (M,) index into CLASSES
    visible: np.ndarray  # (M,) visible share of the whole outline


def draw_scene(rng: np.random.Generator, size: int, style: SceneStyle, *, allow_empty: bool = True) -> Scene:
    """Draw one scene of `size` x `size` pixels; the same generator state gives the same scene.

    `allow_empty=False` gives a scene with at least one object, whatever `style.empty_share` says.

    >>> scene = draw_scene(np.random.default_rng(0), 96, SceneStyle(), allow_empty=False)
    >>> scene.image.shape, scene.boxes.shape[1], len(scene.labels) == len(scene.boxes)
    ((96, 96, 3), 4, True)
    """
    objects, visible = keep_visible(place_objects(rng, size, style, allow_empty), style.least_visible)
    behind = [place_distractor(rng, size) for _ in range(rng.poisson(style.distractors))]
    overlays = rng.integers(1, 4) if rng.random() < style.overlay_share else 0
    in_front = [place_distractor(rng, size, thin=True) for _ in range(overlays)]
    saturation = max(0.0, rng.uniform(-0.15, 1.0))  # one scene in eight is grey
    canvas = paint_background(rng, size, saturation)
    for placed in filter(None, [*behind, *objects, *in_front]):
        paint(canvas, placed.mask, placed.paint_seed, saturation, style)
    return Scene(
        image=expose(rng, canvas, style.noise),
        boxes=np.array([placed.box for placed in objects]).reshape(-1, 4),
        labels=np.array([placed.label for placed in objects], int),
        visible=visible,
    )
