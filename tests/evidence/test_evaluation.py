"""Curves, confusions and kinds of errors against slow, literal computations; averages against what pycocotools prints."""

import contextlib
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from support.scored import random_split

from detassign.engine.detected import Detected
from detassign.engine.evaluation import evaluated as of_columns
from detassign.evidence.evaluation import matching as matching_module
from detassign.evidence.evaluation.analysis import analyse, document
from detassign.evidence.evaluation.confusion import confusion
from detassign.evidence.evaluation.curves import best, curve, of_class
from detassign.evidence.evaluation.errors import KINDS, NEAR, costs, errors
from detassign.evidence.evaluation.matching import overlapping

OVERLAP = 0.5
SEEDS = range(4)


def evaluated(truth, entries, *limit):
    return of_columns(truth, Detected.read(entries, truth.classes), *limit)


def plain(truth, detections):
    """By image: objects, crowds as (label, box) and detections as (score, label, box), by falling score."""
    label, images = {number: i for i, number in enumerate(truth.classes)}, []
    for row, number in enumerate(truth.image_ids.tolist()):
        own = [i for i in range(len(truth.owners)) if truth.owners[i] == row]
        listed = [(int(truth.labels[i]), truth.boxes[i]) for i in own]
        found = [(d["score"], label[d["category_id"]], d["bbox"]) for d in detections if d["image_id"] == number]
        objects = [entry for i, entry in zip(own, listed, strict=True) if not truth.crowd[i]]
        crowds = [entry for i, entry in zip(own, listed, strict=True) if truth.crowd[i]]
        images.append((objects, crowds, sorted(found, key=lambda one: -one[0])))
    return images


def iou(one, other, crowd=False):
    return float(mask.iou([list(map(float, one))], [list(map(float, other))], [crowd])[0, 0])


def matched(image, overlap):
    """Of each detection of an image the object that it finds, None for none, "crowd" where it is excused."""
    objects, crowds, detections = image
    taken, found = set(), []
    for _, label, box in detections:
        free = [(iou(box, b), i) for i, (of, b) in enumerate(objects) if of == label and i not in taken]
        overlap_most, which = max(free, default=(0.0, None))
        if which is not None and overlap_most >= overlap:
            taken.add(which)
            found.append(which)
        elif any(of == label and iou(box, b, True) >= overlap for of, b in crowds):
            found.append("crowd")
        else:
            found.append(None)
    return found


def literal_ap(entries, objects):
    """COCO's AP of (score, right): the highest precision at each of 101 recalls or beyond, and 0 where none is."""
    entries, found, points = sorted(entries, key=lambda one: -one[0]), 0, []
    for place, (_, right) in enumerate(entries, 1):
        found += right
        points.append((found / objects, found / place))
    reached = [[p for r, p in points if r >= least] for least in np.linspace(0, 1, 101)]
    return sum(max(values, default=0.0) for values in reached) / 101


def mean_ap(entries, objects):
    """entries: (score, right, label); objects: counts by label."""
    values = [literal_ap([(s, r) for s, r, c in entries if c == label], n) for label, n in objects.items() if n > 0]
    return sum(values) / len(values)


