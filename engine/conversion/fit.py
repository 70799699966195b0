"""Fitting translated tensors to a model, with every tensor of both sides accounted for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from ...heads.query import Columns
from .rules import Translation

EXTRA = "extra."  # what only training has
CLASS_LAYER = re.compile(
    r"(?:bbox_head\.(?:auxiliary\.)?|extra\.(?:\w+\.)+)(classes\.\d+|encoder_class|conv_cls)\.(weight|bias)"
)
LABELS = "denoising.labels.weight"
COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ClassRows:
    """The checkpoint's row for each class of the target, None for a new one, of so many classes in total.

    `background`: a row of the class layers follows those of the classes (a softmax).
    """

    chosen: tuple[int | None, ...]
    total: int
    background: bool = False


@dataclass
class Report:
    """Where every tensor went.

    Attributes:
        source: the project whose names the checkpoint has.
        mapped: our name -> theirs.
        dropped: their name -> why it is not needed.
        fresh: our name -> which part of it starts anew.
        cut: our name -> how many rows of theirs it takes, and what the others are.
        given: our name that none of theirs is for -> what it is, so that the model computes what theirs does.
        missing: our names that nothing was found for.
        unexplained: their name -> why it could not be used.
        settings: config key -> value, chosen so that the model computes what theirs does.
        classes: our class -> theirs, None for one that starts anew.
    """

    source: str
    mapped: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    cut: dict[str, str] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexplained: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    classes: dict[str, str | None] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is missing and nothing unexplained."""
        return not self.missing and not self.unexplained

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**asdict(self), "complete": self.complete}


def fit(translation: Translation, model: nn.Module, rows: ClassRows, report: Report) -> dict[str, Tensor]:
    """The model's state dict with the translated tensors in it.

    Tensors that count classes have their rows picked; what starts anew keeps the model's own initial values, as what only
    training has does where the checkpoint has no such thing.

    Args:
        translation: of a checkpoint.
        model: on the CPU or on "meta".
        rows: which rows of class layers are taken.
        report: filled.
    """
    own = model.state_dict()
    report.dropped |= translation.dropped
    state = dict(own)
    for name, tensor in own.items():
        if name in translation.given:
            state[name], report.given[name] = translation.state[name].to(tensor), translation.given[name]
        elif name in translation.state:
            state[name] = _fitted(name, tensor, translation, rows, model, report)
        elif name.startswith(EXTRA) or (translation.anew and re.match(translation.anew, name)):
            report.fresh[name] = "all of it"
        elif not name.endswith(COUNTER):
            report.missing.append(name)
    for name in translation.state.keys() - own.keys() - translation.given.keys():
        if name.startswith(EXTRA):
            report.dropped[translation.names[name]] = f"of {name.split('.')[1]}, which trained besides"
        else:
            report.unexplained[translation.names[name]] = f"the model has no {name}"
    return state


def _fitted(
    name: str, own: Tensor, translation: Translation, rows: ClassRows, model: nn.Module, report: Report
) -> Tensor:
    """What becomes of one of the model's tensors."""
    theirs, their_name = translation.state[name], translation.names[name]
    chosen = rows_of(name, theirs, rows, model)
    if chosen is not None and len(chosen) == len(own) and theirs.shape[1:] == own.shape[1:]:
        constant = name in per_class(model) and bool((theirs == theirs[:1]).all())
        new = (
            len(chosen) if constant and None in chosen else chosen.count(None)
        )  # never learnt: the model's own is as good
        if new:
            report.fresh[name] = f"{new} of {len(chosen)} rows"
        if new == len(chosen):
            report.dropped[their_name] = "the same for every class" if constant else "of other classes"
            return own
        theirs = _picked(theirs, own, chosen)
    if theirs.shape != own.shape:
        report.missing.append(name)
        report.unexplained[their_name] = f"{_shape(theirs)} where {name} is {_shape(own)}"
        return own
    report.mapped[name] = their_name
    return theirs


def names_fit(translation: Translation, model: nn.Module) -> bool:
    """Whether both sides have tensors of the same names, but for what only training has."""
    theirs, ours = (
        {name for name in names if not name.endswith(COUNTER) and not name.startswith(EXTRA)} - translation.given.keys()
        for names in (translation.state, model.state_dict())
    )
    return theirs == ours


