"""From a file to weights that a model of this project takes, with everything accounted for."""

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from support import zoo
from support.golden import golden_folder
from torch import nn

from detassign.assigners import ASSIGNERS, MATCHINGS, build
from detassign.configs.detectors import parts
from detassign.data import DataSource
from detassign.detectors.targets import sizes_of
from detassign.engine.build import build_model, load_checkpoint
from detassign.engine.config import TELEMETRY, compose, plain
from detassign.engine.conversion.classes import COCO_CLASSES, COCO_IDS
from detassign.engine.conversion.convert import convert, write
from detassign.engine.conversion.fit import Report, per_class
from detassign.engine.conversion.official import from_official

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
NAMES = tuple("abcdefg")


def target(name, classes=NAMES, **changes):
    """The config of a small detector for given classes."""
    config = zoo.ours(name, {"model.head.num_classes": len(classes), **changes})
    return {"name": name, "data": {"classes": list(classes)}, "pretrained": None, **config}


def write_checkpoint(config, path):
    write(config, own_state(config), path)


def save(path, state, **meta):
    torch.save({"state_dict": state, "meta": meta}, path)
    return path


def own_state(config):
    """A detector's weights, drawn at random."""
    return zoo.randomised(build_model(config, initialise=False)).state_dict()


@pytest.mark.parametrize("name", ["detr", "dab_detr", "deformable_detr", "deformable_detr_two_stage", "dino"])
def test_a_zoo_checkpoint_computes_here_what_it_computes_there(name, tmp_path):
    """By way of the file: the config gets mmdet's settings, and nothing is left over on either side."""
    model = zoo.theirs(name)
    file = save(tmp_path / "zoo.pth", model.state_dict(), dataset_meta={"classes": NAMES})
    config, state, report = convert(target(name), file)
    assert report.complete
    assert report.source == "mmdet"
    assert set(report.mapped.values()) | set(report.dropped) == set(model.state_dict())
    write(config, state, tmp_path / "ours.pth")
    detector = build_model(config, initialise=False).eval()
    load_checkpoint(detector, tmp_path / "ours.pth")
    images, samples = zoo.padded_batch()
    with torch.no_grad():
        outputs = detector._outputs(images, samples, sizes_of(samples))
    logits, boxes = zoo.their_outputs(model, images, samples)
    torch.testing.assert_close(outputs.logits, logits, rtol=0, atol=2e-5)
    torch.testing.assert_close(outputs.boxes, boxes, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "recorded"), [("detr", "detr"), ("conditional_detr",) * 2, ("dab_detr",) * 2, ("dino", "dino_4scale")]
)
def test_a_file_of_the_papers_code_is_taken_over_whole(name, recorded, tmp_path):
    """Options and optimizer beside the weights, names of the recorded models, no counters in the batch norms, 91 classes."""
    state = own_state(target(name, classes=["x"] * 91))
    names = official_names(recorded)
    papers = {names.get(ours, ours.replace("backbone.", "backbone.0.body.")): tensor for ours, tensor in state.items()}
    papers = {theirs: tensor for theirs, tensor in papers.items() if not theirs.endswith("num_batches_tracked")}
    torch.save(
        {"model": papers, "optimizer": {"state": {}}, "epoch": 49, "args": Namespace(lr=1e-4)}, tmp_path / "a.pth"
    )
    _, converted, report = convert(target(name, COCO_CLASSES), tmp_path / "a.pth")
    assert (report.source, report.complete, report.fresh) == ("official", True, {})
    assert set(report.mapped.values()) == set(papers)
    assert report.settings == {}
    same = [ours for ours in state if converted[ours].shape == state[ours].shape and "num_batches" not in ours]
    assert len(same) > 0.9 * len(papers)
    assert all(torch.equal(converted[ours], state[ours]) for ours in same)


def official_names(recorded):
    """Our name -> that of the papers' code, of a recorded model with two layers."""
    file = golden_folder() / "detr" / recorded / "weights.npz"
    if not file.is_file():
        pytest.skip(f"no golden model {recorded} in {golden_folder()}")
    with np.load(file) as arrays:
        state = {key.removeprefix("state_dict/"): torch.from_numpy(arrays[key]) for key in arrays.files}
    return from_official(state).names


