"""Schemes: each makes of a query detector what its paper made of one, and the result trains."""

import pytest
import torch
from support.query import batch, total

from detassign.data import make_dataset, resolve
from detassign.engine import fragments
from detassign.engine.build import build_model
from detassign.engine.config import compose, read_recipe

SCHEMES = list(fragments.names("schemes"))
HOSTS = ("dino_r18_tiny", "deformable_detr_two_stage_tiny")
FAMILIES = (
    "detr_tiny",
    "conditional_detr_tiny",
    "dab_detr_tiny",
    "dn_detr_tiny",
    "deformable_detr_tiny",
    "deformable_detr_refine_tiny",
    "deformable_detr_two_stage_tiny",
    "dab_deformable_detr_tiny",
    "dn_dab_deformable_detr_tiny",
    "dab_deformable_encoder_only_tiny",
    "dn_dab_deformable_encoder_only_tiny",
    "dn_dab_dino_deformable_detr_tiny",
    "dino_r18_tiny",
)
NO_BACKBONE = {"model.backbone": {"type": "torchvision.ops.Permute", "dims": [0, 1, 2, 3]}}  # nobody asks it for maps
UNSEEING = "lets queries look at the image before they see each other, .* but the encoder-only ones"
UNMOVED = "compares the boxes of every layer, so it goes on detectors whose references move: dab_detr"
ENCODER_ONLY = ("dab_deformable_encoder_only_tiny", "dn_dab_deformable_encoder_only_tiny")
REFUSED = {
    "dac": (ENCODER_ONLY, UNSEEING),
    "ms": (ENCODER_ONLY, UNSEEING),
    "ddq": (("detr_tiny", "conditional_detr_tiny", "deformable_detr_tiny"), UNMOVED),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    make_dataset(folder, images=4, size=64)
    return resolve(folder)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains_two_steps_and_predicts(source, scheme, host):
    """Every parameter learns, whether images have objects or not."""
    torch.manual_seed(0)
    model = build_model(compose(host, None, source, scheme=scheme, changes={"model.backbone.init_cfg": None}))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4)
    names = set()
    for counts in ((3, 0), (0, 0)):
        optimizer.zero_grad()
        losses = model.loss(*batch(*counts))
        names.add(tuple(losses))
        assert total(losses).isfinite()
        total(losses).backward()
        unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert unused == []
        optimizer.step()
    assert len(names) == 1
    for sample in model.eval().predict(*batch(2, 1)):
        assert sample.pred_instances.bboxes.isfinite().all()


def test_the_families_are_those_of_the_cpu_sized_fragments():
    """One of each."""
    tiny = [name for name in fragments.names("detectors") if name.endswith("_tiny")]
    assert set(FAMILIES) == {name for name in tiny if "queries" in fragments.load("detectors", name)["model"]}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_goes_on_every_family_or_says_on_which_it_does(source, scheme):
    """No output that the detector lacks has an assigner, and every extra has its place."""
    refused, sentence = REFUSED.get(scheme, ((), ""))
    for family in FAMILIES:
        changes = NO_BACKBONE
        if family in refused:
            with pytest.raises(ValueError, match=f"scheme: {scheme} {sentence}"):
                compose(family, None, source, scheme=scheme, changes=changes)
            continue
        with torch.device("meta"):
            model = build_model(compose(family, None, source, scheme=scheme, changes=changes), initialise=False)
        if model.bbox_head.encoder is None:
            assert "encoder" not in model.bbox_head.assigners, family


