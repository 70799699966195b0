"""Golden label assignments of query detectors: inputs, pairs, weights, losses and gradients of one output at a time."""

from dataclasses import replace

import numpy as np
import torch

from detassign.assigners import Matches, Predictions, Targets

DETREX = {
    "": ("_{}", ""),
    "enc": ("_enc", "_enc"),
    "dn": ("_dn_{}", "_dn"),
    "hybrid": ("_{}_hybrid", "_hybrid"),
    "o2m": ("_{}_o2m", "_o2m"),
}
RT_DETR = {"": ("_aux_{}", ""), "enc": ("_enc_0", "_enc_0"), "pre": ("_pre", "_pre"), "dn": ("_dn_{}", "_dn_{}")}
"""How the names of losses end, by output: of the layers before the last, and of the last."""


def corners(boxes) -> torch.Tensor:
    """Boxes (..., 4) cxcywh -> xyxy."""
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([center - half, center + half], -1)


def image_targets(case, image):
    """Boxes (M, 4) xyxy, shares, and labels (M,) of an image."""
    return corners(case.tensor(f"target/{image}/boxes").reshape(-1, 4)), case.tensor(f"target/{image}/labels").long()


def targets_of(case, sizes, copies=1) -> Targets:
    """The objects of all images, `copies` times over: object m of M comes back as m + M, m + 2 M, ..."""
    boxes, labels = zip(*(image_targets(case, image) for image in range(len(sizes))), strict=True)
    scaled = [(b * s.repeat(2)).repeat(copies, 1) for b, s in zip(boxes, sizes, strict=True)]
    return Targets.from_lists(scaled, [own.repeat(copies) for own in labels], sizes=sizes)


def first_identical(case, image) -> np.ndarray:
    """(M,) the first object of an image with the same box and label as each."""
    boxes, labels = image_targets(case, image)
    same = (boxes[:, None] == boxes).all(-1) & (labels[:, None] == labels)
    return same.int().argmax(1).numpy() if len(labels) else np.zeros(0, int)


def recorded_permutations(case) -> list[torch.Tensor]:
    """The random permutations that the original drew, in their order."""
    return case.levels("random/permutation")


def match_costs(case, eps=0.0, name="match_cost"):
    """The terms of a matching cost of a case, `eps` added to union and hull."""
    cost = case.config[name]
    focal = {"weight": cost["focal"], "eps": cost.get("eps", 1e-8)}
    return {"focal": focal, "l1": cost["l1"], "giou": {"weight": cost["giou"], "eps": eps}}


def outputs(case, *kinds, **settings):
    """Those of these kinds that a case has, as `Output`s; "" are the decoder's layers."""
    found = [kind for kind in kinds if (f"input/{kind}/logits" if kind else "input/logits") in case]
    return [Output(case, kind, **settings) for kind in found]


