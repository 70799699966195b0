"""From configs to models, and weights from files."""

import warnings
from dataclasses import replace
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import mobilenet_v2

from detassign.data import make_dataset, resolve
from detassign.detectors import MobileNetV2
from detassign.engine.build import build_model, instantiate, load_backbone, load_checkpoint, warn_of_cold_start
from detassign.engine.config import compose
from detassign.engine.notes import Note

SIZES_OF_90 = (("channels", 90), ("heads", 3))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return resolve(folder)


def test_a_config_becomes_a_model_with_its_classes(source):
    model = build_model(compose("fcos_tiny", "dw", source))
    assert model.bbox_head.num_classes == len(source.classes)
    assert model.bbox_head.branch == "objectness"


def test_an_unknown_argument_is_refused_with_the_nearest(source):
    config = compose("fcos_tiny", "dw", source, changes={"model.head.stacked_conv": 1})
    with pytest.raises(ValueError, match=r"model\.head\.stacked_conv.*did you mean 'model\.head\.stacked_convs'"):
        build_model(config)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("backbone.depth", 19, r"model\.backbone: FoldedResNet cannot be made of .*\(invalid depth 19 for resnet\)"),
        ("backbone.num_stages", 7, r"model\.backbone: .*AssertionError at 'assert num_stages >= 1"),
        ("backbone.out_indices", [0, 9], r"model\.backbone: .*AssertionError"),
        ("backbone.norm_cfg", {"type": "Foo"}, r"model\.backbone: FoldedResNet cannot be made of"),
        ("backbone.init_cfg", {"type": "Foo"}, r"cannot be initialised as init_cfg says \(Foo is not in"),
        ("neck.num_outs", "x", r"model\.neck: FPN cannot be made of these arguments \('>=' not supported"),
        ("neck.out_channels", -1, r"model\.neck: FPN cannot be made of these arguments"),
        (
            "neck.in_channels",
            [8, 8, 8],
            r"its parts or values do not go together \(Given groups=1, weight of size \[48, 8",
        ),
        ("head.in_channels", 3, "its parts or values do not go together"),
        ("head.strides", [8, 16], "features: expected 2 levels"),
        ("head.strides", 5, r"model\.head: DenseHead cannot be made of these arguments"),
        ("post_process.score_threshold", "x", "score_threshold is 'x'; expected a number"),
        ("post_process.max_per_image", 0, "max_per_image is 0; expected a whole number of at least 1"),
        ("preprocessor.pad_size_divisor", "x", r"do not go together \(unsupported operand"),
        ("preprocessor.pad_size_divisor", 0, r"do not go together \(division by zero"),
        ("head.assigner", "center_prior+focal(gamma='x')", "expected float for gamma, got 'x'"),
        ("head.assigner", "center_prior+dual(mu_weight='x')", "expected float for mu_weight, got 'x'"),
        ("preprocessor.mean", "x", r"model\.preprocessor: Preprocessor cannot be made of"),
    ],
)
def test_a_value_that_a_part_refuses_is_one_sentence(source, key, value, sentence):
    """Whatever kind of error the part's own package has for it."""
    changes = {f"model.{key}": value}
    with pytest.raises(ValueError, match=sentence):
        build_model(compose("fcos_tiny", "fcos", source, changes=changes))


def test_looking_whether_parts_fit_leaves_a_model_as_it_was(source):
    config = compose("fcos_tiny", "fcos", source)
    torch.manual_seed(3)
    model = build_model(config)
    torch.manual_seed(3)
    unseen = build_model(config, initialise=False)
    unseen.init_weights()
    assert model.training
    for name, value in unseen.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match=r"model\.neck\.type: cannot find 'mmdet\.models\.FNP'"):
        instantiate({"type": "mmdet.models.FNP"}, "model.neck")


