"""FCOS R50 1x with centre sampling, box normalisation and centerness on the box tower; published as 38.7 AP."""

detector = "fcos_r50"
assigner = "fcos"
data = "coco"
schedule = "coco_1x"
changes = {"model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"}}
