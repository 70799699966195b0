"""Where the random numbers of denoising come from, and what they do to labels and boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from ..boxes import center, sides


class Noise:
    """Random numbers on the device where they are wanted, from a generator on whichever device.

    Args:
        generator: makes the numbers; None is torch's own, of the wanted device.

    >>> first, second = (Noise(torch.Generator().manual_seed(0)) for _ in range(2))
    >>> torch.equal(first.uniform((2, 3), torch.zeros(0)), second.uniform((2, 3), torch.zeros(0)))
    True
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        self.generator = generator

    def uniform(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Numbers in [0, 1) of the type and on the device of `like`."""
        return torch.rand(shape, generator=self.generator, dtype=like.dtype, device=self._device(like)).to(like.device)

    def integers(self, high: int, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Integers from 0 to high - 1, long, on the device of `like`."""
        return torch.randint(high, shape, generator=self.generator, device=self._device(like)).to(like.device)

    def _device(self, like: Tensor) -> torch.device:
        return like.device if self.generator is None else self.generator.device


def flip_labels(labels: Tensor, probability: float, num_classes: int, noise: Noise) -> Tensor:
    """Labels (B, K), each replaced with this probability by any class, its own included.

    Draws, if the probability is not 0: (B, K) uniform, (B, K) integers.
    """
    if probability == 0:
        return labels
    flipped = noise.uniform(labels.shape, torch.empty(0, device=labels.device)) < probability
    return torch.where(flipped, noise.integers(num_classes, labels.shape, labels), labels)


def shake_centers(boxes: Tensor, scale: float, noise: Noise) -> Tensor:
    """Boxes (B, K, 4) xyxy in [0, 1]: the centre moves up to scale / 2 sides, the sides change up to scale times theirs.

    DN-DETR (arXiv 2203.01305, section 4.2); the four numbers of centre and size are clamped to [0, 1] in the end.
    Returns cxcywh. Draws, if the scale is not 0: (B, K, 4) uniform.
    """
    size = sides(boxes)
    boxes = torch.cat([center(boxes), size], -1)
    if scale == 0:
        return boxes
    reach = torch.cat([size / 2, size], -1)
    return (boxes + (2 * noise.uniform(boxes.shape, boxes) - 1) * reach * scale).clamp(0, 1)


def shake_corners(boxes: Tensor, scale: float, noise: Noise, far: Tensor | None = None) -> Tensor:
    """Boxes (B, K, 4) xyxy in [0, 1]: every coordinate moves up to scale / 2 sides, of far ones from there to twice that.

    DINO (arXiv 2203.03605, section 3.3); corners are clamped to [0, 1] and may end up in the wrong order, which gives
    sizes of 0 or less. Returns cxcywh. Draws, if the scale is not 0: (B, K, 4) integers below 2, for the signs, and (B, K,
    4) uniform; without `far` (B, K, 4) uniform alone.

    Args:
        boxes, scale, noise: as above.
        far: (B, K) bool, or None for a kind of denoising without negatives.
    """
    if scale != 0:
        reach = (sides(boxes) / 2).repeat(1, 1, 2)
        if far is None:
            moved = 2 * noise.uniform(boxes.shape, boxes) - 1
        else:
            sign = 2 * noise.integers(2, boxes.shape, boxes) - 1
            moved = sign * (noise.uniform(boxes.shape, boxes) + far[..., None])
        boxes = (boxes + moved * reach * scale).clamp(0, 1)
    return torch.cat([center(boxes), sides(boxes)], -1)