def test_settings_are_told_and_only_where_they_change_something(tmp_path):
    file = save(tmp_path / "zoo.pth", zoo.theirs("dino").state_dict(), dataset_meta={"classes": NAMES})
    _, _, report = convert(target("dino"), file)
    assert report.settings == {
        "model.head.shared": False,
        "model.post_process.clip": True,
        "model.neck.bias": False,
        "model.head.eps": 1e-5,
        "model.head.refine_eps": 1e-3,
    }
    assert report.fresh == {"denoising.labels.weight": "1 of 8 rows"}  # the unknown class, which mmdet has no row for


def test_a_table_of_labels_without_an_unknown_one_says_nothing_of_a_background(tmp_path):
    """mmdet's denoising has a label for every class alone; a file without names of classes is taken as it is."""
    file = save(tmp_path / "zoo.pth", zoo.theirs("dino").state_dict())
    _, _, report = convert(target("dino"), file)
    assert report.complete
    assert report.classes == {name: str(row) for row, name in enumerate(NAMES)}


def test_a_ddq_checkpoint_is_accounted_for(tmp_path):
    """Its heads of dense queries, the encoder's among the others by number, have no counterpart."""
    theirs = zoo.theirs("ddq").state_dict()
    file = save(tmp_path / "ddq.pth", theirs, dataset_meta={"classes": NAMES})
    config, weights, report = convert(target("ddq"), file)
    dense = ("bbox_head.aux_", "bbox_head.cls_branches.3.", "bbox_head.reg_branches.3.")
    reason = "DDQ's heads of dense queries, for training alone"
    assert report.complete
    assert report.dropped == {name: reason for name in theirs if name.startswith(dense)}
    assert set(report.mapped.values()) | set(report.dropped) == set(theirs)
    assert config["model"]["queries"]["content"] == "mapped"
    assert config["model"]["queries"]["select"] == {"type": "nms", "overlap": 0.8}
    assert config["model"]["decoder"]["distinct"] == 0.8
    build_model(config, initialise=False).load_state_dict(weights, strict=True)


def test_a_ddq_checkpoint_is_no_conditional_detrs(tmp_path):
    """What its weights demand of queries that are made otherwise is left out, and its tensors are told."""
    file = save(tmp_path / "ddq.pth", zoo.theirs("ddq").state_dict(), dataset_meta={"classes": NAMES})
    _, _, report = convert(target("dab_detr"), file)
    assert not report.complete
    assert "model.queries.content" not in report.settings


def test_a_run_with_extras_becomes_a_plain_detector_with_its_classes(tmp_path):
    """What only training had is left, with its name; class rows are found as without it."""
    state = own_state(target("dino", **{"model.extra": {"branch": {"queries": 6, "repeat": 2}}}))
    file = save(tmp_path / "own.pth", state, dataset_meta={"classes": NAMES})
    _, weights, report = convert(target("dino", NAMES[::-1]), file)
    assert (report.complete, report.fresh) == (True, {})
    assert report.dropped == {"extra.branch.rows.content.weight": "of branch, which trained besides"}
    name = "bbox_head.classes.0.bias"
    assert torch.equal(weights[name], state[name].flip(0))


def test_what_only_training_has_begins_anew_where_the_checkpoint_has_none(tmp_path):
    """So that a plain checkpoint starts a run with further queries."""
    state = own_state(target("dino"))
    file = save(tmp_path / "own.pth", state, dataset_meta={"classes": NAMES})
    _, weights, report = convert(target("dino", **{"model.extra": {"branch": {"queries": 6, "repeat": 2}}}), file)
    assert report.complete
    assert report.fresh == {"extra.branch.rows.content.weight": "all of it"}
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())


def test_what_the_zoo_configured_is_followed(tmp_path):
    """DINO "improved" encodes positions as Deformable DETR does; caffe's backbones want other pixels."""
    text = (
        "model = dict(positional_encoding=dict(num_feats=128, offset=-0.5, temperature=10000), "
        "backbone=dict(style='caffe'), data_preprocessor=dict(mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], "
        "bgr_to_rgb=False))"
    )
    file = save(tmp_path / "zoo.pth", zoo.theirs("dino").state_dict(), dataset_meta={"classes": NAMES}, cfg=text)
    config, _, _ = convert(target("dino"), file)
    model = config["model"]
    assert (model["encoder"]["temperature"], model["encoder"]["offset"]) == (10000, -0.5)
    assert model["backbone"]["style"] == "caffe"
    assert model["preprocessor"]["std"] == [1.0, 1.0, 1.0]
    assert model["preprocessor"]["bgr_to_rgb"] is False


