"""The papers' default models under one deterministic protocol: results of the original code, to the digits noted."""

from functools import partial

import pytest
import torch
from support.criterion import coefficients
from support.protocol import ORIGINAL_SIZES, ConstantNoise, System

from detassign.heads.query import last_predictions

SYSTEMS = {
    "detr": (
        System("full_detr", "detr", queries=100),
        {
            "logits": (0.013870, 1.049977),
            "first": (0.226799, 0.857581, 1.302041, 1.464577),
            "last": (-1.164049, -1.448004, -1.421022),
            "boxes": (0.496483, 0.507261, 0.516778, 0.523091),
            "first_box": (0.496482, 0.507260, 0.516778, 0.523092),
            "last_box": (0.496484, 0.507262, 0.516779, 0.523092),
            "losses": (5.98008, 0.55695, 0.72697),
            "total": 58.05711,
            "top": (0.029186, 30),
            "top_box": (152.379, 117.943, 483.117, 369.027),
        },
    ),
    "conditional_detr": (
        System("full_conditional_detr", "conditional_detr"),
        {
            "logits": (0.031689, 0.971304),
            "first": (-0.001497, 0.617739, 1.102070, 1.347351),
            "last": (-0.388999, -0.942325, -1.293532),
            "boxes": (0.511034, 0.532020, 0.517133, 0.523051),
            "first_box": (0.510928, 0.532983, 0.517133, 0.523051),
            "last_box": (0.506682, 0.528198, 0.517133, 0.523051),
            "losses": (3672.86597, 0.56582, 0.72025),
            "total": 35944.32,
            "top": (0.799864, 44),
            "top_box": (162.631, 130.231, 493.596, 381.296),
        },
    ),
    "dab_detr": (
        System("full_dab_detr", "dab_detr"),
        {
            "logits": (0.030534, 0.930268),
            "first": (-0.021041, 0.574198, 1.043867, 1.286963),
            "last": (-0.354451, -0.888890, -1.232665),
            "boxes": (0.483306, 0.544126, 0.596177, 0.628939),
            "first_box": (0.375021, 0.441677, 0.503473, 0.547133),
            "last_box": (0.389330, 0.458860, 0.522848, 0.568082),
            "losses": (3529.982, 0.48387, 0.55233),
            "total": 17283.36,
            "top": (0.790966, 44),
        },
    ),
    "dab_detr_patterns": (
        System("full_dab_detr", "dab_detr", options={"patterns": 3}),
        {
            "logits": (0.060862, 1.609077),
            "first": (-1.700829, -0.601858, 0.623675, 1.712718),
            "last": (1.536967, 0.986959, 0.225455),
            "boxes": (0.460420, 0.529599, 0.593174, 0.637367),
            "first_box": (0.347917, 0.421724, 0.496530, 0.554988),
            "last_box": (0.373927, 0.449585, 0.522466, 0.576570),
            "losses": (19018.617, 0.49301, 0.56548),
            "total": 160310.0,
            "top": (0.934595, 45),
        },
    ),
    "dab_deformable_detr": (
        System("full_dab_deformable_detr", "dab_deformable_detr"),
        {
            "logits": (0.021873, 1.299052),
            "first": (-1.176785, -0.172429, 0.869227, 1.724456),
            "last": (1.908980, 1.476244, 0.724367),
            "boxes": (0.487941, 0.473493, 0.464779, 0.463715),
            "first_box": (0.374915, 0.367927, 0.368168, 0.377063),
            "last_box": (0.392664, 0.385926, 0.386019, 0.394818),
            "losses": (4838.037, 0.34164, 0.51464),
            "total": 43761.18,
            "top": (0.910442, 45),
        },
    ),
    "deformable_detr": (
        System("full_deformable_detr", "deformable_detr", hidden=1024),
        {
            "logits": (0.024916, 1.312484),
            "first": (-1.835225, -1.479947, -0.807055, 0.038785),
            "last": (-1.521836, -1.948953, -1.960892),
            "boxes": (0.483306, 0.492316, 0.499039, 0.509649),
            "first_box": (0.437658, 0.417786, 0.498402, 0.509115),
            "last_box": (0.539129, 0.572498, 0.499622, 0.510833),
            "losses": (4898.576, 0.45020, 0.58260),
            "total": 78119.41,
            "top": (0.909768, 44),
        },
    ),
    "deformable_detr_refine": (
        System("full_deformable_detr", "deformable_detr", hidden=1024, own_heads=True, options={"refine": True}),
        {
            "logits": (0.025507, 1.354403),
            "first": (-1.931852, -1.572659, -0.875975, 0.008431),
            "last": (-1.572089, -1.996061, -1.994756),
            "boxes": (0.493718, 0.479358, 0.465699, 0.464123),
            "first_box": (0.447538, 0.404338, 0.464363, 0.463044),
            "last_box": (0.549958, 0.559427, 0.465716, 0.464422),
            "losses": (5072.491, 0.43384, 0.59853),
            "total": 79072.12,
            "top": (0.913040, 44),
        },
    ),
    "deformable_detr_two_stage": (
        System(
            "full_deformable_detr_two_stage",
            "deformable_detr",
            scale=2,
            hidden=1024,
            options={"refine": True, "two_stage": True},
        ),
        {
            "logits": (0.031597, 0.812022),
            "first": (-0.201739, 0.265474, 0.676106, 0.941715),
            "last": (0.292887, -0.305380, -0.840832),
            "boxes": (0.498384, 0.499635, 0.092145, 0.093273),
            "first_box": (0.903002, 0.867668, 0.093472, 0.094428),
            "last_box": (0.613911, 0.070258, 0.046586, 0.047328),
            "losses": (3159.031, 0.46531, 0.78809),
            "encoder": (21338.516, 0.27871, 0.62441),
            "total": 73100.09,
            "top": (0.824708, 45),
        },
    ),
    "dn_detr": (
        System("full_dn_detr", "dn_detr"),
        {
            "logits": (0.074406, 1.741073),
            "first": (-1.659875, -0.641830, 0.511346, 1.552114),
            "boxes": (0.457077, 0.526847, 0.591656, 0.637327),
            "first_box": (0.349939, 0.424098, 0.498648, 0.556322),
            "losses": (7063.534, 0.49465, 0.56543),
            "total": 56229.04,
            "denoising": (48.92457, 0.19292, 0.53320),
            "train_total": 56589.65,
            "empty_total": 224852.53,
        },
    ),
    "dn_dab_deformable_detr": (
        System("full_dn_dab_deformable_detr", "dn_dab_deformable_detr"),
        {
            "logits": (0.021425, 1.295281),
            "first": (-1.177123, -0.172627, 0.869210, 1.724626),
            "boxes": (0.487997, 0.473531, 0.464795, 0.463710),
            "first_box": (0.374902, 0.367916, 0.368161, 0.377062),
            "losses": (4820.241, 0.34181, 0.52130),
            "total": 43652.10,
            "denoising": (38.41275, 0.45372, 0.69022),
            "train_total": 43974.92,
            "empty_total": 174577.52,
        },
    ),
    "dn_dab_deformable_encoder_only": (
        System(
            "full_dn_dab_deformable_encoder_only",
            "dn_dab_deformable_encoder_only",
            options={"patterns": 3, "activation": "relu"},
        ),
        {
            "logits": (0.064887, 1.720980),
            "first": (-2.020911, -1.098822, 0.056373, 1.196700),
            "boxes": (0.458047, 0.528528, 0.593623, 0.639130),
            "first_box": (0.349367, 0.424236, 0.499529, 0.557734),
            "losses": (20763.344, 0.49650, 0.56645),
            "total": 178312.51,
            "denoising": (38.96272, 0.18343, 0.50594),
            "train_total": 178597.45,
            "empty_total": 713182.63,
        },
    ),
    "dino_4scale": (
        System("full_dino_4scale", "dino", scale=2, queries=900),
        {
            "logits": (0.017070, 1.248810),
            "first": (-1.139682, -0.227195, 0.734333, 1.538354),
            "last": (-0.534327, -1.305856, -1.800080),
            "boxes": (0.507435, 0.531490, 0.202068, 0.214814),
            "first_box": (0.974508, 0.015576, 0.048180, 0.061258),
            "last_box": (0.341527, 0.115185, 0.096498, 0.121839),
            "losses": (13893.442, 0.40049, 0.69226),
            "encoder": (21346.020, 0.31808, 0.65687),
            "total": 151195.47,
            "top": (0.898723, 59),
            "top_box": (34.349, 280.491, 96.007, 338.208),
            "denoising": (99.88384, 0.21167, 0.63435),
            "train_total": 151975.17,
            "empty_total": 604710.69,
            "empty_classes": (55576.840, 85384.148),
        },
    ),
}


