"""What commands share: options that appear in several, and new files and folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from . import completion

EMA_DECAY = 0.9998


class Decay(click.ParamType):
    """A number between 0 and 1, in an option that may be without; what follows it is then easily taken for one."""

    name = "decay"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if not 0 < number < 1:
            self.fail(f"expected a number between 0 and 1, got {value!r}; --ema without one comes last", param, ctx)
        return number


data_option = click.option(
    "--data", metavar="NAME|PATH", shell_complete=completion.data,
    help="A folder in COCO's, YOLO's or VOC's form; 'coco' (see --data-root); or 'synthetic' (the default).",
)  # fmt: skip
data_root_option = click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    help="Folder with annotations/, train2017/ and val2017/ for --data coco; of a run without --data, where its data is now.",
)
images_option = click.option(
    "--images", type=click.IntRange(min=2), default=None, help="Size of the generated set, for --data synthetic."
)
detector_option = click.option(
    "--detector", metavar="NAME", shell_complete=completion.detectors, help="A detector; see 'detassign list'."
)
assigner_option = click.option(
    "--assigner",
    metavar="SPEC",
    shell_complete=completion.assigner,
    help="An assigner, or matching+weighting[+score]; each may have arguments: 'dw(top_k=9)'.",
)
import_option = click.option(
    "--import",
    "imports",
    multiple=True,
    metavar="FILE|MODULE",
    help="Python that brings assigners or parts of your own; it is run. Repeatable.",
)
trust_option = click.option("--trust", is_flag=True, help="Run the code that comes with a run made elsewhere.")
denoising_option = click.option(
    "--denoising",
    metavar="dn|cdn|none",
    shell_complete=completion.denoisings,
    help="Noised targets as further queries; the detector's usual way if left out.",
)
extra_option = click.option(
    "--extra",
    multiple=True,
    metavar="SPEC",
    shell_complete=completion.extras,
    help="Further queries in training: 'groups(k=5)', 'branch(queries=300, repeat=4)'. Repeatable.",
)
scheme_option = click.option(
    "--scheme",
    metavar="NAME",
    shell_complete=completion.schemes,
    help="What a paper changed in a query detector; what other options say comes on top.",
)
augment_option = click.option(
    "--augment",
    callback=lambda context, option, names: choose(names) if names else (),
    metavar="A,B,…",
    shell_complete=completion.augmentations,
    help="What else is done to training pictures: color, zoom, mosaic, mixup, rare; see 'detassign list augmentations'.",
)
schedule_option = click.option(
    "--schedule",
    metavar="NAME",
    shell_complete=completion.schedules,
    help="A schedule; the detector's usual one if left out.",
)
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change any config key; repeatable."
)
seed_option = click.option("--seed", type=click.IntRange(min=0), default=None, help="Seed of everything random.")
epochs_option = click.option("--epochs", type=click.IntRange(min=1), default=None)
batch_size_option = click.option(
    "--batch-size", type=click.IntRange(min=1), default=None, help="The learning rate is scaled with it."
)
accumulate_option = click.option(
    "--accumulate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take each batch in N parts and add up their gradients: the memory of an Nth, the steps and the rate of the whole.",
)
device_option = click.option("--device", metavar="NAME", help="auto, cpu or cuda[:index].")
amp_option = click.option(
    "--amp",
    "precision",
    flag_value="amp",
    default=None,
    help="Mixed precision: the device's narrow type, bfloat16 on CPUs. Same as --precision amp.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16", "amp", "auto"]),
    help="Of the network; 'auto' measures whether the narrow type is faster here.  [default: float32]",
)
telemetry_option = click.option(
    "--telemetry",
    is_flag=True,
    default=None,
    help="Write down whom the assigner serves and how steadily; see 'inspect --run RUN --telemetry'.",
)
ema_option = click.option(
    "--ema",
    is_flag=False,
    flag_value=EMA_DECAY,
    type=Decay(),
    metavar="[DECAY]",
    help=f"Average the weights as well (decay {EMA_DECAY} if left out), measured beside them and kept in best_ema.pth.",
)
patience_option = click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="End after so many evaluations in a row without a better AP; the schedule's end if left out.",
)
log_option = click.option(
    "--log",
    callback=lambda context, option, names: choose(names) if names else None,
    metavar="A,B,…",
    help="Metrics to tensorboard, mlflow, wandb as well; the run's folder has them in any case.",
)
pretrained_option = click.option(
    "--pretrained",
    type=click.Path(path_type=Path),
    help="Backbone weights: a state dict in the backbone's layout, or in that of Swin's and ConvNeXt's authors.",
)
checkpoint_option = click.option(
    "--checkpoint",
    metavar="best|last|ema|FILE",
    help="Of the run; its best if left out, or its last where none is the best; ema: the best averaged weights.",
)
init_option = click.option(
    "--init",
    type=click.Path(path_type=Path),
    help="A checkpoint of this very model to start from; see 'detassign convert'.",
)


def options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator, shown in the order given."""

    def apply(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return apply


choice_options = options(detector_option, assigner_option, data_option, data_root_option, images_option, seed_option)
run_options = options(
    import_option,
    scheme_option,
    extra_option,
    denoising_option,
    augment_option,
    schedule_option,
    epochs_option,
    batch_size_option,
    accumulate_option,
    pretrained_option,
    init_option,
    device_option,
    amp_option,
    precision_option,
    ema_option,
    patience_option,
    log_option,
    telemetry_option,
    set_option,
)


def choose(names: str) -> list[str]:
    """A comma-separated option as a list without empties and repetitions; commas inside brackets are a name's own."""
    from ..assigners.spec import split  # imports torch

    try:
        return split(names, "name")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def choose_among(known: Sequence[str], names: str, option: str) -> list[str]:
    """As :func:`choose`, of these names alone and at least one."""
    chosen = choose(names)
    wrong = next((name for name in chosen if name not in known), None)
    if wrong is not None or not chosen:
        raise click.BadParameter(f"expected some of {', '.join(known)}, got {wrong or names!r}", param_hint=option)
    return chosen
