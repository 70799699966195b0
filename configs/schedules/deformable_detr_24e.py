"""As deformable_detr_12e over 24 epochs, the rate falls after epoch 20."""

from .deformable_detr_12e import schedule as twelve

schedule = {**twelve, "epochs": 24, "decay": {"type": "step", "epochs": (20,), "gamma": 0.1}}