@pytest.mark.parametrize(
    ("name", "message"),
    [("os.system", "is of none of the packages"), ("mmdet.utils.setup_multi_processes", "is no module of a network")],
)
def test_a_config_cannot_name_just_anything(name, message):
    with pytest.raises(ValueError, match=message):
        instantiate({"type": name, "command": "true"}, "model.neck")


def test_torchvisions_mobilenet_weights_load_into_the_backbone(tmp_path):
    whole = mobilenet_v2(weights=None)
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    backbone = MobileNetV2()
    load_backbone(backbone, tmp_path / "weights.pth")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "weights.pth")
    with pytest.raises(ValueError, match="weights of another network"):
        load_backbone(MobileNetV2(), tmp_path / "weights.pth")


def test_a_checkpoint_of_another_model_is_refused(source, tmp_path):
    one, other = (build_model(compose("fcos_tiny", name, source)) for name in ("dw", "gfl"))
    torch.save({"state_dict": one.state_dict()}, tmp_path / "one.pth")
    load_checkpoint(build_model(compose("fcos_tiny", "dw", source)), tmp_path / "one.pth")
    with pytest.raises(ValueError, match="a checkpoint of another model"):
        load_checkpoint(other, tmp_path / "one.pth")


def test_a_model_starts_from_a_checkpoint_of_its_own(source, tmp_path):
    config = compose("fcos_tiny", "dw", source)
    torch.manual_seed(1)
    trained = build_model(config)
    torch.save({"state_dict": trained.state_dict()}, tmp_path / "one.pth")
    started = build_model({**config, "init": str(tmp_path / "one.pth")})
    assert all(torch.equal(tensor, trained.state_dict()[name]) for name, tensor in started.state_dict().items())


def test_a_whole_checkpoint_and_a_backbones_are_not_given_both(source):
    with pytest.raises(ValueError, match=r"--init: the checkpoint has the backbone's weights too"):
        build_model(compose("fcos_tiny", "dw", source, init="a.pth", pretrained="b.pth"))


def test_weights_that_cannot_be_downloaded_are_told_with_the_way_out(source, monkeypatch):
    def refuse(*arguments, **named):
        raise URLError("no network")

    monkeypatch.setattr("detassign.compat.checkpoint.torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("pathlib.Path.exists", lambda path: False)
    init = {"type": "Pretrained", "checkpoint": "https://example.org/weights.pth"}
    config = compose("fcos_tiny", "dw", source, changes={"model.backbone.init_cfg": init})
    with pytest.raises(ValueError, match=r"cannot be downloaded \(no network\).*--pretrained"):
        build_model(config)
    assert build_model(config, initialise=False).bbox_head.num_classes == len(source.classes)


def test_a_missing_file_is_named(source, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        build_model(compose("fcos_tiny", "dw", source, pretrained=str(tmp_path / "nothing.pth")))


@pytest.mark.parametrize("saved", [{1: torch.ones(2)}, {"layer.weight": 3}, [torch.ones(2)]])
@pytest.mark.parametrize("load", [load_backbone, load_checkpoint])
def test_a_file_without_names_and_tensors_is_refused(load, saved, tmp_path):
    torch.save(saved, tmp_path / "file.pth")
    with pytest.raises(ValueError, match=r"file\.pth: expected a dict"):
        load(torch.nn.Linear(2, 2), tmp_path / "file.pth")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("model.decoder.layers", 2, "layers: the decoder has 2, the head is for 3"),
        ("model.decoder.layers", 0, "layers: a decoder needs at least 1, got 0"),
        ("model.encoder.channels", 64, "channels: the head takes 96, the encoder has 64"),
        ("model.decoder.channels", 48, "channels: the head takes 96, the decoder has 48"),
        ("model.decoder.refinement", "forward_twice", "refinement: forward_twice moves boxes"),
        ("model.decoder.levels", 2, "levels: the neck makes 3, the decoder takes 2"),
        ("model.encoder.levels", 2, "levels: the neck makes 3, the encoder takes 2"),
        ("model.encoder.heads", 5, "heads: expected a divisor of the 96 channels, got 5"),
        ("model.decoder.heads", 0, "heads: expected a divisor of the 96 channels, got 0"),
        ("model.queries.num_queries", 0, "num_queries: expected at least 1, got 0"),
        ("model.queries.num_queries", "many", r"model.queries: PointQueries cannot be made of these arguments"),
        ("model.head.encoder", "binary", "encoder: 'binary' of the head does not go with PointQueries"),
    ],
)
def test_parts_of_a_query_detector_that_do_not_fit_are_named(source, key, value, sentence):
    config = compose("deformable_detr_refine_tiny", None, source, changes={key: value})
    with pytest.raises(ValueError, match=sentence):
        build_model(config)


