"""The gradient of every assigner's loss is the derivative of its value, what it detaches held fixed."""

import pytest
import torch
from support.random_batches import built, every_spec, random_batch
from torch.overrides import TorchFunctionMode


class HeldFixed(TorchFunctionMode):
    """Inside it, `detach` answers with what it answered the first time: detached parts do not follow a perturbation."""

    def __init__(self):
        super().__init__()
        self.recorded, self.position, self.recording = [], 0, True

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        if function is not torch.Tensor.detach:
            return function(*arguments, **(keywords or {}))
        if self.recording:
            self.recorded.append(arguments[0].detach().clone())
        self.position += 1
        return self.recorded[self.position - 1]

    def restart(self):
        self.recording, self.position = not self.recorded, 0


@pytest.mark.parametrize("seed", [3, 4])
@pytest.mark.parametrize("spec", every_spec())
def test_loss_has_the_gradient_of_its_value(spec, seed):
    assigner = built(spec).double()
    predictions, targets = random_batch(assigner, seed)
    fixed = HeldFixed()

    def losses(logits, boxes, objectness):
        changed = type(predictions)(
            logits,
            boxes,
            objectness,
            predictions.points.double(),
            predictions.strides.double(),
            predictions.level_sizes,
        )
        fixed.restart()
        with fixed:
            return tuple(assigner.loss(changed, targets).values())

    inputs = (predictions.logits, predictions.boxes, predictions.objectness)
    inputs = tuple(value.double().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(losses, inputs, fast_mode=True, eps=1e-7, atol=1e-5)


def test_holding_detached_parts_fixed_is_what_makes_that_so():
    """Without it dual weighting's value moves with its weights, and its gradient rightly does not."""
    assigner = built("dw").double()
    predictions, targets = random_batch(assigner, 3)
    logits = predictions.logits.double().requires_grad_()

    def loss(logits):
        changed = type(predictions)(
            logits, predictions.boxes, predictions.objectness, predictions.points, predictions.strides, (64, 16)
        )
        return assigner.loss(changed, targets)["loss_cls_pos"]

    assert not torch.autograd.gradcheck(loss, logits, fast_mode=True, eps=1e-7, atol=1e-5, raise_exception=False)
