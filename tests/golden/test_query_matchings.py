"""The matchings of the DETR family's later members: pairs, losses and gradients as their own code recorded them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import cases
from support.query_assign import RT_DETR, Output, match_costs, outputs

from detassign.assigners import Assigner, Hungarian, Matches, Predictions, Union, focal

EPS = 1e-6  # added to union and hull of boxes as shares of the image in detrex, which Align-DETR's code stands on


def pairs_of(output, matches, image, place):
    """(2, P) the pairs of an image, at its place among the stacked ones, in the order of the recordings."""
    here = matches.image == place
    return output.canonical(image, matches.sample[here].numpy(), matches.target[here].numpy())


def one_layer(output, layer):
    """Predictions and targets of one of the layers of an output."""
    start, stop = layer * output.images, (layer + 1) * output.images
    parts = (getattr(output.predictions, name)[start:stop] for name in ("logits", "boxes"))
    return Predictions(*parts), output.targets.first_images(output.images)


def align_pairs(output, copies, carry):
    """The pairs of every layer by itself, of as many copies as the layer has."""
    matchings = (Hungarian(match_costs(output.case, EPS), k, share=0.5, carry=carry) for k in copies)
    found = [matching(*one_layer(output, layer)) for layer, matching in enumerate(matchings)]
    found = [replace(pairs, image=pairs.image + layer * output.images) for layer, pairs in enumerate(found)]
    return Matches(*(torch.cat([getattr(p, n) for p in found]) for n in ("image", "sample", "target", "score")))


@pytest.mark.parametrize("case", cases("query_assign", "align_detr_*"))
def test_copies_equal_align_detrs(case):
    """With the fewer copies that images hand on; and without, in the images whose own they are."""
    of_encoder, *of_layers = case.config["match_number"]
    for output in outputs(case, "", "enc"):
        copies = [of_encoder] if output.kind else of_layers
        original, ours = (align_pairs(output, copies, carry) for carry in (True, False))
        output.check_pairs(original)
        samples = output.predictions.logits.shape[1]
        for place, (name, image, at) in enumerate(output.places()):
            objects, k = int(output.targets.mask[at].sum()), copies[place // output.images]
            own = max(min(int(0.5 * samples / max(objects, 1)), k), 1)
            assert (ours.image == at).sum() == min(own * objects, samples)
            if int(case.arrays.get(f"copies/{name}/{image}", 0)) == own:
                np.testing.assert_array_equal(*(pairs_of(output, pairs, image, at) for pairs in (ours, original)))


@pytest.mark.parametrize("case", cases("query_assign", "h_detr_*"))
def test_copies_equal_h_detrs(case):
    for output in outputs(case, "", "o2m", "enc"):
        copies = case.config["k_one2many"] if output.kind == "o2m" else 1
        if output.kind == "enc":
            output.targets = replace(output.targets, labels=torch.zeros_like(output.targets.labels))
        matching = Hungarian(match_costs(case), copies, share=None)
        output.check_pairs(matching(output.predictions, output.targets))


@pytest.mark.parametrize("case", cases("query_assign", "group_detr_*"))
def test_groups_equal_group_detrs(case):
    output, groups = Output(case), case.config["groups"] if case.config["training"] else 1
    output.check_pairs(output.match_in_groups(Hungarian(match_costs(case)), groups))


class Stacked:
    """Outputs of as many samples as groups of one batch: the decoder's layers, the last of which is final, then the others."""

    def __init__(self, outputs):
        self.outputs, self.layers = outputs, [output.layers for output in outputs]
        decoder = outputs[0]
        parts = (torch.cat([getattr(o.predictions, name) for o in outputs]) for name in ("logits", "boxes"))
        self.predictions = Predictions(*parts, groups=sum(self.layers), final=decoder.layers - 1)
        self.once = decoder.targets.first_images(decoder.images)
        self.targets = self.once.repeat(sum(self.layers))

    def check_pairs(self, matches):
        start = 0
        for output in self.outputs:
            stop = start + output.layers * output.images
            own = matches.select((start <= matches.image) & (matches.image < stop))
            output.check_pairs(replace(own, image=own.image - start))
            start = stop

    def check_union(self, matches):
        """The pairs of the first layer are those recorded, but for samples with ties."""
        case, output = self.outputs[0].case, self.outputs[0]
        for image in range(output.images):
            pairs, recorded = pairs_of(output, matches, image, image), case.arrays[f"canonical/go/{image}"]
            free = ~np.isin(recorded[0], case.arrays[f"go_tie/{image}"])
            np.testing.assert_array_equal(pairs[0], recorded[0])
            np.testing.assert_array_equal(pairs[1, free], recorded[1, free])
            here = matches.image == image
            share = matches.score[here][matches.sample[here].argsort()]
            np.testing.assert_array_equal(torch.round(share * sum(self.layers)), case.arrays[f"go_count/{image}"])

    def recorded_union(self):
        """The pairs that every layer's boxes learned."""
        output = self.outputs[0]
        pairs = [output.case.tensor(f"match/go/{image}") for image in range(output.images)]
        image = torch.cat([torch.full_like(own[0], place) for place, own in enumerate(pairs)])
        return Matches(image, *torch.cat(pairs, 1), torch.ones(len(image))).repeat(sum(self.layers), output.images)


def with_union():
    """D-FINE's cases and DEIM's in which boxes learn from the pairs of all layers."""
    found = [*cases("query_assign", "dfine_*"), *cases("query_assign", "deim_*")]
    return [each for each in found if each.values[0] is None or each.values[0].config["use_uni_set"]]


@pytest.mark.parametrize("case", with_union())
def test_unions_and_their_box_losses_equal_d_fines_and_deims(case):
    """Its code settles ties by an unstable sort: losses are of the pairs recorded. They have their coefficients."""
    weights, batch = case.config["coefficients"], Stacked(outputs(case, "", "pre", "enc"))
    assigner = Assigner(
        Union(Hungarian(match_costs(case))),
        focal(count="targets", box_count="weights"),
        box_loss={"relative_l1": weights["loss_bbox"], "relative_giou": weights["loss_giou"]},
    )
    matches = assigner.match(batch.predictions, batch.targets)
    batch.check_pairs(matches)
    batch.check_union(matches.of_boxes)
    matches = replace(matches, of_boxes=batch.recorded_union())
    assignment, losses = assigner.assign_and_loss(batch.predictions, batch.targets, matches)
    for value in assignment.normalizers[2]:
        case.check("norm/go", value)
    for name, values in (("loss_bbox", losses["loss_l1"]), ("loss_giou", losses["loss_giou"])):
        for output, own in zip(batch.outputs, values.split(batch.layers), strict=True):
            output.check_loss(name, own, RT_DETR)
    (losses["loss_l1"] + losses["loss_giou"]).sum().backward()
    for output in batch.outputs:
        output.check_gradients("boxes")