@pytest.mark.parametrize(
    ("detector", "key", "value", "sentence"),
    [
        ("detr_tiny", "decoder.refinement", "detached", "LearnedQueries have neither points nor boxes; take None"),
        ("detr_tiny", "decoder.attention", "conditional", "guide: conditional attention needs conditional or anchor"),
        ("detr_tiny", "decoder.attention", "deformable", "guide: LearnedGuide needs queries that start from points"),
        ("detr_tiny", "queries.type", "detassign.detectors.transformer.AnchorQueries", "needs queries with places"),
        ("dab_detr_tiny", "decoder.guide", "conditional", "guide: ConditionalGuide needs queries with places"),
        ("conditional_detr_tiny", "decoder.guide", "anchor", "guide: AnchorGuide needs queries that start from boxes"),
        ("dino_r18_tiny", "head.class_prior", 0, "class_prior: expected a probability between 0 and 1"),
    ],
)
def test_queries_that_a_decoder_cannot_guide_are_named(source, detector, key, value, sentence):
    config = compose(detector, None, source, changes={f"model.{key}": value})
    with pytest.raises(ValueError, match=sentence):
        build_model(config)


def test_maps_of_another_width_than_the_neck_takes_are_named(source):
    config = compose("dino_r18_tiny", None, source, changes={"model.neck.in_channels": [1, 2, 3]})
    with pytest.raises(
        ValueError, match=r"in_channels: the neck takes maps of \(1, 2, 3\) channels, the backbone makes"
    ):
        build_model(config)


def test_channels_that_sines_cannot_share_are_refused(source):
    changes = {f"model.{part}.{name}": size for part in ("encoder", "decoder") for name, size in SIZES_OF_90}
    with pytest.raises(ValueError, match="channels: expected a multiple of 4, for sine and cosine of x and y, got 90"):
        build_model(compose("detr_tiny", None, source, changes=changes))


def test_denoising_may_be_named_alone(source):
    model = build_model(compose("dino_r18_tiny", None, source, changes={"model.denoising": "dn"}))
    assert type(model.denoising.denoise).__name__ == "Denoising"


