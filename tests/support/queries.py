"""Golden inputs of query detectors as `Predictions` and `Targets`: boxes are recorded as shares of the image."""

import re

import torch

from detassign.assigners import Noise, Predictions, Targets

SIZE = (640.0, 480.0)  # pixels of every image: whatever it is, shares of it must come out the same


def pixels(boxes) -> torch.Tensor:
    """Boxes (..., 4) cxcywh, shares -> xyxy, pixels."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1) * torch.tensor(SIZE).repeat(2)


def query_targets(case, prefix, images) -> Targets:
    """The targets recorded under prefix/<image>/{boxes,labels}."""
    boxes = [pixels(case.tensor(f"{prefix}/{i}/boxes").reshape(-1, 4)) for i in range(images)]
    labels = [case.tensor(f"{prefix}/{i}/labels").long() for i in range(images)]
    return Targets.from_lists(boxes, labels, sizes=torch.tensor(SIZE).expand(images, 2))


def query_predictions(case, logits, boxes) -> Predictions:
    """The predictions recorded under two keys."""
    return Predictions(case.tensor(logits), pixels(case.tensor(boxes)))


def noted(case, *names) -> dict[str, float]:
    """Constants that a sidecar's notes have as "name number", of those asked for."""
    found = re.findall(rf"({'|'.join(names)}) ([\d.]*\d)", "; ".join(case.sidecar["notes"]))
    return {name: float(value) for name, value in found}


def eps_in(sentence) -> float:
    """The small number that a sidecar's sentence says is added; 0 where it says none."""
    found = re.search(r"\d+e-\d+", sentence)
    return float(found[0]) if found else 0.0


class RecordedNoise(Noise):
    """Random numbers as the original code drew them, put into the slots they were drawn for.

    The originals draw for the slots that have an object alone, and new labels for the flipped ones of those alone.

    Args:
        arrays: what was drawn, in order.
        slots: (E, 2) image and slot of each entry of the drawn arrays.
        label_noise: probability of a flip, to know which labels were drawn.
    """

    def __init__(self, arrays, slots, label_noise):
        super().__init__()
        self.arrays = list(arrays)
        self.slots = slots.unbind(1)
        self.flips = label_noise
        self.flipped = None

    def uniform(self, shape, like):
        drawn = self.arrays.pop(0)
        if len(shape) == 2:
            self.flipped = drawn < self.flips
        return torch.ones(shape).index_put(self.slots, drawn)

    def integers(self, high, shape, like):
        drawn = self.arrays.pop(0).long()
        if len(shape) == 3:
            return torch.zeros(shape, dtype=torch.long).index_put(self.slots, drawn)
        image, slot = self.slots
        return torch.zeros(shape, dtype=torch.long).index_put((image[self.flipped], slot[self.flipped]), drawn)


def recorded_arrays(case, prefix="") -> list[torch.Tensor]:
    """The random numbers of a recording in the order in which they were drawn."""
    found = [re.fullmatch(re.escape(prefix) + r"noise/(\d+)_\w+", key) for key in case.arrays]
    return [case.tensor(m.group()) for m in sorted(filter(None, found), key=lambda m: int(m.group(1)))]


def drawn_slots(counts, groups, kind) -> torch.Tensor:
    """(E, 2) image and slot of every number that an original drew, in its order.

    Args:
        counts: objects of each image.
        groups: of denoising queries.
        kind: "dn" (DN-DETR: group, image, object), "cdn" (DINO: group, sign, image, object) or "packed" (the contrastive
            form of DN-DETR's repository: group, image, sign, object, negatives right behind the positives).
    """
    most, images = max(counts, default=0), range(len(counts))
    block = most if kind == "dn" else 2 * most
    if kind == "cdn":
        order = [(i, sign * most + j) for sign in (0, 1) for i in images for j in range(counts[i])]
    else:
        order = [(i, j) for i in images for j in range(counts[i] * (1 if kind == "dn" else 2))]
    rows = [(image, group * block + slot) for group in range(groups) for image, slot in order]
    return torch.tensor(rows, dtype=torch.long).view(-1, 2)
