"""From a resolved config to objects: the one place where a dict turns into a model."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from ..assigners.registry import unknown_name
from ..detectors import DenseDetector, QueryDetector
from ..heads import PostProcess
from .conversion.classes import is_unnamed
from .conversion.fit import EXTRA, in_order
from .conversion.official import from_official
from .conversion.reading import check_finite, read_checkpoint
from .notes import note
from .reasons import reason

PACKAGES = ("detassign", "mmdet", "torchvision")  # whose classes a config may name
TRUST = "DETASSIGN_PACKAGES"
OPTIONAL = r"num_batches_tracked$|^norms?\.?[0-3]\."  # of a backbone: what classifiers do without
SIDE = 64  # pixels of the picture that shows whether the parts of a model fit together
Detector = DenseDetector | QueryDetector


def build_model(config: Mapping[str, Any], initialise: bool = True) -> Detector:
    """The detector that a resolved config describes.

    Args:
        config: resolved; its `pretrained` file takes the place of weights that the backbone would download, and its
            `init` file, a checkpoint of this very model, the place of all.
        initialise: start from initial or pretrained weights; False where a checkpoint is loaded right after.

    Raises:
        ValueError: for a class or an argument that does not exist, for parts that do not fit, for weights of another
            backbone, and for weights that cannot be downloaded.
    """
    start, pretrained = config.get("init"), config.get("pretrained")
    if start and pretrained:
        raise ValueError("--init: the checkpoint has the backbone's weights too; leave out --pretrained")
    description = dict(config["model"])
    if start or pretrained or not initialise:
        description["backbone"] = {**description["backbone"], "init_cfg": None}
    description["backbone"] = _without_none(description["backbone"])
    model = instantiate({**_without_none(description), **build_parts(description)}, "model")
    if not initialise:
        return model
    check_fit(model)
    if start:
        load_checkpoint(model, Path(start), config["data"]["classes"])
        return model
    _initialise(model)
    if pretrained:
        load_backbone(model.backbone, Path(pretrained))
    return model


@torch.no_grad()
def check_fit(model: Detector) -> None:
    """Send one small picture through a new model on the CPU, and through its losses.

    Raises:
        ValueError: when one part does not take what another makes, or has a value that it cannot compute with.
    """
    model.eval()  # statistics of norms stay
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(torch.zeros(1, 3, SIDE, SIDE), mode="tensor")
            model(**model.data_preprocessor(_small_batch(), True), mode="loss")
    except ValueError:  # with a sentence of its own
        raise
    except Exception as error:  # whatever a part does not expect
        raise ValueError(
            f"model: its parts or values do not go together ({reason(error)}); DETASSIGN_TRACEBACK=1 shows where"
        ) from error
    model.train()


def _small_batch() -> dict[str, Any]:
    """One picture with one object, as a loader hands it over."""
    sample = DetDataSample(metainfo={"img_id": 0, "img_shape": (SIDE, SIDE), "ori_shape": (SIDE, SIDE)})
    box = torch.tensor([[SIDE / 4, SIDE / 4, SIDE * 3 / 4, SIDE * 3 / 4]])
    sample.gt_instances = InstanceData(bboxes=box, labels=torch.zeros(1, dtype=torch.long))
    return {"inputs": [torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)], "data_samples": [sample]}


def warn_of_cold_start(config: Mapping[str, Any], model: Detector) -> None:
    """Warn where layers that never learn would keep the random numbers they start with."""
    given = (
        config.get("init")
        or config.get("pretrained")
        or "Pretrained" in str(config["model"]["backbone"].get("init_cfg"))
    )
    if given or all(parameter.requires_grad for parameter in model.backbone.parameters()):
        return
    warnings.warn(
        "the backbone starts from random numbers and is frozen in part, so those parts will never learn; give its weights "
        "with --pretrained FILE, or take a detector made to start from nothing (its name ends in _tiny)",
        UserWarning,
        stacklevel=2,
    )


def build_parts(description: Mapping[str, Any]) -> dict[str, Any]:
    """The objects among a model's arguments: those described by a dict with a "type"."""
    parts = {name: part for name, part in description.items() if isinstance(part, Mapping) and "type" in part}
    return {name: instantiate(part, f"model.{name}") for name, part in parts.items()}


def _initialise(model: Detector) -> None:
    try:
        model.init_weights()
    except URLError as error:
        raise ValueError(
            f"the backbone's weights cannot be downloaded ({error.reason}); give a file with --pretrained, or start from "
            "nothing with --set model.backbone.init_cfg=None"
        ) from error
    except OSError:
        raise
    except Exception as error:  # mmengine finds nothing of the name, or anything else in what it found
        raise ValueError(f"model: its weights cannot be initialised as init_cfg says ({reason(error)})") from error


