"""Samples one by one, where two assignments differ, why an object has what it has, and what a split amounts to."""

import matplotlib.image
import numpy as np
import pytest
import torch

from detassign.assigners import Assigner, Hungarian, Sigmoid, SigmoidObjectness, Targets, build
from detassign.assigners.boxes import iou
from detassign.assigners.weighting import focal
from detassign.evidence.drawing.canvas import save
from detassign.evidence.drawing.difference import draw
from detassign.evidence.drawing.split import draw as draw_split
from detassign.evidence.drawing.theme import themed
from detassign.evidence.inspection.difference import difference_of
from detassign.evidence.inspection.reasons import LEARNS, LOST, NOT_CHOSEN, OUTSIDE, reasons
from detassign.evidence.inspection.samples import samples_of
from detassign.evidence.inspection.scene import Scene
from detassign.evidence.inspection.simulation import simulate
from detassign.evidence.inspection.split import Gathering
from detassign.evidence.inspection.subjects import translate

SHAPE, STRIDES, CLASSES = (64, 96), (8, 16, 32), 3
BOXES, LABELS = torch.tensor([[4.0, 4, 60, 60], [30, 10, 50, 30], [70, 20, 94, 60]]), torch.tensor([0, 0, 2])
TARGETS = Targets.from_lists([BOXES], [LABELS], sizes=torch.tensor([[96, 64]]))


def seen_by(name, targets=TARGETS):
    assigner = build(name, CLASSES) if isinstance(name, str) else name
    return assigner, translate(simulate(targets, SHAPE, STRIDES, CLASSES), SigmoidObjectness(), assigner.score)


def samples(name, targets=TARGETS):
    return samples_of(str(name), *seen_by(name, targets), targets)


@pytest.mark.parametrize("name", ["fcos", "dw", "simota", "hungarian"])
def test_weights_are_those_of_the_assignment(name):
    assigner, predictions = seen_by(name)
    assignment, found = assigner(predictions, TARGETS), samples(name)
    assert found.positive.sum() == pytest.approx(float(assignment.positive.sum()), rel=1e-5)
    assert found.box.sum() == pytest.approx(float(assignment.box.sum()), rel=1e-5)
    probability = assigner.score(predictions).probability[0]
    for sample, learnt, negative, score in zip(found.sample, found.learnt, found.negative, found.score, strict=True):
        label = int(LABELS[learnt])
        assert negative == pytest.approx(float(assignment.negative[0, sample, label]))
        assert score == pytest.approx(float(probability[sample, label]))


def test_an_objects_samples_come_heaviest_first():
    for index in range(3):
        weights = [row["positive"] for row in samples("dw").target(index)]
        assert weights == sorted(weights, reverse=True)


def test_costs_are_the_matchings_own_with_their_weights():
    assigner, predictions = seen_by("hungarian")
    cost, found = assigner.matching.cost(predictions, TARGETS)[0], samples("hungarian")
    for sample, learnt, *terms in zip(found.sample, found.learnt, *found.costs.values(), strict=True):
        assert sum(terms) == pytest.approx(float(cost[sample, learnt]), rel=1e-5)
    assert samples("atss").costs == {}


def test_effective_samples_are_those_of_the_assignment():
    assigner, predictions = seen_by("dw")
    expected = assigner(predictions, TARGETS).effective_positives(TARGETS)[0].tolist()
    assert [samples("dw").share(index)[1] for index in range(3)] == pytest.approx(expected, rel=1e-4)


def test_the_same_assignment_does_not_differ_from_itself():
    found = difference_of(samples("dw"), samples("dw"))
    assert found.distance == pytest.approx(np.zeros(3), abs=1e-12)
    assert not found.only.any()
    assert found.common.tolist() == [samples("dw").share(index)[0] for index in range(3)]


def test_differences_are_shares_of_weight_on_other_samples():
    first, second = samples("fcos"), samples("dw")
    found = difference_of(first, second)
    for index in range(3):
        shares = [
            {key: value / sum(each.weights(index).values()) for key, value in each.weights(index).items()}
            for each in (first, second)
        ]
        every = shares[0].keys() | shares[1].keys()
        half = sum(abs(shares[0].get(key, 0) - shares[1].get(key, 0)) for key in every) / 2
        assert found.distance[index] == pytest.approx(half)
        assert set(found.only_in(1, index)) == {key for key, value in second.weights(index).items() if value} - set(
            first.weights(index)
        )
    assert found.distance[found.order].tolist() == sorted(found.distance.tolist(), reverse=True)


def test_an_object_that_only_one_serves_differs_fully_and_one_that_none_serves_not_at_all():
    between = Targets.from_lists([torch.tensor([[5.0, 5, 7, 7]])], [torch.tensor([1])], sizes=TARGETS.sizes)
    none, one = samples("dw", between), samples("hungarian", between)
    assert difference_of(none, one).distance.tolist() == [1]
    assert difference_of(none, none).distance.tolist() == [0]


def test_assignments_of_other_samples_are_refused():
    other = Targets.from_lists([BOXES[:1]], [LABELS[:1]], sizes=TARGETS.sizes)
    with pytest.raises(ValueError, match="expected 3 objects as the first, got 1"):
        difference_of(samples("dw"), samples("dw", other))


def why(name, index, targets=TARGETS):
    return reasons(str(name), *seen_by(name, targets), targets, index)


