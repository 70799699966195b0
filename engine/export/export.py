"""From a checkpoint to a file: traced, described, read back and compared before it gets its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..build import Detector, build_model, load_checkpoint
from ..config import source_of
from ..files import naming, sha256_of
from ..runner import calm
from ..trust import remember
from .check import Agreement, agreement, in_batches, of_file, of_source
from .formats import format_named
from .metadata import AXES, Metadata, of_preprocessor
from .network import DETECTIONS, RAW, Network
from .padded import PaddedPostProcess
from .pictures import Placed, place
from .tracing import freest, in_format

BATCHES = (1, 4)  # that a file of free batch is checked with
TRACED = (2, 192, 224)  # images, height and width of the example where they are free; no map of it has a single cell
FARTHEST = 0.05  # pixels, and
LOWEST = 1e-3  # of a score: a file that differs by more from its source, and is not half, is not kept


@dataclass(frozen=True)
class Wish:
    """What is asked of a file.

    Attributes:
        format: a name of `FORMATS`.
        size: width and height of its images; None takes the square that holds every picture as evaluation resizes it.
        batch: images that it takes at a time; None lets that be free.
        dynamic: let batch, height and width be free. Of what is to be free is as much as the model and the format can.
        half: layers compute in float16.
        raw: no post-processing.
        score: detections at or below it are left out; None keeps the model's threshold.
        limit: at most so many detections of an image; None keeps the model's.
    """

    format: str = "onnx"
    size: tuple[int, int] | None = None
    batch: int | None = 1
    dynamic: bool = False
    half: bool = False
    raw: bool = False
    score: float | None = None
    limit: int | None = None

    @property
    def free(self) -> tuple[str, ...]:
        """The axes that are to be free."""
        if self.dynamic:
            return AXES
        return AXES[:1] if self.batch is None else ()


def export(
    config: Mapping[str, Any], checkpoint: Path, path: Path, wish: Wish, pictures: Sequence[np.ndarray] = ()
) -> tuple[Metadata, Agreement | None]:
    """Write a file; with pictures (H, W, 3) uint8 in BGR it is compared with the model on these first.

    Args:
        config: resolved; its data set need not be there.
        checkpoint: of this very model.
        path: of the file, which is replaced whole.
        wish: what is asked of it.
        pictures: to compare on.

    Returns:
        What the file says of itself, and how far it is from the model; None without pictures.

    Raises:
        ValueError, OSError: for a checkpoint of another model, a model that the format cannot hold, and a file that is
            further from its source than rounding explains, unless it is half.
    """
    form = format_named(wish.format)
    model = load(config, checkpoint, wish)
    about = described(config, checkpoint, model, wish)
    if pictures:
        check_findings(model, about, pictures, wish)
    aside = path.with_name(f"{path.stem}.part{path.suffix}")
    try:
        with calm(), naming(path):
            network = Network(copy.deepcopy(model), post_process(model, wish), wish.half)
            traced, free = freest(wish.free, lambda free: form.trace(network, example(about, free), free))
            about = replace(about, **dict.fromkeys(free))
            with in_format():
                form.save(traced, aside, about)
            found = compared(model, form.read(aside)[1], about, pictures, wish) if pictures else None
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    if not form.TRUSTED:
        remember(sha256_of(path), path.name)
    return about, found


def load(config: Mapping[str, Any], checkpoint: Path, wish: Wish) -> Detector:
    """The model on the CPU, its post-processing as the file is to have it."""
    with calm():
        model = build_model(config, initialise=False)
        load_checkpoint(model, checkpoint, source_of(config).classes)
    settings = model.post_process
    if wish.score is not None:
        settings = replace(settings, score_threshold=wish.score)
    if wish.limit is not None:
        settings = replace(settings, max_per_image=wish.limit, per_level=max(wish.limit, settings.per_level))
    model.post_process = settings
    return model.eval()


def post_process(model: Detector, wish: Wish) -> PaddedPostProcess | None:
    """What follows the network in the file."""
    return None if wish.raw else PaddedPostProcess(model.post_process, wish.score)


def described(config: Mapping[str, Any], checkpoint: Path, model: Detector, wish: Wish) -> Metadata:
    """What a file of fixed size says of itself.

    Raises:
        ValueError: for a size that the input's pictures do not have.
    """
    brought = of_preprocessor(model.data_preprocessor, config["input"])
    multiple, scale = brought["multiple"], brought["scale"]
    if wish.size and not brought["keep_ratio"] and wish.size != scale:
        raise ValueError(f"--size: this model's pictures are {scale[0]}x{scale[1]} whatever they were; leave it out")
    asked = wish.size or ((max(scale),) * 2 if brought["keep_ratio"] else scale)
    width, height = (-(-side // multiple) * multiple for side in asked)
    return Metadata(
        model=str(config.get("name", "detector")),
        classes=tuple(source_of(config).classes),
        **{"batch": wish.batch or 1, "height": height, "width": width, **brought},
        outputs=RAW if wish.raw else DETECTIONS,
        score=None if wish.raw else model.post_process.score_threshold,
        most=None if wish.raw else model.post_process.max_per_image,
        half=wish.half,
        checkpoint=sha256_of(checkpoint),
    )


def example(about: Metadata, free: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and sizes to trace with."""
    generator = torch.Generator().manual_seed(0)
    sides = {"batch": about.batch, "height": about.height, "width": about.width}
    batch, height, width = (
        small if axis in free else side for (axis, side), small in zip(sides.items(), TRACED, strict=True)
    )
    images = torch.randn(batch, 3, height, width, generator=generator)
    return images, torch.tensor([[width, height]], dtype=torch.float).repeat(batch, 1)


