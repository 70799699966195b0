"""DDQ on DINO R50, 12 epochs; published as 51.3 AP."""

from .parts import imagenet_resnet

detector = "dino_4scale_r50"
scheme = "ddq"
data = "coco"
schedule = "detr_12e"
changes = imagenet_resnet(50) | {
    "model.head.shared": False,
    "schedule.optimizer": {"type": "AdamW", "lr": 2e-4, "weight_decay": 0.05},
    "schedule.warmup": {"iterations": 2000, "start": 0.0001},
}
