"""Feature projection: the backbone's maps to the transformer's width, further levels by strided convolution."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ...assigners.checks import check_norm_groups


class FeatureProjection(nn.Module):
    """1x1 convolutions with bias, then GroupNorm; extra levels by 3x3 convolutions of stride 2.

    The first extra level is made from the backbone's last map, later ones from the level before (Deformable DETR).
    Single-level detectors without a norm use torch's own initialisation, the others Xavier.

    Args:
        in_channels: of the backbone's maps, fine to coarse.
        channels: C.
        extra: number of extra levels.
        norm_groups: of the GroupNorm; None has no norm (DETR).
        bias: of the convolutions; mmdet's necks have none.
        xavier: initialise weights Xavier-uniform and biases zero.

    Raises:
        ValueError: for norm groups that do not divide the channels.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 256,
        extra: int = 0,
        norm_groups: int | None = 32,
        bias: bool = True,
        xavier: bool = True,
    ) -> None:
        super().__init__()
        check_norm_groups(norm_groups, channels)
        self.in_channels = tuple(in_channels)
        convolutions = [nn.Conv2d(width, channels, 1, bias=bias) for width in in_channels]
        for index in range(extra):
            width = in_channels[-1] if index == 0 else channels
            convolutions.append(nn.Conv2d(width, channels, 3, stride=2, padding=1, bias=bias))
        norms = [[] if norm_groups is None else [nn.GroupNorm(norm_groups, channels)] for _ in convolutions]
        self.levels = nn.ModuleList(nn.Sequential(conv, *norm) for conv, norm in zip(convolutions, norms, strict=True))
        for convolution in convolutions if xavier else ():
            nn.init.xavier_uniform_(convolution.weight)
            if bias:
                nn.init.zeros_(convolution.bias)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Levels (B, C, h, w) from the backbone's maps.

        Raises:
            ValueError: when their number or channels differ from `in_channels`.
        """
        found = tuple(feature.shape[1] for feature in features)
        if found != self.in_channels:
            raise ValueError(
                f"in_channels: the neck takes maps of {self.in_channels} channels, the backbone makes {found}"
            )
        levels = [layer(feature) for layer, feature in zip(self.levels, features, strict=False)]
        source = features[-1]
        for layer in self.levels[len(features) :]:
            source = layer(source)
            levels.append(source)
        return levels
