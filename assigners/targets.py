"""The objects of one batch, padded: M per image.

Letters as in `structures`: B images, M padded targets, C classes, P pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..ops.transfer import to_device
from .checks import AssignmentWarning
from .fields import check_bool, check_shape, map_tensors
from .needs import required


@dataclass(frozen=True)
class Targets:
    """The objects of one batch, padded to M per image.

    Attributes:
        boxes: (B, M, 4) xyxy, pixels.
        labels: (B, M) long, 0 <= label < C.
        mask: (B, M) bool, True where there is an object.
        ignore_boxes: (B, I, 4) xyxy, pixels; crowd regions in which a sample is not punished, or None.
        ignore_mask: (B, I) bool, or None.
        sizes: (B, 2) width and height of each image without batch padding, pixels; None where nobody asks for boxes
            as shares of the image.

    Labels of any integer type are kept as long.

    Raises:
        ValueError: when the shapes do not belong together, a mask is not bool or the labels are not integers.
    """

    boxes: Tensor
    labels: Tensor
    mask: Tensor
    ignore_boxes: Tensor | None = None
    ignore_mask: Tensor | None = None
    sizes: Tensor | None = None

    def __post_init__(self) -> None:
        if self.boxes.dim() != 3 or self.boxes.shape[-1] != 4:
            raise ValueError(f"boxes: expected shape (B, M, 4), got {tuple(self.boxes.shape)}")
        for name in ("labels", "mask"):
            check_shape(name, getattr(self, name), tuple(self.boxes.shape[:2]))
        if (self.ignore_boxes is None) != (self.ignore_mask is None):
            raise ValueError("ignore_boxes and ignore_mask: expected both or neither")
        if self.ignore_boxes is not None:
            if self.ignore_boxes.dim() != 3 or self.ignore_boxes.shape[-1] != 4:
                raise ValueError(f"ignore_boxes: expected shape (B, I, 4), got {tuple(self.ignore_boxes.shape)}")
            check_shape("ignore_mask", self.ignore_mask, (len(self.boxes), self.ignore_boxes.shape[1]))
        object.__setattr__(self, "labels", _indices("labels", self.labels))
        check_bool("mask", self.mask)
        check_bool("ignore_mask", self.ignore_mask)
        check_shape("sizes", self.sizes, (len(self.boxes), 2))

    @classmethod
    def from_lists(
        cls,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        ignore_boxes: Sequence[Tensor] | None = None,
        sizes: Tensor | None = None,
    ) -> Targets:
        """Pad one tensor per image into a batch.

        Args:
            boxes: B tensors (G, 4) xyxy, pixels; G may differ and may be 0.
            labels: B tensors (G,) of integers, of any type where G is 0; for a single-class problem all zeros.
            ignore_boxes: B tensors (I, 4) xyxy, pixels, or None.
            sizes: (B, 2) width and height of the images, pixels, or None; taken to where the boxes are.

        Raises:
            ValueError: when there is no image, not one tensor per image, a different number of boxes and labels, or labels
                are not integers.

        >>> targets = Targets.from_lists([torch.zeros(2, 4), torch.zeros(0, 4)], [torch.tensor([1, 3]), torch.zeros(0)])
        >>> targets.mask.tolist()
        [[True, True], [False, False]]
        """
        _check_lists(len(boxes), boxes=boxes, labels=labels, ignore_boxes=ignore_boxes)
        for index, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
            if image_labels.dim() != 1:
                raise ValueError(f"labels of image {index}: expected shape (G,), got {tuple(image_labels.shape)}")
            if image_boxes.shape != (len(image_labels), 4):
                raise ValueError(
                    f"boxes of image {index}: expected shape ({len(image_labels)}, 4) to go with its labels, "
                    f"got {tuple(image_boxes.shape)}"
                )
        padded, mask = _pad(boxes)
        indices = [_indices(f"labels of image {i}", own) if len(own) else own.long() for i, own in enumerate(labels)]
        padded_labels = pad_sequence(indices, batch_first=True)
        ignored = (None, None) if ignore_boxes is None else _pad(ignore_boxes)
        if sizes is not None:
            sizes = to_device(sizes, padded.device, padded.dtype)
        return cls(padded, padded_labels, mask, *ignored, sizes)

    def check_labels(self, num_classes: int) -> None:
        """Raise ValueError when a label is outside [0, num_classes); looks only where that costs no device sync."""
        if self.labels.device.type != "cpu":
            return
        wrong = self.labels[self.mask & ((self.labels < 0) | (self.labels >= num_classes))]
        if wrong.numel():
            raise ValueError(f"labels: expected 0 <= label < {num_classes} (the head's classes), got {int(wrong[0])}")

    def check_boxes(self) -> None:
        """Look at the boxes where that costs no device sync.

        Zero-sized boxes pass. Boxes in shares of the image, where `sizes` do not say that images are 1 wide and high, are
        warned of.

        Raises:
            ValueError: for a box or ignore box that is inside out or not finite.
        """
        if self.boxes.device.type != "cpu":
            return
        _check_corners("boxes", self.boxes, self.mask)
        if self.ignore_boxes is not None:
            _check_corners("ignore_boxes", self.ignore_boxes, required("ignore_mask", self.ignore_mask))
        real = self.boxes[self.mask]
        in_pixels = self.sizes is None or (self.sizes > 1).any()
        if in_pixels and real.numel() and real.min() >= 0 and 0 < real.max() <= 1:
            sentence = "boxes: all of a batch lie between 0 and 1, as shares of the image do; pixels are expected"
            warnings.warn(sentence, AssignmentWarning, stacklevel=2)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Targets:
        """The targets on another device; with `dtype`, boxes and sizes in that type."""
        moved = map_tensors(self, lambda t: to_device(t, device))
        if dtype is None:
            return moved
        measures = {name: getattr(moved, name) for name in ("boxes", "ignore_boxes", "sizes")}
        return replace(moved, **{name: t.to(dtype) for name, t in measures.items() if t is not None})

    def part(self, start: int, stop: int) -> Targets:
        """The targets from one place to another of every image."""
        names = ("boxes", "labels", "mask")
        return replace(self, **{name: getattr(self, name)[:, start:stop] for name in names})

    def first_images(self, count: int) -> Targets:
        """The targets of so many images."""
        return map_tensors(self, lambda t: t[:count])

    def repeat(self, groups: int) -> Targets:
        """The targets of `groups` stacked batches, (groups * B, ...), group after group (see `Predictions.groups`)."""
        if groups == 1:
            return self
        return map_tensors(self, lambda t: t.expand(groups, *t.shape).flatten(0, 1))

    def again(self, times: int, room: int | None = None) -> Targets:
        """Every object so often, (B, times * M, ...), one copy of them all behind the other.

        With `room` an image's objects are there less often, all equally, where that would be more than so many: as often as
        they fit in, once at least.

        >>> targets = Targets(torch.zeros(2, 3, 4), torch.zeros(2, 3).long(), torch.tensor([[True] * 3, [True, False, False]]))
        >>> targets.again(4, room=7).mask.sum(1).tolist()
        [6, 4]
        """
        names = ("boxes", "labels", "mask")
        copies = replace(self, **{name: torch.cat([getattr(self, name)] * times, 1) for name in names})
        if room is None:
            return copies
        fitting = (room // self.mask.sum(1, keepdim=True).clamp(min=1)).clamp(min=1)
        copy = torch.arange(times, device=self.mask.device).repeat_interleave(self.mask.shape[1])
        return replace(copies, mask=copies.mask & (copy < fitting))

    def shares_of(self, boxes: Tensor, image: Tensor | None = None) -> Tensor:
        """Boxes xyxy in pixels as shares of the width and height of their images.

        Args:
            boxes: (B, K, 4), or (P, 4) with `image`.
            image: (P,) the image of each box.

        Raises:
            ValueError: when the targets do not know their images' sizes.
        """
        if self.sizes is None:
            raise ValueError("sizes: boxes relative to the image need the targets' image sizes, got None")
        sizes = self.sizes.repeat(1, 2)
        return boxes / (sizes[:, None] if image is None else sizes[image])


def _check_lists(images: int, **lists: Sequence[Tensor] | None) -> None:
    """Raise ValueError unless each list that is there has a tensor for each of so many images, of which there is one."""
    if not images:
        raise ValueError("boxes: expected the tensors of at least one image, got an empty list")
    for name, tensors in lists.items():
        if tensors is None:
            continue
        if len(tensors) != images:
            raise ValueError(f"{name}: expected a tensor for each of the {images} images, got {len(tensors)}")
        for index, tensor in enumerate(tensors):
            if not isinstance(tensor, Tensor):
                raise ValueError(f"{name} of image {index}: expected a tensor, got {type(tensor).__name__}")


def _indices(name: str, labels: Tensor) -> Tensor:
    """Class indices as long."""
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: expected class indices of an integer type, got {labels.dtype}")
    return labels.long()


def _check_corners(name: str, boxes: Tensor, mask: Tensor) -> None:
    sound = (boxes[..., 2:] >= boxes[..., :2]).all(-1) & boxes.isfinite().all(-1)
    if bool((sound | ~mask).all()):
        return
    image, place = (mask & ~sound).nonzero()[0].tolist()
    raise ValueError(
        f"{name}: expected finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2, got {boxes[image, place].tolist()} in image "
        f"{image} (boxes as xywh or cxcywh look like that)"
    )


def _pad(boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    padded = pad_sequence(list(boxes), batch_first=True)
    counts = to_device(torch.tensor([len(b) for b in boxes]), padded.device)
    return padded, torch.arange(padded.shape[1], device=padded.device) < counts[:, None]
