"""TOOD R50, 1x; published as 42.5 AP, and by mmdet, whose settings these are, as 42.4."""

from .parts import imagenet_resnet
from .tood import assigner as assigner

detector = "fcos_r50"
data = "coco"
schedule = "coco_1x"
changes = imagenet_resnet(50) | {
    "model.neck.relu_before_extra_convs": False,
    "model.head.stacked_convs": 6,
    "model.head.task_aligned": {"border": "zeros"},
    "model.head.distances": "exp_strides",
    "model.head.point_offset": 0.0,
    "schedule.warmup": {"iterations": 500, "start": 0.001},
}
