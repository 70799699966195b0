"""mmdet's own detectors, data pipeline and evaluation on the ops of the stand-in, at toy size."""

import json
import sys

import numpy as np
import pytest
import torch
from mmcv import imwrite
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from detassign.compat import mmcv_flavour
from detassign.compat.mmcv_ext import SERVED_OPS

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning"),  # mmdet's anchor generators
    pytest.mark.filterwarnings("ignore:In MMCV v1.4.4:UserWarning"),  # DyHead's activation
    pytest.mark.filterwarnings("ignore:DeprecationWarning:UserWarning"),  # of mmdet, by mmdet
    pytest.mark.filterwarnings("ignore:The current default scope:UserWarning"),  # of a runner that another test started
]

CLASSES = ("disc", "bar", "cross")
PREPROCESSOR = {"type": "DetDataPreprocessor", "mean": [0, 0, 0], "std": [255, 255, 255], "pad_size_divisor": 32}
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": (1, 2, 3), "style": "pytorch"}
NECK = {"type": "FPN", "in_channels": [16, 32, 64], "out_channels": 16}
NMS = {"type": "nms", "iou_threshold": 0.5}
GROUP_NORM = {"type": "GN", "num_groups": 4}

FCOS = {
    "type": "FCOS",
    "data_preprocessor": PREPROCESSOR,
    "backbone": BACKBONE,
    "neck": {**NECK, "num_outs": 5, "add_extra_convs": "on_output"},
    "bbox_head": {
        "type": "FCOSHead",
        "num_classes": 3,
        "in_channels": 16,
        "feat_channels": 16,
        "stacked_convs": 2,
        "strides": [8, 16, 32, 64, 128],
        "conv_cfg": {"type": "DCN"},
        "dcn_on_last_conv": True,  # there DCNv2
        "norm_cfg": GROUP_NORM,
    },
    "test_cfg": {"nms_pre": 100, "min_bbox_size": 0, "score_thr": 0.0, "nms": NMS, "max_per_img": 10},
}

ASSIGNER = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.3}
SAMPLER = {"type": "RandomSampler", "num": 32, "pos_fraction": 0.5}
PROPOSALS = {"nms_pre": 100, "max_per_img": 50, "nms": NMS, "min_bbox_size": 0}
FASTER_RCNN = {
    "type": "FasterRCNN",
    "data_preprocessor": PREPROCESSOR,
    "backbone": BACKBONE,
    "neck": {**NECK, "num_outs": 4},
    "rpn_head": {
        "type": "RPNHead",
        "in_channels": 16,
        "feat_channels": 16,
        "anchor_generator": {"type": "AnchorGenerator", "scales": [4], "ratios": [1.0], "strides": [8, 16, 32, 64]},
    },
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": {
            "type": "SingleRoIExtractor",
            "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 0},
            "out_channels": 16,
            "featmap_strides": [8, 16, 32],
        },
        "bbox_head": {
            "type": "Shared2FCBBoxHead",
            "in_channels": 16,
            "fc_out_channels": 16,
            "roi_feat_size": 7,
            "num_classes": 3,
        },
    },
    "train_cfg": {
        "rpn": {
            "assigner": ASSIGNER,
            "sampler": {**SAMPLER, "add_gt_as_proposals": False},
            "allowed_border": -1,
            "pos_weight": -1,
        },
        "rpn_proposal": PROPOSALS,
        "rcnn": {"assigner": ASSIGNER, "sampler": SAMPLER, "pos_weight": -1},
    },
    "test_cfg": {"rpn": PROPOSALS, "rcnn": {"score_thr": 0.0, "nms": NMS, "max_per_img": 10}},
}

