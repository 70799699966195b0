"""As detr_50e over 300 epochs, the rate falls after epoch 200."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 300, "decay": {"type": "step", "epochs": (200,), "gamma": 0.1}}