def literal_tide(images, classes):
    """Counts of each kind and its cost, sorted out one by one as the paper and its program have it."""
    right, wrong, missed, unfound, objects = [], [], [], [], dict.fromkeys(range(classes), 0)
    for image in images:
        truth, _, detections = image
        found = matched(image, OVERLAP)
        used, aimed = {one for one in found if isinstance(one, int)}, {}
        for (score, label, box), which in zip(detections, found, strict=True):
            if isinstance(which, int):
                right.append((score, True, label))
                continue
            if which == "crowd":
                continue
            own = [(iou(box, b), -i) for i, (of, b) in enumerate(truth) if of == label]
            other = [(iou(box, b), -i) for i, (of, b) in enumerate(truth) if of != label]
            (own_iou, o), (other_iou, n) = max(own, default=(0, 1)), max(other, default=(0, 1))
            if NEAR <= own_iou < OVERLAP:
                kind, aim = "place", -o
            elif other_iou >= OVERLAP:
                kind, aim = "class", -n
            elif own_iou >= OVERLAP:
                kind, aim = "duplicate", None
            elif max(own_iou, other_iou) < NEAR:
                kind, aim = "background", None
            else:
                kind, aim = "both", None
            mended = aim is not None and aim not in used and aim not in aimed
            if aim is not None and aim not in used:
                aimed[aim] = True
            wrong.append((kind, score, label, truth[aim][0] if mended else None))
        for i, (label, _) in enumerate(truth):
            objects[label] += 1
            if i not in used:
                unfound.append(label)
                if i not in aimed:
                    missed.append(label)
    everything = [*right, *((score, False, label) for _, score, label, _ in wrong)]
    base, cost = mean_ap(everything, objects), {}
    for kind in KINDS[:-1]:
        others = [(score, False, label) for k, score, label, _ in wrong if k != kind]
        fixed = [(score, True, new) for k, score, _, new in wrong if k == kind and new is not None]
        cost[kind] = max(mean_ap([*right, *others, *fixed], objects) - base, 0)
    fewer = {label: n - missed.count(label) for label, n in objects.items()}
    cost["missed"] = max(mean_ap(everything, fewer) - base, 0)
    counts = {kind: sum(k == kind for k, *_ in wrong) for kind in KINDS[:-1]} | {"missed": len(missed)}
    positives = mean_ap([(float(r), r, label) for _, r, label in everything], objects) - base
    negatives = mean_ap(everything, {label: n - unfound.count(label) for label, n in objects.items()}) - base
    return base, counts, cost, positives, negatives


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_of_errors_and_what_they_cost_are_tides(seed):
    truth, detections = random_split(seed, images=20)
    matching = evaluated(truth, detections).matching
    found = errors(matching, overlapping(matching, NEAR), OVERLAP)
    told = costs(matching, found)
    base, counts, cost, positives, negatives = literal_tide(plain(truth, detections), len(truth.classes))
    assert found.counts == counts
    assert all(count > 0 for count in counts.values())
    assert told.average_precision == pytest.approx(base, abs=1e-12)
    assert told.kinds == pytest.approx(cost, abs=1e-12)
    assert (told.false_positives, told.false_negatives) == pytest.approx((positives, negatives), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_recall_and_f1_are_those_of_the_detections_above_a_threshold_matched_anew(seed):
    truth, detections = random_split(seed)
    matching = evaluated(truth, detections).matching
    for label in (None, 0, 1, 2):
        over_score = of_class(matching, label)
        by_hand = {}
        for threshold in (0.0, 0.2, 0.5, 0.77, 0.95, *over_score.scores[::20].tolist()):
            kept = plain(truth, [row for row in detections if row["score"] >= threshold])
            wanted = range(3) if label is None else (label,)
            total = sum(of in wanted for objects, _, _ in kept for of, _ in objects)
            states = [
                which is not None
                for image in kept
                for (_, of, _), which in zip(image[2], matched(image, OVERLAP), strict=True)
                if of in wanted and which != "crowd"
            ]
            by_hand[threshold] = (sum(states), len(states), total)
        at = over_score.at(np.array([*by_hand]))
        for place, (right, counted, total) in enumerate(by_hand.values()):
            assert at.recall[place] == pytest.approx(right / total)
            assert at.precision[place] == pytest.approx(right / counted if counted else math.nan, nan_ok=True)
            assert at.f1[place] == pytest.approx(2 * right / (counted + total))


def test_the_best_threshold_is_better_than_every_other():
    matching = evaluated(*random_split(3)).matching
    for label in (None, 0, 1, 2):
        over_score = of_class(matching, label)
        found = best(over_score)
        tried = over_score.at(np.linspace(0, 1, 5001))
        assert found.f1 == pytest.approx(tried.f1.max())
        here = over_score.at(np.array([found.threshold]))
        assert (here.precision[0], here.recall[0], here.f1[0]) == found[1:]
        assert found.threshold not in matching.scores


@pytest.mark.parametrize(("score", "threshold"), [(0.3, 0.15), (0.04, 0.02), (0.0, -0.5), (-2.0, -2.5)])
def test_a_threshold_that_keeps_all_detections_lies_half_way_to_0(score, threshold):
    found = best(curve(np.array([score + 0.5, score]), np.array([True, True]), 2))
    assert found.threshold == pytest.approx(threshold)


def literal_confusion(images, classes, threshold):
    """One object and one detection at a time."""
    counts = np.zeros((classes + 1, classes + 1), int)
    for objects, crowds, detections in images:
        kept = [one for one in detections if one[0] >= threshold]
        found = matched((objects, crowds, kept), OVERLAP)
        open_objects = set(range(len(objects))) - {one for one in found if isinstance(one, int)}
        open_detections = {i for i, one in enumerate(found) if one is None}
        for one in found:
            if isinstance(one, int):
                counts[objects[one][0], objects[one][0]] += 1
        across = [(iou(kept[i][2], objects[o][1]), i, o) for i in open_detections for o in open_objects]
        for overlap, i, o in sorted(across, reverse=True):
            differ = kept[i][1] != objects[o][0]
            if overlap >= OVERLAP and differ and i in open_detections and o in open_objects:
                counts[objects[o][0], kept[i][1]] += 1
                open_detections.remove(i)
                open_objects.remove(o)
        for o in open_objects:
            counts[objects[o][0], classes] += 1
        for i in open_detections:
            counts[classes, kept[i][1]] += 1
    return counts


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.8, 1.0])
def test_the_confusion_matrix_is_that_of_going_through_all_by_hand(seed, threshold):
    truth, detections = random_split(seed)
    matching = evaluated(truth, detections).matching
    counts = confusion(matching, overlapping(matching, NEAR), threshold, OVERLAP)
    assert counts.tolist() == literal_confusion(plain(truth, detections), 3, threshold).tolist()
    assert counts[:-1].sum(1).tolist() == matching.object_counts.tolist()
    assert counts[:, :-1].sum() == (matching.scores >= threshold).sum()


