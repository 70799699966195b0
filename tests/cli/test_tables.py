"""Tables on terminals of any width: no word and no number is broken, and what is left out is named."""

import pytest

from detassign.cli.tables import Grid, fitting, say, table, terminal_width
from detassign.evidence.report.tables import COLUMNS, LEGEND


@pytest.fixture
def shown(capsys, monkeypatch):
    """Prints a table on a terminal of some width; gives its lines."""

    def show(width, *arguments, **named):
        monkeypatch.setenv("COLUMNS", str(width))
        table(*arguments, **named)
        return capsys.readouterr().out.splitlines()

    return show


def words(lines):
    return {word for line in lines for word in line.replace("│", " ").replace("┃", " ").split()}


def comparison(*names):
    """A table of all measures over several seeds."""
    spread = ("AP", "AP50", "AP75")
    cells = [f"{31:.{one.digits}f}" + " ± 25.0" * (one.heading in spread) for one in COLUMNS.values()]
    return ["assigner", *(one.heading for one in COLUMNS.values())], [[name, *cells] for name in names]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_comparison_is_turned_around_before_anything_breaks(shown, width):
    headings, rows = comparison("fcos", "atss", "dw")
    lines = shown(width, headings, rows)
    assert max(map(len, lines)) <= width
    assert {"31.0", "±", "25.0"} <= words(lines)
    assert set(headings[1:]) <= words(lines)  # none%, s/step, MiB are all there
    assert not [line for line in lines if "left out" in line]


def test_many_assigners_lose_the_last_columns_and_are_told_which(shown):
    headings, rows = comparison(*(f"assigner{number}" for number in range(12)))
    lines = shown(80, headings, rows)
    assert lines[1].split("┃")[1].strip() == "assigner"
    assert {f"assigner{number}" for number in range(12)} <= words(lines)
    (start,) = [index for index, line in enumerate(lines) if line.startswith("left out at a width of 80: ")]
    said = " ".join(lines[start:])
    assert "MiB; a width of " in said
    needed = int(said.split()[-3])
    assert not [line for line in shown(needed, headings, rows) if "left out" in line]
    assert [line for line in shown(needed - 1, headings, rows) if "left out" in line]


def test_every_number_is_whole_at_every_width(shown):
    headings, rows = comparison("fcos", "center_prior+quality_focal+sigmoid_objectness")
    texts = {word for row in rows for cell in row[1:] for word in cell.split()}
    for width in range(24, 150, 7):
        lines = [line for line in shown(width, headings, rows) if "│" in line]
        numbers = {word for word in words(lines) if word[0].isdigit()}
        assert numbers <= texts, width


def test_text_wraps_between_words_and_names_stay_whole(shown):
    lines = shown(60, ["name", "what it is"], [["deformable_detr_single_scale_r50", "Deformable DETR in one scale"]])
    assert {"deformable_detr_single_scale_r50", "Deformable", "DETR", "scale"} <= words(lines)
    assert max(map(len, lines)) <= 60


def test_a_path_that_no_terminal_holds_is_folded_and_not_lost(shown):
    path = "/a/very/long/path/" + "x" * 90
    lines = shown(80, ["file", "kind"], [[path, "picture"]])
    assert max(map(len, lines)) <= 80
    assert "".join(line.split("│")[1].strip() for line in lines if "│" in line) == path
    assert "picture" in words(lines)


def test_what_can_be_spared_goes_first():
    grid = Grid(["name", "cost", "AP", "note\n"], [["a\nb", "10000.5\n10000.5", "31.0\n32.0", "x\ny"]])
    assert fitting(grid, 30, spare=["AP"])[1] == ["AP"]
    assert fitting(grid, 30)[1] == ["note\n"]


def test_wide_letters_take_two_columns(shown):
    from rich.cells import cell_len

    lines = shown(40, ["class", "boxes"], [["自行车 红色的", "12"], ["행인", "3"]])
    assert max(map(cell_len, lines)) <= 40
    assert {"自行车", "행인", "12"} <= words(lines)


def test_brackets_are_text_and_not_markup(shown):
    lines = shown(80, ["[b]class"], [["person [adult]"], ["[/] none"]], title="run [1]")
    assert lines[0] == "run [1]"
    assert {"[b]class", "[adult]", "[/]"} <= words(lines)


def test_a_table_may_be_narrower_than_the_terminal(shown):
    headings, rows = comparison("fcos", "atss", "dw")
    assert max(map(len, shown(140, headings, rows))) > 80
    assert max(map(len, shown(140, headings, rows, widest=80))) <= 80


def test_empty_tables_are_no_trouble(shown):
    assert words(shown(10, ["name", "what it is", "more"], []))
    shown(80, [], [])


@pytest.mark.parametrize(("given", "width"), [("100", 100), ("", 140), ("many", 140), ("0", 140), ("-3", 140)])
def test_the_width_is_that_of_the_environment(monkeypatch, given, width):
    monkeypatch.setenv("COLUMNS", given)
    assert terminal_width() == width


def test_prose_wraps_between_words(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    say(LEGEND)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 50
    assert " ".join(lines) == LEGEND
