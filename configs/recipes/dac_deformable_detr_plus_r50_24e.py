"""DAC-DETR on Deformable DETR++ R50 with 900 queries and denoising, 24 epochs; published as 52.1 AP."""

from .parts import imagenet_resnet

detector = "deformable_detr_plus_r50"
scheme = "dac"
denoising = "cdn"
data = "coco"
schedule = "deformable_detr_24e"
changes = imagenet_resnet(50) | {"model.queries.num_queries": 900}
