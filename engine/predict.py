"""Detections of image and video files: drawn, and written down in the forms that people and programs read."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..data import DataSource
from ..data.files import new_folder
from ..data.pictures import silent_decoder
from ..evidence.drawing.fonts import warn_of_missing_letters
from .checkpoints import Chosen, choose
from .config import CONFIG, source_of
from .files import naming
from .prediction.clock import Clock
from .prediction.finding import is_video
from .prediction.images import predict_images
from .prediction.naming import named, warn_of_shared_ids
from .prediction.video import predict_video
from .prediction.wanted import Outcome, Wanted
from .predictor import Predictor
from .runner import calm
from .train import find_config


@dataclass(frozen=True)
class Summary:
    """What became of all files, and where the time went."""

    outcome: Outcome
    clock: Clock


def predict(
    config: Mapping[str, Any],
    checkpoint: Path,
    files: Sequence[Path],
    folder: Path,
    wanted: Wanted | None = None,
    quiet: bool = False,
    compiled: bool = False,
    half: bool = False,
) -> Summary:
    """Detect in files; leaves predictions.json of all images, and what is wanted besides, in `folder`.

    A file that cannot be read is left out and named in the summary. predictions.json is a list with an object per image: file,
    width, height (pixels, turned as its EXIF says), drawing, and detections with label, score and box (xyxy pixels). A video
    has files of its own. After an interruption they hold what was done. Memory does not grow with the number of files.

    Args:
        config: resolved; its data set need not be there.
        checkpoint: of this very model.
        files: images, as `find_images` gives them, and videos.
        folder: new or empty.
        wanted: what; the defaults of `Wanted` if left out.
        quiet: no progress bar.
        compiled: translate the network with torch.compile first, which takes about a minute, up to as long again for some
            image sizes, and gains 0 to 10 % of the time per image on a CPU.
        half: compute the network in float16, on a CPU in bfloat16.

    Raises:
        ValueError, OSError: for a checkpoint of another model, a folder in use, and a disk that takes no more.
    """
    load = partial(Predictor.load, config, checkpoint, half, compiled)
    return predict_with(load, source_of(config), files, folder, wanted, quiet)


def predict_with(
    load: Callable[[], Any],
    source: DataSource,
    files: Sequence[Path],
    folder: Path,
    wanted: Wanted | None = None,
    quiet: bool = False,
) -> Summary:
    """`predict` by what `load` gives, a `Predictor` or an `ExportedPredictor`, which knows the classes of `source`."""
    wanted = wanted or Wanted()
    if wanted.draw:
        warn_of_missing_letters(source.classes)
    images = named([file for file in files if not is_video(file)], wanted.ids)
    if "coco" in wanted.forms:
        warn_of_shared_ids(images)
    videos = named([file for file in files if is_video(file)])
    with calm(), silent_decoder(), naming(folder):
        predictor = load()
        is_new = not new_folder(folder).exists()
        folder.mkdir(parents=True, exist_ok=True)
        clock, outcomes = Clock(), []
        if images:
            outcomes.append(predict_images(predictor, source, images, folder, wanted, clock, quiet))
        outcomes += [predict_video(predictor, video, folder, wanted, clock, quiet) for video in videos]
        if is_new and not any(folder.iterdir()):  # all were videos that cannot be read
            folder.rmdir()
    return Summary(Outcome.together(outcomes), clock)


def find_model(
    path: Path, wanted: str | None = None, trust: bool = False, given: Container[str] = ()
) -> tuple[dict[str, Any], Chosen]:
    """Config and checkpoint of a run's folder, or of one checkpoint in it; its code is loaded.

    Args:
        path: of the folder or the checkpoint.
        wanted: of a folder: "best", "last" or a file; the best, or where there is none the last, if left out.
        trust, given: as of `imports.restore`.

    Raises:
        FileNotFoundError: when there is no such run or checkpoint, or no config beside the checkpoint.
        ValueError: when no checkpoint can be read, and for code of the run that may not run.
    """
    if path.is_dir():
        return find_config(path, trust, given), choose(path, wanted)
    if not path.exists():
        raise FileNotFoundError(f"run folder {path} does not exist")
    if wanted is not None:
        raise ValueError(f"--checkpoint {wanted}: {path} is a checkpoint already; leave one of the two out")
    if not (path.parent / CONFIG).is_file():
        raise FileNotFoundError(f"checkpoint {path}: expected the {CONFIG} of its run beside it")
    return find_config(path.parent, trust, given), Chosen(path, None)
