"""What parts, assigners and detectors print: the choices and constants that decide an experiment."""

from inspect import signature

import pytest
import torch
from support.dense_detector import dense_detector
from support.query import detector, host
from torch import nn

from detassign.assigners import CenterPrior, Dual, Hungarian, MaxIoU, build, registry
from detassign.assigners.description import describe
from detassign.assigners.registry import Registry

REGISTRIES = [value for value in vars(registry).values() if isinstance(value, Registry)]
ENTRIES = [pytest.param(one, name, id=f"{one.kind}-{name}") for one in REGISTRIES for name in one]
FROM_THE_WHOLE = {
    "num_classes",
    "score",
    "host",
}  # what an assigner or a detector offers its parts is shown once, by these

DW = """\
Assigner(
  matching=TopK(
    matching=CenterPrior(
      num_classes=80,
      mean=0.0,
      sigma=1.11,
      learnable=False,
      hard_threshold=None,
      minimum_score=0.0,
      exclusive='area',
      guarantee=0,
      chunk=None,
      ignore_threshold=0.5,
    ),
    k=20,
    num_classes=80,
  ),
  weighting=Dual(
    mu_weight=5.0,
    mu_norm=3.0,
    iou_exponent=2.0,
    iou_low=0.5,
    iou_high=None,
    gamma=2.0,
    quality=PowerIoU(beta=6.0),
    conflict='min',
    positive_scale=0.25,
    negative_scale=1.0,
    box_scale=1.25,
  ),
  score=SigmoidObjectness(space='log', detach_objectness=False),
  box_loss=GIoULoss(),
  num_classes=80,
  branch=None,
  steady=None,
)"""

DETR = """\
Assigner(
  matching=Hungarian(
    costs={'softmax': 1 * SoftmaxCost(), 'l1': 5 * L1Cost(layout='cxcywh'), 'giou': 2 * GIoUCost(eps=0.0)},
    copies=1,
    final_copies=None,
    share=1.0,
    carry=False,
  ),
  weighting=CrossEntropy(no_object=0.1, class_scale=1.0, box_scale=1.0),
  score=Softmax(),
  box_loss={'l1': 5 * RelativeL1Loss(), 'giou': 2 * RelativeGIoULoss(eps=0.0)},
  num_classes=7,
  branch=None,
  steady=None,
)"""


def test_an_assigner_shows_its_parts_and_their_constants():
    quality = {"type": "power_iou", "beta": 6.0}
    assigner = build("dw", 80, top_k=20, prior={"exclusive": "area"}, weighting={"quality": quality})
    assert repr(assigner) == DW
    assert repr(build("detr", 7)) == DETR


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_everything_registered_shows_all_that_its_constructor_takes(kind, name):
    part = kind.build(name, num_classes=3, host=host())
    shown = repr(part)
    assert shown.startswith(f"{type(part).__name__}(")
    for argument in signature(type(part)).parameters.keys() - FROM_THE_WHOLE:
        assert f"{argument}=" in shown


def test_what_was_changed_since_is_shown_as_it_is_now():
    weighting, prior = Dual(), CenterPrior(2, learnable=True)
    weighting.gamma = 1.5
    with torch.no_grad():
        prior.mean[1] = 0.25
    assert "gamma=1.5" in repr(weighting)
    assert "mean=Tensor(2, 2) from 0 to 0.25" in repr(prior)
    assert "learnable=True" in repr(prior)
    assert "mean=Tensor(2, 2)," in repr(prior.to("meta"))


def test_a_pair_of_thresholds_is_shown_as_given():
    assert "negative_iou=(0.1, 0.4)" in repr(MaxIoU(negative_iou=(0.1, 0.4)))


def nearest(predictions, targets, matches):
    """A quality of one's own."""


class Own:
    """A matching of one's own, neither registered nor with a `__repr__`."""

    cardinality, needs = "one-to-many", frozenset()

    def __init__(self, radius):
        self.radius = radius

    def __call__(self, predictions, targets):
        """No pairs."""


def test_parts_of_ones_own_are_shown_too():
    shown = repr(build({"matching": Own(radius=3), "weighting": {"type": "dual", "quality": nearest}}, 3))
    assert "matching=Own(radius=3)," in shown
    assert "quality=nearest," in shown
    mine = repr(Hungarian({"mine": {"type": "focal", "alpha": 0.5}}))
    assert "costs={'mine': 1 * FocalCost(alpha=0.5, gamma=2.0, eps=1e-08, twice=False)}" in mine


def test_registering_leaves_a_repr_of_ones_own_alone():
    class Named:
        def __repr__(self):
            return "mine"

    class Plain(nn.Module):
        def __init__(self, size=2):
            super().__init__()
            self.size = size

    things = Registry("thing")
    assert repr(things.register("named")(Named)()) == "mine"
    assert repr(things.register("plain")(Plain)()) == "Plain(size=2)"
    assert things.register("maker")(nearest) is nearest


class Knot:
    def __init__(self, me=None, broken=None):
        self.me = self

    @property
    def broken(self):
        raise RuntimeError("not now")


def test_showing_a_part_never_fails():
    assert describe(Knot()) == "Knot(me=…)"
    assert "matching=Knot(me=…)," in describe(Holder(Knot()))


class Holder:
    def __init__(self, matching, more="x" * 100):
        self.matching, self.more = matching, more


def test_what_a_constructor_does_not_keep_is_left_out():
    class Part:
        def __init__(self, kept, lost):
            self.kept = kept

    assert describe(Part(1, 2)) == "Part(kept=1)"


def test_detectors_show_their_assigner_and_what_nn_module_leaves_out():
    dense, query = repr(dense_detector("fcos")), repr(detector("dino_4scale"))
    assert "radius=1.5" in dense
    assert "num_classes=2, strides=(8, 16), branch='centerness', branch_on='reg', distances='relu'" in dense
    assert "PostProcess(score_threshold=0.05" in dense
    assert "matching=Hungarian(" in query
    assert "denoise=ContrastiveDenoising(" in query
    assert "refinement='forward_twice'" in query