def test_pairs_are_those_of_pycocotools_in_pieces_of_any_size(monkeypatch):
    truth, detections = random_split(1)
    matching = evaluated(truth, detections).matching
    inside = matching.detection_images[:, None] == matching.object_images
    ious = mask.iou(matching.detection_boxes, matching.object_boxes, [False] * len(matching.object_boxes))
    wanted = {(int(d), int(o)): ious[d, o] for d, o in np.argwhere(inside & (ious >= NEAR))}
    for chunk in (1, 7, 2**21):
        monkeypatch.setattr(matching_module, "CHUNK", chunk)
        pairs = overlapping(matching, NEAR)
        found = zip(pairs.detections.tolist(), pairs.objects.tolist(), strict=True)
        assert dict(zip(found, pairs.overlaps.tolist(), strict=True)) == wanted


def printed(truth, detections, limits=(1, 10, 100)):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth.document()
        coco.createIndex()
        found = COCOeval(coco, coco.loadRes([dict(row) for row in detections]), "bbox")
        found.params.maxDets = list(limits)
        found.evaluate()
        found.accumulate()
        if len(limits) == 3:
            found.summarize()
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_averages_and_curves_are_those_of_pycocotools(seed):
    truth, detections = random_split(seed)
    evaluation, wanted = evaluated(truth, detections), printed(truth, detections)
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR", "ARs", "ARm", "ARl")
    told = document(analyse(evaluation.matching, evaluation.accuracy))
    assert [told[name] for name in names] == pytest.approx(
        [value if value > -1 else math.nan for value in wanted.stats], nan_ok=True
    )
    precision, recall = wanted.eval["precision"], wanted.eval["recall"]
    for label, name in enumerate(truth.classes.values()):
        own = told["classes"][name]
        assert own["AP"] == pytest.approx(precision[:, :, label, 0, -1].mean())
        assert own["AP75"] == pytest.approx(precision[5, :, label, 0, -1].mean())
        assert own["AR"] == pytest.approx(recall[:, label, 0, -1].mean())
        if (precision[:, :, label, 2, -1] > -1).any():
            assert own["APm"] == pytest.approx(precision[:, :, label, 2, -1].mean())
            assert own["ARm"] == pytest.approx(recall[:, label, 2, -1].mean())
        told_curve = told["curves"]["classes"][name]["precision at recall"]
        assert told_curve == pytest.approx(precision[0, :, label, 0, -1], abs=1e-6)
    assert told["curves"]["all"]["precision at recall"] == pytest.approx(precision[0, :, :, 0, -1].mean(1), abs=1e-6)
    assert analyse(evaluation.matching, evaluation.accuracy).costs.average_precision == pytest.approx(wanted.stats[1])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("limit", [2, 100])
