"""Assigners as text: what can be written, what it means, and what is refused where."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detassign.assigners import MATCHINGS, QUALITIES, WEIGHTINGS, Assigner, Dual, Hungarian, TopK, build
from detassign.assigners.building import assigner_spec as describe
from detassign.assigners.registry import Registry
from detassign.assigners.spec import DEEPEST, LONGEST, LONGEST_SLUG, parse, slug, slugs, split, write


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("dw", {"type": "dw"}),
        ("dw()", {"type": "dw"}),
        ("dw(top_k=9)", {"type": "dw", "top_k": 9}),
        ("dw('paper')", {"type": "dw", "form": "paper"}),
        (" dw ( top_k = 9 ,\n form = paper ) ", {"type": "dw", "top_k": 9, "form": "paper"}),
        ("atss+dual", {"matching": "atss", "weighting": "dual"}),
        ("atss + dual + softmax", {"matching": "atss", "weighting": "dual", "score": "softmax"}),
        ("atss(k=5)+dual", {"matching": {"type": "atss", "k": 5}, "weighting": "dual"}),
        (
            "hungarian(costs={'focal': 2, 'l1': 5})+dual(gamma=1.5)",
            {
                "matching": {"type": "hungarian", "costs": {"focal": 2, "l1": 5}},
                "weighting": {"type": "dual", "gamma": 1.5},
            },
        ),
        (
            "top_k(center_prior(sigma=1.5), k=9)+dual",
            {
                "matching": {"type": "top_k", "matching": {"type": "center_prior", "sigma": 1.5}, "k": 9},
                "weighting": "dual",
            },
        ),
        (
            "top_k(top_k(atss, 20), 9)+dual",
            {
                "matching": {"type": "top_k", "matching": {"type": "top_k", "matching": "atss", "k": 20}, "k": 9},
                "weighting": "dual",
            },
        ),
        ("fcos(ranges=[(-1, 64), (64, 1e8)])", {"type": "fcos", "ranges": [[-1, 64], [64, 1e8]]}),
        (
            "dw(prior={exclusive: none, learnable: true})",
            {"type": "dw", "prior": {"exclusive": None, "learnable": True}},
        ),
        ("dw(score=softmax, top_k=None)", {"type": "dw", "score": "softmax", "top_k": None}),
        (
            "dw(weighting={quality: power_iou(beta=6)})",
            {"type": "dw", "weighting": {"quality": {"type": "power_iou", "beta": 6}}},
        ),
    ],
)
def test_a_spec_stands_for_plain_values(text, description):
    assert describe(text) == description
    assert json.loads(json.dumps(description)) == description
    assert describe(write(description)) == description


def test_a_sum_may_be_an_argument():
    (part,) = parse("switch(atss + focal, then=dw)")
    assert [inner.name for inner in part.positional[0]] == ["atss", "focal"]
    assert part.named == {"then": "dw"}


def test_what_is_built_has_the_arguments_of_its_spec():
    assigner = build("hungarian(costs={'focal': 2, 'l1': 7})+dual(gamma=1.5)", num_classes=3)
    assert {name: term.weight for name, term in assigner.matching.costs.items()} == {"focal": 2.0, "l1": 7.0}
    assert assigner.weighting.gamma == 1.5
    nested = build("top_k(center_prior(sigma=1.5), k=4)+dual(quality=power_iou(beta=6))", num_classes=3)
    assert (nested.matching.k, nested.matching.matching.sigma.unique().item()) == (4, 1.5)
    assert nested.weighting.quality.beta == 6


def test_a_spec_stands_wherever_a_part_is_named():
    assigner = Assigner("top_k(atss, 3)", "dual(gamma=1)", box_loss="relative_giou(eps=1e-6)", num_classes=3)
    assert isinstance(assigner.matching, TopK)
    assert isinstance(assigner.weighting, Dual)
    assert isinstance(MATCHINGS.build("hungarian(costs={iou: 1})"), Hungarian)
    assert QUALITIES.build("power_iou(2)").beta == 2
    assert WEIGHTINGS.build({"type": "dual", "quality": "power_iou(beta=3)"}).quality.beta == 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dw(top_k=9", "assigner 'dw(top_k=9': ( is never closed, at character 3, '(top_k=9'; a spec looks like dw("),
        ("dw(top_k=9))", ") closes nothing, at character 12, ')'"),
        ("dw(top_k=[9)", ") closes nothing, at character 12"),
        ("dw(form='paper)", "' is never closed, at character 9"),
        ("dw(top_k=)", "cannot be read, at character 10, ')'"),
        ("a b", "cannot be read, at character 1"),
        ("atss+", "cannot be read, at its end"),
        ("", "expected a name, or a name with arguments in brackets, at its end"),
        ("3", "expected a name, or a name with arguments in brackets, at character 1, '3'"),
        ("atss+3", "at character 6, '3'"),
        ("atss-dual", "expected a name, or a name with arguments in brackets, at character 1"),
        ("os.system(1)", "expected a name, or a name with arguments in brackets, at character 1"),
        (
            "dw(top_k=9**9)",
            "expected a number, a text, True, False, None, a list, a dict or another spec, at character 10",
        ),
        ("dw(é=1, top_k=lambda: 1)", "at character 15, 'lambda: 1)'"),
        ("dw(top_k=[x for x in 3])", "at character 10"),
        ("dw(top_k=f'{x}')", "at character 10"),
        ("dw(top_k=b'x')", "at character 10"),
        ("dw(top_k=1j)", "at character 10"),
        ("dw(top_k=1" + 40 * "0" + ")", "at character 10"),
        ("dw(top_k=(x:=1))", "at character 11"),
        ("dw(*[1])", "at character 4, '*[1])'"),
        ("dw(**{'a': 1})", "expected every argument by its own name, once, at character 4"),
        ("dw(top_k=1, top_k=2)", "expected every argument by its own name, once, at character 13"),
        ("hungarian(costs={1: 2})", "expected a name or a text as a dict's key, at character 18"),
        ("hungarian(costs={**x})", "expected a name or a text as a dict's key"),
        ("dw # top", "'#' has no place here, at character 4"),
        ("dw\0", "'\\x00' has no place here, at character 3"),
        (40 * "(" + 40 * ")", f"expected at most {DEEPEST} brackets inside each other, at character {DEEPEST + 1}"),
        ("dw(top_k=" + "-" * 1900 + "1)", "; a spec looks like"),
        ("d" * 3000, f"expected at most {LONGEST} characters, got 3000"),
        ("dw(1, 2, 3, 4, 5, 6, 7)", "assigner 'dw': takes 5 arguments, got 7 without a name"),
        ("dw('paper', form='code')", "assigner 'dw': got 'form' twice, once without its name"),
        ("dw(topk=9)", "unknown parameter of assigner 'dw' 'topk'; did you mean 'top_k'?"),
        ("dw(top_k=many)", "assigner 'dw': expected int | None for top_k, got 'many'"),
        ("dw(top_k=2.5)", "assigner 'dw': expected int | None for top_k, got 2.5"),
        ("dw(top_k=True)", "assigner 'dw': expected int | None for top_k, got True"),
        ("atss(k=None)+focal", "matching 'atss': expected int for k, got None"),
        ("atss+focal(gamma=steep)", "weighting 'focal': expected float for gamma, got 'steep'"),
        ("hungarian(costs=[1])+focal", "matching cost: expected at least one term with its weight, got [1]"),
        ("dw(prior=3)", "assigner 'dw': cannot be made of"),
        ("dwx(1)", "unknown assigner 'dwx'; did you mean 'dw"),
        ("dw(score=softmx(1))", "unknown part 'softmx'; did you mean 'softmax'?"),
        ("dw(score=focal(1))", "'focal' is the name of several parts; write its arguments as name=value"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place(text, sentence):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the sentence is compared as it is
        build(text, num_classes=3)
    assert sentence in str(refused.value)


def test_several_parts_are_no_matching():
    with pytest.raises(ValueError, match=r"matching 'atss\+dual': expected one name, got 2 joined by \+"):
        MATCHINGS.build("atss+dual")


def test_a_spec_is_never_evaluated(tmp_path):
    witness = tmp_path / "ran"
    for text in (
        f"open({str(witness)!r}, 'w')",
        f"dw(top_k=open({str(witness)!r}, 'w'))",
        f"dw(top_k=f'{{open({witness})}}')",
    ):
        with pytest.raises(ValueError, match=r"unknown|a spec looks like"):
            build(text, num_classes=3)
    assert not witness.exists()


@settings(derandomize=True, deadline=None, max_examples=300, database=None)
@given(text=st.text(alphabet="ab1,.=+-*()[]{}'\"\\:# \né\0", max_size=40))
def test_any_text_is_a_spec_or_one_sentence(text):
    try:
        said = parse(text)[0].name
    except ValueError as refused:
        said = str(refused)
        assert "; a spec looks like" in said
    assert "\n" not in said


def test_a_name_that_no_spec_can_say_is_not_registered():
    with pytest.raises(ValueError, match=r"fruit 'red apple': expected letters, digits and _ only"):
        Registry("fruit").register("red apple")


def test_commas_inside_brackets_do_not_split_a_list():
    text = "fcos, dw(top_k=9, form='a,b('),,hungarian(costs={focal: 2, l1: 5})+dual,fcos"
    assert split(text) == ["fcos", "dw(top_k=9, form='a,b(')", "hungarian(costs={focal: 2, l1: 5})+dual"]
    with pytest.raises(ValueError, match="expected at least one name"):
        split(" , ", "name")
    with pytest.raises(ValueError, match="is never closed, at character 8"):
        split("fcos,dw(top_k=9", "name")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("atss+dual", "atss+dual"),
        ("dw(top_k=9)", "dw-top_k-9"),
        ("top_k(center_prior(sigma=1.5), k=9)+dual", "top_k-center_prior-sigma-1.5-k-9+dual"),
        ("../../etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("é(1)", "1"),
    ],
)
def test_a_slug_is_the_name_of_a_folder(text, name):
    assert slug(text) == name


def test_long_specs_have_slugs_that_differ_and_fit():
    first, second = (slug(f"dw(prior={{'sigma': 1.{'0' * 200}{digit}}})") for digit in "12")
    assert first != second
    assert max(len(first), len(second)) <= LONGEST_SLUG + 10


def test_slugs_of_specs_that_differ_in_signs_alone_differ():
    names = slugs(["fcos", "dw(k=1)", "dw(k='1')"])
    assert names["fcos"] == "fcos"
    assert len(set(names.values())) == 3
    assert all(name.startswith("dw-k-1-") for name in list(names.values())[1:])