CODER = {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0] * 4, "target_stds": [1.0] * 4}
DENSE_HEAD = {"num_classes": 3, "in_channels": 16, "feat_channels": 16, "stacked_convs": 1, "bbox_coder": CODER}
FOCAL_LOSS = {"type": "FocalLoss", "use_sigmoid": True}
ATSS_DYHEAD = {
    "type": "ATSS",
    "data_preprocessor": PREPROCESSOR,
    "backbone": BACKBONE,
    "neck": [
        {**NECK, "num_outs": 4},
        {"type": "DyHead", "in_channels": 16, "out_channels": 16, "num_blocks": 1, "zero_init_offset": False},
    ],
    "bbox_head": {
        **DENSE_HEAD,
        "type": "ATSSHead",
        "norm_cfg": GROUP_NORM,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "ratios": [1.0],
            "octave_base_scale": 8,
            "scales_per_octave": 1,
            "strides": [8, 16, 32, 64],
        },
        "loss_cls": FOCAL_LOSS,
        "loss_bbox": {"type": "GIoULoss"},
    },
    "train_cfg": {"assigner": {"type": "ATSSAssigner", "topk": 9}, "allowed_border": -1, "pos_weight": -1},
    "test_cfg": FCOS["test_cfg"],
}

ANCHORS = {"type": "AnchorGenerator", "ratios": [1.0], "strides": [8, 16, 32, 64]}
GUIDED_ANCHORING = {
    "type": "RetinaNet",
    "data_preprocessor": PREPROCESSOR,
    "backbone": BACKBONE,
    "neck": {**NECK, "num_outs": 4},
    "bbox_head": {
        **DENSE_HEAD,
        "type": "GARetinaHead",
        "approx_anchor_generator": {**ANCHORS, "octave_base_scale": 4, "scales_per_octave": 3},
        "square_anchor_generator": {**ANCHORS, "scales": [4]},
        "anchor_coder": CODER,
        "loc_filter_thr": 0.01,
        "loss_cls": FOCAL_LOSS,
        "loss_loc": FOCAL_LOSS,
    },
    "train_cfg": {
        "ga_assigner": {**ASSIGNER, "type": "ApproxMaxIoUAssigner", "ignore_iof_thr": -1},
        "ga_sampler": {**SAMPLER, "add_gt_as_proposals": False},
        "assigner": {**ASSIGNER, "min_pos_iou": 0.0, "ignore_iof_thr": -1},
        "sampler": {"type": "PseudoSampler"},
        "allowed_border": -1,
        "pos_weight": -1,
        "center_ratio": 0.2,
        "ignore_ratio": 0.5,
    },
    "test_cfg": FCOS["test_cfg"],
}

CARAFE = {
    **FASTER_RCNN,
    "neck": {
        **NECK,
        "type": "FPN_CARAFE",
        "num_outs": 4,
        "upsample_cfg": {"type": "carafe", "up_kernel": 3, "up_group": 2, "compressed_channels": 8},
    },
}


def pooled_by(layer: str) -> dict:
    """Faster R-CNN with another pooling layer."""
    pooling = {"type": layer, "output_size": 7, "output_channels": 16, "deform_fc_channels": 16}
    extractor = {**FASTER_RCNN["roi_head"]["bbox_roi_extractor"], "roi_layer": pooling}
    return {**FASTER_RCNN, "roi_head": {**FASTER_RCNN["roi_head"], "bbox_roi_extractor": extractor}}


PISA = {
    **FASTER_RCNN,
    "roi_head": {**FASTER_RCNN["roi_head"], "type": "PISARoIHead"},
    "train_cfg": {
        **FASTER_RCNN["train_cfg"],
        "rcnn": {
            "assigner": ASSIGNER,
            "sampler": {**SAMPLER, "type": "ScoreHLRSampler", "k": 0.5, "bias": 0.0},
            "pos_weight": -1,
            "isr": {"k": 2, "bias": 0},
            "carl": {"k": 1, "bias": 0.2},
        },
    },
}