@pytest.mark.parametrize(
    ("scheme", "family"),
    [
        ("dac", "detr_tiny"),
        ("relation", "detr_tiny"),
        ("relation", "dab_deformable_encoder_only_tiny"),
        ("ms", "detr_tiny"),
    ],
)
def test_a_scheme_trains_a_detector_unlike_the_papers(source, scheme, family):
    """DETR's usual assigner is a softmax with background, and its encoder proposes nothing."""
    torch.manual_seed(0)
    model = build_model(compose(family, None, source, scheme=scheme, changes={"model.backbone.init_cfg": None}))
    losses = model.loss(*batch(3, 1))
    total(losses).backward()
    assert total(losses).isfinite()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_dac_detr_has_the_presets_parts_on_its_way_whatever_the_detectors_own(source):
    """Every class and box of a query of several objects, no eps in GIoU, a third of the weight."""
    for host in (*HOSTS, "detr_tiny"):
        changes = NO_BACKBONE
        model = build_model(compose(host, None, source, scheme="dac", changes=changes), initialise=False)
        own, way = model.bbox_head.assigner, model.extra["path"]
        assert (way.assigner.matching.conflict, way.assigner.matching.threshold, way.assigner.matching.k) == (
            "all",
            0.4,
            6,
        )
        assert [each.box_loss["giou"].part.eps for each in (own, way.assigner)] == [0.0, 0.0]
        weighting = way.assigner.weighting
        assert (weighting.class_scale, weighting.box_scale, weighting.rank_decay) == (1 / 3, 1 / 3, 1.5)
        assert way.weight == 1.0


@pytest.mark.parametrize(
    ("scheme", "missing"),
    [
        ("co", "Faster R-CNN head is not here"),
        ("dac", "not here"),
        ("rank", "not here"),
        ("relation", "not here"),
        ("stable", "not here"),
    ],
)
def test_the_list_of_schemes_says_what_is_not_here(scheme, missing):
    assert missing in fragments.names("schemes")[scheme]


def test_denoising_goes_with_a_scheme_on_deformable_detr_in_two_stages(source):
    """As DAC-DETR was published."""
    changes = {"model.backbone.init_cfg": None, "model.queries.num_queries": 30}
    model = build_model(
        compose("deformable_detr_two_stage_tiny", None, source, scheme="dac", denoising="cdn", changes=changes)
    )
    losses = model.loss(*batch(3, 1))
    assert {"loss_cls_dn", "loss_cls_path", "loss_cls_enc"} <= set(losses)
    total(losses).backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_published_numbers_of_extra_queries_on_the_papers_detectors(source):
    """1500 of H-DETR and Relation-DETR, whatever the number of the detector's own."""
    h_detr = compose("deformable_detr_two_stage_r50", None, source, scheme="h_detr")["model"]
    assert h_detr["extra"] == {"branch": {"type": "branch", "queries": 1500, "repeat": 6}}
    assert (h_detr["queries"]["content"], h_detr["decoder"]["refinement"]) == ("mixed", "forward_twice")
    assert compose("dino_4scale_r50", None, source, scheme="h_detr")["model"]["queries"]["content"] == "learned"
    relation = compose("dino_4scale_r50", None, source, scheme="relation")["model"]["extra"]
    assert relation["hybrid"] == {"type": "branch", "queries": 1500, "repeat": 6, "own": "encoder"}
    assert compose("conditional_detr_r50", None, source, scheme="group")["model"]["extra"]["groups"]["k"] == 11


def test_co_detr_has_quality_focal_loss_on_dino_and_twice_the_focal_loss_on_deformable_detr(source):
    parts = []
    for host in HOSTS:
        model = build_model(compose(host, None, source, scheme="co", changes={"model.backbone.init_cfg": None}))
        weighting = model.bbox_head.assigner.weighting
        target = type(weighting.target).__name__
        parts.append((target, weighting.gamma, weighting.class_scale, weighting.box_weight, weighting.box_scale))
        extra = model.extra["collaborative"]
        assert (extra.weight, extra.dense_weight) == (1.0, 2.0)
        assert (extra.choose.least, extra.choose.most) == (9, 300)
    assert parts == [("IoU", 2.0, 1.0, "one", 1.0), ("One", 2.0, 2.0, "one", 1.0)]


def test_published_numbers_of_ddq(source):
    """900 distinct queries and 1350 dense ones, of contents made from the encoder's features."""
    model = compose("dino_4scale_r50", None, source, scheme="ddq")["model"]
    assert model["queries"]["num_queries"] == 900
    assert model["queries"]["select"] == {"type": "nms", "overlap": 0.8}
    assert model["queries"]["content"] == "mapped"
    assert model["decoder"]["distinct"] == 0.8
    dense = model["extra"]["dense"]
    assert (dense["queries"], dense["repeat"], dense["assigner"]) == (1350, 1, "ddq_dense")
    learned = compose("dab_deformable_detr_r50", None, source, scheme="ddq")["model"]
    assert learned["decoder"]["distinct"] == 0.8
    assert "select" not in learned["queries"]


