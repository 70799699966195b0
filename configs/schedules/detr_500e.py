"""As detr_50e over 500 epochs, the rate falls after epoch 400."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 500, "decay": {"type": "step", "epochs": (400,), "gamma": 0.1}}
