"""mmdet's ResNet with batch norms folded into the convolutions, and DETR's dilated fifth stage (DC5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.models import ResNet
from torch import Tensor, nn
from torch.nn.functional import relu

from .folding import conv_norm

OTHER_BLOCKS = ("plugins", "deep_stem", "avg_down", "with_cp")


class FoldedResNet(ResNet):
    """A ResNet that runs each convolution and the batch norm behind it as one, where statistics are fixed.

    Names and shapes of all weights are mmdet's and torchvision's, and so are the result and the gradients within
    rounding, those of norms that learn their scale and shift among them. A norm that still learns statistics runs as it
    is, and so does one behind a deformable convolution. Without the norms' outputs a training step keeps little more than
    half of the backbone's activations. Options that change the blocks (plugins, a deep stem, averages before the shortcut,
    checkpoints) run as mmdet's do, unfolded. Otherwise hooks of blocks are not called, nor those of layers that are folded.

    Args:
        dc5: the last stage keeps the resolution of the one before; its first block looks at its neighbours, the others
            at every other cell (DETR, arXiv 2005.12872, section 4; torchvision's construction).
        out_indices, arguments: of mmdet's ResNet.

    Raises:
        ValueError: for `dc5` together with strides or dilations.
    """

    def __init__(self, depth: int, out_indices: Sequence[int] = (1, 2, 3), dc5: bool = False, **arguments: Any) -> None:
        refused = [name for name in ("strides", "dilations") if dc5 and name in arguments]
        if refused:
            raise ValueError(f"{refused[0]}: expected none with dc5, got {arguments[refused[0]]!r}")
        if dc5:
            arguments |= {"strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2)}
        super().__init__(depth, out_indices=out_indices, **arguments)
        self.as_mmdet = any(arguments.get(name) for name in OTHER_BLOCKS)
        if dc5:
            first = self.layer4[0].conv1 if depth < 50 else self.layer4[0].conv2
            first.dilation = first.padding = (1, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, C_i, h_i, w_i) of the stages in `out_indices` from images (B, 3, H, W)."""
        if self.as_mmdet:
            return super().forward(images)
        x = self.maxpool(relu(conv_norm(images, self.conv1, self.norm1), inplace=True))
        maps = []
        for index, name in enumerate(self.res_layers):
            for block in getattr(self, name):
                x = run_block(block, x)
            if index in self.out_indices:
                maps.append(x)
        return tuple(maps)


def run_block(block: nn.Module, x: Tensor) -> Tensor:
    """A residual block of mmdet's, two convolutions or three."""
    shortcut = x if block.downsample is None else conv_norm(x, *block.downsample)
    pairs = [(block.conv1, block.norm1), (block.conv2, block.norm2)]
    if hasattr(block, "conv3"):
        pairs.append((block.conv3, block.norm3))
    for conv, norm in pairs[:-1]:
        x = relu(conv_norm(x, conv, norm), inplace=True)
    return relu(conv_norm(x, *pairs[-1]).add_(shortcut), inplace=True)
