import matplotlib.image
import numpy as np
import pytest
import torch

from detassign.assigners import BACKGROUND, Assigner, Hungarian, Sigmoid, Softmax, Targets, build
from detassign.assigners.weighting import focal
from detassign.evidence.drawing.canvas import save
from detassign.evidence.drawing.queries import draw, way
from detassign.evidence.drawing.queries_layout import BARS, BLOCK, CELL, FOOT_ROW, PANEL, ROW, TITLE, lay_out
from detassign.evidence.drawing.queries_rows import bar_starts, cost_range, layer_colors, text_size
from detassign.evidence.inspection.queries import inspect_queries, runner_up
from detassign.evidence.inspection.scene import Scene
from detassign.heads.query import QueryOutputs, pixel_boxes, stacked_predictions

SIZE, CLASSES, LAYERS, QUERIES = (96.0, 64.0), 3, 4, 7
BOXES, LABELS = torch.tensor([[4.0, 4, 60, 60], [30, 10, 50, 30], [70, 20, 94, 60]]), torch.tensor([0, 0, 2])
SIZES = torch.tensor([SIZE])
TARGETS = Targets.from_lists([BOXES], [LABELS], sizes=SIZES)
EMPTY = Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)], sizes=SIZES)


def outputs_for(queries=QUERIES, references=4, columns=CLASSES, seed=0):
    """What an untrained decoder might say of one image."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(LAYERS, 1, queries, columns, generator=generator)
    boxes = torch.rand(LAYERS, 1, queries, 4, generator=generator) * 0.5 + 0.1
    started = tuple(torch.rand(LAYERS, 1, queries, references, generator=generator)) if references else None
    return QueryOutputs(logits, boxes, started)


def inspected(targets=TARGETS, name="hungarian", **choices):
    return inspect_queries(name, build(name, CLASSES), outputs_for(**choices), Sigmoid(), targets)


def shares(boxes):
    """Boxes xyxy in pixels as cx, cy, w, h, shares."""
    scale = torch.tensor([*SIZE, *SIZE])
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], -1) / scale


def swapping():
    """Two objects of a class whose perfect queries, 0 and 1, trade places after the first of three layers."""
    right, swapped = shares(BOXES[[0, 2]]), shares(BOXES[[2, 0]])
    logits = torch.zeros(3, 1, 2, 1)
    targets = Targets.from_lists([BOXES[[0, 2]]], [torch.tensor([0, 0])], sizes=SIZES)
    outputs = QueryOutputs(logits, torch.stack([right, swapped, swapped])[:, None])
    return inspect_queries("hungarian", build("hungarian", 1), outputs, Sigmoid(), targets)


@pytest.mark.parametrize("layer", range(LAYERS))
def test_every_layer_is_matched_by_itself(layer):
    """The queries of a layer are those that the assigner gives it without the others."""
    outputs = outputs_for()
    alone = QueryOutputs(outputs.logits[layer : layer + 1], outputs.boxes[layer : layer + 1])
    single = inspect_queries("hungarian", build("hungarian", CLASSES), alone, Sigmoid(), TARGETS)
    assert inspected().query[layer].tolist() == single.query[0].tolist()


def test_terms_add_up_to_the_cost_that_the_matching_minimises():
    """The total of each match is its entry in the matching's own cost."""
    outputs, assigner, drawn = outputs_for(), build("hungarian", CLASSES), inspected()
    cost = assigner.matching.cost(stacked_predictions(outputs, TARGETS), TARGETS.repeat(LAYERS))
    for (layer, target), query in np.ndenumerate(drawn.query):
        assert drawn.total[layer, target] == pytest.approx(float(cost[layer, query, target]), abs=1e-5)
    assert list(drawn.costs) == ["focal", "l1", "giou"]


def test_score_and_iou_are_those_of_the_matched_query():
    """A query that is its object, with P one half, has IoU 1 and score 0.5."""
    drawn = swapping()
    assert drawn.iou == pytest.approx(np.ones((3, 2)), abs=1e-5)
    assert drawn.score == pytest.approx(np.full((3, 2), 0.5))


