"""Every other picture a mosaic of four (YOLOv4's), until a tenth of the training is left."""

changes = {"input.mosaic": 0.5}
