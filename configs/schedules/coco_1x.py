"""COCO 1x: SGD, 12 epochs, batch 16, the rate falls tenfold after epochs 8 and 11."""

schedule = {
    "epochs": 12,
    "batch_size": 16,
    "base_batch_size": 16,
    "optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4},
    "bias": {"lr_mult": 1.0, "decay_mult": 1.0},
    "norm_decay_mult": 1.0,
    "backbone_lr_mult": 1.0,
    "warmup": {"iterations": 1000, "start": 0.001},
    "decay": {"type": "step", "epochs": (8, 11), "gamma": 0.1},
    "clip": None,
}
