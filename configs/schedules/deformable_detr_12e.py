"""As deformable_detr_50e over 12 epochs at batch 16, as its descendants train; the rate falls after epoch 11."""

from .deformable_detr_50e import schedule as fifty

schedule = {
    **fifty,
    "epochs": 12,
    "batch_size": 16,
    "base_batch_size": 16,
    "decay": {"type": "step", "epochs": (11,), "gamma": 0.1},
}
