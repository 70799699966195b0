"""`detassign export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..engine.files import check_files, new_path
from . import completion
from .common import checkpoint_option, import_option, trust_option
from .tables import table

if TYPE_CHECKING:
    import numpy as np

    from ..engine.export.check import Agreement
    from ..engine.export.metadata import Metadata


def _batch(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    if text == "any":
        return None
    if not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= 1024:
        raise click.BadParameter(f"{text!r} is neither a number from 1 to 1024 nor 'any'")
    return int(text)


def _size(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    sides = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if min(sides) < 32 or max(sides) > 20_000:
        raise click.BadParameter(f"{text!r} is no width and height from 32 to 20000 pixels, such as 640x480")
    return sides


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN_OR_CHECKPOINT", shell_complete=completion.run)
@checkpoint_option
@click.option(
    "--format", "form", type=click.Choice(["onnx", "torchscript", "pt2"]), default="onnx", show_default=True,
    help="pt2 is torch.export's.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), help="File to write; runs/NAME.FORMAT if left out.")
@click.option(
    "--size", metavar="WIDTHxHEIGHT", callback=_size,
    help="Of the images that the file takes; the square that holds every picture if left out.",
)  # fmt: skip
@click.option(
    "--batch", metavar="N|any", default="1", show_default=True, callback=_batch,
    help="Images that it takes at a time.",
)  # fmt: skip
@click.option("--dynamic", is_flag=True, help="Let batch, height and width be free, as far as model and format can.")
@click.option("--half", is_flag=True, help="Layers in float16; what is decided from them stays float32.")
@click.option("--raw", is_flag=True, help="Without post-processing: all boxes, and scores of all classes.")
@click.option(
    "--score", type=click.FloatRange(0, 1), help="Leave out what is below; the model's own threshold if left out."
)
@click.option("--max", "limit", type=click.IntRange(min=1), help="At most so many detections per image.")
@click.option(
    "--pictures", type=click.Path(path_type=Path), multiple=True,
    help="Images or folders to compare on; the run's validation images if left out. Repeatable.",
)  # fmt: skip
@click.option(
    "--check", "count", type=click.IntRange(min=0), default=8, show_default=True,
    help="Pictures to compare the file with its model on; 0 does not.",
)  # fmt: skip
@import_option
@trust_option
def command(
    run: Path,
    checkpoint: str | None,
    form: str,
    out: Path | None,
    pictures: tuple[Path, ...],
    count: int,
    imports: tuple[str, ...],
    trust: bool,
    **wish: Any,
) -> int:
    """Write a trained detector to a file that runs without this package.

    The file takes images and their sizes and gives boxes, scores, labels and a count; it holds the names of its classes and
    how a picture is brought in. It is compared with the model on real pictures before it gets its name. Of a run its best
    checkpoint is taken. 'detassign predict FILE photos/' runs it.

    \b
    detassign export runs/fcos_tiny-dw-synthetic --out fcos.onnx
    detassign export runs/mine --format pt2 --dynamic --half
    """
    from ..assigners.spec import slug
    from ..engine.export.export import Wish, export
    from ..engine.imports import load_named
    from ..engine.predict import find_model

    if wish["raw"] and (wish["score"] is not None or wish["limit"] is not None):
        raise ValueError("--raw: leaves out the filter that --score and --max set; leave them out too")
    config, chosen = find_model(run, checkpoint, trust, load_named(imports))
    path = out or new_path(Path("runs") / f"{slug(str(config.get('name', 'detector')))}.{form}")
    if path.suffix != f".{form}":
        raise ValueError(f"--out {path}: a file of {form} has a name that ends in .{form}")
    check_files(out)
    asked, compared_on = Wish(form, **wish), read_pictures(config, pictures, count)
    path.parent.mkdir(parents=True, exist_ok=True)  # runs, where --out is left out
    about, found = export(config, chosen.path, path, asked, compared_on)
    show(path, about, found, asked.free)
    return 0


def read_pictures(config: dict[str, Any], paths: tuple[Path, ...], count: int) -> list[np.ndarray]:
    """The first pictures of what was named, or of the run's validation images, (H, W, 3) uint8 in BGR.

    Raises:
        ValueError, OSError: when there are none, or one cannot be read.
    """
    if not count:
        return []
    from ..data.reader import load_split
    from ..engine.config import source_of
    from ..engine.datasets import eval_steps
    from ..engine.prediction.finding import find_images
    from ..engine.prediction.reading import read_pixels

    if paths:
        files = find_images(paths)
    else:
        source = source_of(config)
        try:
            files = [source.val_images / name for name in load_split(source, "val").file_names]
        except (OSError, ValueError) as error:
            raise ValueError(
                f"the run's validation images cannot be had ({error}); name others to compare on with --pictures, or --check 0"
            ) from error
    load, _ = eval_steps(config["input"])
    return [read_pixels(file, lambda path: load({"img_path": str(path)})["img"]) for file in files[:count]]


def show(path: Path, about: Metadata, found: Agreement | None, wanted: tuple[str, ...]) -> None:
    """What was written, and how far it is from its model."""
    sides = [str(side or "any") for side in (about.batch, about.height, about.width)]
    rows = [("images", f"{sides[0]} x 3 x {sides[1]} x {sides[2]}"), ("outputs", ", ".join(about.outputs))]
    fixed = [axis for axis in wanted if axis not in about.free]
    if fixed:
        rows.append(("fixed", f"{', '.join(fixed)}: this model cannot have them free in this format"))
    if about.half:
        rows.append(("half", "layers in float16"))
    if found is None:
        rows.append(("compared", "no"))
    else:
        batches = " and ".join(map(str, found.batches))
        rows += [
            ("compared", f"{found.pictures} pictures, batch {batches}, {found.detections} detections"),
            ("boxes", f"differ by at most {found.boxes:.2g} pixels"),
            ("scores", f"differ by at most {found.scores:.2g}"),
            ("alone", f"{found.alone} detections of one without a partner in the other"),
        ]
    table(["", ""], rows, title=str(path))
    click.echo(f"written: {path}, {path.stat().st_size / 1e6:.1f} MB")