def _without_none(description: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are None are left to their defaults."""
    return {key: value for key, value in description.items() if value is not None}


def instantiate(description: Mapping[str, Any], where: str) -> Any:
    """An object from {"type": "package.module.Class", ...arguments}; nested dicts stay arguments."""
    arguments = {key: value for key, value in description.items() if key != "type"}
    entry = find_class(description.get("type"), where)
    accepted = inspect.signature(entry).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values())
    unknown = [] if takes_any else sorted(set(arguments) - set(accepted))
    if unknown:
        raise ValueError(unknown_name("argument", f"{where}.{unknown[0]}", [f"{where}.{name}" for name in accepted]))
    try:
        return entry(**arguments)
    except OSError:
        raise
    except Exception as error:  # an argument left out, of another type or of no use: each class complains in its way
        if isinstance(error, ValueError) and entry.__module__.partition(".")[0] == "detassign":
            raise  # with a sentence of its own
        raise ValueError(f"{where}: {entry.__name__} cannot be made of these arguments ({reason(error)})") from error


def load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load pretrained backbone weights; a classifier's head, or a detector's other parts, are left out.

    Names are the backbone's own or, of Swin and ConvNeXt, their authors'. Norms behind a backbone's maps, which no classifier
    has, may be missing.

    Raises:
        FileNotFoundError, ValueError: when the file is missing, unsafe, not finite, or belongs to another network.
    """
    state = read_checkpoint(path).state
    own = backbone.state_dict()
    state = _in_names_of(own, {key.removeprefix("backbone."): value for key, value in state.items()})
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    missing = [key for key in own if key not in fitting and not re.search(OPTIONAL, key)]
    if missing:
        raise ValueError(
            f"{path}: weights of another network; {len(missing)} of the {len(own)} tensors of {type(backbone).__name__} "
            f"are not in it or differ in shape, such as {missing[0]}"
        )
    check_finite(fitting, path)
    backbone.load_state_dict(fitting, strict=False)


def _in_names_of(own: Mapping[str, Any], state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Backbone weights under the names of `own`, or their authors' names turned into those, whichever fits more."""
    theirs = from_official({f"backbone.0.{name}": tensor for name, tensor in state.items()}).state
    renamed = {name.removeprefix("backbone."): tensor for name, tensor in theirs.items()}
    return max(state, renamed, key=lambda named: len(own.keys() & named.keys()))


def load_checkpoint(
    model: nn.Module, path: Path, classes: Sequence[str] | None = None, otherwise: Sequence[str] | None = None
) -> None:
    """Load a checkpoint of this very model, whatever its weights are under.

    Args:
        model: on any device.
        path: of the file.
        classes: of the model. Where the file states them in another order, rows are taken by name, with a note.
        otherwise: classes of a file that states none.

    Raises:
        FileNotFoundError, ValueError: when the file is missing, unsafe, not finite, of another model or of other classes.
    """
    found, own = read_checkpoint(path), model.state_dict()
    check_finite(found.state, path)
    state, stated = _without_extra(found.state, own, path), found.classes or otherwise
    if classes is not None and stated is not None and state.keys() == own.keys():
        state = _by_name(state, tuple(stated), tuple(classes), model, path)
    wrong = mismatch(own, state, path)
    if wrong:
        raise ValueError(wrong)
    if found.averaged:
        note(f"{path} holds averaged weights alone, under {found.place!r}; they are taken")
    model.load_state_dict(state)


def _without_extra(state: Mapping[str, Any], own: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The weights without those of what only training had and this model has not, with a note."""
    left = {name.split(".")[1] for name in state if name.startswith(EXTRA) and name not in own}
    if left:
        note(
            f"{path} was trained with {', '.join(sorted(left))} besides, which this model is without; the rest is taken"
        )
    return {name: value for name, value in state.items() if not name.startswith(EXTRA) or name in own}


def _by_name(
    state: dict[str, torch.Tensor], stated: tuple[str, ...], classes: tuple[str, ...], model: nn.Module, path: Path
) -> dict[str, torch.Tensor]:
    """Weights with the rows of the model's classes.

    Raises:
        ValueError: when they are of other classes.
    """
    if stated == classes or is_unnamed(stated):
        return state
    unknown = sorted(set(classes) ^ set(stated))
    if unknown:
        ours = unknown[0] in classes
        raise ValueError(
            f"{path}: a checkpoint of other classes; {unknown[0]!r} is {'none of its' if ours else 'one of its'} {len(stated)} "
            f"and {'one' if ours else 'none'} of the data's {len(classes)}. Name them alike if they are the same; to begin "
            f"anew with those that it does not know: detassign convert {path} --finetune-classes {len(classes)} --data ..."
        )
    note(f"{path} has the classes in another order than the data; its rows are taken by name")
    return in_order(state, stated, classes, model)


def mismatch(own: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor], path: Path) -> str | None:
    """How weights differ in names or shapes from those of a model, None where they do not."""
    wrong = sorted(set(own) ^ set(state)) or [key for key in own if own[key].shape != state[key].shape]
    if not wrong:
        return None
    key = wrong[0]
    ours, theirs = (tuple(s[key].shape) if key in s else "nothing" for s in (own, state))
    return f"{path}: a checkpoint of another model; {len(wrong)} tensors differ, such as {key} (model {ours}, file {theirs})"


def find_class(name: Any, where: str) -> type:
    """The class of a dotted name; only modules of known packages, since a config may come from anywhere."""
    if not isinstance(name, str) or "." not in name:
        raise ValueError(f"{where}.type: expected the dotted name of a class, got {name!r}")
    module, _, attribute = name.rpartition(".")
    packages = (*PACKAGES, *filter(None, os.environ.get(TRUST, "").split(",")))
    if module.partition(".")[0] not in packages:
        raise ValueError(
            f"{where}.type: {name!r} is of none of the packages {', '.join(packages)}; if you trust the config, "
            f"name its package in the environment variable {TRUST}"
        )
    try:
        entry = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}.type: cannot find {name!r} ({error})") from None
    if not (isinstance(entry, type) and issubclass(entry, nn.Module | PostProcess)):
        raise ValueError(f"{where}.type: {name!r} is no module of a network")
    return entry