def test_changes_are_marked_in_the_layer_that_makes_them():
    """Nothing has changed in the first layer, both matches in the second, none in the third."""
    drawn = swapping()
    assert drawn.query.tolist() == [[0, 1], [1, 0], [1, 0]]
    assert drawn.changed.tolist() == [[False, False], [True, True], [False, False]]
    assert [layer["changed"] for layer in drawn.totals()["layers"]] == [0, 2, 0]
    assert drawn.totals()["never_changed"] == 0


def test_boxes_follow_the_last_query_through_all_layers():
    """Target 0 ends with query 1, which was at target 1 in the first layer."""
    boxes = swapping().boxes[:, 0]
    assert boxes == pytest.approx(BOXES[[2, 0, 0]].numpy(), abs=1e-4)


@pytest.mark.parametrize("numbers", [2, 4])
def test_references_are_in_pixels_of_the_image(numbers):
    """x and width are shares of the width, y and height of the height."""
    outputs, drawn = outputs_for(references=numbers), inspected(references=numbers)
    query = int(drawn.query[-1, 1])
    expected = outputs.references[2][0, query] * torch.tensor([*SIZE, *SIZE])[:numbers]
    assert drawn.references[2][1] == pytest.approx(expected.numpy())


def test_references_may_turn_from_points_to_boxes():
    """Refinement starts from points and goes on from boxes."""
    outputs = outputs_for()
    mixed = QueryOutputs(outputs.logits, outputs.boxes, (outputs.references[0][..., :2], *outputs.references[1:]))
    drawn = inspect_queries("hungarian", build("hungarian", CLASSES), mixed, Sigmoid(), TARGETS)
    assert [len(reference) for reference in drawn.target(0)["references"]] == [2, 4, 4, 4]


def test_a_way_starts_at_the_first_reference_where_there_is_one():
    """Its first point is the reference's centre, the others are those of the boxes."""
    drawn, without = inspected(), inspected(references=None)
    assert way(drawn, 0)[0] == pytest.approx(drawn.references[0][0, :2])
    assert way(drawn, 0)[1:] == pytest.approx((drawn.boxes[:, 0, :2] + drawn.boxes[:, 0, 2:]) / 2)
    assert without.references is None
    assert len(way(without, 0)) == LAYERS


def test_queries_without_a_target_are_the_others():
    """Their boxes are the last layer's, their number is what the targets leave."""
    outputs, drawn = outputs_for(), inspected()
    free = [query for query in range(QUERIES) if query not in drawn.query[-1]]
    assert drawn.others == pytest.approx(pixel_boxes(outputs.boxes[-1], SIZES)[0, free].numpy())
    assert drawn.other_scores == pytest.approx(outputs.logits[-1, 0, free].sigmoid().amax(-1).numpy())


def test_the_runner_up_is_the_cheapest_other_query():
    """Its margin is negative where a cheaper query went to another target."""
    cost = torch.tensor([[[1.0, 2.0], [4.0, 6.0], [9.0, 9.0]]])
    index, margin = runner_up(cost, torch.tensor([[0, 1]]))
    assert index.tolist() == [[1, 0]]
    assert margin.tolist() == [[3, -4]]


def test_a_single_query_has_no_runner_up():
    """There is nothing to compare it with."""
    drawn = inspected(Targets.from_lists([BOXES[:1]], [LABELS[:1]], sizes=SIZES), queries=1)
    assert (drawn.runner_up == BACKGROUND).all()
    assert np.isnan(drawn.margin).all()
    assert drawn.target(0)["layers"][0]["margin"] is None


def test_targets_that_got_no_query_are_counted_and_have_no_numbers():
    """With two queries one of three objects stays alone."""
    drawn = inspected(queries=2)
    totals, left = drawn.totals(), int(np.flatnonzero(drawn.query[-1] == BACKGROUND)[0])
    assert (totals["targets"], totals["queries"], totals["without_query"]) == (3, 2, 1)
    assert drawn.target(left)["query"] is drawn.target(left)["boxes"] is drawn.target(left)["references"] is None
    assert drawn.target(left)["layers"][-1]["cost"] is None
    assert totals["layers"][-1]["cost"] == pytest.approx(float(np.nanmean(drawn.total[-1])))


