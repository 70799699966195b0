import pytest

from detassign.compat import mmcv_flavour, op_coverage
from detassign.compat.mmcv_ext import SERVED_OPS

lite = pytest.mark.skipif(mmcv_flavour() != "lite", reason="a full mmcv is installed, which has every op")


def families(coverage, op: str) -> set[str]:
    return {config.partition("/")[0] for config in coverage[op].configs}


def test_every_served_op_is_one_that_mmcv_asks_for(coverage):
    assert set(SERVED_OPS) <= set(coverage)
    assert len(coverage) > 100


@lite
def test_what_serves_an_op_is_read_from_its_code(coverage):
    expected = {
        "carafe_forward": "torch",
        "deform_conv_forward": "torchvision",
        "ms_deform_attn_forward": "detassign.ops",
        "nms": "torchvision",
        "nms_rotated": None,
        "roi_align_backward": "torchvision",
        "roi_pool_forward": "torch",
        "sigmoid_focal_loss_forward": "torch",
    }
    assert {op: coverage[op].served_by for op in expected} == expected
    assert {op for op, found in coverage.items() if found.served_by} == set(SERVED_OPS)


@lite
def test_no_config_of_mmdet_needs_an_op_that_is_not_served(coverage):
    assert {op: found.configs for op, found in coverage.items() if found.configs and not found.served_by} == {}


@pytest.mark.parametrize(
    ("op", "expected"),
    [
        ("nms_match", {"pisa"}),
        ("masked_im2col_forward", {"guided_anchoring", "sabl"}),  # sabl borrows a method of guided anchoring's head
        ("masked_col2im_forward", {"guided_anchoring", "sabl"}),
        ("carafe_forward", {"carafe"}),
        ("deform_roi_pool_forward", {"dcn", "dcnv2"}),
        ("sync_bn_forward_mean", {"simple_copy_paste", "strong_baselines"}),
        ("softnms", {"centripetalnet", "cornernet", "faster_rcnn"}),
        ("nms_rotated", set()),
    ],
)
def test_who_needs_an_op_is_who_names_it_in_config_or_code(coverage, op, expected):
    if not any(found.configs for found in coverage.values()):
        pytest.skip("mmdet is installed without its configs")
    assert families(coverage, op) == expected


def test_types_come_from_the_model_and_the_configs_it_builds_on(model_types):
    if not model_types:
        pytest.skip("mmdet is installed without its configs")
    types = model_types["dyhead/atss_r50_fpn_dyhead_1x_coco"]
    assert {"ATSS", "DyHead", "FPN", "ResNet", "ATSSHead", "nms"} <= types
    assert "LoadImageFromFile" not in types
    assert "SGD" not in types
    assert (
        "MMSyncBN"
        in model_types["simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-270k_coco"]
    )


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(op_coverage, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="No module named 'mmcv'"):
        op_coverage.op_coverage()
