"""mmdet's own detectors, small, with random weights, beside this project's of the same form."""

from pathlib import Path

import mmdet
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope

from detassign.configs.detectors import parts, query_parts
from detassign.engine.build import build_model
from detassign.engine.config import change, plain

ZOO = Path(mmdet.__file__).parent / ".mim" / "configs"
BACKBONE = {"depth": 18, "base_channels": 8}
FCOS_TRICKS = "fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py"
QUERIES, HIDDEN, LAYERS, CLASSES = 12, 32, 2, 7
SINGLE, MULTIPLE = (64,), (16, 32, 64)

FAMILIES = {
    "detr": ("detr/detr_r50_8xb2-150e_coco.py", query_parts.detr, {}),
    "conditional_detr": ("conditional_detr/conditional-detr_r50_8xb2-50e_coco.py", query_parts.conditional_detr, {}),
    "dab_detr": ("dab_detr/dab-detr_r50_8xb2-50e_coco.py", query_parts.dab_detr, {}),
    "deformable_detr": ("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", query_parts.deformable_detr, {}),
    "deformable_detr_refine": (
        "deformable_detr/deformable-detr-refine_r50_16xb2-50e_coco.py",
        query_parts.deformable_detr,
        {"refine": True},
    ),
    "deformable_detr_two_stage": (
        "deformable_detr/deformable-detr-refine-twostage_r50_16xb2-50e_coco.py",
        query_parts.deformable_detr,
        {"refine": True, "two_stage": True},
    ),
    "dino": ("dino/dino-4scale_r50_8xb2-12e_coco.py", query_parts.dino, {}),
}
DDQ = {"ddq": ("ddq/ddq-detr-4scale_r50_8xb2-12e_coco.py", query_parts.dino, {})}
KNOWN = FAMILIES | DDQ


def theirs(name, options=None):
    """mmdet's model of a family: two layers, twelve queries, seven classes, an eighth of a ResNet-18; 256 channels, which
    some of its encodings demand."""
    config = Config.fromfile(ZOO / KNOWN[name][0])
    config.merge_from_dict(options or {})
    config = config.model
    config.backbone.update(init_cfg=None, **BACKBONE)
    config.neck.in_channels = list(in_channels(name))
    config.num_queries, config.bbox_head.num_classes = QUERIES, CLASSES
    for part in (config.encoder, config.decoder):
        part.num_layers = LAYERS
        part.layer_cfg.ffn_cfg.feedforward_channels = HIDDEN
    with DefaultScope.overwrite_default_scope("mmdet"):
        return randomised(MODELS.build(config))


def in_channels(name):
    return SINGLE if name in ("detr", "conditional_detr", "dab_detr") else MULTIPLE


def ours(name, changes):
    """The config of this project's detector of the same family and size, with changes by dotted key."""
    _, family, options = KNOWN[name]
    size = query_parts.Size(
        hidden=HIDDEN, encoder_layers=LAYERS, decoder_layers=LAYERS, queries=QUERIES, select=QUERIES
    )
    backbone = parts.resnet(18, base_channels=8, out_indices=(3,) if in_channels(name) == SINGLE else (1, 2, 3))
    model = family(backbone, in_channels(name), size, **options)
    model["head"]["num_classes"] = CLASSES
    config = plain({"model": model})
    for key, value in changes.items():
        change(config, key, value)
    return config


def build(config, state):
    """A model of a config with these very weights, for inference."""
    model = build_model(config, initialise=False)
    own = model.state_dict()
    model.load_state_dict({key: state.get(key, own[key]) for key in {*own, *state}})
    return model.eval()


def randomised(model, seed=0):
    """Every parameter drawn anew, so that nothing is trivially zero; some boxes lie at the border of the image."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 100
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan_in**0.5)
            if "norm" in name or ".bn" in name or ".gn" in name or "downsample.1" in name:
                parameter += name.endswith("weight")
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
        for name, parameter in model.named_parameters():
            if name.endswith(".4.weight") or (name == "query_embedding.weight" and parameter.shape[1] == 4):
                parameter *= 16  # boxes by logits of ten and more: where the eps of the inverse sigmoid is felt
    return model.eval()


def padded_batch(sizes=((96, 128), (64, 100))):
    """Two images of different size in one batch, normalised, and mmdet's description of them."""
    images = torch.zeros(2, 3, 96, 128)
    samples = []
    for image, (height, width) in enumerate(sizes):
        images[image, :, :height, :width] = torch.randn(
            3, height, width, generator=torch.Generator().manual_seed(image)
        )
        meta = {"img_shape": (height, width), "ori_shape": (height, width), "batch_input_shape": (96, 128)}
        samples.append(DetDataSample(metainfo={**meta, "scale_factor": (1.0, 1.0)}))
    return images, samples


@torch.no_grad()
def their_outputs(model, images, samples):
    """Logits (L, B, Q, C) and boxes (L, B, Q, 4) of one of mmdet's query detectors."""
    features = model.extract_feat(images)
    return model.bbox_head(**model.forward_transformer(features, samples))[:2]


def their_fcos(file=FCOS_TRICKS, **head):
    """mmdet's FCOS of a config file, an eighth of a ResNet-18, with changes to its head."""
    config = Config.fromfile(ZOO / "fcos" / file).model
    config.backbone.update(init_cfg=None, out_indices=(1, 2, 3), style="pytorch", **BACKBONE)
    config.neck.update(in_channels=list(MULTIPLE), start_level=0, out_channels=32)
    config.bbox_head.update(num_classes=CLASSES, in_channels=32, feat_channels=32, **head)
    config.data_preprocessor = {"type": "DetDataPreprocessor"}
    with DefaultScope.overwrite_default_scope("mmdet"):
        return randomised(MODELS.build(config))


def fcos_pair(paper_like):
    """mmdet's FCOS and this project's, an eighth of a ResNet-18; `paper_like` without the later tricks."""
    theirs = their_fcos("fcos_r50-caffe_fpn_gn-head_1x_coco.py" if paper_like else FCOS_TRICKS)
    form = {"distances": "exp", "branch_on": "cls"} if paper_like else {"distances": "relu", "conv_bias": True}
    backbone = parts.resnet(18, base_channels=8)
    model = parts.fcos(backbone, MULTIPLE, channels=32, num_classes=CLASSES, assigner="fcos", **form)
    return theirs, build_model(plain({"model": model}), initialise=False).eval()


def flat(levels):
    """(B, N, K) from maps (B, K, h, w)."""
    return torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
