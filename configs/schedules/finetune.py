"""A pretrained backbone on a small data set: AdamW with a cosine, a tenth of the rate for the backbone."""

schedule = {
    "epochs": 12,
    "batch_size": 8,
    "base_batch_size": 8,
    "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
    "bias": {"lr_mult": 1.0, "decay_mult": 0.0},
    "norm_decay_mult": 0.0,
    "backbone_lr_mult": 0.1,
    "warmup": {"iterations": 50, "start": 0.01},
    "decay": {"type": "cosine", "end": 0.01},
    "clip": 10.0,
}
