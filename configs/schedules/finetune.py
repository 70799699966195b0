"""A pretrained backbone on a small data set: AdamW with a cosine, a tenth of the rate for the backbone."""

from .tiny import schedule as scratch

schedule = {
    **scratch,
    "epochs": 12,
    "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 0.05},
    "backbone_lr_mult": 0.1,
    "warmup": {"iterations": 50, "start": 0.01},
}
