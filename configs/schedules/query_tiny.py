"""A small query detector from scratch: AdamW with a cosine; the rate of sampling offsets is a tenth."""

from .tiny import schedule as tiny

schedule = {
    **tiny,
    "epochs": 100,
    "batch_size": 4,
    "base_batch_size": 4,
    "optimizer": {"type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4},
    "slow": {"names": ("sampling_offsets",), "lr_mult": 0.1},
    "warmup": {"iterations": 50, "start": 0.01},
    "clip": 0.1,
}
