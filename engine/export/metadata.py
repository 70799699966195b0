"""What an exported file says of itself: classes, how a picture is brought in, what comes out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...data.files import json_text

KEY = "detassign"  # of ONNX's metadata; the other formats hold a file of this name
VERSION = 1
LONGEST = 10_000_000  # characters
SIDE = 20_000  # most pixels of a side
# of a side that is free: with less, maps of stride 128 have a single cell, which a trace takes for fixed
LEAST = 160
AXES = ("batch", "height", "width")
OUTPUTS = ("boxes", "scores", "labels", "count")  # of detections; the first two without post-processing


@dataclass(frozen=True)
class Metadata:
    """Of an exported file.

    Attributes:
        model: name of the detector's config.
        classes: names, by label.
        batch, height, width: of the images that it takes; None where any will do.
        scale: longer and shorter side that a picture is resized to, or width and height without `keep_ratio`, pixels.
        keep_ratio: whether the picture keeps its ratio.
        multiple: sides that are free are padded to multiples of it, and to 160 at least.
        channels: their order, "RGB" or "BGR".
        mean, std: of the channels, 0 to 255, that pixels are normalised by.
        outputs: their names, in order.
        score: at or below it nothing is detected; None without post-processing.
        most: detections of an image; None without post-processing.
        half: whether layers compute in float16.
        checkpoint: SHA-256 of the file that the weights are from.
        version: of this form.
    """

    model: str
    classes: tuple[str, ...]
    batch: int | None
    height: int | None
    width: int | None
    scale: tuple[int, int]
    keep_ratio: bool
    multiple: int
    channels: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    outputs: tuple[str, ...]
    score: float | None
    most: int | None
    half: bool
    checkpoint: str
    version: int = VERSION

    @property
    def free(self) -> tuple[str, ...]:
        """Names of the axes that may be of any size."""
        return tuple(axis for axis in AXES if getattr(self, axis) is None)

    def text(self) -> str:
        """As JSON, which is how a file holds it."""
        return json_text(asdict(self))


def parse(text: Any, name: object) -> Metadata:
    """What a file says of itself.

    Raises:
        ValueError: naming the file, when `text` is nothing that `detassign export` wrote.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ValueError(
            f"{name}: no file of 'detassign export' (it does not say which classes it has and how a picture is brought in)"
        )
    try:
        found = json.loads(text)
        if found.get("version") != VERSION:
            raise ValueError(f"it is of version {found.get('version')}, this detassign reads {VERSION}")
        given = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
        metadata = Metadata(**given)
        _check(metadata)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{name}: its metadata cannot be used ({error}); export it again") from None
    return metadata


def _check(metadata: Metadata) -> None:
    """Raise ValueError for values that no export writes: the file may come from anywhere."""
    numbers = [*metadata.scale, *metadata.mean, *metadata.std, metadata.multiple]
    sound = {
        "classes": isinstance(metadata.classes, tuple) and all(isinstance(name, str) for name in metadata.classes),
        "numbers": all(isinstance(one, int | float) and math.isfinite(one) for one in numbers),
        "channels": metadata.channels in ("RGB", "BGR") and len(metadata.mean) == len(metadata.std) == 3,
        "std": all(metadata.std),
        "scale": len(metadata.scale) == 2 and all(1 <= side <= SIDE for side in (*metadata.scale, metadata.multiple)),
        "outputs": metadata.outputs == (OUTPUTS[:2] if metadata.most is None else OUTPUTS),
        "most": metadata.most is None or (type(metadata.most) is int and metadata.most >= 1),
    }
    for axis, most in {"batch": 4096, "height": SIDE, "width": SIDE}.items():
        size = getattr(metadata, axis)
        sound[axis] = size is None or (type(size) is int and 1 <= size <= most)
    wrong = [name for name, holds in sound.items() if not holds]
    if wrong:
        raise ValueError(f"its {wrong[0]} cannot be right")


def of_preprocessor(preprocessor: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """How a picture is brought in, from the model's preprocessor and the config's input."""
    turned = preprocessor.bgr_to_rgb
    known = hasattr(preprocessor, "mean")
    return {
        "scale": tuple(settings["scale"]),
        "keep_ratio": bool(settings["keep_ratio"]),
        "multiple": preprocessor.pad_size_divisor,
        "channels": "RGB" if turned else "BGR",
        "mean": tuple(preprocessor.mean.flatten().tolist()) if known else (0.0, 0.0, 0.0),
        "std": tuple(preprocessor.std.flatten().tolist()) if known else (1.0, 1.0, 1.0),
    }