@pytest.mark.parametrize("name", ["conditional_detr", "detr"])
def test_91_rows_become_80_by_id(name, tmp_path):
    """The papers' row is the COCO id; a softmax keeps its background as the last column."""
    state = own_state(target(name, classes=["x"] * 91))
    file = save(tmp_path / "papers.pth", state)
    _, converted, report = convert(target(name, COCO_CLASSES), file)
    theirs, ours = state["bbox_head.classes.0.weight"], converted["bbox_head.classes.0.weight"]
    assert report.complete
    assert torch.equal(ours[:80], theirs[list(COCO_IDS)])
    assert torch.equal(ours[80:], theirs[91:])
    assert len(ours) == 80 + (name == "detr")
    assert report.classes["toothbrush"] == "toothbrush"


def test_denoising_labels_follow_their_classes(tmp_path):
    """91 labels and the unknown one become 80 and the unknown one."""
    state = own_state(target("dino", classes=["x"] * 91))
    _, converted, _ = convert(target("dino", COCO_CLASSES), save(tmp_path / "papers.pth", state))
    theirs = state["denoising.labels.weight"]
    assert torch.equal(converted["denoising.labels.weight"], theirs[[*COCO_IDS, 91]])


def test_proposals_of_one_class_keep_their_first_row(tmp_path):
    """Two-stage Deformable DETR ranks proposals by row 0, which among the papers' 91 is no class."""
    state = own_state(target("deformable_detr_two_stage", classes=["x"] * 91))
    file = save(tmp_path / "papers.pth", state)
    _, converted, _ = convert(target("deformable_detr_two_stage", COCO_CLASSES), file)
    assert torch.equal(converted["bbox_head.encoder_class.weight"], state["bbox_head.encoder_class.weight"][:80])


def test_the_papers_rows_can_be_kept(tmp_path):
    state = own_state(target("conditional_detr", classes=["x"] * 91))
    file = save(tmp_path / "papers.pth", state)
    names = [f"row {row}" for row in range(91)]
    _, converted, report = convert(target("conditional_detr", names), file, by_index=True)
    assert report.complete
    assert torch.equal(converted["bbox_head.classes.0.bias"], state["bbox_head.classes.0.bias"])


def test_new_classes_begin_anew_and_known_ones_go_on(tmp_path):
    state = own_state(target("dino", COCO_CLASSES))
    file = save(tmp_path / "coco.pth", state)
    _, converted, report = convert(target("dino", ("newt", "dog")), file, new_classes=True)
    assert report.complete
    assert report.classes == {"newt": None, "dog": "dog"}
    assert report.fresh["bbox_head.classes.0.weight"] == "1 of 2 rows"
    assert report.fresh["denoising.labels.weight"] == "1 of 3 rows"
    ours, theirs = converted["bbox_head.classes.0.bias"], state["bbox_head.classes.0.bias"]
    assert torch.equal(ours[1], theirs[16])
    assert ours[0] == pytest.approx(-4.595, abs=1e-3)  # a prior of 0.01
    kept = [name for name in state if name not in report.fresh]
    assert all(torch.equal(converted[name], state[name]) for name in kept)


@pytest.mark.parametrize(("name", "other"), [("dino", "detr"), ("detr", "hungarian")])
def test_a_sigmoid_and_a_softmax_are_told_apart(name, other, tmp_path):
    """A row for no object is never taken from a class, nor a class from it; without leave to begin anew it is refused."""
    state, kinds = own_state(target(name)), ("a softmax", "a sigmoid")
    file = save(tmp_path / "own.pth", state, dataset_meta={"classes": NAMES})
    wanted = target(name, ("f", "newt", "b"), **{"model.head.assigner": other})
    with pytest.raises(ValueError, match="choose another with --assigner") as refused:
        convert(wanted, file)
    assert all(kind in str(refused.value) for kind in kinds)
    _, converted, report = convert(wanted, file, new_classes=True)
    assert report.complete
    assert report.classes == {"f": "f", "newt": None, "b": "b"}
    rows, theirs = converted["bbox_head.classes.0.bias"], state["bbox_head.classes.0.bias"]
    assert len(rows) == 3 + (other == "detr")
    assert torch.equal(rows[[0, 2]], theirs[[5, 1]])
    assert not torch.isin(rows[3:], theirs).any()


