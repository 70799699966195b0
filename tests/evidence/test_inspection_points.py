from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from detassign.assigners import (
    Assigner,
    Predictions,
    Sigmoid,
    SigmoidObjectness,
    Softmax,
    Targets,
    TaskAligned,
    build,
)
from detassign.assigners.weighting import focal
from detassign.evidence.drawing.canvas import save
from detassign.evidence.drawing.points import ROWS, color_of, colored, describe, draw, levels_with_any, subject_of
from detassign.evidence.drawing.points_layout import PICTURE, lay_out
from detassign.evidence.drawing.theme import themed
from detassign.evidence.inspection.points import (
    grid_shapes,
    inspect,
    negative_share,
    on_grids,
)
from detassign.evidence.inspection.scene import Scene
from detassign.evidence.inspection.simulation import empty_pyramid, simulate
from detassign.evidence.inspection.subjects import at_the_end, translate
from detassign.evidence.words import three_digits

SHAPE, STRIDES, CLASSES = (64, 96), (8, 16, 32), 3
BOXES, LABELS = torch.tensor([[4.0, 4, 60, 60], [30, 10, 50, 30], [70, 20, 94, 60]]), torch.tensor([0, 0, 2])
TARGETS = Targets.from_lists([BOXES], [LABELS])
EMPTY = Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)])
NAMES = ["fcos", "atss", "max_iou", "gfl", "dw"]


def predictions_for(name, targets=TARGETS):
    assigner = build(name, CLASSES)
    return assigner, translate(simulate(targets, SHAPE, STRIDES, CLASSES), SigmoidObjectness(), assigner.score)


def inspected(name, targets=TARGETS):
    return inspect(name, *predictions_for(name, targets), targets)


def one_point(weighting="dual"):
    """A single point that predicts its object perfectly, and with what confidence."""
    predictions = empty_pyramid((8, 16), (8,), 1)
    predictions.boxes[0] = torch.tensor([[0.0, 0, 8, 8], [8, 0, 16, 8]])
    targets = Targets.from_lists([torch.tensor([[0.0, 0, 8, 8]])], [torch.tensor([0])])
    return inspect(weighting, build(f"center_prior+{weighting}", 1), predictions, targets)


