"""DETR and most of its descendants: AdamW, 50 epochs, batch 16, the rate falls tenfold after epoch 40."""

schedule = {
    "epochs": 50,
    "batch_size": 16,
    "base_batch_size": 16,
    "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 1e-4},
    "bias": {"lr_mult": 1.0, "decay_mult": 1.0},
    "norm_decay_mult": 1.0,
    "backbone_lr_mult": 0.1,
    "slow": None,  # or {"names": parts of parameters' names, "lr_mult": their factor}
    "warmup": {"iterations": 0, "start": 1.0},
    "decay": {"type": "step", "epochs": (40,), "gamma": 0.1},
    "clip": 0.1,
}