class Built:
    """A system with its weights, the backbone's maps, and what is expected of it."""

    def __init__(self, name):
        self.system, self.expected = SYSTEMS[name]
        self.detector = self.system.build()
        self.images, self.sizes = self.system.images()
        self.targets, self.empty = self.system.targets()
        with torch.no_grad():
            self.features = self.detector.eval().extract_feat(self.images)
        self.coefficients = coefficients(self.detector.bbox_head.assigner)

    def outputs(self, targets=None):
        with torch.no_grad():
            return self.detector.outputs(self.features, self.sizes, tuple(self.images.shape[-2:]), True, targets)

    def losses(self, outputs, targets):
        return self.detector.bbox_head.loss(outputs, targets)

    def trained(self, targets):
        """Losses of a training step in which every random number is the same."""
        self.detector.train()
        denoise = self.detector.denoising.denoise
        self.detector.denoising.denoise = partial(denoise, noise=ConstantNoise())
        losses = self.losses(self.outputs(targets), targets)
        self.detector.denoising.denoise = denoise
        return losses

    def check(self, key, values, tolerance):
        """Values are those noted under a key, if any are."""
        if key in self.expected:
            want = torch.tensor(self.expected[key], dtype=torch.float64).flatten()
            values = torch.stack([torch.as_tensor(value).double() for value in values])
            torch.testing.assert_close(values, want, msg=lambda text: f"{key}: {text}", **tolerance)

    def check_losses(self, key, losses, ending=""):
        """The three terms of one layer, without coefficients."""
        if key in self.expected:
            self.check(key, [losses[name + ending] / c for name, c in self.coefficients.items()], LOSS)


