"""From facts to choices, each with its reason and the option that makes it.

The thresholds are rules of thumb, and every reason states its own; between assigners a probe decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..words import many
from .facts import Facts
from .reach import Reach

__all__ = ["SIDES", "Choice", "choices", "input_side", "shortlist"]

SIDES = (320, 384, 512, 640, 800, 1024, 1333)  # of the square that images are fitted into, pixels
CELL = 8  # pixels: the finest stride
NARROW, TOO_NARROW = 2 * CELL, CELL  # pixels of an object's shorter side
SOME_NARROW, SOME_TOO_NARROW = 0.1, 0.01  # shares of the objects that may be so narrow
ENLARGED = 1.5  # times the stored side, beyond which no detail is left to see
QUERIES = (100, 300, 900, 1500)
NMS = 0.6  # the dense detectors' threshold
LOST = 0.01  # share of the objects that a choice may cost
FEW_IMAGES, MANY_IMAGES = 1000, 10_000  # to learn from
TINY_SHARE, CROWDED_SHARE = 0.1, 0.05
RARE = 20  # objects of a class


@dataclass(frozen=True)
class Choice:
    """One thing to choose: what, why, and the options of `detassign train` that make it, "" where there is none."""

    topic: str
    choice: str
    reason: str
    options: str = ""


def choices(facts: Facts, most: int, reached: Mapping[str, Reach], with_gpu: bool) -> list[Choice]:
    """What follows from a training split.

    Args:
        facts: of the split.
        most: objects in the fullest image of any split.
        reached: of matchings by geometry, by name, at `input_side`.
        with_gpu: whether there is one to train on.
    """
    side = input_side(facts)
    return [
        _detector(facts, with_gpu),
        _input(facts, side),
        _reach(side, reached),
        _queries(most),
        _limit(most),
        _nms(facts),
        *_classes(facts),
    ]


def input_side(facts: Facts) -> int:
    """The smallest side at which few objects are narrower than two cells of the finest level, and next to none than one.

    Where no enlargement that is worth it achieves that, the largest that is.
    """
    worth = [side for side in SIDES if side <= ENLARGED * facts.longest_side] or [SIDES[0]]
    enough = [
        side for side in worth if _narrow(facts, side)[0] <= SOME_NARROW and _narrow(facts, side)[1] <= SOME_TOO_NARROW
    ]
    return (enough or worth[-1:])[0]


def shortlist(facts: Facts, side: int) -> list[str]:
    """Assigners that are worth a probe, the baseline first."""
    names = ["atss", "fcos", "dw", "tal_v8"]
    if _narrow(facts, side)[0] > TINY_SHARE:
        names.insert(1, "rfla")
    if (facts.overlaps > 0.3).mean() > CROWDED_SHARE if len(facts.overlaps) else False:
        names.insert(1, "simota")
    if facts.lost_to_nms(NMS) > LOST:
        names.insert(1, "yolov10")
    return names


def _narrow(facts: Facts, side: int) -> tuple[float, float]:
    """Shares of the objects narrower than two cells and than one."""
    shorter = facts.shorter_sides(side)
    if not len(shorter):
        return 0.0, 0.0
    return round(float((shorter < NARROW).mean()), 3), round(float((shorter < TOO_NARROW).mean()), 3)


def _detector(facts: Facts, with_gpu: bool) -> Choice:
    images = len(facts.image_sizes)
    if images < MANY_IMAGES:
        name = "fcos_r50" if with_gpu else "fcos_mobilenetv2"
        few = "few" if images < FEW_IMAGES else "not many"
        reason = (
            f"{many(images, 'image')} to learn from are {few}: a dense detector on a pretrained backbone learns them far "
            "sooner than queries do, unless these start from a COCO checkpoint (docs/query_detectors.md has numbers)"
        )
        return Choice("detector", name, reason, f"--detector {name} --pretrained WEIGHTS")
    name = "dino_4scale_r50" if with_gpu else "fcos_mobilenetv2"
    hardware = "and a GPU are enough" if with_gpu else "would be enough for queries, but there is no GPU here"
    reason = f"{images:,} images {hardware}"
    return Choice("detector", name, reason, f"--detector {name} --pretrained WEIGHTS")


def _input(facts: Facts, side: int) -> Choice:
    narrow, too_narrow = _narrow(facts, side)
    reason = (
        f"{narrow:.1%} of the objects are narrower there than {NARROW} pixels (two cells of the finest level) and "
        f"{too_narrow:.1%} than {TOO_NARROW}; aimed at are {SOME_NARROW:.0%} and {SOME_TOO_NARROW:.0%}, with at least "
        f"{SIDES[0]} pixels and no more than {ENLARGED:g} times the stored {facts.longest_side:.0f}"
    )
    if narrow > SOME_NARROW or too_narrow > SOME_TOO_NARROW:
        reason += ". More would need larger photographs, or training on tiles of them"
    return Choice("input size", f"{side} x {side}", reason, f"--set 'input.scale=({side},{side})'")


def _reach(side: int, reached: Mapping[str, Reach]) -> Choice:
    shares = [f"{name} {reach.share_missed:.1%}" for name, reach in reached.items()]
    worst = max(
        (max(reach.missed, key=reach.missed.__getitem__) for reach in reached.values() if reach.share_missed),
        default=None,
    )
    best = min(reached, key=lambda name: reached[name].share_missed)
    told = f"objects that no sample may answer for, by rules of geometry at {side} pixels: {', '.join(shares)}"
    if worst is not None:
        told += f"; most of them are {worst}"
    return Choice("reach of points", best if _most(reached) - reached[best].share_missed > LOST else "any", told)


def _most(reached: Mapping[str, Reach]) -> float:
    return max(reach.share_missed for reach in reached.values())


def _queries(most: int) -> Choice:
    wanted = next((count for count in QUERIES if count >= 2 * most), None)
    if wanted is None:
        reason = f"the fullest image has {most} objects; more than half of {QUERIES[-1]} queries would have to find one"
        return Choice("queries", "a dense detector", reason)
    reason = f"the fullest image has {many(most, 'object')}; twice as many queries leave the others something to be background"
    return Choice("queries", str(wanted), reason, f"--set model.queries.num_queries={wanted}")


def _limit(most: int) -> Choice:
    limit = max(-(-2 * most // 100) * 100, 100)
    why = "twice the objects of the fullest image, in hundreds" if limit > 100 else "COCO's own is enough"
    return Choice("detections that count", str(limit), f"{why}; training sets it by itself, and AP is of so many")


def _nms(facts: Facts) -> Choice:
    lost = facts.lost_to_nms(NMS)
    overlap = f"{lost:.2%} of the objects overlap one of their class by an IoU over {NMS:g}, of which NMS leaves one"
    if lost > LOST:
        return Choice(
            "NMS", "none", f"{overlap}: one-to-one assigners and query detectors do without", "--assigner yolov10"
        )
    return Choice("NMS", f"{NMS:g}", f"{overlap}: it costs no more than that")


def _classes(facts: Facts) -> list[Choice]:
    rare = [(facts.classes[label], int(count)) for label, count in enumerate(facts.per_class) if count < RARE]
    if not rare:
        return []
    number = many(len(rare), "class")
    named = ", ".join(f"{name} ({count})" for name, count in rare[:5]) + (
        f" and {len(rare) - 5} more" if len(rare) > 5 else ""
    )
    reason = f"of fewer than {RARE} objects no detector learns much, and their AP is noise in the mean: {named}"
    return [Choice("rare classes", number, reason)]
