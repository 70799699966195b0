"""Every other picture mixed with another one, objects of both counting (YOLOX's), until a tenth of the training is left."""

changes = {"input.mixup": 0.5}