LOGIT = {"rtol": 1e-4, "atol": 2e-6}  # the protocol's 1e-4, and twice the last digit noted
BOX = {"rtol": 0.0, "atol": 1e-5}
LOSS = {"rtol": 1e-4, "atol": 0.0}  # the protocol allows 1e-3


def available():
    missing = [pytest.mark.skip(reason="no recipe that names the tensors of a model this wide is here")]
    return [
        pytest.param(name, marks=[] if system.available else missing, id=name) for name, (system, _) in SYSTEMS.items()
    ]


@pytest.fixture(scope="module", params=available())
def built(request):
    return Built(request.param)


def test_predictions_and_losses_are_those_of_the_original(built):
    """In evaluation mode: logits, boxes, losses of the last layer, their sum over all, and the best detection."""
    built.detector.eval()
    outputs = built.outputs()
    logits, boxes = outputs.logits[-1], outputs.boxes[-1]
    built.check("logits", (logits.mean(), logits.std()), LOGIT)
    built.check("first", logits[0, 0, :4], LOGIT)
    built.check("last", logits[1, -1, -3:], LOGIT)
    built.check("boxes", boxes.mean((0, 1)), BOX)
    built.check("first_box", boxes[0, 0], BOX)
    built.check("last_box", boxes[1, -1], BOX)
    losses = built.losses(outputs, built.targets)
    built.check_losses("losses", losses)
    built.check_losses("encoder", losses, "_enc")
    built.check("total", [sum(losses.values())], LOSS)
    check_detections(built, outputs)


def check_detections(built, outputs):
    """The best score and its label; its box is that of one of the queries that are as good to five digits."""
    if "top" not in built.expected:
        return
    predictions = last_predictions(outputs, torch.tensor(ORIGINAL_SIZES).flip(-1).float())
    scores, _ = built.detector.bbox_head.scores(predictions)
    found = built.detector.post_process(scores, None, predictions, 0, ORIGINAL_SIZES[0])
    built.check("top", (found.scores[0], found.labels[0]), LOGIT)
    if "top_box" in built.expected:
        best = found.boxes[found.scores > found.scores[0] * (1 - 1e-5)]
        distance = (best - torch.tensor(built.expected["top_box"])).abs().amax(1)
        assert distance.min() < 2e-3


def test_denoising_losses_are_those_of_the_original(built):
    """One training step with constant noise, and one without any object, whose loss has the same entries."""
    if "train_total" not in built.expected:
        pytest.skip("trained without denoising: nothing was noted that evaluation mode does not show")
    losses, empty = built.trained(built.targets), built.trained(built.empty)
    built.check_losses("denoising", losses, "_dn")
    built.check("train_total", [sum(losses.values())], LOSS)
    built.check("empty_total", [sum(empty.values())], LOSS)
    built.check("empty_classes", [empty["loss_cls"], empty.get("loss_cls_enc", 0.0)], LOSS)
    assert set(losses) == set(empty)
