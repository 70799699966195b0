"""Denoising queries of DN-DETR and DINO, given the random numbers that the original code drew."""

import numpy as np
import pytest
import torch
from support.detr import scenarios, weights_of
from support.golden import named_cases
from support.noise import denoising_of, settings_of
from support.queries import RecordedNoise, drawn_slots, query_targets, recorded_arrays


def check_queries(case, prefix, stored, settings, targets, label_embedding):
    """Content, boxes and mask are those recorded, images first or queries first."""
    denoising, kind, flips = denoising_of(settings)
    counts, classes = targets.mask.sum(1).tolist(), settings["num_classes"]
    groups = denoising(targets, classes).groups
    noise = RecordedNoise(recorded_arrays(case, prefix), drawn_slots(counts, groups, kind), flips)
    queries = denoising(targets, classes, noise)
    assert noise.arrays == [] or not any(counts)
    count = queries.labels.shape[1]
    content, logits = (case.tensor(f"{stored}/{name}") for name in ("query_label", "query_bbox_unsigmoid"))
    if len(content) != len(counts):
        content, logits = content.transpose(0, 1), logits.transpose(0, 1)
    known = queries.known[..., None].float()
    ours = label_embedding[queries.labels] * known
    if ours.shape[-1] < content.shape[-1]:
        ours = torch.cat([ours, known], -1)
    np.testing.assert_allclose(ours, content[:, :count], atol=1e-5, rtol=1e-5)
    inside = queries.boxes.clamp(0, 1)
    unsigmoided = (inside.clamp(min=1e-3) / (1 - inside).clamp(min=1e-3)).log()
    np.testing.assert_allclose(unsigmoided, logits[:, :count], atol=1e-5, rtol=1e-5)
    mask = case.tensor(f"{stored}/attn_mask")
    assert torch.equal(queries.attention_mask(len(mask) - count), mask)
    return queries


@pytest.mark.parametrize(("case", "name"), named_cases("detr/components", "dn_queries_*"))
def test_queries_equal_the_original(case, name):
    settings = dict(case.sidecar["cases"][name], corners="dino" in name)
    targets = query_targets(case, f"{name}/target", len(settings["counts"]))
    embedding = case.tensor(f"{name}/label_enc")
    queries = check_queries(case, f"{name}/", name, settings, targets, embedding)
    assert queries.labels.shape[1] == settings["meta"]["pad_size"]
    if targets.mask.any():
        meta = settings["meta"]
        assert queries.groups == meta.get("num_dn_group", meta.get("scalar", settings.get("scalar")))


@pytest.mark.parametrize("case", scenarios("train_*", "dn_query/query_label"))
def test_queries_of_a_training_step_equal_the_original(case):
    targets = query_targets(case, "target", case.tensor("input/sizes_hw").shape[0])
    check_queries(case, "", "dn_query", settings_of(case), targets, weights_of(case)["label_enc.weight"])