DEFORMABLE_ATTENTION = {"embed_dims": 16, "num_heads": 2, "num_levels": 4, "batch_first": True}
FEED_FORWARD = {"embed_dims": 16, "feedforward_channels": 32}
DEFORMABLE_DETR = {
    "type": "DeformableDETR",
    "data_preprocessor": PREPROCESSOR,
    "num_queries": 10,
    "num_feature_levels": 4,
    "with_box_refine": True,
    "backbone": BACKBONE,
    "neck": {
        "type": "ChannelMapper",
        "in_channels": [16, 32, 64],
        "kernel_size": 1,
        "out_channels": 16,
        "norm_cfg": GROUP_NORM,
        "num_outs": 4,
    },
    "encoder": {"num_layers": 1, "layer_cfg": {"self_attn_cfg": DEFORMABLE_ATTENTION, "ffn_cfg": FEED_FORWARD}},
    "decoder": {
        "num_layers": 2,
        "return_intermediate": True,
        "layer_cfg": {
            "self_attn_cfg": {"embed_dims": 16, "num_heads": 2, "batch_first": True},
            "cross_attn_cfg": DEFORMABLE_ATTENTION,
            "ffn_cfg": FEED_FORWARD,
        },
        "post_norm_cfg": None,
    },
    "positional_encoding": {"num_feats": 8, "normalize": True, "offset": -0.5},
    "bbox_head": {
        "type": "DeformableDETRHead",
        "num_classes": 3,
        "embed_dims": 16,
        "loss_cls": {"type": "FocalLoss", "use_sigmoid": True, "loss_weight": 2.0},
        "loss_bbox": {"type": "L1Loss", "loss_weight": 5.0},
        "loss_iou": {"type": "GIoULoss", "loss_weight": 2.0},
    },
    "train_cfg": {
        "assigner": {
            "type": "HungarianAssigner",
            "match_costs": [
                {"type": "FocalLossCost", "weight": 2.0},
                {"type": "BBoxL1Cost", "weight": 5.0, "box_format": "xywh"},
                {"type": "IoUCost", "iou_mode": "giou", "weight": 2.0},
            ],
        }
    },
    "test_cfg": {"max_per_img": 10},
}


@pytest.fixture(autouse=True)
def _registered():
    register_all_modules(init_default_scope=True)


@pytest.fixture
def called_ops(monkeypatch):
    """Names of the ops of ``mmcv._ext`` called so far."""
    called = set()

    def spy(name, op):
        def call(*args, **kwargs):
            called.add(name)
            return op(*args, **kwargs)

        return call

    for name, op in SERVED_OPS.items():
        monkeypatch.setattr(sys.modules["mmcv._ext"], name, spy(name, op))
    return called


def batch() -> dict:
    sample = DetDataSample(
        metainfo={"img_shape": (96, 128), "ori_shape": (96, 128), "scale_factor": (1.0, 1.0), "img_id": 0}
    )
    boxes = torch.tensor([[10.0, 10, 60, 70], [30, 20, 100, 90]])
    sample.gt_instances = InstanceData(bboxes=boxes, labels=torch.tensor([0, 2]))
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (3, 96, 128), dtype=torch.uint8, generator=generator) for _ in range(2)]
    return {"inputs": images, "data_samples": [sample, sample.clone()]}


def train_step(model, optimizer) -> float:
    losses = model(**model.data_preprocessor(batch(), training=True), mode="loss")
    total, _ = model.parse_losses(losses)
    optimizer.zero_grad()
    total.backward()
    optimizer.step()
    return total.item()


