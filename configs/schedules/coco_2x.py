"""COCO 2x: as 1x over 24 epochs, the rate falls after epochs 16 and 22."""

from .coco_1x import schedule as one

schedule = {**one, "epochs": 24, "decay": {"type": "step", "epochs": (16, 22), "gamma": 0.1}}
