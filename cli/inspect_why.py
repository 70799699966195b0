"""`detassign inspect --why IMAGE:OBJECT`: what became of an object's candidates, in words and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tables import say, table

if TYPE_CHECKING:
    from ..engine.inspecting.asked import Asked
    from ..engine.inspecting.subject import Subject
    from ..evidence.inspection.reasons import Candidate, Reasons
    from ..evidence.inspection.scene import Scene

MEANING = {
    "learns": "learns it",
    "matched without weight": "matched, without weight",
    "lost": "would learn it if it were alone",
    "ignored": "ignored",
    "outside": "point outside the object",
    "not chosen": "the matching takes others",
}


def answer(wanted: Asked, subject: Subject) -> None:
    """Tell why the object has its samples, under every assigner."""
    from ..engine.files import write_json
    from ..engine.inspecting.picture import scene_of
    from ..evidence.inspection.reasons import reasons
    from ..evidence.inspection.subjects import at_the_end

    scene, origin = scene_of(wanted, subject)
    _check_object(wanted, scene)
    form, config = subject.form, subject.config
    seen = form.seeing(config, subject.checkpoint, wanted.seed)(scene)
    built = at_the_end(wanted.specs or form.usual(config), len(scene.classes))
    found = [reasons(name, assigner, seen(assigner), scene.targets, wanted.object) for name, assigner in built.items()]
    name, size = scene.objects()[wanted.object]
    say(f"object {name}, {size}, of {scene.name} ({wanted.split} image {scene.index}); {origin}")
    for each in found:
        _tell(each, scene)
    looks = looks_at(wanted, scene)
    if looks:
        _tell_history(looks)
    if wanted.json_file:
        whole = {
            "image": scene.name,
            "index": scene.index,
            "split": wanted.split,
            "predictions": origin,
            "object": wanted.object,
            "label": scene.classes[int(scene.targets.labels[0, wanted.object])],
            "box": scene.targets.boxes[0, wanted.object].tolist(),
            "assigners": {each.name: each.plain() for each in found},
            "history": looks,
        }
        write_json(whole, wanted.json_file)


def _check_object(wanted: Asked, scene: Scene) -> None:
    count = scene.targets.boxes.shape[1]
    if wanted.object >= count:
        last = f"the last is {count - 1}" if count else "there is nothing to ask about"
        raise ValueError(f"--why {wanted.image}:{wanted.object}: {scene.name} has {count} objects, {last}")


def looks_at(wanted: Asked, scene: Scene) -> list[dict[str, Any]]:
    """What telemetry saw of the object, epoch by epoch; nothing where the run has none or did not follow the image."""
    from ..evidence.telemetry.history import HISTORY, read_history

    if wanted.run is None or wanted.split != "train":
        return []
    folder = wanted.run if wanted.run.is_dir() else wanted.run.parent
    if not (folder / HISTORY).is_file():
        return []
    history = read_history(folder)
    followed = [each for each in history.images if each["index"] == scene.index]
    same = followed and Path(followed[0]["file"]).name == scene.name
    if not same or len(followed[0]["objects"]) != scene.targets.boxes.shape[1]:
        others = ", ".join(str(each["index"]) for each in history.images)
        say(f"\nThe run's telemetry did not follow this image; it followed the training images {others}.")
        return []
    return history.of(scene.index, wanted.object)


def _tell_history(looks: Sequence[Mapping[str, Any]]) -> None:
    """A sentence over the whole training, and a row per look."""
    from ..evidence.words import many, three_digits

    served = [look for look in looks if look["samples"]]
    began = f"; the first was after epoch {served[0]['epoch']}" if served else ""
    changes = sum(one["best"] != other["best"] for one, other in pairwise(served))
    say(
        f"\nOver the training: samples learnt it at {len(served)} of {many(len(looks), 'look')}{began}; its best sample was "
        f"another one {many(changes, 'time')}."
    )
    heads = ["epoch", "samples", "Σw⁺", "moved", "best", "level", "P", "IoU"]
    rows = []
    for look in looks:
        moved = "-" if look["moved"] is None else f"{100 * look['moved']:.0f} %"
        best = ["-"] * 4
        if look["samples"]:
            numbers = ("-" if look[name] is None else f"{look[name]:.2f}" for name in ("score", "iou"))
            best = [str(look["best"]), look["level"] or "-", *numbers]
        rows.append([str(look["epoch"]), str(look["samples"]), three_digits(look["weight"] or 0.0), moved, *best])
    table(heads, rows)


def _tell(found: Reasons, scene: Scene) -> None:
    """Sentences, and a row per candidate."""
    say(f"\n{found.name}: {' '.join(sentences(found, scene))}")
    heads = ["sample", "stride", "what became of it", "w⁺", "w⁻", "w°", "IoU", "IoU rank", "P", "P rank"]
    costs = any(each.cost is not None for each in found.candidates)
    rows = [_row(each, costs) for each in found.candidates]
    table(heads + ["cost", "cost rank"] * costs, rows)


def sentences(found: Reasons, scene: Scene) -> list[str]:
    """What happened, in plain words."""
    from ..evidence.words import many

    names = scene.objects()
    learns, lost = found.having("learns"), found.having("lost")
    positive = [each for each in learns if each.positive > 0]
    told = []
    if not learns:
        told.append("no sample learns it.")
    else:
        best = max(each.iou for each in learns)
        learn = "learns" if found.learning == 1 else "learn"
        told.append(
            f"{many(found.learning, 'sample')} of {found.samples} {learn} it, the best box with IoU {best:.2f}."
        )
    if positive:
        heaviest = positive[0]
        told.append(
            f"The heaviest, {heaviest.sample}, is number {heaviest.ranks[1]} of the image by IoU and number "
            f"{heaviest.ranks[0]} by P."
        )
    told.append(_conflict(found, lost, names))
    return told + (_ruled_out(found, min(each.iou for each in positive), names) if positive else [])


def _ruled_out(found: Reasons, worst: float, names: Sequence[tuple[str, str]]) -> list[str]:
    """Of samples with better boxes than the worst that learns, but not taken."""
    from ..evidence.words import many

    left = [
        each for each in found.candidates if each.outcome in ("not chosen", "outside", "ignored") and each.iou > worst
    ]
    if not left:
        return []
    outside = sum(each.outcome == "outside" for each in left)
    first = max(left, key=lambda each: each.iou)
    where = f", {outside} for a point outside the object" if outside else ""
    taken = f" and learns object {names[first.taken_by[0]][0]}" if first.taken_by else ""
    return [
        f"{many(len(left), 'sample')} with a better box than its worst {'is' if len(left) == 1 else 'are'} ruled out{where}; "
        f"the best of them, {first.sample}, has IoU {first.iou:.2f}{taken}."
    ]


def _conflict(found: Reasons, lost: Sequence[Candidate], names: Sequence[tuple[str, str]]) -> str:
    from ..evidence.words import many

    if not found.alone:
        return "Alone on the image it would have none either: the matching finds no candidate."
    gone = found.alone - found.kept
    if not gone:
        return "The other objects take nothing from it: alone on the image it would have the same."
    takers = sorted({taker for each in lost for taker in each.taken_by})
    whom = ", ".join(names[taker][0] for taker in takers)
    to = f"; {'object' if len(takers) == 1 else 'objects'} {whom} took them" if takers else "; nobody has them"
    return f"Alone on the image it would have {many(found.alone, 'sample')}, of which it lost {gone} to the others{to}."


def _row(each: Candidate, costs: bool) -> list[str]:
    from ..evidence.words import three_digits

    became = MEANING[each.outcome]
    if each.taken_by:
        became += f"; learns object {', '.join(map(str, each.taken_by))}"
    stride = "-" if each.stride is None else f"{each.stride:g}"
    weights = [three_digits(each.positive), three_digits(each.negative), three_digits(each.box)]
    numbers = [f"{each.iou:.2f}", str(each.ranks[1]), f"{each.score:.2f}", str(each.ranks[0])]
    cost = [three_digits(each.cost), str(each.ranks[2])] if costs else []
    return [str(each.sample), stride, became, *weights, *numbers, *cost]
