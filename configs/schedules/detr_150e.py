"""As detr_50e over 150 epochs, the rate falls after epoch 100."""

from .detr_50e import schedule as fifty

schedule = {**fifty, "epochs": 150, "decay": {"type": "step", "epochs": (100,), "gamma": 0.1}}
