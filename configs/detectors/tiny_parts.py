"""What the CPU-sized query detectors share: a half-width ResNet-18 from scratch and a small transformer."""

from dataclasses import replace

from .parts import resnet
from .query_parts import Size

WIDTH = 32  # of the first stage; ResNet-18 has 64
SMALL = resnet(18, base_channels=WIDTH, frozen_stages=-1, norm_eval=False, zero_init_residual=False)
MAPS = (2 * WIDTH, 4 * WIDTH, 8 * WIDTH)  # strides 8, 16, 32
STRIDE_16 = {**SMALL, "num_stages": 3, "strides": (1, 2, 2), "dilations": (1, 1, 1), "out_indices": (2,)}
MAP_16 = (4 * WIDTH,)
TINY = Size(
    channels=96,
    heads=4,
    hidden=256,
    encoder_layers=2,
    decoder_layers=3,
    queries=60,
    norm_groups=8,
    dropout=0.0,
    points=4,
    select=100,
)
TINY_DENSE = replace(TINY, encoder_layers=1)  # of two, attention from everything to everything learns too slowly
INPUT = {"scale": (320, 320)}
SCHEDULE = "query_tiny"
SCHEDULE_DENSE = "query_tiny_dense"
SCHEDULE_LONG = "query_tiny_long"
