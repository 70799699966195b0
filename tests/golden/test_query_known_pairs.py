"""Queries at the positives of an auxiliary head, and what Co-DETR trains them on, as its own code recorded them."""

import pytest
import torch
from support.golden import cases
from support.query_assign import Output, match_costs, recorded_permutations, targets_of

from detassign.assigners import Assigner, Hungarian, Noise, Positives, focal
from detassign.assigners.structures import BACKGROUND
from detassign.assigners.weighting import SoftTarget

ENDINGS = {"": ("_aux_{}", "_aux"), "query": ("", "")}
OFFICIAL = {"loss_cls": ("loss_cls_pos", "loss_cls_neg"), "loss_bbox": ("loss_l1",), "loss_iou": ("loss_giou",)}


class Samples:
    """What the auxiliary head of a case said: boxes (B, S, 4), the object (B, S) of each, and the targets of the batch."""

    def __init__(self, case):
        self.sizes = case.tensor("input/sizes_hw").flip(1).float()
        self.targets = targets_of(case, self.sizes)
        names = ("coords", "labels", "targets")
        lists = {name: case.levels(f"input/aux/{name}") for name in names}
        least = min(len(own) for own in lists["coords"])  # RoIs are cut to the image with the fewest
        self.boxes, self.labels, theirs = (torch.stack([own[:least] for own in lists[name]]) for name in names)
        self.target = self._objects(theirs, case.config["num_classes"])

    def _objects(self, boxes, num_classes):
        """The object of the sample's label that has the box."""
        if not self.targets.mask.any():
            return torch.full(self.labels.shape, BACKGROUND)
        distance = (boxes[:, :, None] - self.targets.boxes[:, None]).abs().amax(-1)
        other = (self.labels[..., None] != self.targets.labels[:, None]) | ~self.targets.mask[:, None]
        distance, target = distance.masked_fill(other, torch.inf).min(-1)
        positive = self.labels < num_classes
        assert (distance[positive] < 1e-3 * self.sizes.max()).all()
        return target.masked_fill(~positive, BACKGROUND)


class RecordedChoice(Noise):
    """Numbers that put samples into the order of the permutations that the original drew, each when it was needed."""

    def __init__(self, case, positive):
        super().__init__()
        self.permutations, self.positive = recorded_permutations(case), positive
        most = min(case.config["max_pos_coords"], int(positive.sum(1).max()))
        self.slots, self.fills = max(case.config["min_slots"], most), not case.config["use_zero_padding"]

    def uniform(self, shape, like):
        numbers = torch.arange(shape[1]).expand(shape) / shape[1]
        return torch.stack([self._image(*each) for each in zip(numbers, self.positive, strict=True)])

    def _image(self, numbers, positive):
        count = int(positive.sum())
        drawn = positive if count > self.slots else ~positive
        if count == self.slots or (count < self.slots and not self.fills):
            return numbers
        order = drawn.nonzero()[:, 0][self.permutations.pop(0)]
        return numbers.index_put((order,), torch.arange(len(order)) / len(order))


def slots_of(case, samples):
    """Our slots, with the numbers that the original drew."""
    config, noise = case.config, RecordedChoice(case, samples.target != BACKGROUND)
    fill = "padding" if config["use_zero_padding"] else "negatives"
    choose = Positives(config["min_slots"], config["max_pos_coords"], fill)
    known = choose(samples.boxes, samples.target, samples.targets, noise=noise)
    assert noise.permutations == []
    return known


def assigner_of(case):
    """Quality focal loss in Co-DINO, focal loss in Co-Deformable-DETR, divided by the number of positives."""
    weights = case.config["coefficients"]
    scales = {"class_scale": weights["loss_cls"], "count": "positives"}
    kinds = {
        "dino": lambda: SoftTarget("iou", gamma=case.config["quality_focal_beta"], **scales),
        "deformable": lambda: focal(**scales),
    }
    box_loss = {"relative_l1": weights["loss_bbox"], "relative_giou": weights["loss_iou"]}
    return Assigner(Hungarian(match_costs(case)), kinds[case.config["head"]](), box_loss=box_loss)


@pytest.mark.parametrize("case", cases("query_assign", "co_d*"))
def test_slots_equal_co_detrs(case):
    samples = Samples(case)
    known, targets = slots_of(case, samples), samples.targets
    positive = known.positive[..., None]
    case.check("aux/coords", known.boxes.masked_fill(~known.known[..., None], 0))
    case.check("aux/label_weights", known.known.float())
    case.check("aux/bbox_weights", known.positive[..., None].expand(-1, -1, 4).float())
    assert torch.equal(case.tensor("aux/labels") < case.config["num_classes"], known.positive)
    if not targets.mask.any():
        return
    found = targets.labels.gather(1, known.target)
    assert torch.equal(case.tensor("aux/labels")[known.positive], found[known.positive])
    boxes = targets.shares_of(targets.boxes).gather(1, known.target[..., None].expand(-1, -1, 4))
    boxes = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)
    case.check("aux/targets", boxes.masked_fill(~positive, 0))


@pytest.mark.parametrize("case", cases("query_assign", "co_*_zero_padding"))
def test_padding_is_seen_by_nobody(case):
    """Its own rows, which the original blocks whole, see the known slots and themselves here."""
    known = slots_of(case, Samples(case))
    blocked = case.tensor("aux/attn_mask").unflatten(0, (len(known.known), -1))
    rows = (known.known[:, None, :, None]).expand_as(blocked)
    assert torch.equal(blocked[rows], (~known.sight()).expand_as(blocked)[rows])
    assert known.sight().any(-1).all()


@pytest.mark.parametrize("case", cases("query_assign", "co_d*"))
def test_losses_and_gradients_equal_co_detrs(case):
    samples, assigner = Samples(case), assigner_of(case)
    known = slots_of(case, samples)
    extra, own = Output(case, sizes=samples.sizes), Output(case, "query", sizes=samples.sizes)
    targets = known.found(samples.targets).repeat(extra.layers)
    found = {
        extra: assigner.assign_and_loss(extra.predictions, targets, known.matches(extra.layers)),
        own: assigner.assign_and_loss(own.predictions, own.targets),
    }
    own.check_pairs(found[own][0].matches)
    norms, total = {extra: [f"norm/{layer}" for layer in range(extra.layers)], own: ["norm/query"]}, 0.0
    for output, (assignment, losses) in found.items():
        weight = case.config["lambda_1"] if output is extra else 1
        output.check_weights(assignment, assigner.weighting.class_scale)
        for norm in norms[output]:
            output.check_norms(assignment, norm)
            output.check_norms(assignment, norm, which=2)
        for name, parts in OFFICIAL.items():
            output.check_loss(name, weight * sum(losses[part] for part in parts), ENDINGS)
        total = total + weight * sum(values.sum() for values in losses.values())
    case.check("loss_total", total)
    total.backward()
    for output in found:
        output.check_gradients()