@pytest.mark.parametrize("name", NAMES)
def test_cells_add_up_to_the_sums_of_the_weights(name):
    assigner, predictions = predictions_for(name)
    assignment, drawn = assigner(predictions, TARGETS), inspected(name)
    for cells, weight in ((drawn.positive, assignment.positive), (drawn.box, assignment.box)):
        assert sum(float(level.sum()) for level in cells) == pytest.approx(float(weight.sum()), rel=1e-5)
    assert sum(target.positive for target in drawn.targets) == pytest.approx(drawn.sums[0], rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_level_has_its_own_shape(name):
    drawn = inspected(name)
    for cells in (drawn.positive, drawn.negative, drawn.box):
        assert [level.shape for level in cells] == [(8, 12), (4, 6), (2, 3)]


def test_a_cell_lies_where_its_point_is():
    predictions = empty_pyramid(SHAPE, STRIDES, 1)
    columns = on_grids(predictions.points[:, 0], grid_shapes(predictions))
    assert columns[1][2].tolist() == [8, 24, 40, 56, 72, 88]


def test_counts_are_those_of_the_assignment():
    assigner, predictions = predictions_for("atss")
    assignment, drawn = assigner(predictions, TARGETS), inspected("atss")
    assert [target.pairs for target in drawn.targets] == assignment.pairs_per_target(TARGETS)[0].tolist()
    assert [t.effective for t in drawn.targets] == pytest.approx(assignment.effective_positives(TARGETS)[0].tolist())
    assert drawn.level_pairs.sum() == drawn.totals()["pairs"]


def test_a_target_names_the_levels_on_which_it_has_pairs():
    drawn = inspected("dw")
    for index, target in enumerate(drawn.targets):
        used = [stride for stride, pairs in zip(STRIDES, drawn.level_pairs[:, index], strict=True) if pairs]
        assert list(target.strides) == used


def test_a_target_between_the_points_counts_as_left_out():
    drawn = inspected("dw", Targets.from_lists([torch.tensor([[5.0, 5, 7, 7]])], [torch.tensor([1])]))
    assert drawn.targets[0].pairs == 0
    assert drawn.targets[0].best_iou is None
    assert drawn.totals()["without_positive"] == 1


def test_focal_spares_matched_points_fully_and_no_others():
    drawn = inspected("fcos")
    for positive, negative in zip(drawn.positive, drawn.negative, strict=True):
        assert np.array_equal(negative, np.where(positive > 0, 0, 1))


def test_dual_weighting_spares_by_degrees():
    shares = np.concatenate([level.ravel() for level in inspected("dw").negative])
    assert shares.min() < 1e-6
    assert shares.max() == 1
    assert ((shares > 0.1) & (shares < 0.9)).sum() > 3


def test_quality_focal_can_push_down_harder_than_background():
    assert max(float(level.max()) for level in inspected("gfl").negative) > 1


def test_the_share_of_a_class_with_no_weight_anywhere_is_one():
    assigner, predictions = predictions_for("fcos")
    assignment = assigner(predictions, EMPTY)
    assignment.negative.zero_()
    assert negative_share(assignment, assignment).unique().tolist() == [1]


def test_the_best_iou_of_a_perfect_box_is_one():
    assert one_point().targets[0].best_iou == pytest.approx(1)
    assert one_point().positive[0][0, 1] == 0


def test_ignored_regions_are_spared():
    crowd = Targets.from_lists([torch.zeros(0, 4)], [torch.zeros(0)], [torch.tensor([[0.0, 0, 32, 32]])])
    negative = inspected("fcos", crowd).negative[0]
    assert negative[:4, :4].max() == 0
    assert negative[4:].min() == 1


@pytest.mark.parametrize("name", NAMES)
def test_an_image_without_objects_gives_empty_panels(name):
    drawn = inspected(name, EMPTY)
    assert drawn.targets == []
    assert drawn.typical == (0, 0)
    assert {float(value) for level in drawn.negative for value in level.ravel()} == {1}


@pytest.mark.parametrize("wanted", [Sigmoid(), SigmoidObjectness(), Softmax()], ids=lambda score: type(score).__name__)
def test_translation_keeps_every_probability(wanted):
    simulated = simulate(TARGETS, SHAPE, STRIDES, CLASSES)
    before = SigmoidObjectness()(simulated).probability
    after = wanted(translate(simulated, SigmoidObjectness(), wanted)).probability
    assert torch.allclose(after, before, atol=1e-5)


def test_a_head_without_objectness_serves_an_assigner_that_multiplies_by_it():
    plain = Predictions(torch.randn(1, 5, CLASSES), torch.rand(1, 5, 4))
    translated = translate(plain, Sigmoid(), SigmoidObjectness())
    assert torch.allclose(SigmoidObjectness()(translated).probability, plain.logits.sigmoid(), atol=1e-5)


def test_an_assigner_that_needs_what_is_not_there_is_refused_by_name():
    class Anchored:
        cardinality = "one-to-many"
        needs = frozenset({"priors"})

        def __call__(self, predictions, targets):
            raise AssertionError("asked although it cannot be served")

    assigner = Assigner(Anchored(), focal(), Sigmoid())
    with pytest.raises(ValueError, match="'mine': needs priors, which these predictions do not have"):
        inspect("mine", assigner, predictions_for("fcos")[1], TARGETS)


def test_predictions_without_a_pyramid_are_refused():
    queries = Predictions(torch.zeros(1, 5, CLASSES), torch.zeros(1, 5, 4))
    with pytest.raises(ValueError, match="needs level_sizes, points, strides"):
        inspect("fcos", build("fcos", CLASSES), queries, TARGETS)


def test_two_images_at_once_are_refused():
    two = Targets.from_lists([BOXES, BOXES], [LABELS, LABELS])
    with pytest.raises(ValueError, match="expected those of one image, got 2"):
        inspect("fcos", *predictions_for("fcos"), two)


@pytest.fixture(scope="module")
def scene():
    image = np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), dtype=np.uint8)
    crowd = Targets.from_lists([BOXES], [LABELS], [torch.tensor([[0.0, 0, 20, 20]])])
    return Scene("noise.png", 0, image, crowd, ("cat", "dog", "bird"), {})