def test_a_sample_that_goes_to_another_object_is_lost_to_that_one():
    """Two objects in the same place want the same query; the one that does not get it lost it to the other."""
    twins = Targets.from_lists([BOXES[[2, 2]]], [LABELS[[2, 2]]], sizes=TARGETS.sizes)
    assigner = Assigner(Hungarian({"l1": 1.0}), focal(), Sigmoid())
    found = [why(assigner, index, twins) for index in (0, 1)]
    lost = [each for reason in found for each in reason.having(LOST)]
    (winner,) = (index for index, reason in enumerate(found) if not reason.having(LOST))
    assert [each.taken_by for each in lost] == [(winner,)]
    assert [(reason.alone, reason.kept) for reason in found] == [(1, int(index == winner)) for index in (0, 1)]


def test_candidates_that_learn_come_first_and_are_the_assignments():
    found = why("atss", 1)
    learns = found.having(LEARNS)
    assert list(found.candidates[: len(learns)]) == learns
    assert found.learning == len(learns) == samples("atss").share(1)[0]
    assert {each.sample for each in learns} == set(samples("atss").weights(1))


def test_ranks_count_the_samples_that_are_better():
    overlap = iou(seen_by("simota")[1].boxes[0], BOXES[0])
    for each in why("simota", 0).candidates:
        assert each.iou == pytest.approx(float(overlap[each.sample]))
        assert (overlap > each.iou + 1e-6).sum() < each.ranks[1] <= (overlap >= each.iou - 1e-6).sum()
        assert each.ranks[2] >= 1


def test_points_outside_are_told_from_those_that_the_matching_passes_over():
    outcomes = {}
    for each in why("hungarian", 0).candidates:
        outcomes.setdefault(each.outcome, []).append(each)
    points = seen_by("hungarian")[1].points
    inside = ((points > BOXES[0, :2]) & (points < BOXES[0, 2:])).all(-1)
    assert not any(bool(inside[each.sample]) for each in outcomes.get(OUTSIDE, []))
    assert all(bool(inside[each.sample]) for each in outcomes[NOT_CHOSEN])


def test_an_object_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="object 3: expected one of 3 objects"):
        why("fcos", 3)


def test_statistics_are_means_over_the_objects_of_all_images():
    gathering, names = Gathering(("fcos", "dw")), ("fcos", "dw")
    one = Targets.from_lists([BOXES[1:2]], [LABELS[1:2]], sizes=TARGETS.sizes)
    nothing = Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)], sizes=TARGETS.sizes)
    for targets in (TARGETS, nothing, one):
        gathering.add(targets.boxes[0].numpy(), [samples(name, targets) for name in names])
    found = gathering.result()
    assert found.images == 3
    assert found.sides == pytest.approx([56, 20, np.sqrt(24 * 40), 20])
    counts = [samples("dw").share(index)[0] for index in range(3)] + [samples("dw", one).share(0)[0]]
    assert found.summary(1)["positives"] == pytest.approx(np.mean(counts))
    small = [counts[1], counts[2], counts[3]]
    assert found.by_size(1)["small"]["positives"] == pytest.approx(np.mean(small))
    assert found.by_size(1)["large"]["positives"] is None
    assert found.octaves() == [(16, 32), (32, 64)]


def test_a_split_without_objects_is_refused():
    gathering = Gathering(("fcos",))
    gathering.add(np.zeros((0, 4)), [samples("fcos", Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)]))])
    with pytest.raises(ValueError, match="expected an object on one of 1"):
        gathering.result()


def test_an_unmatched_object_counts_as_without():
    between = Targets.from_lists([torch.tensor([[5.0, 5, 7, 7]])], [torch.tensor([1])], sizes=TARGETS.sizes)
    gathering = Gathering(("dw",))
    gathering.add(between.boxes[0].numpy(), [samples("dw", between)])
    found = gathering.result().summary(0)
    assert (found["without"], found["best_iou"]) == (1, None)


@pytest.mark.parametrize("names", [("atss", "dw"), ("hungarian", "poto")], ids="-".join)
def test_the_picture_of_a_difference_has_a_window_for_each_side_of_every_object(names, tmp_path):
    found = difference_of(*(samples(name) for name in names))
    scene = Scene("noise.png", 0, np.zeros((*SHAPE, 3), np.uint8), TARGETS, ("cat", "dog", "bird"), {})
    figure = draw(scene, found, "a test")
    differing = int((found.distance > 0).sum())
    windows = [axes for axes in figure.axes if axes.get_images() and not axes.get_title()]
    assert len(windows) == 2 * differing
    drawn = sum(len(dots.get_offsets()) for axes in windows for dots in axes.collections)
    shown = [index for index in range(3) if found.distance[index] > 0]
    assert drawn == sum(each.share(index)[0] for each in (found.first, found.second) for index in shown)
    save(figure, tmp_path / "p.png")
    assert matplotlib.image.imread(tmp_path / "p.png").shape[1] >= 900


def test_the_picture_of_a_split_has_a_line_per_assigner(tmp_path):
    gathering, names = Gathering(("fcos", "dw")), ("fcos", "dw")
    gathering.add(BOXES.numpy(), [samples(name) for name in names])
    with themed("light"):
        figure = draw_split(gathering.result(), "a title with $\\frac$")
    assert [len(axes.get_lines()) for axes in figure.axes] == [2] * 6
    save(figure, tmp_path / "p.png")
    assert matplotlib.image.imread(tmp_path / "p.png")[0, 0, :3].min() == 1
