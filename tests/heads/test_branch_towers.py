import pytest
import torch
from support.dense_detector import dense_detector

from detassign.heads import DenseHead
from detassign.heads.branch_towers import Convolutions, MaxFilter

CHANNELS = 8


def maps(*sizes):
    torch.manual_seed(0)
    return [torch.randn(2, CHANNELS, *size) for size in sizes]


def head_of(assigner, **options):
    torch.manual_seed(0)
    return DenseHead(3, CHANNELS, assigner, CHANNELS, 1, strides=(8, 16, 32), norm_groups=2, **options)


def plain_filter(**options):
    """A filter whose convolution changes nothing and which has no norm."""
    tower = MaxFilter(CHANNELS, norm_groups=None, **options)
    torch.nn.init.dirac_(tower.conv.weight)
    torch.nn.init.zeros_(tower.conv.bias)
    return tower


def test_a_cell_meets_the_largest_of_its_neighbours_in_place():
    feature = torch.zeros(1, CHANNELS, 5, 5)
    feature[:, :, 1, 1] = 3.0
    (output,) = plain_filter()([feature])
    wanted = torch.zeros(5, 5)
    wanted[:3, :3] = 3
    wanted[1, 1] = 6
    assert torch.equal(output[0, 0], wanted)


def test_and_on_the_levels_beside_its_own():
    features = [torch.zeros(1, CHANNELS, size, size) for size in (8, 4, 2)]
    features[0][:, :, :, :] = 5.0
    for reach, seen in ((0, [10, 0, 0]), (1, [10, 5, 0]), (2, [10, 5, 5])):
        outputs = plain_filter(reach=reach)(features)
        assert [output.detach().amax().item() for output in outputs] == seen


@pytest.mark.parametrize(
    ("tower", "width"), [(MaxFilter(CHANNELS, norm_groups=2), CHANNELS), (Convolutions(8, 4, 2, 2), 4)]
)
def test_a_tower_keeps_the_levels_and_says_its_width(tower, width):
    outputs = tower(maps((8, 6), (4, 3), (2, 2)))
    assert tower.out_channels == width
    assert [tuple(o.shape) for o in outputs] == [(2, width, 8, 6), (2, width, 4, 3), (2, width, 2, 2)]


@pytest.mark.parametrize("tower", ["max_filter", {"type": "convolutions", "width": 4}])
@pytest.mark.parametrize("assigner", ["poto_filter", "poto_aux", "o2f", "fcos"])
def test_a_second_branch_comes_from_the_tower_and_teaches_it(assigner, tower):
    head, features = head_of(assigner, branch_tower=tower), maps((8, 8), (4, 4), (2, 2))
    predictions = head(features)
    assert predictions.objectness.shape == predictions.logits.shape[:2]
    wanted = torch.cat(
        [head.conv_centerness(f).flatten(1) for f in head.branch_tower([*map(head.reg_convs, features)])], 1
    )
    torch.testing.assert_close(predictions.objectness, wanted)
    predictions.objectness.sum().backward()
    assert all(parameter.grad is not None for parameter in head.branch_tower.parameters())


def test_without_a_tower_a_head_has_the_parameters_it_had():
    assert not [name for name, _ in head_of("poto_filter").named_parameters() if "branch_tower" in name]


def test_of_two_heads_each_has_a_tower_where_it_has_a_branch():
    head = head_of("fcos", one_to_one="poto_filter", branch_tower="max_filter")
    assert isinstance(head.branch_tower, MaxFilter)
    assert isinstance(head.auxiliary.branch_tower, MaxFilter)
    assert head_of("max_iou", one_to_one="poto_filter", branch_tower="max_filter").auxiliary.branch_tower is None


@pytest.mark.parametrize("assigner", ["poto", "poto_filter", "poto_aux", "o2f"])
def test_end_to_end_assigners_use_no_nms(assigner):
    assert dense_detector(assigner).post_process.nms_iou is None


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: head_of("poto", branch_tower="max_filter"), "branch_tower: there is no second branch"),
        (lambda: head_of("poto_filter", branch_tower="filter"), "unknown branch tower 'filter'"),
        (lambda: MaxFilter(8, kernel=2), "kernel: expected an odd number"),
        (lambda: MaxFilter(8, reach=-1), "reach: expected a whole number"),
        (lambda: Convolutions(8, depth=0), "depth: expected a whole number"),
    ],
)
def test_what_makes_no_tower_is_refused(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