def test_every_convolution_that_may_learn_gets_a_gradient_without_pretrained_weights(source):
    """Frozen norms that start at zero would let none pass."""
    model = build_model(compose("dino_r18", None, source))
    sum(level.square().sum() for level in model.extract_feat(torch.randn(1, 3, 64, 64))).backward()
    learning = {name: p for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert len(learning) == 15
    assert all(parameter.grad.abs().sum() > 0 for parameter in learning.values())


@pytest.mark.parametrize(
    ("detector", "changes", "warned"),
    [
        ("detr_r18", {}, True),
        ("fcos_r18", {}, True),
        ("detr_r18", {"model.backbone.init_cfg": {"type": "Pretrained", "checkpoint": "x"}}, False),
        ("detr_r18", {"pretrained": "r18.pth"}, False),
        ("detr_tiny", {}, False),
    ],
)
def test_frozen_parts_that_start_from_random_numbers_are_warned_of(source, detector, changes, warned):
    config = compose(detector, None, source, changes=changes)
    model = build_model(config, initialise=False)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warn_of_cold_start(config, model)
    assert ["--pretrained FILE" in str(warning.message) for warning in said] == ([True] if warned else [])


def test_what_queries_do_not_provide_is_said_when_the_detector_is_built(source):
    assigner = {"matching": "hungarian", "weighting": "quality_focal", "box_loss": {"giou": 2.0, "dfl": 0.25}}
    with pytest.raises(ValueError, match="needs distribution, which queries do not provide"):
        build_model(compose("dino_r18_tiny", assigner, source))


KEYS = {
    "module.": lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
    "model_state_dict": lambda state: {"model_state_dict": state, "epoch": 3},
    "model": lambda state: {"model": state},
    "bare": lambda state: state,
    "average alone": lambda state: {"ema_model": {f"module.{name}": tensor for name, tensor in state.items()}},
}


@pytest.fixture
def trained(source, tmp_path):
    """A model with weights of its own, and a way to write them to a file."""
    torch.manual_seed(3)
    model = build_model(compose("fcos_tiny", "dw", source))

    def save(make, name="trained.pth"):
        torch.save(make(model.state_dict()), tmp_path / name)
        return tmp_path / name

    return model, save


def assert_equal_weights(one, other):
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("key", KEYS)
def test_weights_are_loaded_from_under_every_usual_key(source, trained, key):
    model, save = trained
    file, config = save(KEYS[key]), compose("fcos_tiny", "dw", source)
    if key == "average alone":
        with pytest.warns(Note, match="holds averaged weights alone, under 'ema_model'; they are taken"):
            started = build_model({**config, "init": str(file)})
    else:
        started = build_model({**config, "init": str(file)})
    assert_equal_weights(model, started)


def test_what_only_training_had_is_left_out_of_the_plain_detector(source, tmp_path):
    """With a note; all else must be there."""
    extra = ["groups(k=2)", "branch(queries=8, own=heads)"]
    trained, plain = compose("dino_r18_tiny", None, source, extra=extra), compose("dino_r18_tiny", None, source)
    model = build_model(trained)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "a.pth")
    with pytest.warns(Note, match="was trained with branch, groups besides, which this model is without"):
        started = build_model({**plain, "init": str(tmp_path / "a.pth")})
    theirs = model.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in started.state_dict().items())
    assert {name for name in theirs if name not in started.state_dict()} == {
        n for n in theirs if n.startswith("extra.")
    }
    assert not compose("dino_r18_tiny", None, source)["model"].get("extra")


def test_safetensors_are_loaded(source, trained, tmp_path):
    save_file(
        {name: tensor.contiguous() for name, tensor in trained[0].state_dict().items()}, tmp_path / "a.safetensors"
    )
    config = compose("fcos_tiny", "dw", source)
    assert_equal_weights(trained[0], build_model({**config, "init": str(tmp_path / "a.safetensors")}))


def test_a_checkpoint_that_is_not_finite_is_refused(source, trained):
    def broken(state):
        state["bbox_head.conv_reg.bias"] = torch.full_like(state["bbox_head.conv_reg.bias"], float("nan"))
        return {"state_dict": state}

    file = trained[1](broken)
    with pytest.raises(ValueError, match=r"1 tensors hold NaN or infinity, such as bbox_head\.conv_reg\.bias"):
        load_checkpoint(build_model(compose("fcos_tiny", "dw", source)), file)


