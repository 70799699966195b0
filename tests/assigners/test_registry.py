import pytest

from detassign.assigners import ASSIGNERS, BOX_LOSSES, MATCHINGS, QUALITIES, SCORES, WEIGHTINGS, registry
from detassign.assigners.registry import Registry, unknown_name


@pytest.fixture
def fruits():
    registry = Registry("fruit")

    @registry.register("apple")
    class Apple:
        def __init__(self, weight=1, num_classes=None):
            self.weight, self.num_classes = weight, num_classes

        def __call__(self):
            return self.weight

    @registry.register("kiwi")
    def kiwi(bunch):
        return bunch

    return registry


def test_building_takes_a_name_a_dict_or_a_finished_object(fruits):
    assert fruits.build("apple").weight == 1
    assert fruits.build({"type": "apple", "weight": 3}).weight == 3
    finished = fruits.build("apple")
    assert fruits.build(finished) is finished


def test_context_reaches_only_those_who_have_a_parameter_for_it_and_the_dict_wins(fruits):
    assert fruits.build("apple", num_classes=5).num_classes == 5
    assert fruits.build({"type": "apple", "num_classes": 7}, num_classes=5).num_classes == 7
    assert fruits.build({"type": "kiwi", "bunch": 2}, num_classes=5) == 2


def test_building_changes_nothing(fruits):
    spec = {"type": "apple", "weight": 3}
    fruits.build(spec, num_classes=5)
    assert spec == {"type": "apple", "weight": 3}
    assert fruits.build("apple").weight == 1


def test_a_registered_class_stays_an_ordinary_class(fruits):
    assert fruits["apple"](4).weight == 4


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("appel", "unknown fruit 'appel'; did you mean 'apple'\\? known: apple, kiwi"),
        ("zzz", "unknown fruit 'zzz'; known: apple, kiwi"),
        ({"type": "apple", "wieght": 3}, "unknown parameter of fruit 'apple' 'wieght'; did you mean 'weight'\\?"),
        ({"weight": 3}, "fruit: expected a name or a dict with a 'type', got {'weight': 3}"),
        ("kiwi", "fruit 'kiwi': expected the parameter 'bunch', got \\[\\]"),
        (3, "fruit: expected a name, a dict with a 'type' or a finished one, got 3"),
        (None, "fruit: expected a name, a dict with a 'type' or a finished one, got None"),
    ],
)
def test_a_mistake_is_answered_in_one_sentence(fruits, spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        fruits.build(spec)


def test_an_entry_that_takes_anything_is_given_anything(fruits):
    fruits.register("basket")(lambda size, **contents: (size, contents))
    assert fruits.build({"type": "basket", "size": 2, "pears": 3}, num_classes=5) == (2, {"pears": 3})
    with pytest.raises(ValueError, match="fruit 'basket': expected the parameter 'size', got \\['pears'\\]"):
        fruits.build({"type": "basket", "pears": 3})


def test_a_second_owner_of_a_name_is_refused(fruits):
    with pytest.raises(ValueError, match=r"fruit 'apple' is already registered by .*Apple"):
        fruits.register("apple")(lambda: None)


def test_registering_the_same_definition_again_is_no_clash(fruits):
    apple = fruits["apple"]
    assert fruits.register("apple")(apple) is apple


def test_a_registry_is_a_sorted_mapping(fruits):
    assert list(fruits) == ["apple", "kiwi"]
    assert len(fruits) == 2
    assert "apple" in fruits
    assert "pear" not in fruits


@pytest.mark.parametrize(
    "registry", [ASSIGNERS, BOX_LOSSES, MATCHINGS, QUALITIES, SCORES, WEIGHTINGS], ids=lambda r: r.kind
)
def test_every_registry_suggests_the_nearest_of_its_own_names(registry):
    name = next(iter(registry))
    with pytest.raises(ValueError, match=f"unknown {registry.kind} '{name}x'; did you mean .*'{name}'"):
        registry[name + "x"]


def test_every_registry_is_among_them_all():
    found = [value for value in vars(registry).values() if isinstance(value, Registry)]
    assert len(found) == len(registry.EVERY)
    assert all(any(one is other for other in registry.EVERY) for one in found)


def test_unknown_name_lists_up_to_three_close_ones():
    sentence = unknown_name("thing", "aaab", ["aaaa", "aaac", "aaad", "aaae", "zzzz"])
    assert sentence.split("?")[0].count("'aaa") == 4  # what came, and three
