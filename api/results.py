"""What a model finds in a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from torch import Tensor

from detassign.engine.detected import Detected
from detassign.engine.files import write_whole
from detassign.evidence.drawing.detections import draw_detections
from detassign.heads import Detections

if TYPE_CHECKING:
    import supervision  # pyright: ignore[reportMissingImports]

__all__ = ["Result"]

SHOWN = 3  # detections that a result names when it is printed


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The K detections of one picture, on the CPU, scores falling.

    Attributes:
        boxes: (K, 4) xyxy, in pixels of the picture.
        scores: (K,) in [0, 1].
        labels: (K,) whole numbers into `classes`.
        classes: names of all classes that the model knows.
        category_ids: of the same classes, in the annotations that it was trained on.
        size: height and width of the picture.
        path: of its file, where it was one.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    size: tuple[int, int]
    path: Path | None
    _pixels: Callable[[], np.ndarray] = field(repr=False)

    @property
    def names(self) -> list[str]:
        """The class name of each detection."""
        return [self.classes[label] for label in self.labels.tolist()]

    @property
    def image(self) -> np.ndarray:
        """The picture (H, W, 3) uint8, RGB; of a file, read again."""
        return self._pixels()

    def to_coco(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO's result entries: image_id, category_id, bbox (x, y, width, height) and score."""
        found = {"bboxes": self.boxes, "scores": self.scores, "labels": self.labels}
        return Detected.in_image(image_id, found).entries(self.category_ids)

    def to_supervision(self) -> supervision.Detections:
        """The same for Roboflow's `supervision`, names under `data["class_name"]`.

        Raises:
            ModuleNotFoundError: where that package is not installed.
        """
        try:
            import supervision  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            if error.name != "supervision":
                raise
            sentence = "to_supervision: the package supervision is not installed: pip install supervision"
            raise ModuleNotFoundError(sentence, name="supervision") from None
        names = {"class_name": np.array(self.names, dtype=str)}
        return supervision.Detections(
            xyxy=self.boxes.numpy(), confidence=self.scores.numpy(), class_id=self.labels.numpy(), data=names
        )

    def plot(self) -> Image.Image:
        """The picture with its detections drawn, a small one enlarged a whole number of times."""
        found = Detections(self.boxes, self.scores, self.labels)
        return draw_detections(self.image[..., ::-1], found, self.classes)

    def save(self, path: str | Path) -> Path:
        """Write what `plot` draws, in the format that the name ends in.

        Raises:
            ValueError, OSError: for a format that Pillow does not write, and a folder that is not there.
        """
        path = Path(path)
        form = Image.registered_extensions().get(path.suffix.lower())
        if form not in Image.SAVE:
            raise ValueError(f"{path}: expected a name that ends in .png, .jpg or another picture's")
        write_whole(lambda aside: self.plot().save(aside, format=form), path)
        return path

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.size
        each = [f"{name} {score:.2f}" for name, score in zip(self.names[:SHOWN], self.scores.tolist(), strict=False)]
        more = [f"{len(self) - SHOWN} more"] if len(self) > SHOWN else []
        return f"Result({len(self)} detections in {width} x {height}: {', '.join([*each, *more]) or 'none'})"