def test_classes_that_all_begin_anew_are_not_called_mapped(tmp_path):
    file = save(tmp_path / "coco.pth", own_state(target("detr", COCO_CLASSES)))
    _, _, report = convert(target("detr", ("newt",)), file, new_classes=True)
    assert report.fresh == {name: "1 of 2 rows" for name in ("bbox_head.classes.0.weight", "bbox_head.classes.0.bias")}
    file = save(tmp_path / "coco.pth", own_state(target("conditional_detr", COCO_CLASSES)))
    _, _, report = convert(target("conditional_detr", ("newt",)), file, new_classes=True)
    assert report.complete
    assert set(report.fresh) == set(report.dropped) == {"bbox_head.classes.0.weight", "bbox_head.classes.0.bias"}
    assert not set(report.fresh) & set(report.mapped)


def test_another_architecture_is_not_complete(tmp_path):
    file = save(tmp_path / "dino.pth", zoo.theirs("dino").state_dict())
    _, _, report = convert(target("deformable_detr"), file)
    assert not report.complete
    assert "queries.position.weight" in report.missing
    assert report.unexplained["memory_trans_fc.weight"] == "the model has no queries.proposals.linear.weight"


def test_another_size_is_told_with_both_shapes(tmp_path):
    file = save(tmp_path / "detr.pth", own_state(target("detr")))
    _, _, report = convert(target("detr", **{"model.queries.num_queries": 9}), file)
    assert report.missing == ["queries.position.weight"]
    assert report.unexplained == {"queries.position.weight": "12 x 256 where queries.position.weight is 9 x 256"}


def test_names_of_nobody_are_refused(tmp_path):
    file = save(tmp_path / "resnet.pth", {"conv1.weight": torch.ones(2)})
    with pytest.raises(ValueError, match=r"none of the projects .* names its tensors like 'conv1.weight'"):
        convert(target("detr"), file)


def test_nothing_is_written_over(tmp_path):
    """Neither another model's config nor a file that is there already, the checkpoint itself say."""
    config = {**target("detr"), "input": {}, "schedule": {}, "telemetry": dict(TELEMETRY)}
    config["data"] = plain(asdict(DataSource("own", *[Path("nowhere")] * 4, NAMES, tuple(range(len(NAMES))))))
    (tmp_path / "a").mkdir()
    write(config, own_state(config), tmp_path / "a" / "one.pth")
    write(config, own_state(config), tmp_path / "a" / "two.pth")
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"one.pth", "two.pth", "config.json"}
    with pytest.raises(ValueError, match=r"config.json belongs to something else; give a folder of its own"):
        write({**config, "schedule": {"epochs": 3}}, own_state(config), tmp_path / "a" / "three.pth")
    before = (tmp_path / "a" / "one.pth").read_bytes()
    with pytest.raises(ValueError, match=r"one.pth is there already; remove it first or give another name"):
        write(config, own_state(config), tmp_path / "a" / "one.pth")
    assert (tmp_path / "a" / "one.pth").read_bytes() == before
    with pytest.raises(ValueError, match=r"config.json is the name of the config beside the weights"):
        write(config, own_state(config), tmp_path / "a" / "config.json")


def test_what_was_written_says_its_classes(tmp_path):
    """So a second conversion knows them by name."""
    config = target("detr")
    write_checkpoint(config, tmp_path / "one.pth")
    shuffled = NAMES[::-1]
    _, state, report = convert(target("detr", shuffled), tmp_path / "one.pth")
    assert report.classes == {name: name for name in NAMES}
    theirs, name = torch.load(tmp_path / "one.pth", weights_only=True)["state_dict"], "bbox_head.classes.0.bias"
    assert torch.equal(state[name][: len(NAMES)], theirs[name][: len(NAMES)].flip(0))


@pytest.mark.parametrize(
    "model",
    [
        "dict(positional_encoding=None, backbone=None, data_preprocessor=['mean'], test_cfg=None, bbox_head=3)",
        "dict(positional_encoding=dict(temperature=20), backbone=dict(style='caffe'), test_cfg=dict(nms=None))",
    ],
)
@pytest.mark.parametrize("kind", ["detr", "fcos"])
def test_odd_descriptions_of_mmdets_model_are_read_past(model, kind, tmp_path):
    """They belong to the user's own config; a wrong architecture is reported, not stumbled over."""
    state = zoo.theirs("detr").state_dict()
    file = save(tmp_path / "zoo.pth", state, dataset_meta={"classes": NAMES}, cfg=f"model = {model}")
    config = target("detr") if kind == "detr" else dense_target()
    _, _, report = convert(config, file)
    assert report.complete == (kind == "detr")


