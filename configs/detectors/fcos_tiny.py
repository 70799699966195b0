"""CPU-sized FCOS-style detector, a quarter-width ResNet-18 from scratch: minutes on two cores."""

from .parts import fcos, resnet

WIDTH = 16  # of the first stage; ResNet-18 has 64

backbone = resnet(18, base_channels=WIDTH, frozen_stages=-1, norm_eval=False, zero_init_residual=False)
model = fcos(
    backbone,
    in_channels=(2 * WIDTH, 4 * WIDTH, 8 * WIDTH),
    channels=48,
    strides=(8, 16, 32, 64),
    stacked_convs=2,
    norm_groups=8,
    initial_distance=2.0,  # boxes start four strides wide: a short schedule has no time to grow them from nothing
)
input = {"scale": (320, 320)}
schedule = "tiny"