def test_other_choices_come_on_top_of_a_scheme(source):
    config = compose(
        "dino_r18_tiny", "dw", source, scheme="relation", denoising="none", changes={"model.extra.hybrid.repeat": 2}
    )
    assert config["model"]["head"]["assigner"] == {"type": "dw"}
    assert config["model"]["denoising"] is None
    assert config["model"]["extra"]["hybrid"]["repeat"] == 2
    assert config["name"] == "dino_r18_tiny-relation-none-dw-shapes"


def test_further_extras_come_beside_those_of_a_scheme_and_one_of_the_same_name_in_its_place(source):
    usual = compose("dino_r18_tiny", None, source, scheme="h_detr")["model"]["extra"]
    groups = {"type": "groups", "k": 3}
    given = compose("dino_r18_tiny", None, source, scheme="h_detr", extra=["groups(k=3)"])["model"]["extra"]
    assert given == {**usual, "groups": groups}
    given = compose("dino_r18_tiny", None, source, scheme="h_detr", extra=["branch(queries=20)"])["model"]["extra"]
    assert given == {"branch": {"type": "branch", "queries": 20}}


def test_an_extra_of_another_name_is_made_by_setting_keys(source):
    changes = {"model.extra.mine.type": "groups", "model.extra.mine.k": 3, "model.extra.way": {"type": "path"}}
    for scheme, usual in ((None, set()), ("h_detr", {"branch"})):
        config = compose("dino_r18_tiny", None, source, scheme=scheme, changes=changes)
        assert set(config["model"]["extra"]) == {"mine", "way", *usual}
        changes_of_backbone = {"model.backbone.init_cfg": None}
        model = build_model(
            compose("dino_r18_tiny", None, source, scheme=scheme, changes={**changes, **changes_of_backbone})
        )
        assert (model.extra["mine"].k, type(model.extra["way"]).__name__) == (3, "Path")


def test_a_recipe_may_name_a_scheme(tmp_path):
    (tmp_path / "mine.py").write_text('detector = "dino_r18_tiny"\nscheme = "h_detr"\n')
    assert read_recipe(str(tmp_path / "mine.py")) == {"detector": "dino_r18_tiny", "scheme": "h_detr"}


def test_a_recipe_may_name_extras_and_nothing_that_is_unknown(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text('from math import sqrt\nCOUNT = 5\ndetector = "dino_r18_tiny"\nextra = [f"groups(k={COUNT})"]\n')
    assert read_recipe(str(mine)) == {"detector": "dino_r18_tiny", "extra": ["groups(k=5)"]}
    mine.write_text('detector = "dino_r18_tiny"\nextras = ["groups"]\n')
    with pytest.raises(ValueError, match=r"unknown setting of the config .*mine.py 'extras'; did you mean 'extra'"):
        read_recipe(str(mine))
    mine.write_text('extra = "groups"\n')
    with pytest.raises(ValueError, match="extra is 'groups'; expected a list of specs"):
        read_recipe(str(mine))


@pytest.mark.parametrize(
    ("detector", "choice", "sentence"),
    [
        ("fcos_tiny", {"scheme": "vfl"}, "scheme: vfl is for query detectors, and fcos_tiny is a dense one"),
        ("fcos_tiny", {"extra": ["groups"]}, "extra: fcos_tiny is a dense detector and has no queries"),
        ("dino_r18_tiny", {"scheme": "hdetr"}, "unknown scheme 'hdetr'; did you mean 'h_detr'"),
        ("dino_r18_tiny", {"extra": ["group(k=3)"]}, "unknown extra 'group'; did you mean 'groups'"),
        ("dino_r18_tiny", {"extra": ["groups(k=3)", "groups(k=2)"]}, "extra: groups is there twice"),
    ],
)
def test_what_cannot_be_is_said(source, detector, choice, sentence):
    with pytest.raises(ValueError, match=sentence):
        compose(detector, None, source, **choice)
