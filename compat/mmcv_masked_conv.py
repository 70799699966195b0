"""Convolution at chosen places in the calling convention of ``mmcv._ext``: the two halves around its matrix product.

Guided anchoring (Wang et al., 2019) computes its heads only where objects may lie. The layers around these halves have
no gradient, in mmcv as here; training runs plain convolutions.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["masked_col2im_forward", "masked_im2col_forward"]


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write what the kernel sees at each place; beyond the map it sees zeros.

    Args:
        im: (1, C, H, W).
        mask_h_idx: (N,) int64, row of each place in the output.
        mask_w_idx: (N,) int64, column.
        col: (C * kernel_h * kernel_w, N), written.
        kernel_h, kernel_w, pad_h, pad_w: kernel size and padding; stride and dilation are 1.
    """
    _, _, H, W = im.shape
    rows = mask_h_idx.unsqueeze(1) - pad_h + torch.arange(kernel_h, device=im.device)  # (N, kernel_h)
    columns = mask_w_idx.unsqueeze(1) - pad_w + torch.arange(kernel_w, device=im.device)
    # One pixel of zeros around the map stands for all that lies beyond it.
    rows, columns = rows.clamp(-1, H) + 1, columns.clamp(-1, W) + 1
    seen = F.pad(im[0], (1, 1, 1, 1))[:, rows.unsqueeze(2), columns.unsqueeze(1)]  # (C, N, kernel_h, kernel_w)
    col.copy_(seen.permute(0, 2, 3, 1).reshape(col.shape))


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, *, height: int, width: int, channels: int
) -> None:
    """Write the results to their places in the output; the others stay as they are.

    Args:
        col: (channels, N).
        mask_h_idx: (N,) int64, row of each place.
        mask_w_idx: (N,) int64, column.
        im: (1, channels, height, width), written.
        height, width, channels: the size of ``im``.

    Raises:
        ValueError: when a place lies outside the output, which is smaller than the mask where the padding is small.
    """
    if ((mask_h_idx >= height) | (mask_w_idx >= width)).any():
        raise ValueError(f"mask: expected places within the output of {height} x {width}, got one outside")
    im[0, :, mask_h_idx, mask_w_idx] = col.to(im.dtype)