def test_a_target_in_plain_values_repeats_the_arrays():
    """One entry per layer, with every term of the cost."""
    drawn = inspected()
    plain = drawn.target(2)
    assert [layer["query"] for layer in plain["layers"]] == drawn.query[:, 2].tolist()
    assert plain["layers"][1]["costs"] == {term: float(values[1, 2]) for term, values in drawn.costs.items()}
    assert plain["boxes"] == drawn.boxes[:, 2].tolist()


def test_assigners_with_the_same_costs_agree_on_everything():
    """Deformable DETR's preset differs from DINO's in loss weights alone."""
    hungarian = inspected()
    assert hungarian.agreement(inspected(name="deformable_detr")).tolist() == [3] * LAYERS


def test_a_softmax_cost_is_shown_on_predictions_of_a_sigmoid_head():
    """P carries over, so DETR's class cost is -P of the same predictions, here small enough to add up to less than 1."""
    outputs = outputs_for()
    outputs = QueryOutputs(outputs.logits - 4, outputs.boxes)
    drawn = inspect_queries("detr", build("detr", CLASSES), outputs, Sigmoid(), TARGETS)
    assert list(drawn.costs) == ["softmax", "l1", "giou"]
    assert drawn.costs["softmax"] == pytest.approx(-drawn.score, abs=1e-5)
    probability = outputs.logits[-1, 0, int(drawn.query[-1, 2]), 2].sigmoid()
    assert drawn.score[-1, 2] == pytest.approx(float(probability), abs=1e-5)


def test_a_head_with_a_background_column_serves_both_score_models():
    """DETR's own predictions can be matched by focal costs."""
    outputs = outputs_for(columns=CLASSES + 1)
    for name in ("detr", "hungarian"):
        drawn = inspect_queries(name, build(name, CLASSES), outputs, Softmax(), TARGETS)
        query = int(drawn.query[0, 1])
        assert drawn.score[0, 1] == pytest.approx(float(outputs.logits[0, 0, query].softmax(-1)[0]), abs=1e-5)


def test_terms_and_weights_are_those_of_the_assigner():
    """Doubling a weight doubles the term."""
    outputs, single, double = outputs_for(), Hungarian({"l1": 1.0}), Hungarian({"l1": 2.0})
    costs = [
        inspect_queries("mine", Assigner(matching, focal(), Sigmoid()), outputs, Sigmoid(), TARGETS).costs
        for matching in (single, double)
    ]
    assert list(costs[0]) == ["l1"]
    assert costs[1]["l1"] == pytest.approx(2 * costs[0]["l1"])


def test_an_assigner_without_matching_costs_is_refused_by_name():
    """Many-to-one assigners have no costs of a match."""
    with pytest.raises(ValueError, match="'fcos': expected a Hungarian matching"):
        inspected(name="fcos")


def test_several_queries_per_target_are_refused():
    """There is no one query to follow."""
    assigner = Assigner(Hungarian(copies=2), focal(), Sigmoid())
    with pytest.raises(ValueError, match="'mine': expected one query per target, which can be followed, got 2 copies"):
        inspect_queries("mine", assigner, outputs_for(), Sigmoid(), TARGETS)


def test_two_images_at_once_are_refused():
    """The picture is of one."""
    two = Targets.from_lists([BOXES, BOXES], [LABELS, LABELS], sizes=SIZES.expand(2, 2))
    with pytest.raises(ValueError, match="expected those of one image, got 2"):
        inspected(two)


def test_an_image_without_objects_leaves_all_queries_to_themselves():
    """There are no matches, no means, and every query is another one's neighbour."""
    drawn = inspected(EMPTY)
    assert drawn.query.shape == (LAYERS, 0)
    assert len(drawn.others) == QUERIES
    assert drawn.totals()["layers"][0]["iou"] is None


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (int(SIZE[1]), int(SIZE[0]), 3), dtype=np.uint8)


