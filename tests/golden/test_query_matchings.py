"""The matchings of the DETR family's later members: pairs, losses and gradients as their own code recorded them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.golden import cases
from support.query_assign import Output, match_costs, outputs

from detassign.assigners import Hungarian, Matches, Predictions

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
