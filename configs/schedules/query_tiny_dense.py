"""A small query detector with dense attention from scratch: smaller batches, half the rate, many more epochs."""

from .query_tiny import schedule as deformable

schedule = {
    **deformable,
    "epochs": 450,  # dense cross-attention finds no objects for the first hundred
    "batch_size": 2,
    "base_batch_size": 2,
    "optimizer": {"type": "AdamW", "lr": 5e-4, "weight_decay": 1e-4},
}
