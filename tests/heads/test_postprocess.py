import pytest
import torch

from detassign.assigners import Predictions
from detassign.heads import Detections, PostProcess

SIZE = (100, 100)  # height, width


def run(boxes, scores, factor=None, level_sizes=None, **settings):
    """Detections of one image from boxes (N, 4) and scores (N, C)."""
    boxes, scores = torch.tensor([boxes]), torch.tensor([scores])
    predictions = Predictions(torch.zeros_like(scores), boxes, level_sizes=level_sizes)
    factor = None if factor is None else torch.tensor([factor])
    return PostProcess(**settings)(scores, factor, predictions, 0, SIZE)


APART = [[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0], [50.0, 50.0, 60.0, 60.0]]
STACKED = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 5.0]]  # IoU with the first 1, 0.9, 0.5


def test_detections_come_with_falling_scores_and_their_labels():
    found = run(APART, [[0.1, 0.2], [0.9, 0.0], [0.0, 0.5]])
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.2, 0.1])
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert found.boxes[0].tolist() == APART[1]


def test_a_score_at_the_threshold_is_dropped():
    assert run(APART, [[0.5], [0.25], [0.75]], score_threshold=0.5).scores.tolist() == [0.75]


def test_each_level_hands_on_so_many_pairs_at_most():
    scores = [[0.9, 0.8], [0.7, 0.6], [0.2, 0.1]]
    found = run(APART, scores, level_sizes=(2, 1), per_level=1)
    assert found.scores.tolist() == pytest.approx([0.9, 0.2])
    assert run(APART, scores, per_level=1).scores.tolist() == pytest.approx([0.9])


def test_the_centerness_multiplies_after_the_threshold():
    found = run(APART, [[0.9], [0.6], [0.4]], factor=[0.1, 1.0, 1.0], score_threshold=0.5)
    assert found.scores.tolist() == pytest.approx([0.6, 0.09])


def test_of_overlapping_boxes_of_a_class_the_best_stays():
    assert run(STACKED, [[0.8], [0.9], [0.7]]).boxes.tolist() == [STACKED[1], STACKED[2]]
    assert len(run(STACKED, [[0.8], [0.9], [0.7]], nms_iou=0.4).scores) == 1


def test_classes_do_not_suppress_each_other_unless_asked_to():
    scores = [[0.9, 0.0], [0.0, 0.8], [0.0, 0.0]]
    assert run(STACKED, scores).labels.tolist() == [0, 1]
    assert run(STACKED, scores, class_agnostic=True).labels.tolist() == [0]


def test_without_suppression_all_stay_up_to_the_limit():
    assert len(run(STACKED, [[0.9], [0.8], [0.7]], nms_iou=None).scores) == 3
    limited = run(STACKED, [[0.7], [0.9], [0.8]], nms_iou=None, max_per_image=2)
    assert limited.scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(run(APART, [[0.9], [0.8], [0.7]], max_per_image=2).scores) == 2


def test_boxes_are_clipped_to_the_image_and_those_left_empty_go():
    boxes = [[-20.0, 90.0, 30.0, 140.0], [120.0, 0.0, 140.0, 20.0], [40.0, 40.0, 42.0, 60.0]]
    scores = [[0.9], [0.8], [0.7]]
    found = run(boxes, scores)
    assert found.boxes.tolist() == [[0.0, 90.0, 30.0, 100.0], boxes[2]]
    assert len(run(boxes, scores, min_size=5.0).scores) == 1
    assert len(run(boxes, scores, min_size=None).scores) == 3


@pytest.mark.parametrize("nms_iou", [0.6, None])
@pytest.mark.parametrize("class_agnostic", [False, True])
def test_nothing_above_the_threshold_is_no_detection(nms_iou, class_agnostic):
    found = run(APART, [[0.01, 0.0], [0.0, 0.02], [0.0, 0.0]], nms_iou=nms_iou, class_agnostic=class_agnostic)
    assert isinstance(found, Detections)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)


def test_what_is_no_number_is_no_detection():
    found = run([[torch.nan] * 4, *APART[1:]], [[0.9], [torch.nan], [0.7]])
    assert found.scores.tolist() == pytest.approx([0.7])


def test_the_image_asked_for_is_the_one_looked_at():
    scores = torch.tensor([[[0.9]], [[0.3]]])
    predictions = Predictions(torch.zeros(2, 1, 1), torch.tensor([[APART[0]], [APART[1]]]))
    found = PostProcess()(scores, None, predictions, 1, SIZE)
    assert found.scores.tolist() == pytest.approx([0.3])
    assert found.boxes.tolist() == [APART[1]]


@pytest.mark.parametrize(("cardinality", "wanted"), [("one-to-many", 0.55), ("one-to-few", None), ("one-to-one", None)])
def test_nms_that_is_left_open_follows_the_cardinality(cardinality, wanted):
    assert PostProcess().following(cardinality, 0.55).nms_iou == wanted
    assert PostProcess(nms_iou=0.3).following(cardinality, 0.55).nms_iou == 0.3
    assert PostProcess(nms_iou=None).following(cardinality, 0.55).nms_iou is None


def test_nms_that_nobody_settles_is_that_of_fcos():
    assert len(run(STACKED, [[0.8], [0.9], [0.7]]).scores) == len(
        run(STACKED, [[0.8], [0.9], [0.7]], nms_iou=0.6).scores
    )


def test_boxes_vote_for_those_of_their_class_that_nms_leaves():
    """IoU 0.9 and 0.5 with the first: votes 0.9, 0.8 exp(-0.01 / 0.025), 0.7 exp(-0.25 / 0.025)."""
    votes = torch.tensor([0.9, 0.8, 0.7]) * torch.tensor([0.0, -0.4, -10.0]).exp()
    heights = torch.tensor([10.0, 9.0, 5.0])
    found = run(STACKED, [[0.9], [0.8], [0.7]], nms_iou=0.4, score_voting=0.025)
    assert found.boxes[0].tolist() == pytest.approx([0, 0, 10, float((votes * heights).sum() / votes.sum())])
    assert found.scores.tolist() == pytest.approx([0.9])
    other = run(STACKED, [[0.9, 0.0], [0.0, 0.8], [0.0, 0.7]], nms_iou=0.4, score_voting=0.025)
    assert other.boxes[0].tolist() == pytest.approx(STACKED[0])  # nobody else of its class votes


@pytest.mark.parametrize("width", [0, -0.1, "wide"])
def test_the_width_of_a_vote_is_a_number_above_nothing(width):
    with pytest.raises(ValueError, match=r"post_process: score_voting is .*; expected a number"):
        PostProcess(score_voting=width)


def test_nobody_votes_where_nothing_is_found():
    assert len(run(APART, [[0.0], [0.0], [0.0]], score_voting=0.025).boxes) == 0
