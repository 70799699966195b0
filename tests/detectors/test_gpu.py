"""What a GPU would refuse, and where a step would wait for it, seen on a stand-in for one."""

import copy

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from support.dense_detector import dense_detector
from support.query import KINDS, VARIANTS, detector
from support.steps import packed, step_of

from detassign.assigners import ASSIGNERS
from detassign.bench.stand_in import GPU, OnGPU, put_on, stand_in
from detassign.engine.hooks import RunInfo
from detassign.heads import PostProcess

MATCHING, PAIRS = "assigners/matching/hungarian.py", "assigners/denoising/known.py"
POSITIVES = "assigners/denoising/positives.py"
FAMILIES_WITH_A_MATCH_OF_THE_ENCODER = ("deformable_detr_two_stage", "dn_dab_dino_deformable_detr")


class Runner:
    """As much of mmengine's as its hooks need to write down losses."""

    message_hub = MessageHub("test")


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in found.items():
        assert isinstance(value, OnGPU), name
        difference, size = (value.host - wanted[name]).norm(), wanted[name].norm()
        assert difference <= 1e-3 * size + 1e-6, name  # torch sums the attention of other devices in another order


def test_the_stand_in_sees_what_it_is_for():
    near = torch.ones(3)
    with stand_in() as record:
        far = near.to(GPU, non_blocking=True)
        assert record.waits == {}
        assert (far + 1).device == GPU
        assert record.mixed == {}
        far + near
        far.cpu()
        far[[0, 1]]
        torch.tensor([1.0], device=far.device)
        far[far > 0]
        float(far.sum())
    assert sum(record.mixed.values()) == 1
    assert sum(record.reads.values()) == 3
    assert sum(record.sends.values()) == 2


@pytest.mark.parametrize("denoising", KINDS)
@pytest.mark.parametrize("family", VARIANTS)
def test_a_query_detector_trains_on_a_gpu_and_waits_only_for_costs_and_the_number_of_denoising_pairs(family, denoising):
    data = packed(3, 0, 2)
    wanted = step_of(detector(family, denoising), data)
    model = detector(family, denoising)
    with stand_in() as record:
        found = step_of(put_on(model), data)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)
    assert record.mixed == {}
    pairs = {} if denoising == "none" else {PAIRS: 1}
    assert record.waits == {MATCHING: 1 + (family in FAMILIES_WITH_A_MATCH_OF_THE_ENCODER), **pairs}


@pytest.mark.parametrize("fill", ["padding", "negatives"])
def test_a_collaborative_head_waits_for_its_pairs_and_for_the_number_of_its_positives(fill):
    data, extra = packed(3, 0, 2), {"collaborative": {"norm_groups": 4, "least": 60, "fill": fill}}
    wanted = step_of(detector("dino_4scale", extra=extra), data)
    model = detector("dino_4scale", extra=extra)
    with stand_in() as record:
        found = step_of(put_on(model), data)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)
    assert record.mixed == {}
    assert not record.sends
    own = {MATCHING: 1, PAIRS: 2, POSITIVES: 1}
    assert {file: record.waits[file] for file in own} == own
    of_dense = sum(count for file, count in record.waits.items() if file not in own)
    assert 1 <= of_dense <= model.extra["collaborative"].dense.waits, record.waits


@pytest.mark.parametrize("family", ["dino_4scale", "deformable_detr", "detr", "conditional_detr"])
def test_a_whole_training_step_waits_three_times_at_most(family):
    """Matching, denoising, and mmengine, which writes down the norm of the gradient that it clips."""
    model, batches, losses_told = detector(family), [packed(3, 0, 2), packed(2, 1, size=(96, 96))], RunInfo()
    with stand_in() as record:
        put_on(model)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        wrapper = OptimWrapper(optimizer, clip_grad={"max_norm": 0.1})
        for data in batches:  # of different sizes: nothing is made for one size and kept
            record.clear()
            outputs = model.train_step(data, wrapper)
            losses_told.after_train_iter(Runner, 0, data, outputs)
            assert record.mixed == {}
            assert not record.sends
            assert 1 <= sum(record.reads.values()) <= 3, record.reads


@pytest.mark.parametrize("assigner", ASSIGNERS)
def test_a_dense_detector_trains_on_a_gpu_under_every_assigner(assigner):
    data = packed(3, 0, 2)
    wanted = step_of(dense_detector(assigner, 4), data)
    model = dense_detector(assigner, 4)
    with stand_in() as record:
        found = step_of(put_on(model), data)
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)
    assert record.mixed == {}
    assert not record.sends
    assert 1 <= sum(record.reads.values()) <= model.bbox_head.assigner.waits, record.reads


@pytest.mark.parametrize("family", VARIANTS)
def test_a_query_detector_finds_the_same_on_a_gpu(family):
    check_predictions(lambda: detector(family, "none"))


@pytest.mark.parametrize("assigner", ["fcos", "dw"])
def test_a_dense_detector_finds_the_same_on_a_gpu(assigner):
    check_predictions(lambda: dense_detector(assigner, 4, PostProcess(score_threshold=0.0)))


def check_predictions(make):
    data = packed(2, 1)
    wanted = make().eval().test_step(copy.deepcopy(data))
    with stand_in() as record:
        found = put_on(make()).eval().test_step(copy.deepcopy(data))
    assert record.mixed == {}
    for one, other in zip(found, wanted, strict=True):
        assert len(one.pred_instances) == len(other.pred_instances) > 0
        for key, value in other.pred_instances.items():
            torch.testing.assert_close(one.pred_instances[key].host, value, rtol=1e-4, atol=1e-4)