def test_a_report_is_plain():
    assert Report("mmdet", missing=["a"]).plain() == {
        "source": "mmdet",
        "mapped": {},
        "dropped": {},
        "fresh": {},
        "cut": {},
        "given": {},
        "missing": ["a"],
        "unexplained": {},
        "settings": {},
        "classes": {},
        "complete": False,
    }


def dense_target(**head):
    backbone = parts.resnet(18, base_channels=8)
    model = parts.fcos(backbone, zoo.MULTIPLE, channels=32, num_classes=len(NAMES), **{"assigner": "fcos", **head})
    return {"name": "fcos", "data": {"classes": list(NAMES)}, "pretrained": None, "model": plain(model)}


def test_an_fcos_checkpoint_brings_its_form(tmp_path):
    """Bias and centerness place come from the weights and the config inside the file; the numbers are mmdet's."""
    model, _ = zoo.fcos_pair(paper_like=True)
    text = "model = dict(bbox_head=dict(type='FCOSHead'), test_cfg=dict(nms=dict(type='nms', iou_threshold=0.5)))"
    file = save(tmp_path / "fcos.pth", model.state_dict(), CLASSES=NAMES, config=text)
    config, state, report = convert(dense_target(conv_bias=True), file)
    assert report.complete
    assert report.source == "dense"
    assert report.settings == {
        "model.head.conv_bias": False,
        "model.head.distances": "exp",
        "model.head.branch_on": "cls",
        "model.post_process.nms_iou": 0.5,
    }
    detector = zoo.build(config, state)
    images, _ = zoo.padded_batch()
    with torch.no_grad():
        logits = zoo.flat(model.bbox_head(model.extract_feat(images))[0])
        torch.testing.assert_close(detector.predictions(images).logits, logits, rtol=0, atol=2e-5)


def test_a_dw_checkpoint_is_accounted_for(tmp_path):
    """Its box refinement has another name here, its prior is the assigner's."""
    target_of_dw = dense_target(assigner="dw", conv_bias=True, refinement={"border": "zeros"})
    state = own_state(target_of_dw)
    theirs = {name.replace("bbox_head.refinement.", "bbox_head."): tensor for name, tensor in state.items()}
    prior = {"bbox_head.center_prior.mean": torch.zeros(7, 2), "bbox_head.center_prior.sigma": torch.full((7, 2), 1.11)}
    _, converted, report = convert(target_of_dw, save(tmp_path / "dw.pth", {**theirs, **prior}, CLASSES=NAMES))
    assert report.complete
    assert set(report.dropped) == set(prior)
    assert all(torch.equal(converted[name], tensor) for name, tensor in state.items())


CLASSES = ("ant", "bee", "cat", "dog")
OTHERS = ("bee", "newt", "dog")  # two that are known, in other rows, and one that is not


def registered(classes):
    """Every assigner by name on a head that takes it, and every matching under DW's weighting."""
    matchings = [{"matching": name, "weighting": "dual", "score": "sigmoid_objectness"} for name in MATCHINGS]
    for description in [*({"type": name} for name in ASSIGNERS), *matchings]:
        yield str(description), build(description, num_classes=classes)


def test_parts_declare_what_they_keep_for_each_class():
    """With another number of classes those tensors have another shape, and no others."""
    for (name, three), (_, four) in zip(registered(3), registered(4), strict=True):
        ours, theirs = three.state_dict(), four.state_dict()
        changed = {key for key in ours if ours[key].shape != theirs[key].shape}
        model = nn.Module()
        model.bbox_head = nn.Module()
        model.bbox_head.assigner = three
        assert per_class(model) == {f"bbox_head.assigner.{key}" for key in changed}, name


def small_target(detector, assigner, classes):
    source = DataSource("own", *[Path("nowhere")] * 4, classes, tuple(range(1, len(classes) + 1)))
    return compose(detector, assigner, source)


