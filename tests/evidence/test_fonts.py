"""Names in any script are drawn in a font that has their letters, or as numbers; never as boxes."""

import warnings

import numpy as np
import pytest
import torch
from matplotlib.ft2font import FT2Font

from detassign.evidence.drawing import fonts
from detassign.evidence.drawing.detections import draw_detections
from detassign.evidence.drawing.fonts import DEFAULT, class_lettering, lettering, warn_of_missing_letters
from detassign.heads import Detections

CIRCLED = ["Ⓐ cell", "Ⓑ cell"]  # DejaVu Sans lacks these letters; matplotlib brings fonts that have them
CHINESE = ["红细胞", "细胞"]


def forget():
    for function in (lettering, fonts._font_with, fonts._other_fonts):
        function.cache_clear()


@pytest.fixture
def no_other_font(monkeypatch):
    """A system with the default font alone."""
    forget()
    monkeypatch.setattr(fonts.font_manager, "findSystemFonts", list)
    monkeypatch.setattr(fonts.Path, "glob", lambda *_: iter(()))
    yield
    forget()


def drawn(classes, label=0):
    found = Detections(torch.tensor([[100.0, 200, 300, 400]]), torch.tensor([0.9]), torch.tensor([label]))
    return np.asarray(draw_detections(np.zeros((700, 700, 3), np.uint8), found, classes))


@pytest.mark.parametrize("name", ["person [adult]", "größe", "клетка", "κύτταρο", "a b"])
def test_what_the_default_font_has_is_drawn_in_it(name):
    assert lettering(name, "#0") == (name, DEFAULT)


@pytest.mark.parametrize("name", CIRCLED)
def test_another_font_is_taken_where_it_has_the_letters(name):
    text, font = lettering(name, "#0")
    assert text == name
    assert font != DEFAULT
    assert {ord(letter) for letter in name} - {32} <= set(FT2Font(str(font)).get_charmap())


def test_a_font_of_placeholders_is_none():
    """matplotlib brings one that claims every letter there is."""
    assert [fonts._letters_of(font) for font in DEFAULT.parent.glob("LastResort*")] == [frozenset()]
    assert lettering("\U000e0fff", "#0") == ("#0", DEFAULT)


@pytest.mark.parametrize("classes", [CIRCLED, CHINESE], ids=["circled", "Chinese"])
def test_names_of_one_script_are_drawn_apart_whatever_fonts_there_are(classes):
    first, second = (drawn([name]) for name in classes)
    assert not np.array_equal(first, second) or lettering(classes[0], "#0").text == "#0"


def test_without_a_font_the_number_is_drawn(no_other_font):
    assert [class_lettering([*CHINESE, "cat"], label) for label in range(3)] == [
        ("#0", DEFAULT),
        ("#1", DEFAULT),
        ("cat", DEFAULT),
    ]
    assert np.array_equal(drawn(CHINESE, 1), drawn(["", "#1"], 1))


def test_without_a_font_there_is_one_warning(no_other_font):
    with pytest.warns(UserWarning, match="numbers: #0 for '红细胞', #1 for '细胞', #3 for '犬' and 1 more") as warned:
        warn_of_missing_letters([*CHINESE, "cat", "犬", "猫"])
    assert len(warned) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_missing_letters(["cat", "größe"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [("two\nlines", "two lines"), ("a\x1b[2J", "a\\x1b[2J"), ("heart\ufe0f", "heart"), ("a\u200db", "ab"), (" ", "#0")],
)
def test_a_name_is_one_line_without_signs_that_cannot_be_seen(name, shown):
    assert lettering(name, "#0") == (shown, DEFAULT)
    assert np.array_equal(drawn([name]), drawn([shown]))