def shared_out(translation: Translation, model: nn.Module, report: Report) -> Translation:
    """Tables of the detector's and further queries as those of each.

    The model's own queries get the first rows. The others go to its extra queries, or are left, which the report says.
    """
    own, state, names = model.state_dict(), dict(translation.state), dict(translation.names)
    for name, what in translation.spare.items():
        count = len(own.get(name, state[name]))
        state[name], rest = state[name][:count], state[name][count:]
        homes = [
            home for home in own if re.fullmatch(rf"{EXTRA}\w+\.rows\.(\d+\.)?{name.removeprefix('queries.')}", home)
        ]
        if len(rest) and homes:
            state |= dict(zip(homes, _parts(rest, len(homes), len(own[homes[0]])), strict=True))
            names |= dict.fromkeys(homes, names[name])
        elif len(rest):
            report.cut[name] = (
                f"the first {count} of {count + len(rest)} rows, the others being {what}, which training alone reads; "
                f"model.queries.num_queries={count + len(rest)} takes all"
            )
    return replace(translation, state=state, names=names)


def _parts(rows: Tensor, count: int, size: int) -> tuple[Tensor, ...]:
    """So many parts of a table, of that size; where it has no such parts, the whole for each, which fits nowhere."""
    return rows.split(size) if len(rows) == count * size else (rows,) * count


def class_rows(state: Mapping[str, Tensor]) -> int:
    """Rows of a translated state dict's class layer, a background row included.

    Raises:
        ValueError: when it has no class layer.
    """
    biases = (tensor for name, tensor in state.items() if CLASS_LAYER.fullmatch(name) and name.endswith("bias"))
    bias = next(biases, None)
    if bias is None:
        raise ValueError("the checkpoint has no class layer")
    return len(bias)


def rows_of(name: str, theirs: Tensor, rows: ClassRows, model: nn.Module) -> tuple[int | None, ...] | None:
    """Which rows a tensor takes of theirs; None where it does not count classes.

    What follows the classes (background of a softmax, objectness of queries, unknown label of denoising) stays behind them.
    The classifier of proposals that are told from background alone uses its first row only, whatever the classes are.
    """
    if name == LABELS:
        return (*rows.chosen, rows.total if len(theirs) > rows.total else None)
    if name in per_class(model):
        return rows.chosen
    if not CLASS_LAYER.fullmatch(name):
        return None
    own, named = columns_of(name, model), rows.total + rows.background
    last = ((rows.total if rows.background else None,) if own.background else ()) + (
        (named if len(theirs) > named else None,) if own.objectness else ()
    )
    if "encoder_class" in name and model.bbox_head.encoder == "binary":
        return (*(row if row < len(theirs) else None for row in range(len(rows.chosen))), *last)
    return (*rows.chosen, *last)


def columns_of(name: str, model: nn.Module) -> Columns:
    """What the rows of one of the model's class layers are."""
    head = model.bbox_head.auxiliary if name.startswith("bbox_head.auxiliary.") else model.bbox_head
    if "encoder_class" in name:
        return head.encoder_columns
    own = Columns(head.num_classes, bool(head.assigner.score.background_column), objectness=False)
    return getattr(head, "columns", own)


def per_class(model: nn.Module) -> frozenset[str]:
    """Tensors of the model's assigner with a row for each class, which its parts declare as `per_class`."""
    parts = model.named_modules(remove_duplicate=False)
    assigners = ((place, part) for place, part in parts if ".assigner." in place or ".assigners." in place)
    return frozenset(f"{place}.{name}" for place, part in assigners for name in getattr(part, "per_class", ()))


def in_order(
    state: Mapping[str, Tensor], stated: Sequence[str], classes: Sequence[str], model: nn.Module
) -> dict[str, Tensor]:
    """Weights for classes in the order of `stated` as those for the same classes in another order."""
    background = bool(model.bbox_head.assigner.score.background_column)
    rows = ClassRows(tuple(stated.index(name) for name in classes), len(stated), background)
    chosen = {name: rows_of(name, tensor, rows, model) for name, tensor in state.items()}
    return {name: tensor if chosen[name] is None else tensor[list(chosen[name])] for name, tensor in state.items()}


def _picked(theirs: Tensor, own: Tensor, chosen: tuple[int | None, ...]) -> Tensor:
    """The chosen rows of theirs on top of our initial ones."""
    result = own.clone()
    for place, row in enumerate(chosen):
        if row is not None:
            result[place] = theirs[row]
    return result


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "a number"