def picture_of(image, inspections, targets, path):
    save(draw(Scene("noise.png", 0, image, targets, ("cat", "dog", "bird"), {}), inspections, "a test"), path)
    return matplotlib.image.imread(path)


CASES = {
    "two assigners": (TARGETS, {}, ["hungarian", "detr"]),
    "no references": (TARGETS, {"references": None}, ["hungarian"]),
    "too few queries": (TARGETS, {"queries": 2}, ["hungarian"]),
    "one query": (TARGETS, {"queries": 1, "references": 2}, ["hungarian"]),
    "nothing on it": (EMPTY, {}, ["hungarian"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_picture_has_the_size_of_its_layout_and_shows_something(case, image, tmp_path):
    """Whatever is missing, it is drawn."""
    targets, choices, names = CASES[case]
    drawn = [inspected(targets, name, **choices) for name in names]
    picture = picture_of(image, drawn, targets, tmp_path / "picture.png")
    objects = targets.boxes.shape[1]
    assert picture.shape[:2] == lay_out(image.shape[:2], LAYERS, objects, len(names)).size[::-1]
    assert len(np.unique(picture[..., 0])) > 100


def test_a_change_is_drawn_red_between_the_cells_of_its_layers(image, tmp_path):
    """The pixels between the first and the second layer's cell are red, those after the second are not."""
    targets = Targets.from_lists([BOXES[[0, 2]]], [torch.tensor([0, 0])], sizes=SIZES)
    picture = picture_of(image, [swapping()], targets, tmp_path / "picture.png")
    layout = lay_out(image.shape[:2], 3, 2, 1)
    row = layout.top(0) + BLOCK + TITLE + round(layout.row / 2)
    between = [picture[row, layout.grid_left + layer * CELL] for layer in (1, 2)]
    assert between[0][0] > 0.9 > between[0][1] + 0.5
    assert max(between[1][:3]) < 0.2


def test_rows_are_at_least_legible_and_longer_than_the_image_if_they_must():
    """A hundred objects make the picture longer, not the rows thinner."""
    few, many = (lay_out((480, 640), 6, objects, 1) for objects in (3, 100))
    assert few.row == ROW[1]
    assert many.row == ROW[0]
    assert many.size[1] > 100 * ROW[0] + 2 * FOOT_ROW > few.size[1]
    assert text_size(many.row) > 6


@pytest.mark.parametrize("shape", [(480, 640), (160, 160), (1333, 800), (200, 1000)])
def test_the_image_keeps_its_proportions_within_its_panel(shape):
    """Height and width are scaled alike."""
    layout = lay_out(shape, 6, 5, 2)
    width, height = layout.panel
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.01)
    assert width <= PANEL[0] + 1
    assert height <= PANEL[1] + 1
    assert layout.bars_left + BARS < layout.size[0]


def test_bars_lie_end_to_end_on_either_side_of_zero():
    """Those against the match go right, those for it go left."""
    costs = np.array([[1.0, -2.0], [3.0, -1.0], [-2.0, 4.0]])
    assert bar_starts(costs).tolist() == [[0, 0], [1, -2], [0, 0]]


def test_the_cost_axis_holds_bars_and_runners_up():
    """Not the ones that are missing."""
    low, high = cost_range(np.array([[-2.0, 1.0], [1.0, 1.0]]), np.array([5.0, np.nan]))
    assert low < -2
    assert 5 < high < 6


@pytest.mark.parametrize("layers", [1, 2, 6])
def test_every_layer_has_its_colour(layers):
    """They get brighter, the last is the brightest."""
    brightness = layer_colors(layers)[:, :3].sum(-1)
    assert (np.diff(brightness) > 0).all()
    assert brightness[-1] == pytest.approx(layer_colors(1)[0, :3].sum())


def test_nothing_to_draw_is_refused(image, tmp_path):
    """There must be an assigner."""
    with pytest.raises(ValueError, match="expected at least one"):
        picture_of(image, [], TARGETS, tmp_path / "picture.png")