@pytest.mark.parametrize("config", [FCOS, FASTER_RCNN, DEFORMABLE_DETR], ids=lambda config: config["type"])
def test_detector_trains_and_predicts(config):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(config))
    model.init_weights()  # some of mmdet's parameters are uninitialised memory before this
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = [train_step(model, optimizer) for _ in range(4)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert model.backbone.conv1.weight.grad.abs().sum() > 0

    model.eval()
    with torch.no_grad():
        results = model(**model.data_preprocessor(batch(), training=False), mode="predict")
    for result in results:
        predicted = result.pred_instances
        assert 0 < len(predicted.scores) <= 10
        assert torch.isfinite(predicted.bboxes).all()
        assert predicted.labels.max() < 3


@pytest.mark.skipif(mmcv_flavour() != "lite", reason="a full mmcv is installed, whose ops need a GPU")
@pytest.mark.parametrize(
    ("config", "training", "evaluation"),
    [
        (ATSS_DYHEAD, {"modulated_deform_conv_forward", "modulated_deform_conv_backward"}, set()),
        (GUIDED_ANCHORING, {"deform_conv_forward"}, {"masked_im2col_forward", "masked_col2im_forward"}),
        (PISA, {"nms_match"}, set()),
        (CARAFE, {"carafe_forward", "carafe_backward"}, {"carafe_forward"}),
        (pooled_by("DeformRoIPoolPack"), {"deform_roi_pool_forward", "deform_roi_pool_backward"}, set()),
        (pooled_by("ModulatedDeformRoIPoolPack"), {"deform_roi_pool_backward"}, {"deform_roi_pool_forward"}),
    ],
    ids=["DyHead", "guided anchoring", "PISA", "CARAFE", "deformable pooling", "modulated pooling"],
)
def test_detectors_of_rarer_ops_train_and_predict(config, training, evaluation, called_ops):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(config))
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = [train_step(model, optimizer) for _ in range(3)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())
    assert training <= called_ops

    called_ops.clear()
    model.eval()
    images, samples = (values[:1] for values in batch().values())  # guided anchoring takes one at a time
    with torch.no_grad():
        data = model.data_preprocessor({"inputs": images, "data_samples": samples}, training=False)
        (result,) = model(**data, mode="predict")
    assert 0 < len(result.pred_instances.scores) <= 10
    assert torch.isfinite(result.pred_instances.bboxes).all()
    assert evaluation <= called_ops


def write_coco(folder) -> None:
    """Four noise images with one bright box each."""
    generator = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(4):
        pixels = generator.integers(0, 60, (48, 64, 3), dtype=np.uint8)
        x, y, width, height = 8 * index, 4 * index, 24, 20
        pixels[y : y + height, x : x + width] = 255
        imwrite(pixels, str(folder / "images" / f"{index}.png"))
        images.append({"id": index, "file_name": f"{index}.png", "width": 64, "height": 48})
        annotation = {"id": index + 1, "image_id": index, "category_id": index % 3 + 1, "iscrowd": 0}
        annotations.append({**annotation, "bbox": [x, y, width, height], "area": width * height})
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(CLASSES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "train.json").write_text(json.dumps(content))


def loader(folder, transforms: list[dict], training: bool) -> dict:
    packing = {"type": "PackDetInputs", "meta_keys": ("img_id", "ori_shape", "img_shape", "scale_factor", "flip")}
    dataset = {
        "type": "CocoDataset",
        "data_root": str(folder),
        "ann_file": "train.json",
        "data_prefix": {"img": "images/"},
        "metainfo": {"classes": CLASSES},
        "test_mode": not training,
        "pipeline": [
            {"type": "LoadImageFromFile"},
            {"type": "LoadAnnotations", "with_bbox": True},
            *transforms,
            packing,
        ],
    }
    sampler = {"type": "DefaultSampler", "shuffle": training}
    return {"batch_size": 2, "num_workers": 0, "persistent_workers": False, "sampler": sampler, "dataset": dataset}


def test_runner_trains_evaluates_and_resumes_on_coco_files(tmp_path):
    write_coco(tmp_path)
    resize = {"type": "Resize", "scale": (96, 64), "keep_ratio": True}
    evaluation = loader(tmp_path, [resize], training=False)
    settings = {
        "default_scope": "mmdet",
        "experiment_name": "coco_files",
        "work_dir": str(tmp_path / "run"),
        "model": FCOS,
        "train_dataloader": loader(tmp_path, [resize, {"type": "RandomFlip", "prob": 0.5}], training=True),
        "val_dataloader": evaluation,
        "val_evaluator": {"type": "CocoMetric", "ann_file": str(tmp_path / "train.json"), "metric": "bbox"},
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": 2},
        "val_cfg": {"type": "ValLoop"},
        "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.01}},
        "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1, "save_best": "auto"}},
        "log_level": "ERROR",
    }
    runner = Runner.from_cfg(Config(settings))
    runner.train()
    assert 0 <= runner.message_hub.get_scalar("val/coco/bbox_mAP").current() <= 1

    settings |= {"experiment_name": "resumed", "resume": True, "load_from": str(tmp_path / "run" / "epoch_1.pth")}
    resumed = Runner.from_cfg(Config(settings))
    resumed.train()
    assert resumed.iter == runner.iter == 4