class Output:
    """The decoder's layers, or one further output, of a recording: inputs as leaves, layers stacked as groups.

    Args:
        case: of golden/query_assign.
        kind: what stands behind input/ in its keys ("enc", "dn", "hybrid", ...); "" are the decoder's layers.
        copies: how often every object is there.
        sizes: (B, 2) width and height of the images; None makes them 1, so that pixels are shares.
        pixels: whether the boxes are recorded as xyxy in pixels, not as cxcywh in shares.
    """

    def __init__(self, case, kind="", copies=1, sizes=None, pixels=False):
        self.case, self.kind, self.copies = case, kind, copies
        self.logits, self.boxes = (case.leaf(self._key("input", part)) for part in ("logits", "boxes"))
        layered = self.logits.dim() == 4
        self.layers, self.images = self.logits.shape[:2] if layered else (1, len(self.logits))
        numbers = [f"{kind}_{layer}" if kind else str(layer) for layer in range(self.layers)]
        self.names = numbers if layered or not kind else [kind]
        sizes = torch.ones(self.images, 2) if sizes is None else sizes.float()
        boxes = self.boxes if pixels else corners(self.boxes) * sizes.repeat(1, 2)[:, None]
        flat = (values.reshape(-1, *values.shape[-2:]) for values in (self.logits, boxes))
        self.predictions = Predictions(*flat, groups=self.layers)
        self.targets = targets_of(case, sizes, copies).repeat(self.layers)

    def _key(self, *parts):
        return "/".join([parts[0], self.kind, *parts[1:]] if self.kind else parts)

    def places(self):
        """Name, image and place among the stacked images of every layer and image."""
        for layer, name in enumerate(self.names):
            for image in range(self.images):
                yield name, image, layer * self.images + image

    def in_groups(self, groups) -> Predictions:
        """Layers whose queries are K groups behind one another, as L * K stacked batches, layer by layer."""

        def stacked(values):
            blocks = values.unflatten(1, (groups, -1)).unflatten(0, (self.layers, self.images))  # (L, B, K, Q / K, ...)
            return blocks.transpose(1, 2).flatten(0, 2)

        return Predictions(
            stacked(self.predictions.logits), stacked(self.predictions.boxes), groups=self.layers * groups
        )

    def match_in_groups(self, matching, groups) -> Matches:
        """The pairs of every group of queries by itself, as pairs of the layers; group g has copies g where there are any."""
        once = targets_of(self.case, self.targets.sizes[: self.images])
        matches = matching(self.in_groups(groups), once.repeat(self.layers * groups))
        layer, rest = matches.image // (groups * self.images), matches.image % (groups * self.images)
        group, image = rest // self.images, rest % self.images
        size = self.predictions.logits.shape[1] // groups
        target = matches.target + (group * once.mask.sum(1)[image] if self.copies > 1 else 0)
        image = layer * self.images + image
        return replace(matches, image=image, sample=matches.sample + group * size, target=target)

    def layer(self, index) -> tuple[Predictions, Targets]:
        """Predictions and targets of one layer."""
        start, stop = index * self.images, (index + 1) * self.images
        parts = (getattr(self.predictions, name)[start:stop] for name in ("logits", "boxes"))
        return Predictions(*parts), self.targets.first_images(self.images)

    def start_from(self, boxes):
        """Let every layer's predictions start from boxes (B, Q, 4) xyxy, or those of every layer (L * B, Q, 4)."""
        priors = boxes.repeat(len(self.predictions.logits) // len(boxes), 1, 1)
        geometry = {"points": priors[..., :2], "strides": torch.ones(priors.shape[:2])}
        self.predictions = replace(self.predictions, priors=priors, **geometry)

    def without_classes(self):
        """Let all objects be of the first class, as encoders learn them."""
        self.targets = replace(self.targets, labels=torch.zeros_like(self.targets.labels))

    def recorded_pairs(self) -> Matches:
        """The pairs that the original found, layer by layer."""
        return self._matches([self.case.tensor(f"match/{name}/{image}") for name, image, _ in self.places()])

    def denoising_pairs(self) -> Matches:
        """The pairs of denoising queries, known by construction; every layer's are the same."""
        groups, pairs = int(self.case.tensor("dn/groups")), []
        for image in range(self.images):
            count = int(self.targets.mask[image].sum())
            key = f"dn/positive/{image}"
            target = torch.arange(count).repeat(groups)
            if key in self.case:
                sample = self.case.tensor(key).long()
            else:
                sample = target + torch.arange(groups).repeat_interleave(count) * int(self.case.tensor("dn/group_size"))
            pairs.append(torch.stack([sample, target]))
        return self._matches(pairs * self.layers)

    def _matches(self, pairs) -> Matches:
        image = torch.cat([torch.full_like(own[0], place) for place, own in enumerate(pairs)])
        return Matches(image, *torch.cat(pairs, 1), torch.ones(len(image)))

    def canonical(self, image, sample, target) -> np.ndarray:
        """(2, P) pairs by sample and object, each object the first of those that are identical to it."""
        first = first_identical(self.case, image)
        target = first[target % max(len(first), 1)] if len(target) else target
        order = np.lexsort((target, sample))
        return np.stack([sample[order], target[order]])

    def check_pairs(self, matches, shared=None):
        """Every layer's pairs are those recorded, whatever their order; all of them those under a `shared` name, if any."""
        for layer, image, place in self.places():
            name = shared or layer
            pairs, key = self.pairs_of(matches, image, place), f"canonical/{name}/{image}"
            if key in self.case:
                self.case.check(key, pairs)
            else:
                recorded = self.canonical(image, *self.case.arrays[f"match/{name}/{image}"])
                np.testing.assert_array_equal(pairs, recorded, err_msg=f"{self.case.name} {name} image {image}")

    def check_costly_pairs(self, matches, cost):
        """The same of the pairs whose cost (L * B, N, M) is not 0; of the others any may be as good."""
        for name, image, place in self.places():
            both = self.pairs_of(matches, image, place), self.case.arrays[f"canonical/{name}/{image}"]
            ours, recorded = (pairs[:, (cost[place, pairs[0], pairs[1]] != 0).numpy()] for pairs in both)
            np.testing.assert_array_equal(ours, recorded, err_msg=f"{self.case.name} {name} image {image}")

    def pairs_of(self, matches, image, place) -> np.ndarray:
        """(2, P) the pairs of an image at its place among the stacked ones, as `canonical`."""
        here = matches.image == place
        return self.canonical(image, matches.sample[here].numpy(), matches.target[here].numpy())

    def check_weights(self, assignment, class_scale=1.0):
        """w+ and w-, recorded without the weight of the class term."""
        matches = assignment.matches
        entry = (matches.image, matches.sample, matches.labels(self.targets))
        positive = torch.zeros_like(assignment.negative).index_put(entry, assignment.positive, accumulate=True)
        for sign, weights in (("positive", positive), ("negative", assignment.negative)):
            for name, own in zip(self.names, weights.split(self.images), strict=True):
                self.case.check(f"weight/{name}/{sign}", own / class_scale)

    def check_cost(self, matching, constant=0.0, key="cost/{name}/{image}"):
        """The cost of every pair, where it is recorded, and what the original adds to all of them."""
        cost = matching.cost(self.predictions, self.targets) + constant
        for name, image, place in self.places():
            recorded = key.format(name=name, image=image)
            if recorded in self.case:
                self.case.check(recorded, cost[place, :, : self.case.arrays[recorded].shape[1]])

    def check_box_weights(self, assignment):
        """w° of every pair."""
        for name, image, place in self.places():
            key, recorded = f"weight/{name}/box/{image}", self.case.tensor(f"match/{name}/{image}")
            here = assignment.matches.image == place
            pairs = torch.stack([assignment.matches.sample[here], assignment.matches.target[here]])
            order, wanted = (np.lexsort(each.numpy()) for each in (pairs, recorded))
            np.testing.assert_array_equal(pairs[:, order], recorded[:, wanted])
            self.case.check(key, assignment.box[here][order[np.argsort(wanted)]])

    def check_norms(self, assignment, key, which=0):
        """A normaliser, of classes (0) or boxes (2), of every layer."""
        for value in assignment.normalizers[which]:
            self.case.check(key, value)

    def check_loss(self, official, values, endings, scale=1.0):
        """Losses (layers,) by their official name, less the coefficient `scale`; `endings` as of `DETREX`."""
        before, last = endings[self.kind]
        for layer, value in enumerate(values):
            ending = last if layer == self.layers - 1 else before
            self.case.check(f"loss/{official}{ending.format(layer)}", value / scale)

    def check_gradients(self, *parts):
        """The gradients that a backward pass has left in the leaves."""
        for part in parts or ("logits", "boxes"):
            self.case.check(self._key("grad", part), getattr(self, part).grad)


OF_BOXES = {"loss_bbox": "loss_l1", "loss_giou": "loss_giou", "loss_iou": "loss_giou"}
"""Losses by their official names; any other is of classes."""


class Checked:
    """All outputs of a case under their assigners: pairs, weights, normalisers and losses, and the gradient of the whole loss.

    Args:
        case: of golden/query_assign.
        endings: as of `DETREX`.
        scales: the losses to compare by official name, and the coefficient that each lacks as it is recorded.
    """

    def __init__(self, case, endings, scales):
        self.case, self.endings, self.scales = case, endings, scales
        self.seen, self.total = {}, 0.0

    def add(self, output, assigner, norm, known=None, scales=None, weighed=None):
        """Check an output under an assigner, or a part of its losses.

        Args:
            output: the output.
            assigner: its assigner.
            norm: key of what its losses are divided by.
            known: its pairs; None has the assigner find them, and compares them.
            scales: in place of the case's.
            weighed: the assigner whose weights were recorded, where it is another.
        """
        assignment, losses = assigner.assign_and_loss(output.predictions, output.targets, known)
        losses = {"classes": losses.pop("loss_cls_pos") + losses.pop("loss_cls_neg"), **losses}
        if known is None:
            output.check_pairs(assignment.matches)
        output.check_norms(assignment, norm)
        for name, scale in (self.scales if scales is None else scales).items():
            term = OF_BOXES.get(name, "classes")
            output.check_loss(name, losses[term], self.endings, scale)
            if term == "classes":
                self._check_weights(output, assignment, assigner, weighed)
        self.total = self.total + sum(values.sum() for values in losses.values())
        self.seen[output.kind] = output
        return assignment

    def _check_weights(self, output, assignment, assigner, weighed):
        """Those of classes, where they are recorded."""
        if f"weight/{output.names[0]}/positive" in self.case:
            if weighed is not None:
                assignment = weighed(output.predictions, output.targets, assignment.matches)
            output.check_weights(assignment, (weighed or assigner).weighting.class_scale)

    def check_total(self):
        """The sum of all losses, of a case whose losses were all added."""
        self.case.check("loss_total", self.total)

    def check_gradients(self, *parts):
        """The gradients of the sum in the logits and boxes of every output, or in these parts alone."""
        self.total.backward()
        for output in self.seen.values():
            output.check_gradients(*parts)
