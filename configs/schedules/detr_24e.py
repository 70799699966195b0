"""As detr_50e over 24 epochs, the rate falls after epoch 20."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 24, "decay": {"type": "step", "epochs": (20,), "gamma": 0.1}}
