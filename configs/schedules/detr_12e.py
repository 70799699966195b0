"""As detr_50e over 12 epochs, the rate falls after epoch 11."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 12, "decay": {"type": "step", "epochs": (11,), "gamma": 0.1}}
