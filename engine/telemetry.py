"""Telemetry of a training: which objects its assigner serves, how strongly, and how steadily; see docs/telemetry.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from torch import Tensor

from ..data import DataSource
from ..data.files import json_text
from ..data.reader import load_split
from ..data.table import Table
from ..detectors.observer import Observation
from ..evidence.telemetry.history import HISTORY
from ..evidence.telemetry.learnt import Learnt, learnt
from ..evidence.telemetry.probe import Probe
from ..evidence.telemetry.sizes import name_of
from ..evidence.telemetry.tally import summarise, tally
from ..evidence.telemetry.warning import left_alone
from . import processes
from .build import Detector
from .config import source_of
from .datasets import plain_training_images
from .files import write_bytes
from .hooks import AssignmentStatistics, MetricsFile
from .notes import note


def look_of(model: Detector) -> Callable[[Observation], dict[str, Tensor]]:
    """What telemetry adds up of a step of this detector."""

    def look(observation: Observation) -> dict[str, Tensor]:
        predictions, targets = observation.asked()
        areas = observation.stored_areas(targets)
        return tally(observation.assignment, predictions, targets, areas, model.bbox_head.assigner.pair_scores)

    return look


class Telemetry(Hook):
    """After every epoch: sums over its steps, and a look at a few images; written to metrics and HISTORY, told where it is bad.

    Every process looks at its share of the images, and the first one compares and writes. What the comparison needs is in the
    checkpoint, so a resumed run goes on with it.

    Args:
        config: resolved; its "telemetry" says how many images, and after how many epochs without a sample to tell.
        model: in training.
        statistics: has the sums over steps.
        metrics: takes a line per epoch.
        folder: of the run.
        say: is told what is bad.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        model: Detector,
        statistics: AssignmentStatistics,
        metrics: MetricsFile,
        folder: Path,
        say: Callable[[str], None],
    ) -> None:
        self.model, self.statistics, self.metrics, self.folder, self.say = model, statistics, metrics, folder, say
        self.patience = config["telemetry"]["patience"]
        source = source_of(config)
        images = images_to_follow(source, config["telemetry"]["images"])
        levels = [f"{stride:g}" for stride in getattr(model.bbox_head, "strides", ())]
        self.probe = Probe(images, source.classes, levels)
        self.data = plain_training_images(source, config["input"], [image["index"] for image in images])

    def after_train_epoch(self, runner: Any) -> None:
        started = time.perf_counter()
        found = self._look()
        if processes.is_first():
            entry = {"steps": None, "probe": self.probe.add(runner.epoch + 1, found) if found else None}
            write_bytes((json_text(self.probe.history().to_dict()) + "\n").encode(), self.folder / HISTORY)
            if self.statistics.of_epoch:
                entry["steps"] = summarise(self.statistics.of_epoch, self.probe.classes, processes.count())
            self.metrics.add(runner, {"telemetry": {**entry, "seconds": time.perf_counter() - started}})
            for sentence in left_alone(self.probe, self.patience):
                runner.logger.info(sentence)
                self.say(sentence)

    def _look(self) -> list[Learnt]:
        """What all images' objects are learnt by now, in order.

        All processes look as often, some at an image of another's, for they meet in every assignment: in its normalisers.
        """
        was_training, images, count = self.model.training, len(self.data), processes.count()
        own = [place % images for place in range(processes.rank(), -(-images // count) * count, count)]
        self.model.eval()
        try:
            shares = processes.gathered([self._look_at(place) for place in own])
        finally:
            self.model.train(was_training)
        return [shares[place % count][place // count] for place in range(images)]

    def _look_at(self, place: int) -> Learnt:
        batch = self.model.data_preprocessor(pseudo_collate([self.data[place]]), False)
        observation = self.model.assigned(batch["inputs"], batch["data_samples"])
        return learnt(observation.assignment, *observation.asked(), self.model.bbox_head.assigner.pair_scores)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint["telemetry"] = self.probe.state()

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:
        if "telemetry" in checkpoint and not self.probe.load(checkpoint["telemetry"]):
            note("telemetry follows other images or objects than before, so its history begins anew")


def images_to_follow(source: DataSource, count: int) -> list[dict[str, Any]]:
    """So many training images with objects, the same whatever the run's seed, in the form of `evidence.telemetry.history`."""
    table = load_split(source, "train")
    objects: list[list[int]] = [[] for _ in table.file_names]
    for row in np.flatnonzero(~table.crowd).tolist():
        objects[table.owners[row]].append(row)
    with_objects = [index for index, rows in enumerate(objects) if rows]
    chosen = np.random.default_rng(0).permutation(len(with_objects))[:count]
    return [_followed(table, with_objects[place], objects[with_objects[place]]) for place in sorted(chosen.tolist())]


def _followed(table: Table, index: int, rows: list[int]) -> dict[str, Any]:
    described = partial(_object, table)
    numbers = {"id": int(table.image_ids[index]), "index": index}
    return {**numbers, "file": table.file_names[index], "objects": [described(row) for row in rows]}


def _object(table: Table, row: int) -> dict[str, Any]:
    box = table.boxes[row].tolist()
    return {"label": int(table.labels[row]), "box": box, "size": name_of(box[2] * box[3])}
