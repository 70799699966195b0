"""Images of an epoch: rare classes come more often, in an order that the seed and the epoch alone decide."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.dataset import sampler

from detassign.engine.sampling import Shuffled, epoch_images, repeat_factors

# Six images: class 0 is in all but the last, twice in image 4; class 1 is in one, class 2 in none but as a crowd.
OWNERS, LABELS = np.array([0, 1, 2, 3, 4, 4, 3, 0]), np.array([0, 0, 0, 0, 0, 0, 1, 2])
TABLE = SimpleNamespace(
    owners=OWNERS, labels=LABELS, crowd=np.arange(8) == 7, file_names=[f"{number}.jpg" for number in range(6)]
)


def test_an_image_comes_as_often_as_its_rarest_class_asks_for():
    found = repeat_factors(TABLE, least=2 / 3)
    assert found.tolist() == pytest.approx([1, 1, 1, (2 / 3 / (1 / 6)) ** 0.5, 1, 1])
    assert repeat_factors(TABLE, least=0.1).tolist() == [1] * 6
    assert (epoch_images(TABLE, {"repeat_rare": 2 / 3}), epoch_images(TABLE, {})) == (7, 6)


def drawn(factors, epoch, monkeypatch, rank=0, count=1):
    monkeypatch.setattr(sampler, "get_dist_info", lambda: (rank, count))
    found = Shuffled(range(len(factors)), 3, batch_size=2, factors=torch.tensor(factors))
    found.set_epoch(epoch)
    order = list(found)
    assert len(order) == len(found)
    return order


def test_images_come_as_often_as_their_factors_say_in_the_mean(monkeypatch):
    factors = [1.0, 2.0, 1.5, 1.5]
    counts = Counter(image for epoch in range(400) for image in drawn(factors, epoch, monkeypatch))
    assert [counts[image] / 400 for image in range(4)] == pytest.approx(factors, abs=0.2)
    assert drawn(factors, 7, monkeypatch) == drawn(factors, 7, monkeypatch) != drawn(factors, 8, monkeypatch)


def test_processes_share_one_order(monkeypatch):
    factors = [1.0, 2.0, 1.5, 1.5]  # six images an epoch
    whole = drawn(factors, 1, monkeypatch)
    shares = [drawn(factors, 1, monkeypatch, rank, 2) for rank in range(2)]
    assert [image for pair in zip(*shares, strict=True) for image in pair] == whole


def test_steps_cut_a_repeated_epoch_as_any_other():
    found = Shuffled(range(4), 3, batch_size=2, steps=4, factors=torch.tensor([1.0, 2.0, 1.5, 1.5]))
    lengths = []
    for epoch in range(3):
        found.set_epoch(epoch)
        lengths.append(len(list(found)))
    assert lengths == [6, 2, 0]


@pytest.mark.parametrize("rank", range(5))
def test_every_process_has_as_many_images_however_few_there_are(rank, monkeypatch):
    monkeypatch.setattr("mmengine.dataset.sampler.get_dist_info", lambda: (rank, 5))
    sampler = Shuffled([0], seed=0, batch_size=1, factors=torch.tensor([1.4]))
    assert list(sampler) == [0] * len(sampler) == [0]
