"""The papers' constants of query detectors, by family: sizes and input; and a size for small data sets."""

from .query_parts import Size

DETR = Size(queries=100, dropout=0.1, select=100)
CONDITIONAL_DETR = Size(dropout=0.1, select=100)
DEFORMABLE_DETR = Size(hidden=1024, dropout=0.1, select=100)
DEFORMABLE_DETR_PLUS = Size(select=100)
DAB_DETR = Size()
DAB_DEFORMABLE_DETR = Size(select=100)
DN_DINO = Size()
DINO = Size(queries=900)
SMALL = Size(channels=128, hidden=512, encoder_layers=3, decoder_layers=3, queries=150, norm_groups=16, select=100)

COCO_INPUT = {"scale": (1333, 800), "augmentation": "detr"}
SMALL_INPUT = {"scale": (640, 480), "augmentation": "detr"}
ALONE = {"batch_size": 1}  # evaluation with a dilated last stage, which padding hurts most
PHOTO_INPUT = {"scale": (512, 384), "augmentation": "detr"}
