"""Denoising of a recorded training step: the settings of the original, and the random numbers that it drew."""

import torch
from support.detr import family_of
from support.queries import RecordedNoise, drawn_slots, recorded_arrays

from detassign.assigners import ContrastiveDenoising, Denoising, Matches


def denoising_of(settings):
    """The denoising that a recording's settings describe, its kind for `drawn_slots`, and its probability of a flip."""
    if "dn_number" in settings:
        ratio, scale = (settings.get(f"dn_{n}", settings.get(n)) for n in ("label_noise_ratio", "box_noise_scale"))
        return ContrastiveDenoising(settings["dn_number"], label_noise=ratio, box_noise=scale), "cdn", ratio / 2
    scalar, label, box = settings["scalar"], settings["label_noise_scale"], settings["box_noise_scale"]
    if settings.get("contrastive"):
        count = {"queries": scalar // 2} if scalar >= 100 else {"groups": scalar}
        form = {"unknown_negatives": True, "far": "second_half"}
        return ContrastiveDenoising(**count, label_noise=2 * label, box_noise=box, **form), "packed", label
    return Denoising(scalar, label, box, corners=settings["corners"]), "dn", label


def settings_of(case):
    """The settings of a model's recording; its code's name says whether corners are moved or centres and sizes."""
    return dict(case.config, corners="dino" in family_of(case))


class Replayed:
    """The denoising of a recorded training step; called like any other."""

    def __init__(self, case):
        self.case = case
        self.denoising, self.kind, self.flips = denoising_of(settings_of(case))

    def __call__(self, targets, num_classes):
        counts = targets.mask.sum(1).tolist()
        groups = self.denoising(targets, num_classes).groups
        slots = drawn_slots(counts, groups, self.kind)
        return self.denoising(targets, num_classes, RecordedNoise(recorded_arrays(self.case), slots, self.flips))


def box_pairs_of_the_original(counts, groups, layers):
    """The pairs that DN-DETR's contrastive code trains boxes of: the first half of each group, taken over the batch.

    Its rows are ordered image by image, positives before negatives, so with unequal images the half holds negatives of
    the first ones and misses positives of the last. Classes are trained by what the queries are; so are boxes with us.
    """
    rows = drawn_slots(counts, groups, "packed").unflatten(0, (groups, -1))
    image, sample = rows[:, : rows.shape[1] // 2].flatten(0, 1).unbind(1)
    target = sample % (2 * max(counts)) % torch.tensor(counts)[image]
    layer = torch.arange(layers).repeat_interleave(len(image))
    repeated = (part.repeat(layers) for part in (sample, target))
    return Matches(image.repeat(layers) + layer * len(counts), *repeated, torch.ones(layers * len(image)))