@pytest.mark.parametrize("names", [["dw"], ["fcos", "atss", "dw"]], ids=len)
def test_the_picture_has_the_size_of_its_layout_and_shows_something(scene, names, tmp_path):
    drawn = [inspected(name) for name in names]
    save(draw(scene, drawn, "a test"), tmp_path / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "picture.png")
    assert picture.shape[:2] == subject_of(scene, drawn).layout.size[::-1]
    assert len(np.unique(picture[..., 0])) > 100


def test_a_stronger_weight_is_drawn_on_its_cells(scene, tmp_path):
    weights = inspected("fcos")
    layout = subject_of(scene, [weights]).layout
    save(draw(scene, [weights]), tmp_path / "picture.png")
    left, bottom, width, height = layout.place(0, 1, 0)
    columns, rows = layout.size
    panel = matplotlib.image.imread(tmp_path / "picture.png")[
        round((1 - bottom - height) * rows) : round((1 - bottom) * rows),
        round(left * columns) : round((left + width) * columns),
    ]
    row, column = np.argwhere(weights.negative[0] == 0)[0]
    shape = panel.shape[:2]
    spared = panel[int((row + 0.5) * shape[0] / 8), int((column + 0.5) * shape[1] / 12)]
    assert spared[2] > 0.9 > spared[0] + 0.5  # blue


def test_levels_on_which_an_assigner_does_nothing_are_left_out_and_named(scene):
    """FCOS's ranges give nothing of these objects to the coarser levels."""
    sparse, dense = inspected("fcos"), inspected("dw")
    assert levels_with_any([sparse]) == (0,)
    assert levels_with_any([sparse, dense]) == (0, 1, 2)
    figure = draw(scene, [sparse, dense])
    assert "nothing on strides\n16 32" in "\n".join(text.get_text() for text in figure.texts)
    strides = [axes.get_title().split(":")[0] for axes in figure.axes if axes.get_title().startswith("stride")]
    assert strides == ["stride 8"] * 3 + ["stride 8", "stride 16", "stride 32"] * 3


def test_an_image_without_objects_shows_one_level():
    assert levels_with_any([inspected("fcos", EMPTY)]) == (0,)


def test_blocks_of_few_levels_lie_side_by_side():
    layout = lay_out((160, 160), [1, 1, 4, 1])
    assert [layout.begins_row(block) for block in range(4)] == [True, False, True, False]
    assert layout.corners[0][1] == layout.corners[1][1] < layout.corners[2][1]


def test_full_colour_means_the_same_in_all_assigners(scene):
    drawn = [inspected(name) for name in ("fcos", "atss", "dw")]
    tops = subject_of(scene, drawn).tops
    assert tops[0] == max(each.typical[0] for each in drawn)
    assert tops[2] == max(each.typical[1] for each in drawn)


def test_small_objects_are_enlarged_with_the_points_that_learn():
    """A dot for every point with a weight inside the window's image, on the axes of the window."""
    boxes = torch.tensor([[100.0, 100, 116, 112], [0, 0, 250, 250]])
    targets = Targets.from_lists([boxes], [torch.tensor([1, 0])])
    predictions = simulate(targets, (256, 256), STRIDES, CLASSES)
    drawn = inspect("center", build("center_prior+dual", CLASSES), predictions, targets)
    scene = Scene("photo.jpg", 0, np.zeros((256, 256, 3), np.uint8), targets, ("cat", "dog", "bird"), {})
    figure = draw(scene, [drawn])
    (window,) = [axes for axes in figure.axes if axes.get_title().startswith("object 0, ")]
    assert window.get_xlim() == (84, 132)
    assert window.get_ylim() == (130, 82)
    dots = sum(len(dots.get_offsets()) for dots in window.collections)
    learning = (((pull > 0) | (box > 0)).sum() for pull, box in zip(drawn.positive, drawn.box, strict=True))
    assert dots == sum(map(int, learning))
    assert [text.get_text() for text in window.texts] == ["0"]


