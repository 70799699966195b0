"""TOOD's tower: features by task, the second branch, boxes that are read elsewhere."""

import pytest
import torch

from detassign.assigners import Targets
from detassign.heads import DenseHead, TaskAlignedTower

STRIDES = (8, 16)


def tower(**arguments):
    torch.manual_seed(0)
    return TaskAlignedTower(4, 8, 2, norm_groups=2, **arguments)


def head(assigner="tood", **arguments):
    torch.manual_seed(0)
    return DenseHead(
        3, 4, assigner, 8, 2, STRIDES, norm_groups=2, task_aligned={}, distances="exp_strides", **arguments
    )


def features(images=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(images, 4, size, size, generator=generator) for size in (8, 4)]


def shifted(module, dy, dx):
    """The tower, all of whose corner coordinates are read so many cells away."""
    last = module.reg_offset_module[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([dy, dx]).repeat(4)
    return module


def test_a_layer_that_a_task_gives_no_weight_does_not_enter_its_features():
    module = tower()
    attention = module.cls_decomp.layer_attention[2]
    torch.nn.init.zeros_(attention.weight)
    attention.bias.data = torch.tensor([50.0, -200.0])  # one and nothing, after the sigmoid
    both = torch.randn(1, 16, 3, 3)
    context = both.mean((2, 3), keepdim=True)
    changed = both.clone()
    changed[:, 8:] += 1
    torch.testing.assert_close(module.cls_decomp(both, context), module.cls_decomp(changed, context))
    changed[:, :8] += torch.randn(1, 8, 3, 3)
    assert not torch.allclose(module.cls_decomp(both, context), module.cls_decomp(changed, context))


def test_boxes_are_read_at_the_cells_that_the_offsets_point_to():
    module = shifted(tower(), 0.0, 1.0)
    boxes = torch.arange(12.0).view(1, 1, 3, 4).expand(1, 4, 3, 4) + torch.tensor([0.0, 0, 5, 5]).view(1, 4, 1, 1)
    found = module.align(module(torch.randn(1, 4, 3, 4)), boxes)
    torch.testing.assert_close(found[..., :-1], boxes[..., 1:])
    torch.testing.assert_close(found[..., -1], boxes[..., -1])  # the map ends: the nearest cell


def test_a_box_that_comes_out_inside_out_stays_as_it_was():
    module = tower()
    last = module.reg_offset_module[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0.0, 1.0, 0, 0, 0, 0, 0, 0])  # the left side of the cell on the right
    boxes = torch.tensor([[0.0, 0, 8, 8], [20, 0, 28, 8]]).T.reshape(1, 4, 1, 2)
    found = module.align(module(torch.randn(1, 4, 1, 2)), boxes)
    assert torch.equal(found, boxes)


def test_beyond_the_map_lie_zeros_where_asked_for():
    module = shifted(tower(border="zeros"), 0.0, -9.0)
    boxes = torch.tensor([4.0, 4, 12, 12]).view(1, 4, 1, 1).expand(1, 4, 2, 2)
    assert not module.align(module(torch.randn(1, 4, 2, 2)), boxes).count_nonzero()


def test_the_head_takes_its_second_branch_from_the_tower():
    whole, plain = head(), head("gfl")
    assert whole.conv_centerness is plain.conv_centerness is whole.cls_convs is None
    assert whole(features()).objectness.shape == (2, 80)
    assert plain(features()).objectness is None
    assert plain.task_aligned.cls_prob_module is None


def test_a_new_head_gives_every_class_the_class_prior():
    plain = DenseHead(3, 4, "tood", 8, 2, STRIDES, norm_groups=2, class_prior=0.02)
    for module in (head(class_prior=0.02), plain):
        last = plain.conv_centerness if module is plain else module.task_aligned.cls_prob_module[-1]
        for convolution in (module.conv_cls, last):
            torch.nn.init.zeros_(convolution.weight)
        torch.testing.assert_close(module.scores(module(features()))[0], torch.full((2, 80, 3), 0.02))
    assert not head("dw").task_aligned.cls_prob_module[-1].bias.count_nonzero()


@pytest.mark.parametrize("assigner", ["tood", "tood(aligned_from=0)", "fcos", "gfl", "dw", "yolov10"])
def test_every_parameter_learns_under_any_assigner(assigner):
    module = head(assigner)
    boxes = [torch.tensor([[4.0, 4.0, 40.0, 40.0]]), torch.zeros(0, 4)]
    sizes = torch.full((2, 2), 64.0)
    targets = Targets.from_lists(boxes, [torch.tensor([1]), torch.zeros(0)], sizes=sizes)
    sum(module.loss(features(), targets).values()).backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_points_may_sit_on_the_corners_of_cells():
    corner, middle = (head(point_offset=offset)(features()).points for offset in (0.0, 0.5))
    assert corner[0].tolist() == [0, 0]
    assert middle[0].tolist() == [4, 4]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"task_aligned": {"border": "mirror"}}, "border: expected one of zeros, clamp, got 'mirror'"),
        ({"task_aligned": {}, "dcn_on_last_conv": True}, "task_aligned: its tower has no deformable convolution"),
    ],
)
def test_what_the_tower_cannot_do_is_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DenseHead(3, 4, "fcos", 8, 2, STRIDES, norm_groups=2, **arguments)
