import numpy as np
import pytest
import torch
from mmcv.ops import batched_nms, nms, nms_match, soft_nms
from support.golden import cases

BOXES = [[6.0, 3, 8, 7], [3, 6, 9, 11], [3, 7, 10, 12], [1, 4, 13, 7]]
SCORES = [0.6, 0.9, 0.7, 0.2]
# What mmcv's own tests expect for these boxes at iou_threshold 0.3, sigma 0.5, min_score 0.01.
SOFT_SCORES = {
    "naive": ([1, 0, 3], [0.9, 0.6, 0.2]),
    "linear": ([1, 0, 2, 3], [0.9, 0.6, 0.29024392, 0.2]),
    "gaussian": ([1, 0, 2, 3], [0.9, 0.59630775, 0.35275510, 0.18650459]),
}


def random_boxes(count: int, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator, dtype=dtype) * 30
    size = torch.rand(count, 2, generator=generator, dtype=dtype) * 20
    return torch.cat((corner, corner + size), 1), torch.rand(count, generator=generator, dtype=dtype)


def overlap(a: list[float], b: list[float], offset: int) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


def slow_nms(boxes: list[list[float]], scores: list[float], threshold: float, offset: int) -> list[int]:
    kept = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if all(overlap(boxes[index], boxes[other], offset) <= threshold for other in kept):
            kept.append(index)
    return kept


def slow_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    left, picked = dict(enumerate(scores)), []
    while left:
        best = max(left, key=left.get)
        picked.append((best, left.pop(best)))
        for index in list(left):
            iou = overlap(boxes[best], boxes[index], offset)
            hard, soft = {"naive": (0.0, 1.0), "linear": (1 - iou, 1.0)}.get(method, (np.exp(-(iou**2) / sigma),) * 2)
            left[index] *= hard if iou >= threshold else soft
            if left[index] < min_score:
                del left[index]
    return picked


def slow_nms_match(boxes: list[list[float]], scores: list[float], threshold: float) -> list[list[int]]:
    groups: list[list[int]] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        reached = [group for group in groups if overlap(boxes[group[0]], boxes[index], 0) >= threshold]
        if reached:
            reached[0].append(index)  # to the best box that drops it
        else:
            groups.append([index])
    return groups


@pytest.mark.parametrize("case", cases("dense", "op_nms_*"))
def test_nms_equals_golden(case):
    _, keep = nms(case.tensor("input/boxes"), case.tensor("input/scores"), case.config["iou_threshold"])
    case.check("output/keep", keep)


@pytest.mark.parametrize("case", cases("dense", "op_batched_nms_*"))
@pytest.mark.parametrize("split", [10000, 10])
def test_batched_nms_equals_golden(case, split):
    settings = {"type": "nms", "iou_threshold": case.config["iou_threshold"], "split_thr": split}
    boxes, scores, labels = (case.tensor(f"input/{name}") for name in ("boxes", "scores", "labels"))
    dets, keep = batched_nms(boxes, scores, labels, settings)
    case.check("output/keep", keep)
    torch.testing.assert_close(dets, torch.cat((boxes[keep], scores[keep, None]), 1))


@pytest.mark.parametrize("offset", [0, 1])
def test_nms_equals_a_loop_for_either_pixel_convention(offset):
    boxes, scores = random_boxes(60, torch.float64)
    dets, keep = nms(boxes, scores, 0.4, offset=offset)
    assert keep.tolist() == slow_nms(boxes.tolist(), scores.tolist(), 0.4, offset)
    assert torch.equal(dets, torch.cat((boxes[keep], scores[keep, None]), 1))


def test_nms_gives_the_published_result():
    _, keep = nms(torch.tensor(BOXES), torch.tensor(SCORES), iou_threshold=0.3)
    assert keep.tolist() == [1, 0, 3]


def test_an_overlap_that_equals_the_threshold_in_float32_is_kept():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.6)[1].tolist() == [0, 1]


