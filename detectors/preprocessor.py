"""How a batch reaches the device: images stacked, normalised and padded by mmdet, without a wait for the GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmdet.models import DetDataPreprocessor
from torch import Tensor

from ..ops.transfer import to_device


class Preprocessor(DetDataPreprocessor):
    """mmdet's preprocessor, which sends the images and leaves the samples on the host.

    mmdet's own waits for a GPU at every copy, two and more for each image, and once more where it turns BGR into RGB, as
    an index that is a list is a copy too. The annotations are checked on the host and go in one piece (`Targets.to`).

    Args:
        mean: of the channels, in the order that the network takes, of 255; None leaves the pixels as they are.
        std: by which they are divided.
        pad_size_divisor: batches are padded to multiples of it.
        pad_value: what with, after normalisation.
        bgr_to_rgb: whether to turn the channels round.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        pad_size_divisor: int = 1,
        pad_value: float = 0,
        bgr_to_rgb: bool = False,
    ) -> None:
        super().__init__(mean, std, pad_size_divisor, pad_value)
        self.bgr_to_rgb = bgr_to_rgb

    def forward(self, data: Mapping[str, Any], training: bool = False) -> dict[str, Any]:
        """Images (B, 3, H, W) float32 on the device, and their samples, from a batch of the loader."""
        samples = data.get("data_samples")
        own = None if samples is None else [sample.new() for sample in samples]  # predictions are written into them
        return super().forward({"inputs": self._on_device(data["inputs"]), "data_samples": own}, training)

    def cast_data(self, data: Any) -> Any:
        """The data as they are: `forward` has sent the images."""
        return data

    def _on_device(self, images: Sequence[Tensor] | Tensor) -> list[Tensor] | Tensor:
        if isinstance(images, Tensor):
            return self._turned(to_device(images, self.device))
        return [self._turned(to_device(image, self.device)) for image in images]

    def _turned(self, images: Tensor) -> Tensor:
        """(…, C, H, W) with the channels in the order that the network takes."""
        return images.flip(-3) if self.bgr_to_rgb else images