def check_findings(model: Detector, about: Metadata, pictures: Sequence[np.ndarray], wish: Wish) -> None:
    """Raise ValueError when the model finds nothing, so that there would be nothing to compare."""
    batches = in_batches([place(pixels, about) for pixels in pictures], 1, about)
    found = (each for batch in batches for each in of_source(model, [batch], wish.raw))
    if not any(len(each.scores if wish.score is None else above(wish.score, each).scores) for each in found):
        raise ValueError(
            f"the model finds nothing in these {len(pictures)} pictures above a score of {about.score}, so there is nothing to "
            "compare; name others with --pictures, or a lower --score, or --check 0"
        )


def compared(model: Detector, run: Any, about: Metadata, pictures: Sequence[np.ndarray], wish: Wish) -> Agreement:
    """How far the file is from the model.

    Raises:
        ValueError: when that is further than rounding explains.
    """
    placed: list[Placed] = [place(pixels, about) for pixels in pictures]
    sizes = BATCHES if about.batch is None else (about.batch,)
    batches = [batch for size in sizes for batch in in_batches(placed, size, about)]
    wanted, found = of_source(model, batches, wish.raw), of_file(run, about, batches)
    score, most = (about.score, about.most) if about.most is not None else (-np.inf, len(wanted[0].scores))
    if wish.score is not None and not wish.raw:
        wanted = [above(wish.score, each) for each in wanted]
    result = agreement(wanted, found, len(placed), sizes, score, most)
    if not wish.half and (result.boxes > FARTHEST or result.scores > LOWEST or result.alone):
        raise ValueError(
            f"the file differs from its model by {result.boxes:.3g} pixels and {result.scores:.2g} of a score, with "
            f"{result.alone} of {result.detections} detections in one of them alone; nothing was written (--check 0 "
            "writes it unchecked)"
        )
    return result


def above(score: float, found: Any) -> Any:
    """The detections above a score, after a second branch has lowered it."""
    kept = found.scores > score
    return replace(found, boxes=found.boxes[kept], scores=found.scores[kept], labels=found.labels[kept])
