import pytest
import torch
import torchvision
from mmcv.ops import SigmoidFocalLoss, SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss
from support.golden import cases
from torch.autograd import gradcheck

INPUTS = [
    ([[1.0, 0], [0, 1]], [0, 1]),
    ([[1.0, 0, -1], [0, 1, 2]], [2, 1]),
]
# Mean loss and gradient that mmcv's own tests expect at gamma 2, alpha 0.25.
SIGMOID = [
    (0.13562961, [[-0.00657264, 0.11185755], [0.11185755, -0.00657264]]),
    (1.10251057, [[0.28808805, 0.11185755, -0.09602935], [0.11185755, -0.00657264, 0.40376765]]),
]
SOFTMAX = [
    (0.00566451, [[-0.00657264, 0.00657264], [0.00657264, -0.00657264]]),
    (0.34956908, [[0.10165970, 0.03739851, -0.13905823], [0.01227554, -0.10298023, 0.09070466]]),
]
TARGETS = torch.tensor([0, 2, 3, 1, 3, 0])  # 3 is background for three classes


def random_logits(rows: int = 6, classes: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(rows, classes, generator=generator, dtype=torch.float64) * 3).requires_grad_()


def one_hot(target: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(target, classes + 1)[:, :classes].double()


@pytest.mark.parametrize("case", cases("dense", "op_sigmoid_focal_loss_*"))
def test_sigmoid_loss_equals_golden(case):
    """Multi-label targets become a single class each: class 0 is the positive one, 1 the background."""
    logits, reduction = case.leaf("input/logits"), case.config["reduction"]
    targets = 1 - case.tensor("input/targets").long().flatten()
    balanced = case.config["alpha"] >= 0
    alpha, scale = (case.config["alpha"], 1.0) if balanced else (0.5, 2.0)  # the recording's -1 turns alpha off
    loss = scale * sigmoid_focal_loss(logits.reshape(-1, 1), targets, case.config["gamma"], alpha, None, reduction)
    loss = loss.reshape(case.tensor("output/loss").shape)
    case.check("output/loss", loss)
    loss.backward(case.tensor("input/upstream_grad"))
    case.check("grad/logits", logits.grad)


@pytest.mark.parametrize(("inputs", "expected"), list(zip(INPUTS, SIGMOID, strict=True)))
def test_sigmoid_loss_gives_the_published_result(inputs, expected):
    logits = torch.tensor(inputs[0], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor(inputs[1]), 2.0, 0.25, None, "mean")
    loss.backward()
    torch.testing.assert_close(loss.item(), expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, torch.tensor(expected[1]))


@pytest.mark.parametrize(("inputs", "expected"), list(zip(INPUTS, SOFTMAX, strict=True)))
def test_softmax_loss_gives_the_published_result(inputs, expected):
    logits = torch.tensor(inputs[0], requires_grad=True)
    loss = softmax_focal_loss(logits, torch.tensor(inputs[1]), 2.0, 0.25, None, "mean")
    loss.backward()
    torch.testing.assert_close(loss.item(), expected[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(logits.grad, torch.tensor(expected[1]))


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.75)])
def test_sigmoid_loss_equals_torchvision_with_background(gamma, alpha):
    logits = random_logits()
    ours = sigmoid_focal_loss(logits, TARGETS, gamma, alpha, None, "none")
    theirs = torchvision.ops.sigmoid_focal_loss(logits, one_hot(TARGETS, 3), alpha, gamma)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.rand_like(ours)
    ours_grad, theirs_grad = (torch.autograd.grad(loss, logits, upstream)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_sigmoid_loss_weights_rows_by_their_class_and_leaves_background_alone():
    logits, weight = random_logits().detach(), torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    plain = sigmoid_focal_loss(logits, TARGETS, 2.0, 0.25, None, "none")
    weighted = sigmoid_focal_loss(logits, TARGETS, 2.0, 0.25, weight, "none")
    torch.testing.assert_close(weighted, plain * torch.tensor([2.0, 5, 1, 3, 1, 2]).double().unsqueeze(1))


def test_sigmoid_loss_of_saturated_logits_is_exact_and_finite():
    logits = torch.tensor([[-80.0, 80.0]], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([0]), 2.0, 0.25, None, "none")
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([[20.0, 60.0]]))
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.25, 0.75]]))


@pytest.mark.parametrize("weight", [None, torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)])
@pytest.mark.parametrize("gamma", [2.0, 0.5, 0.0])
def test_softmax_loss_equals_its_formula_with_background_at_zero(weight, gamma):
    logits = random_logits()
    ours = softmax_focal_loss(logits, TARGETS, gamma, 0.25, weight, "sum")  # mmcv has no backward for "none"
    log_p = logits.log_softmax(1).gather(1, TARGETS.clamp(max=2).unsqueeze(1)).squeeze(1)
    factor = 1.0 if weight is None else weight[TARGETS.clamp(max=2)]
    theirs = (-0.25 * factor * (1 - log_p.exp()) ** gamma * log_p * (TARGETS < 3)).sum()
    torch.testing.assert_close(ours, theirs)
    ours_grad, theirs_grad = (torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs))
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_softmax_loss_of_a_certain_row_has_finite_gradient():
    logits = torch.tensor([[200.0, 0.0]], requires_grad=True)
    softmax_focal_loss(logits, torch.tensor([0]), 0.5, 0.25).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("loss", [SigmoidFocalLoss(2.0, 0.25), SoftmaxFocalLoss(2.0, 0.25, reduction="sum")])
def test_gradients_are_those_of_the_loss(loss):
    assert gradcheck(loss, (random_logits(), TARGETS))
