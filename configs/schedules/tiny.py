"""From scratch on small images in minutes: AdamW with a cosine."""

schedule = {
    "epochs": 9,
    "batch_size": 8,
    "base_batch_size": 8,
    "optimizer": {"type": "AdamW", "lr": 4e-3, "weight_decay": 0.05},
    "bias": {"lr_mult": 1.0, "decay_mult": 0.0},
    "norm_decay_mult": 0.0,
    "backbone_lr_mult": 1.0,
    "warmup": {"iterations": 100, "start": 0.01},
    "decay": {"type": "cosine", "end": 0.01},
    "clip": 10.0,
}
