"""Sigmoid and softmax focal loss in the calling convention of ``mmcv._ext``.

Lin et al., "Focal Loss for Dense Object Detection" (2017). The loss of logit x is -weight * alpha_t * (1 - p_t)^gamma *
log p_t. Everything sigmoid is computed in log space, so that a saturated logit has its true loss where mmcv clamps
log(0) at -87.3. A target outside 0 .. C - 1 is background; class weights do not apply to it.

All results are written into the buffers that mmcv allocates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "sigmoid_focal_loss_backward",
    "sigmoid_focal_loss_forward",
    "softmax_focal_loss_backward",
    "softmax_focal_loss_forward",
]


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every logit.

    Args:
        input: (N, C) logits.
        target: (N,) int64 class, anything outside 0 .. C - 1 is background.
        weight: (C,) class weights that scale whole rows, or (0,) for none.
        output: (N, C), receives the loss.
        gamma: focusing exponent, 0 or more.
        alpha: weight of positives; 1 - alpha is that of negatives.
    """
    sign, scale = _signs_and_scales(input, target, weight, alpha)
    log_true, log_false = F.logsigmoid(sign * input), F.logsigmoid(-sign * input)
    output.copy_(-scale * torch.exp(gamma * log_false) * log_true)


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write d loss / d logit of every logit into ``grad_input`` (N, C); the arguments are those of the forward."""
    sign, scale = _signs_and_scales(input, target, weight, alpha)
    log_true, log_false = F.logsigmoid(sign * input), F.logsigmoid(-sign * input)
    slope = gamma * log_true.exp() * log_true - log_false.exp()
    grad_input.copy_(scale * sign * torch.exp(gamma * log_false) * slope)


def softmax_focal_loss_forward(
    input_softmax: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write the loss of every row; background rows have none.

    Args:
        input_softmax: (N, C) probabilities.
        target: (N,) int64 class, anything outside 0 .. C - 1 is background.
        weight: (C,) class weights, or (0,) for none.
        output: (N,), receives the loss.
        gamma: focusing exponent, 0 or more.
        alpha: factor of the whole loss.
    """
    probability, scale = _probabilities_and_scales(input_softmax, target, weight, alpha)
    output.copy_(-scale * (1 - probability) ** gamma * _clamped_log(probability))


def softmax_focal_loss_backward(
    input_softmax: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write d loss / d logit into ``grad_input`` (N, C) and its row factor into ``buff`` (N,)."""
    probability, scale = _probabilities_and_scales(input_softmax, target, weight, alpha)
    missing = (1 - probability).clamp(min=torch.finfo(probability.dtype).tiny)  # gamma - 1 may be negative
    focus = gamma * missing ** (gamma - 1) * probability * _clamped_log(probability)
    buff.copy_(scale * (focus - missing**gamma))
    one_hot = target.unsqueeze(1) == torch.arange(input_softmax.shape[1], device=target.device)
    grad_input.copy_(buff.unsqueeze(1) * (one_hot.to(input_softmax) - input_softmax))


def _signs_and_scales(input: Tensor, target: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """(N, C) +1 where the class is the target and -1 elsewhere, and the factor of each loss."""
    positive = target.unsqueeze(1) == torch.arange(input.shape[1], device=target.device)
    sign = positive.to(input) * 2 - 1
    balance = torch.where(positive, alpha, 1 - alpha).to(input)
    return sign, balance * _row_weights(target, weight, input).unsqueeze(1)


def _probabilities_and_scales(
    input_softmax: Tensor, target: Tensor, weight: Tensor, alpha: float
) -> tuple[Tensor, Tensor]:
    """(N,) probability of the target class and the factor of each row's loss, 0 for background."""
    classes = input_softmax.shape[1]
    foreground = (target >= 0) & (target < classes)
    probability = input_softmax.gather(1, target.clamp(0, classes - 1).unsqueeze(1)).squeeze(1)
    return probability, alpha * foreground * _row_weights(target, weight, input_softmax)


def _row_weights(target: Tensor, weight: Tensor, like: Tensor) -> Tensor:
    """(N,) weight of each row's target class; 1 for background and where no class weights are given."""
    if weight.numel() == 0:
        return torch.ones_like(target, dtype=like.dtype)
    foreground = (target >= 0) & (target < len(weight))
    return torch.where(foreground, weight[target.clamp(0, len(weight) - 1)].to(like), 1.0)


def _clamped_log(probability: Tensor) -> Tensor:
    return probability.clamp(min=torch.finfo(probability.dtype).tiny).log()