def assigners_of(detector):
    """The assigners that the detector's head takes."""
    for name in ASSIGNERS:
        try:
            build_model(small_target(detector, name, CLASSES), initialise=False)
        except ValueError:
            continue
        yield name


@pytest.mark.parametrize("detector", ["fcos_tiny", "dab_detr_tiny"])
def test_a_run_under_every_assigner_goes_on_with_other_classes(tmp_path, detector):
    names = [*assigners_of(detector)]
    assert len(names) > 2
    for name in names:
        torch.manual_seed(1)
        model = build_model(small_target(detector, name, CLASSES), initialise=False)
        state = {key: torch.rand_like(tensor) if tensor.is_floating_point() else tensor
                 for key, tensor in model.state_dict().items()}  # fmt: skip
        file = save(tmp_path / f"{name}.pth", state, dataset_meta={"classes": CLASSES})
        _, converted, report = convert(small_target(detector, name, OTHERS), file, new_classes=True)
        assert report.complete, name
        assert report.classes == {"bee": "bee", "newt": None, "dog": "dog"}
        for key in [*per_class(model), *CLASS_LAYERS & state.keys()]:
            assert torch.equal(converted[key][0], state[key][1]), (name, key)
            assert torch.equal(converted[key][2], state[key][3]), (name, key)
            assert not torch.equal(converted[key][1], state[key][1]), (name, key)


CLASS_LAYERS = {f"bbox_head.{layer}.{part}" for layer in ("conv_cls", "classes.0") for part in ("weight", "bias")}


@pytest.mark.parametrize("assigner", ["dw", "dw_original", {"type": "dw", "top_k": 9}], ids=str)
def test_a_prior_that_was_never_learnt_begins_anew(tmp_path, assigner):
    """The same number for every class says nothing of one of them; the target's own stands."""
    own = build_model(small_target("fcos_tiny", assigner, CLASSES), initialise=False).state_dict()
    file = save(tmp_path / "dw.pth", own, dataset_meta={"classes": CLASSES})
    priors = [name for name in own if name.endswith((".mean", ".sigma"))]
    assert len(priors) == 2
    _, converted, report = convert(small_target("fcos_tiny", assigner, OTHERS), file, new_classes=True)
    assert report.complete
    assert all(report.fresh[name] == "3 of 3 rows" and name in report.dropped for name in priors)
    assert [float(converted[name].unique()) for name in priors] == pytest.approx([0.0, 1.11])
    _, same, _ = convert(small_target("fcos_tiny", assigner, CLASSES), file, new_classes=True)
    assert all(torch.equal(same[name], own[name]) for name in own)


def test_a_converted_run_starts_a_run_of_other_classes(tmp_path):
    """What `--init` points to when the classes differ leads to what it takes."""
    target_config = small_target("fcos_tiny", "dw", OTHERS)
    file = save(
        tmp_path / "dw.pth", own_state(small_target("fcos_tiny", "dw", CLASSES)), dataset_meta={"classes": CLASSES}
    )
    with pytest.raises(ValueError, match=r"none of its 4.*--finetune-classes 3|one of its 4.*--finetune-classes 3"):
        build_model({**target_config, "init": str(file)})
    config, state, _ = convert(target_config, file, new_classes=True)
    write(config, state, tmp_path / "new" / "start.pth")
    started = build_model({**config, "init": str(tmp_path / "new" / "start.pth")})
    assert all(torch.equal(started.state_dict()[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("encoder", [None, "dw"])
def test_the_objectness_of_queries_stays_behind_their_classes(tmp_path, encoder):
    """A run under dual weighting goes on with other classes, and its objectness with it."""
    assigner = "dw" if encoder is None else {"type": "hungarian", "encoder": encoder}
    torch.manual_seed(1)
    own = build_model(small_target("dino_r18_tiny", assigner, CLASSES), initialise=False).state_dict()
    file = save(tmp_path / "dw.pth", own, dataset_meta={"classes": CLASSES})
    _, converted, report = convert(small_target("dino_r18_tiny", assigner, OTHERS), file, new_classes=True)
    assert report.complete
    layers = ["encoder_class"] if encoder else ["encoder_class", "classes.0"]
    for layer in layers:
        for part in ("weight", "bias"):
            theirs, ours = own[f"bbox_head.{layer}.{part}"], converted[f"bbox_head.{layer}.{part}"]
            assert len(ours) == len(OTHERS) + 1
            assert torch.equal(ours[-1], theirs[-1])
