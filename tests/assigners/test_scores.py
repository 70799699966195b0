import math

import pytest
import torch
from support.small import pyramid
from torch.nn.functional import logsigmoid

from detassign.assigners import SCORES, GeometricMean, Matches, Sigmoid, SigmoidObjectness, Softmax
from detassign.assigners.scores import log1mexp

NAMES = list(SCORES)


def model_and_predictions(name, scale=1.0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    score = SCORES.build(name)
    columns = 3 + score.background_column
    logits = scale * torch.randn(2, 20, columns, generator=generator, dtype=dtype)
    objectness = scale * torch.randn(2, 20, generator=generator, dtype=dtype)
    return score, pyramid((4, 4, 8), (2, 2, 16), images=2, logits=logits, objectness=objectness)


def every_pair(predictions, classes=3):
    images, samples = predictions.logits.shape[:2]
    grids = torch.meshgrid(torch.arange(images), torch.arange(samples), torch.arange(classes), indexing="ij")
    image, sample, label = (grid.flatten() for grid in grids)
    return Matches(image, sample, torch.zeros_like(image), torch.ones(len(image))), label


@pytest.mark.parametrize("name", NAMES)
def test_present_and_absent_add_up_to_one(name):
    score, predictions = model_and_predictions(name)
    scores = score(predictions)
    present = scores.log_present(*every_pair(predictions)).view(scores.log_absent.shape)
    torch.testing.assert_close(present.exp() + scores.log_absent.exp(), torch.ones_like(present))
    torch.testing.assert_close(present.exp(), scores.probability)


@pytest.mark.parametrize("name", NAMES)
def test_logs_are_finite_and_probabilities_between_zero_and_one_at_any_logit(name):
    for scale in (1.0, 30.0, 300.0):
        score, predictions = model_and_predictions(name, scale, dtype=torch.float32)
        scores = score(predictions)
        assert scores.log_absent.isfinite().all()
        assert scores.log_present(*every_pair(predictions)).isfinite().all()
        assert ((scores.probability >= 0) & (scores.probability <= 1)).all()


@pytest.mark.parametrize("name", NAMES)
def test_float32_logs_are_those_of_float64(name):
    for scale in (1.0, 10.0):
        score, exact = model_and_predictions(name, scale)
        rounded = type(exact)(
            exact.logits.float(), exact.boxes, exact.objectness.float(), exact.points, exact.strides, exact.level_sizes
        )
        widened = type(exact)(
            rounded.logits.double(),
            exact.boxes,
            rounded.objectness.double(),
            exact.points,
            exact.strides,
            exact.level_sizes,
        )
        ours, reference = score(rounded), score(widened)
        torch.testing.assert_close(ours.log_absent.double(), reference.log_absent, rtol=2e-6, atol=2e-6)
        matches, labels = every_pair(exact)
        present = ours.log_present(matches, labels).double()
        torch.testing.assert_close(present, reference.log_present(matches, labels), rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_score_models_have_the_gradient_of_their_values(name):
    score, predictions = model_and_predictions(name)
    matches, labels = every_pair(predictions)

    def logs(logits, objectness):
        changed = type(predictions)(
            logits, predictions.boxes, objectness, predictions.points, predictions.strides, predictions.level_sizes
        )
        scores = score(changed)
        return scores.log_absent, scores.log_present(matches, labels), scores.probability

    inputs = (predictions.logits.requires_grad_(), predictions.objectness.requires_grad_())
    assert torch.autograd.gradcheck(logs, inputs, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_small_probabilities_keep_their_digits_in_float32(name):
    score, exact = model_and_predictions(name)
    logits = exact.logits.float()
    logits[..., :1] -= 25
    rounded = type(exact)(logits, exact.boxes, exact.objectness.float(), exact.points, exact.strides, exact.level_sizes)
    widened = type(exact)(
        logits.double(), exact.boxes, rounded.objectness.double(), exact.points, exact.strides, exact.level_sizes
    )
    ours, reference = score(rounded).probability[..., 0], score(widened).probability[..., 0]
    assert (ours > 0).all()
    torch.testing.assert_close(ours.double(), reference, rtol=1e-5, atol=0)


def test_sigmoid_is_the_sigmoid():
    predictions = pyramid((1, 1, 8), logits=torch.tensor([[[0.0, math.log(3), -math.log(3)]]]))
    torch.testing.assert_close(Sigmoid()(predictions).probability, torch.tensor([[[0.5, 0.75, 0.25]]]))


def test_sigmoid_objectness_is_the_product():
    predictions = pyramid(
        (1, 1, 8), logits=torch.tensor([[[0.0, math.log(3), 0.0]]]), objectness=torch.tensor([[-math.log(3)]])
    )
    expected = torch.tensor([[[0.125, 0.1875, 0.125]]])
    torch.testing.assert_close(SigmoidObjectness()(predictions).probability, expected)
    torch.testing.assert_close(SigmoidObjectness(space="probability")(predictions).probability, expected)


def test_softmax_shares_one_probability_with_the_background_in_the_last_column():
    logits = torch.tensor([[[0.0, math.log(2), 0.0, math.log(4)]]])
    scores = Softmax()(pyramid((1, 1, 8), logits=logits))
    torch.testing.assert_close(scores.probability, torch.tensor([[[0.125, 0.25, 0.125]]]))
    assert scores.log_background.item() == pytest.approx(math.log(0.5))


def test_a_detached_objectness_weighs_the_score_and_learns_nothing():
    predictions = pyramid((2, 2, 8), objectness=torch.ones(1, 4, requires_grad=True))
    predictions.logits.requires_grad_()
    attached, detached = SigmoidObjectness()(predictions), SigmoidObjectness(detach_objectness=True)(predictions)
    torch.testing.assert_close(detached.log_absent, attached.log_absent)
    detached.log_absent.sum().backward()
    assert predictions.objectness.grad.count_nonzero() == 0  # in the graph, so that no parameter is unused, and no more
    assert predictions.logits.grad.count_nonzero() == 12


def test_logs_of_probability_space_are_floored_where_log_space_is_exact():
    logits = torch.full((1, 1, 3), 200.0)
    predictions = pyramid((1, 1, 8), logits=logits, objectness=torch.full((1, 1), 300.0))
    floored, exact = SigmoidObjectness(space="probability")(predictions), SigmoidObjectness()(predictions)
    assert floored.log_absent.tolist() == [[[-100.0] * 3]]
    torch.testing.assert_close(exact.log_absent, torch.full((1, 1, 3), -200.0))


def test_a_class_the_softmax_is_sure_of_still_learns_to_be_less_sure():
    logits = torch.tensor([[[60.0, 0.0, 0.0, 0.0]]], requires_grad=True)
    scores = Softmax()(pyramid((1, 1, 8), logits=logits))
    assert scores.log_absent[0, 0, 0].item() == pytest.approx(math.log(3) - 60)
    scores.log_absent[0, 0, 0].backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[[-1.0, 1 / 3, 1 / 3, 1 / 3]]]))


