"""FCOS R50 1x with centre sampling, box normalisation, centerness on the box tower and GIoU (38.7 AP in mmdet, there
with a caffe-style backbone; here it is torchvision's)."""

from .parts import imagenet_resnet

detector = "fcos_r50"
assigner = "fcos"
data = "coco"
schedule = "coco_1x"
changes = imagenet_resnet(50) | {
    "schedule.bias": {"lr_mult": 2.0, "decay_mult": 0.0},
    "schedule.warmup": {"iterations": 500, "start": 1 / 3},
    "schedule.clip": 35.0,
}
