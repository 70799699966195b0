"""A query detector with a pretrained backbone on a small data set: AdamW with a cosine, 50 epochs of batch 8."""

from .deformable_detr_50e import schedule as deformable

schedule = {
    **deformable,
    "batch_size": 8,
    "base_batch_size": 8,
    "warmup": {"iterations": 100, "start": 0.01},
    "decay": {"type": "cosine", "end": 0.01},
}
