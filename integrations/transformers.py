"""Assigners in Hugging Face transformers' DETR family: the model's `loss_function` asks them.

    model = DetrForObjectDetection.from_pretrained("facebook/detr-resnet-50")
    use_assigner(model, "dw")
    model(pixel_values, pixel_mask, labels=labels).loss.backward()  # or a Trainer

Written for transformers 5; the signature of loss functions is that of 4.48 and later.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..assigners import Assigner, Predictions, Targets
from ..assigners.queries import QueryOutputs, layer_names, named, pixel_boxes, stacked_predictions
from .folding import PRIOR, assigner_for, certain, check_free, with_objectness

PROVIDES = frozenset({"logits", "boxes", "objectness", "points", "strides", "priors", "level_sizes"})
CLASSIFIER = re.compile(r"(^|\.)(class_labels_classifier|class_embed|enc_score_head)(\.\d+)?$")


def use_assigner(model: nn.Module, assigner: Assigner | str | dict[str, Any]) -> nn.Module:
    """Let an assigner say what the model learns; called on the model itself, which comes back, before an optimizer is made.

    Every decoder layer is assigned where `config.auxiliary_loss` is set, else the last. Proposals of the encoder are a layer
    more. What the model makes of denoising queries (RT-DETR) stays its own. Where the assigner's score wants objectness (DW),
    the classifier grows a column that is folded into its logits. A classifier for a softmax (DETR) under an assigner of
    sigmoids loses its row for no object: take the post-processing of Deformable DETR's image processor then.

    Args:
        model: Detr-, ConditionalDetr-, DeformableDetr-, DabDetr- or RTDetrForObjectDetection, or one built like these.
        assigner: what `detassign.assigners.build` takes; C is `config.num_labels`.

    Raises:
        ValueError: when the assigner needs what the model has not; TypeError for another model.
    """
    check_free(model)
    classifiers = _classifiers(model)
    if not classifiers or not hasattr(model, "loss_function"):
        raise TypeError(f"model: expected a detector of transformers' DETR family, got {type(model).__name__}")
    classes = model.config.num_labels
    own = assigner_for(assigner, classes, PROVIDES)
    if "objectness" in own.needs and not own.score.uses_objectness:
        raise ValueError("assigner: trains a second branch for itself, which these queries have not; take another")
    columns = classifiers[0].out_features
    if own.score.background_column and columns == classes:
        raise ValueError(
            "assigner: its softmax wants a column for no object, which the model has not; take 'hungarian'"
        )
    if columns > classes and not own.score.background_column:
        _replace(model, classifiers, lambda layer: _without_background(layer, classes))
    if own.score.uses_objectness:
        _replace(model, _classifiers(model), with_objectness)
    model.assigner = own
    own_loss = model.loss_function
    model.loss_function = AssignedLoss(own, own_loss)
    getattr(model, model.base_model_prefix).register_forward_hook(model.loss_function.look, with_kwargs=True)
    return model


class AssignedLoss:
    """What takes the place of a model's `loss_function`.

    Args:
        assigner: of all layers.
        own: the model's own loss function, for its denoising queries.
    """

    def __init__(self, assigner: Assigner, own: Callable[..., Any]) -> None:
        self.assigner, self.own = assigner, own
        self.image: tuple[int, int] | None = None
        self.proposals: tuple[Tensor, Tensor] | None = None

    def look(self, module: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any], outputs: Any) -> None:
        """Keep what loss functions are not told: the size of the batch's images, and the proposals of two stages."""
        pixels = options.get("pixel_values", inputs[0] if inputs else None)
        self.image = None if pixels is None else (pixels.shape[-1], pixels.shape[-2])
        found = tuple(getattr(outputs, name, None) for name in ("enc_outputs_class", "enc_outputs_coord_logits"))
        self.proposals = None if any(each is None for each in found) else found

    def __call__(
        self,
        logits: Tensor,
        labels: list[dict[str, Tensor]],
        device: torch.device,
        pred_boxes: Tensor,
        config: Any,
        outputs_class: Tensor | None = None,
        outputs_coord: Tensor | None = None,
        **more: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Any]:
        """Loss, its terms by name, and the predictions of the layers before the last; arguments as transformers hands them.

        Args:
            logits: (B, Q, C) of the last layer.
            labels: of each image `class_labels` (G,) and `boxes` (G, 4) cx, cy, w, h, shares; and `size` (height, width),
                pixels, as image processors write it, else images are as large as their batch.
            pred_boxes: (B, Q, 4) of the last layer, cx, cy, w, h, shares.
            outputs_class, outputs_coord: (L, B, Q, C) and (L, B, Q, 4) of all layers; of RT-DETR (B, L, Q, ...).
        """
        targets, losses, auxiliary = self._targets(labels, pred_boxes), {}, None
        proposals, self.proposals = self.proposals, None
        if "denoising_meta_values" in more:  # RT-DETR
            arguments = (logits, labels, device, pred_boxes, config, outputs_class, outputs_coord)
            _, theirs, auxiliary = self.own(*arguments, **more)
            losses = {name: loss for name, loss in theirs.items() if "_dn_" in name}
            outputs_class, outputs_coord, proposals = self._own_queries(outputs_class, outputs_coord, more)
            logits, pred_boxes = outputs_class[-1], outputs_coord[-1]
        elif config.auxiliary_loss and outputs_class is not None:
            layers = zip(outputs_class[:-1], outputs_coord[:-1], strict=True)
            auxiliary = [{"logits": own, "pred_boxes": boxes} for own, boxes in layers]
        if outputs_class is None or not config.auxiliary_loss:
            outputs_class, outputs_coord = logits[None], pred_boxes[None]
        else:  # DETR's last layer differs from what it detects by: that passes the decoder's norm a second time
            outputs_class = torch.cat((outputs_class[:-1], logits[None]))
            outputs_coord = torch.cat((outputs_coord[:-1], pred_boxes[None]))
        losses |= self._losses(outputs_class, outputs_coord, targets, layer_names(len(outputs_class)))
        if proposals is not None:
            losses |= self._encoder_losses(*proposals, targets, binary="denoising_meta_values" not in more)
        return sum(losses.values()), losses, auxiliary

    def _own_queries(self, classes: Tensor, boxes: Tensor, more: Mapping[str, Any]) -> tuple[Tensor, Tensor, Any]:
        """RT-DETR's layers in front, without denoising queries, and the proposals that became queries."""
        classes, boxes = classes.transpose(0, 1), boxes.transpose(0, 1)
        if more["denoising_meta_values"] is not None:
            parts = more["denoising_meta_values"]["dn_num_split"]
            classes, boxes = (each.split(parts, dim=2)[1] for each in (classes, boxes))
        return classes, boxes, (more["enc_topk_logits"], more["enc_topk_bboxes"])

    def _losses(
        self, logits: Tensor, boxes: Tensor, targets: Targets, names: list[str], valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        objectness = certain(logits) if self.assigner.score.uses_objectness else None
        outputs = QueryOutputs(logits, boxes, objectness=objectness, valid=valid)
        stacked: Predictions = stacked_predictions(outputs, targets, geometry=True)
        return named(self.assigner.loss(stacked, targets.repeat(len(logits))), names)

    def _encoder_losses(self, logits: Tensor, boxes: Tensor, targets: Targets, binary: bool) -> dict[str, Tensor]:
        """Proposals as a layer: RT-DETR's best on the real classes; Deformable DETR's all, as one class, boxes in logits."""
        if not binary:
            return self._losses(logits[None], boxes[None], targets, ["_enc"])
        inside = boxes.isfinite().all(-1)
        boxes = boxes.masked_fill(~inside[..., None], 0).sigmoid()
        found = Targets(targets.boxes, torch.zeros_like(targets.labels), targets.mask, sizes=targets.sizes)
        return self._losses(logits[None], boxes[None], found, ["_enc"], valid=inside[None])

    def _targets(self, labels: list[dict[str, Tensor]], like: Tensor) -> Targets:
        """Labels of a batch, boxes xyxy in pixels."""
        if self.image is None and any("size" not in own for own in labels):
            raise ValueError("labels: expected the size (height, width) of every image, as image processors write it")
        sizes = [own["size"].flip(0) if "size" in own else torch.tensor(self.image) for own in labels]
        sizes = torch.stack([size.to(like.device, torch.float32) for size in sizes])
        boxes = [
            pixel_boxes(own["boxes"].to(sizes)[None], size[None])[0] for own, size in zip(labels, sizes, strict=True)
        ]
        return Targets.from_lists(boxes, [own["class_labels"].to(like.device) for own in labels], sizes=sizes)


def _classifiers(model: nn.Module) -> list[nn.Linear]:
    """Its layers for classes, each once."""
    linear = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, nn.Linear))
    return [layer for name, layer in linear if CLASSIFIER.search(name)]


def _replace(model: nn.Module, layers: list[nn.Linear], change: Callable[[nn.Linear], nn.Linear]) -> None:
    """Put what `change` makes of layers in their place, wherever they or their weights are shared."""
    made: dict[int, nn.Linear] = {}
    for layer in layers:
        if id(layer.weight) not in made:
            made[id(layer.weight)] = change(layer)
    new = {id(layer): made[id(layer.weight)] for layer in layers}
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if id(child) in new:
                parent._modules[name] = new[id(child)]


@torch.no_grad()
def _without_background(layer: nn.Linear, classes: int) -> nn.Linear:
    """The rows of the classes alone, at the chance that classes of a sigmoid start with."""
    new = nn.Linear(layer.in_features, classes).to(layer.weight)
    new.weight.copy_(layer.weight[:classes])
    nn.init.constant_(new.bias, PRIOR)
    return new