def test_a_light_picture_has_light_ground_and_dark_text(scene, tmp_path):
    with themed("light"):
        figure = draw(scene, [inspected("dw")])
        save(figure, tmp_path / "light.png")
    save(draw(scene, [inspected("dw")]), tmp_path / "dark.png")
    light, dark = (matplotlib.image.imread(tmp_path / f"{name}.png")[2, 2, :3] for name in ("light", "dark"))
    assert light.min() > 0.95
    assert dark.max() < 0.15
    assert {text.get_color() for text in figure.texts if text.get_text() == "dw"} == {"#16181d"}


@pytest.mark.parametrize("levels", [4, 5])
@pytest.mark.parametrize("shape", [(480, 640), (160, 160), (640, 427)])
def test_the_picture_of_three_assigners_stays_within_bounds(shape, levels):
    width, height = lay_out(shape, [levels] * 3).size
    assert width <= PICTURE[0] + 100
    assert height <= PICTURE[1] + 100


def test_panels_keep_the_proportions_of_the_image():
    width, height = lay_out((300, 600), [5] * 3).panel
    assert width == pytest.approx(2 * height, abs=2)


def test_zero_weights_and_background_are_transparent():
    positive, negative, _ = ROWS
    assert colored(np.zeros((2, 2)), 1.0, positive)[..., 3].max() == 0
    assert colored(np.ones((2, 2)), 2.0, negative)[..., 3].max() == 0
    assert colored(np.zeros((2, 2)), 2.0, negative)[..., 3].min() == 1


def test_opacity_grows_with_the_weight_and_stops_at_the_top():
    opacity = colored(np.array([0.0, 0.1, 0.5, 1.0, 9.0]), 1.0, ROWS[0])[..., 3]
    assert (np.diff(opacity)[:3] > 0).all()
    assert opacity[-1] == opacity[-2] == 1


def test_a_level_is_described_by_its_points_and_its_part_of_the_sum():
    levels = [np.array([[3.0, 0.0]]), np.array([[1.0]])]
    assert describe(ROWS[0], levels[0], levels) == "1 point, 75 % of Σ"
    assert describe(ROWS[1], np.array([[1.0, 0.5, 0.0]]), []) == "2 points spared 75 %"
    assert describe(ROWS[1], np.array([[1.0, 0.999]]), []) == "none spared"


@pytest.mark.parametrize("shape", [(160, 160), (480, 640), (900, 300)], ids=str)
@pytest.mark.parametrize("count", [1, 3, 5])
def test_no_text_lies_upon_another(count, shape):
    """The names of strides, points and shares are as long as they get, on panels of any size."""
    targets = Targets.from_lists([BOXES.repeat(5, 1)], [LABELS.repeat(5)])
    predictions = simulate(targets, shape, (8, 16, 32, 64, 128), CLASSES)
    one = inspect("dw", build("dw", CLASSES), predictions, targets)
    many = replace(one, negative=[np.full_like(level, 0.5) for level in one.negative], sums=(12345.6, 12345.6, 12345.6))
    scene = Scene("photo.jpg", 0, np.zeros((*shape, 3), np.uint8), targets, ("cat", "dog", "bird"), {})
    windows = len(subject_of(scene, [many]).windows)
    figure = draw(scene, [many] * count, "val image 0")
    figure.canvas.draw()
    titles = [axes.title for axes in figure.axes if axes.title.get_text()]
    numbers = [label for axes in figure.axes for label in axes.get_yticklabels() if label.get_text()]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in (*titles, *numbers, *figure.texts)]
    assert len(titles) == (16 + windows) * count
    for index, box in enumerate(boxes):
        assert not box.count_overlaps(boxes[index + 1 :])
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_assigners_that_change_are_shown_as_at_the_end_of_a_training():
    assigners = at_the_end(["tood", "atss+dual"], CLASSES)
    assert list(assigners) == ["tood", "atss+dual"]
    assert isinstance(assigners["tood"].matching, TaskAligned)


def test_a_number_has_three_digits_or_all_before_the_point():
    assert [three_digits(value) for value in (0.0, 0.08351, 999.4, 999.6, 12345.6)] == [
        "0",
        "0.0835",
        "999",
        "1000",
        "12346",
    ]


def test_classes_differ_in_colour():
    assert len({color_of(label) for label in range(10)}) == 10


def test_nothing_to_draw_is_refused(scene, tmp_path):
    with pytest.raises(ValueError, match="expected at least one"):
        draw(scene, [])
