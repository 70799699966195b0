"""`detassign.inspect`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from detassign.engine.inspecting.asked import asked
from detassign.engine.inspecting.picture import Inspection, inspect_image
from detassign.engine.inspecting.subject import find_subject

__all__ = ["Inspection", "inspect"]


def inspect(
    image: int | str = 0,
    *,
    assigners: str | Iterable[str] | None = None,
    data: str | Path | None = None,
    data_root: str | Path | None = None,
    images: int | None = None,
    split: str = "val",
    detector: str | None = None,
    run: str | Path | None = None,
    checkpoint: str | None = None,
    outputs: bool = False,
    seed: int = 0,
    imports: Iterable[str] = (),
    trust: bool = False,
) -> Inspection:
    """Who learns what in an image, and how strongly, as `detassign inspect` shows it.

    Args:
        image: index in the split, or a file's name.
        assigners: a list of specs; FCOS, ATSS and DW if left out, and a query detector's own.
        data, data_root, images: the data set, as of `detassign.train`; a run's own if left out.
        split: "val", "train" or "test".
        detector: whose strides and input size; strides 8 to 128 and the stored size if left out.
        run: a trained run's folder: the assigners on its predictions, which are simulated without one.
        checkpoint: of the run; the best if left out.
        outputs: of a query detector's run: what every output learns, those that only train among them.
        seed: of the simulated predictions.
        imports: files and modules that bring assigners of your own.
        trust: run the code that comes with a run made elsewhere.

    Raises:
        ValueError, OSError: for what is not there, does not go together, or is faulty.
    """
    if checkpoint is not None and "," in checkpoint:
        raise ValueError(f"--checkpoint {checkpoint}: expected one of the run")
    specs = assigners if assigners is None or isinstance(assigners, str) else ",".join(assigners)
    place = None if run is None else Path(run)
    options = {"detector": detector, "run": place, "checkpoint": checkpoint, "outputs": outputs, "seed": seed}
    wanted = asked(str(image), split, specs, theme=None, **options)
    root = None if data_root is None else Path(data_root)
    named = None if data is None else str(data)
    return inspect_image(wanted, find_subject(wanted, named, root, images, imports, trust))