def test_every_cell_is_that_of_pycocotools_with_equal_scores_equal_boxes_and_images_in_any_order(seed, limit):
    truth, detections = random_split(seed, classes=2, objects=12, detections=20)
    turned = dict(zip(truth.image_ids.tolist(), truth.image_ids[::-1].tolist(), strict=True))
    truth = replace(truth, boxes=8 * np.round(truth.boxes / 8) + [0, 0, 8, 8], image_ids=truth.image_ids[::-1])
    for row in detections:
        row["image_id"] = turned[row["image_id"]]
        row["score"], row["bbox"] = (
            round(row["score"], 1),
            (8 * np.round(np.array(row["bbox"]) / 8) + [0, 0, 8, 8]).tolist(),
        )
    evaluation = evaluated(truth, detections, limit)
    wanted = printed(truth, detections, evaluation.accuracy.limits)
    assert np.abs(evaluation.accuracy.precision - wanted.eval["precision"][..., -1]).max() < 1e-12
    assert np.abs(evaluation.accuracy.recall - wanted.eval["recall"]).max() < 1e-12
    cells = [cell for cell in wanted.evalImgs if cell and cell["aRng"] == [0, 1e10]]
    right = sum(((cell["dtMatches"][0] > 0) & (cell["dtIgnore"][0] == 0)).sum() for cell in cells)
    assert evaluation.matching.right.sum() == right > 0


def test_only_detections_within_the_limit_are_told_of():
    truth, detections = random_split(4, classes=1)
    evaluation = evaluated(truth, detections, 3)
    counts = np.bincount(evaluation.matching.detection_images, minlength=len(truth.image_ids))
    assert counts.max() == 3
    assert evaluation.accuracy.limits == (1, 3)


@pytest.mark.parametrize("kept", [slice(0, 0), slice(0, 1)])
def test_little_or_nothing_detected_is_told_all_the_same(kept):
    truth, detections = random_split(2)
    evaluation = evaluated(truth, detections[kept])
    told = document(analyse(evaluation.matching, evaluation.accuracy))
    assert told["detections"] == len(detections[kept])
    assert told["errors"]["missed"]["count"] >= told["objects"] - 1
    assert np.sum(told["confusion"]["counts"]) >= told["objects"]


def test_perfect_detections_cost_nothing_and_no_image_is_among_the_worst():
    truth, _ = random_split(5, crowds=False)
    rows = zip(truth.owners.tolist(), truth.labels.tolist(), truth.boxes.tolist(), strict=True)
    numbers, categories = truth.image_ids.tolist(), list(truth.classes)
    detections = [
        {"image_id": numbers[image], "category_id": categories[label], "bbox": box, "score": 0.9 - 1e-4 * place}
        for place, (image, label, box) in enumerate(rows)
    ]
    evaluation = evaluated(truth, detections)
    found = analyse(evaluation.matching, evaluation.accuracy)
    assert found.worst == ()
    assert set(found.costs.kinds.values()) == {0.0}
    assert found.bests[0].f1 == 1.0
    assert (found.confusion == np.diag(np.diag(found.confusion))).all()


def test_the_worst_images_have_the_most_mistakes():
    truth, detections = random_split(0)
    evaluation = evaluated(truth, detections)
    found = analyse(evaluation.matching, evaluation.accuracy)
    images = plain(truth, [row for row in detections if row["score"] >= found.threshold])
    by_hand = {}
    for index, image in enumerate(images):
        states = matched(image, OVERLAP)
        right = sum(isinstance(one, int) for one in states)
        by_hand[index] = (right, sum(one is None for one in states), len(image[0]) - right)
    assert {one.index: one[1:] for one in found.worst} == {i: row for i, row in by_hand.items() if row[1] + row[2]}
    mistakes = [one.wrong + one.missed for one in found.worst]
    assert mistakes == sorted(mistakes, reverse=True)
