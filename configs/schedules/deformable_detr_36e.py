"""As deformable_detr_12e over 36 epochs, the rate falls after epoch 30."""

from .deformable_detr_12e import schedule as twelve

schedule = {**twelve, "epochs": 36, "decay": {"type": "step", "epochs": (30,), "gamma": 0.1}}
