"""A small split with random objects and crowd regions, and random detections near and beside them."""

import numpy as np

from detassign.data.table import Table

SIDE = 200.0  # pixels of an image


def random_split(seed, images=12, classes=3, objects=6, detections=14, crowds=True):
    """A table as `load_split` gives it, and COCO result entries; ids have gaps, no two scores are equal."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, objects + 1, images)
    owners, total = np.repeat(np.arange(images), counts), int(counts.sum())
    boxes = _boxes(rng, total)
    labels = rng.integers(0, classes, total)
    truth = Table(
        where="val.json",
        classes={3 * label + 2: f"class {label}" for label in range(classes)},
        image_ids=10 + 5 * np.arange(images),
        file_names=[f"{index}.png" for index in range(images)],
        image_sizes=np.full((images, 2), SIDE),
        ids=np.arange(1, total + 1),
        places=np.arange(total),
        owners=owners,
        labels=labels,
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        crowd=(rng.random(total) < 0.15) & crowds,
    )
    found = [row for image in range(images) for row in _detections(rng, truth, image, classes, detections)]
    for row, score in zip(found, rng.permutation(len(found)), strict=True):
        row["score"] = float(score + 0.5) / len(found)
    return truth, found


def _boxes(rng, count):
    """(count, 4) x, y, width, height inside an image."""
    sides = np.exp(rng.uniform(np.log(12), np.log(120), (count, 2)))
    return np.hstack([rng.uniform(0, SIDE - sides), sides])


def _detections(rng, truth, image, classes, count):
    """Some near an object, of its class or another; some anywhere."""
    own = np.flatnonzero(truth.owners == image)
    for box in _boxes(rng, count):
        label = int(rng.integers(classes))
        if len(own) and rng.random() < 0.75:
            near = rng.choice(own)
            box = truth.boxes[near] + truth.boxes[near, [2, 3, 2, 3]] * rng.normal(0, 0.15, 4)
            label = int(truth.labels[near]) if rng.random() < 0.7 else label
        yield {
            "image_id": int(truth.image_ids[image]),
            "category_id": list(truth.classes)[label],
            "bbox": [*box[:2].tolist(), *np.maximum(box[2:], 2.0).tolist()],
        }
