"""Co-DETR on DINO R50, five scales, 12 epochs; published as 52.1 AP, with a Faster R-CNN head besides."""

from .parts import imagenet_resnet

detector = "dino_5scale_r50"
scheme = "co"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50) | {"schedule.optimizer.lr": 2e-4}
