"""As detr_50e over 36 epochs, the rate falls after epoch 30."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 36, "decay": {"type": "step", "epochs": (30,), "gamma": 0.1}}