def named(classes):
    return lambda state: {"state_dict": state, "meta": {"dataset_meta": {"classes": tuple(classes)}}}


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("fcos_tiny", ()),
        ("deformable_detr_two_stage_tiny", ()),
        ("detr_tiny", ()),
        ("dn_dab_dino_deformable_detr_tiny", ()),
        ("dino_r18_tiny", ("branch(queries=8, own=heads)",)),
    ],
)
def test_classes_in_another_order_are_taken_by_name(source, tmp_path, name, extra):
    """The scores of a class are those of its name, whichever row it had."""
    config = compose(name, None, source, extra=extra)
    torch.manual_seed(3)
    model = build_model(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    torch.save(named(source.classes[::-1])(model.state_dict()), tmp_path / "a.pth")
    with pytest.warns(Note, match="another order than the data; its rows are taken by name"):
        started = build_model({**config, "init": str(tmp_path / "a.pth")}).eval()
    count = len(source.classes)
    theirs, ours = ({n: t for n, t in m.state_dict().items() if n in CLASS_BIASES} for m in (model, started))
    assert theirs
    assert all(torch.equal(theirs[n][:count].flip(0), ours[n][:count]) for n in ours if not_binary(n, model))
    assert all(torch.equal(theirs[n][count:], ours[n][count:]) for n in ours)
    rest = [n for n in model.state_dict() if "conv_cls" not in n and ".classes." not in n and "encoder_class" not in n]
    changed = [n for n in rest if not torch.equal(model.state_dict()[n], started.state_dict()[n])]
    assert set(changed) <= {"denoising.labels.weight"}


CLASS_BIASES = (
    "bbox_head.conv_cls.bias",
    "bbox_head.classes.0.bias",
    "bbox_head.encoder_class.bias",
    "extra.branch.head.classes.0.bias",
    "extra.branch.encoder.encoder_class.bias",
)


def not_binary(name, model):
    """A classifier that tells proposals from background alone knows no classes."""
    return "encoder_class" not in name or model.bbox_head.encoder != "binary"


def test_other_classes_are_refused_with_the_way_to_take_them_over(source, trained):
    file, config = trained[1](named(["disk", "ring", "newt", "rectangle", "star"])), compose("fcos_tiny", "dw", source)
    said = r"'newt' is one of its 5 and none of the data's 5\..*detassign convert .*trained\.pth --finetune-classes 5"
    with pytest.raises(ValueError, match=said):
        build_model({**config, "init": str(file)})


def test_more_classes_than_the_data_has_point_to_convert(source, trained):
    names = [*source.classes, "newt"]
    torch.manual_seed(0)
    wider = build_model(
        compose("fcos_tiny", "dw", replace(source, classes=tuple(names), category_ids=tuple(range(1, 7))))
    )
    file = trained[1](lambda _: named(names)(wider.state_dict()))
    with pytest.raises(ValueError, match=r"'newt' is one of its 6 and none of the data's 5.*--finetune-classes 5"):
        build_model({**compose("fcos_tiny", "dw", source), "init": str(file)})


def test_classes_without_names_are_taken_as_they_come(source, trained):
    """As `convert --finetune-classes` leaves them where no data was named."""
    file = trained[1](named([f"class {number}" for number in range(1, 6)]))
    assert_equal_weights(trained[0], build_model({**compose("fcos_tiny", "dw", source), "init": str(file)}))


def test_the_encoder_may_be_given_an_assigner_of_its_own(source):
    config = compose("dino_r18_tiny", None, source, changes={"model.head.assigner.encoder": "atss(k=4)"})
    head = build_model(config, initialise=False).bbox_head
    assert type(head.assigner.matching).__name__ == "Hungarian"
    assert head.assigner_of("encoder").matching.k == 4


@pytest.mark.parametrize(
    ("detector", "parts", "preset"),
    [("fcos_tiny", "atss+focal", "atss"), ("dino_r18_tiny", "hungarian+focal", "hungarian")],
)
def test_parts_by_name_are_at_home_in_their_detector(source, detector, parts, preset):
    first, second = (
        build_model(compose(detector, name, source), initialise=False).bbox_head.assigner for name in (parts, preset)
    )
    for part in ("matching", "weighting", "box_loss"):
        assert repr(getattr(first, part)) == repr(getattr(second, part))