def test_score_threshold_and_max_num_apply_to_original_indices():
    boxes = torch.tensor([[0.0, 0, 1, 1], [2, 0, 3, 1], [4, 0, 5, 1], [6, 0, 7, 1]])
    scores = torch.tensor([0.1, 0.9, 0.3, 0.8])
    assert nms(boxes, scores, 0.5, score_threshold=0.2)[1].tolist() == [1, 3, 2]
    assert nms(boxes, scores, 0.5, score_threshold=0.2, max_num=2)[1].tolist() == [1, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_nms_takes_16_bit_boxes_and_scores(dtype):
    boxes, scores = torch.tensor(BOXES, dtype=dtype), torch.tensor(SCORES, dtype=dtype)
    dets, keep = nms(boxes, scores, 0.3)
    assert keep.tolist() == [1, 0, 3]
    assert dets.dtype == dtype


def test_numpy_in_gives_numpy_out():
    dets, keep = nms(np.array(BOXES, np.float32), np.array(SCORES, np.float32), 0.3)
    assert isinstance(dets, np.ndarray)
    assert keep.tolist() == [1, 0, 3]


@pytest.mark.parametrize("method", SOFT_SCORES)
def test_soft_nms_gives_the_published_result(method):
    dets, keep = soft_nms(torch.tensor(BOXES), torch.tensor(SCORES), 0.3, 0.5, 0.01, method)
    indices, scores = SOFT_SCORES[method]
    assert keep.tolist() == indices
    torch.testing.assert_close(dets[:, 4], torch.tensor(scores))
    torch.testing.assert_close(dets[:, :4], torch.tensor(BOXES)[indices])


@pytest.mark.parametrize("method", SOFT_SCORES)
@pytest.mark.parametrize("offset", [0, 1])
def test_soft_nms_equals_a_loop(method, offset):
    boxes, scores = random_boxes(40, torch.float64)
    dets, keep = soft_nms(boxes, scores, 0.3, 0.5, 0.1, method, offset)
    picked = slow_soft_nms(boxes.tolist(), scores.tolist(), 0.3, 0.5, 0.1, method, offset)
    assert keep.tolist() == [index for index, _ in picked]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for _, score in picked], dtype=torch.float64))


def test_no_boxes_give_no_boxes():
    for suppress in (nms, soft_nms):
        dets, keep = suppress(torch.zeros(0, 4), torch.zeros(0), 0.5)
        assert dets.shape == (0, 5)
        assert keep.shape == (0,)


def test_batched_soft_nms_keeps_classes_apart():
    boxes, scores = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]]), torch.tensor([0.9, 0.8])
    dets, keep = batched_nms(boxes, scores, torch.tensor([0, 1]), {"type": "soft_nms", "iou_threshold": 0.5})
    assert keep.tolist() == [0, 1]
    torch.testing.assert_close(dets[:, 4], scores)


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_nms_match_equals_a_loop(threshold):
    boxes, scores = random_boxes(60)
    groups = nms_match(torch.cat((boxes, scores[:, None]), 1), threshold)
    assert [group.tolist() for group in groups] == slow_nms_match(boxes.tolist(), scores.tolist(), threshold)
    assert groups[0].dtype == torch.int64


def test_nms_match_gives_the_published_result():
    """Boxes and threshold of mmcv's own test, which expects two groups led by the boxes that nms keeps."""
    boxes = [[49.1, 32.4, 51.0, 35.9], [49.3, 32.9, 51.0, 35.3], [35.3, 11.5, 39.9, 14.5], [35.2, 11.7, 39.7, 15.7]]
    dets = np.column_stack((boxes, [0.9, 0.9, 0.4, 0.3])).astype(np.float32)
    for taken in (dets, torch.from_numpy(dets)):
        groups = nms_match(taken, 0.6)
        assert isinstance(groups[0], type(taken))
        assert [group.tolist() for group in groups] == [[0, 1], [2, 3]]


def test_nms_match_drops_a_box_whose_overlap_equals_the_threshold():
    dets = torch.tensor([[0.0, 0, 10, 10, 0.9], [0, 0, 10, 6, 0.8]])
    assert [group.tolist() for group in nms_match(dets, 0.6)] == [[0, 1]]


def test_nms_match_puts_every_box_in_one_group_even_those_without_area():
    dets = torch.tensor([[1.0, 1, 1, 1, 0.5], [1, 1, 1, 1, 0.7], [0, 0, 4, 4, 0.6]])
    assert [group.tolist() for group in nms_match(dets, 0.5)] == [[1], [2], [0]]
    assert nms_match(torch.zeros(0, 5), 0.5) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_nms_match_takes_other_precisions(dtype):
    boxes, scores = torch.tensor(BOXES, dtype=dtype), torch.tensor(SCORES, dtype=dtype)
    groups = nms_match(torch.cat((boxes, scores[:, None]), 1), 0.3)
    assert [group.tolist() for group in groups] == [[1, 2], [0], [3]]
