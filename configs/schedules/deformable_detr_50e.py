"""Deformable DETR: 50 epochs at batch 32 and twice DETR's rate, a tenth of it for sampling offsets and reference points."""

from .detr_50e import schedule as fifty

schedule = {
    **fifty,
    "batch_size": 32,
    "base_batch_size": 32,
    "optimizer": {"type": "AdamW", "lr": 2e-4, "weight_decay": 1e-4},
    "slow": {"names": ("queries.reference", "sampling_offsets"), "lr_mult": 0.1},
}