@pytest.mark.parametrize("name", NAMES)
def test_a_logit_that_is_no_number_has_probability_zero_and_a_log_that_is_none(name):
    score, predictions = model_and_predictions(name)
    predictions.logits[0, 3] = torch.nan
    scores = score(predictions)
    assert (scores.probability[0, 3] == 0).all()
    assert scores.log_absent[0, 3].isnan().all()
    assert scores.log_absent[0, 4].isfinite().all()


def test_sigmoid_objectness_without_objectness_is_refused():
    with pytest.raises(ValueError, match="objectness: the score model sigmoid_objectness needs it, got None"):
        SigmoidObjectness()(pyramid((1, 1, 8), objectness=None))


def test_an_unknown_space_is_refused():
    with pytest.raises(ValueError, match='space: expected "log" or "probability", got \'linear\''):
        SigmoidObjectness(space="linear")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log1mexp_is_accurate_from_the_smallest_to_the_largest(dtype):
    """Against forms that are exact at either end in float64: log(-x) + x / 2 near 0, -exp(x) far from it."""
    small = -torch.logspace(-30, -4, 200, dtype=torch.float64).to(dtype)
    near = small.double()
    torch.testing.assert_close(
        log1mexp(small).double(), (-near).log() + near / 2, rtol=2 * torch.finfo(dtype).eps, atol=1e-8
    )
    large = -torch.linspace(20, 80, 200, dtype=torch.float64).to(dtype)
    exact = -large.double().exp()
    torch.testing.assert_close(
        log1mexp(large).double(), exact - exact**2 / 2, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0
    )


def test_log1mexp_in_float32_is_that_of_float64():
    x = -torch.logspace(-20, 1.9, 2000).float()
    reference = log1mexp(x.double()).float()
    torch.testing.assert_close(log1mexp(x), reference, rtol=1e-6, atol=1e-30)


def test_log1mexp_undoes_logsigmoid():
    logits = torch.linspace(-30, 30, 121, dtype=torch.float64)
    torch.testing.assert_close(log1mexp(logsigmoid(logits)), logsigmoid(-logits), rtol=1e-3, atol=1e-12)


def test_log1mexp_at_zero_is_finite_and_has_a_finite_gradient():
    x = torch.tensor([0.0, -1e-45, -0.6931472, -200.0, -torch.inf], requires_grad=True)
    value = log1mexp(x)
    assert value[:4].isfinite().all()
    assert value[4] == 0
    value[:4].sum().backward()
    assert x.grad[:4].isfinite().all()


def test_log1mexp_has_the_gradient_of_its_value():
    x = -torch.logspace(-3, 1.5, 40, dtype=torch.float64)
    assert torch.autograd.gradcheck(log1mexp, x.requires_grad_())


def test_a_geometric_mean_is_the_root_of_the_product():
    score, predictions = model_and_predictions("geometric_mean")
    wanted = (predictions.logits.sigmoid() * predictions.objectness.sigmoid()[..., None]).sqrt()
    torch.testing.assert_close(score(predictions).probability, wanted)


def test_both_factors_of_a_geometric_mean_learn_half_of_what_the_probability_is_short_of():
    """dP / dx = P (1 - sigmoid(x)) / 2 for either logit, as the hand-written gradient of TOOD's code has it."""
    logits, objectness = (torch.tensor(value).requires_grad_() for value in ([[[-1.0, 30.0]]], [[2.0]]))
    predictions = pyramid((1, 1, 8), classes=2, logits=logits, objectness=objectness)
    probability = GeometricMean()(predictions).probability
    slopes = torch.autograd.grad(probability.sum(), (logits, objectness))
    torch.testing.assert_close(slopes[0], (probability * (1 - logits.sigmoid()) / 2).detach())
    torch.testing.assert_close(slopes[1], (probability * (1 - objectness.sigmoid())[..., None] / 2).sum(-1).detach())


def test_a_geometric_mean_without_a_second_branch_is_refused():
    predictions = pyramid((1, 1, 8), objectness=None)
    with pytest.raises(ValueError, match="objectness: the score model geometric_mean needs it, got None"):
        GeometricMean()(predictions)
