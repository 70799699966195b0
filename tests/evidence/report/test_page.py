"""The page, the LaTeX, the Markdown and the figures: whole, of nobody else's help, and nobody's name does anything in them."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from support.comparison import HOSTILE, record, records

from detassign.evidence.report.analysis import analyse
from detassign.evidence.report.figures import figures
from detassign.evidence.report.html import page
from detassign.evidence.report.latex import latex
from detassign.evidence.report.looks import looks
from detassign.evidence.report.markdown import markdown

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Collects tags and what is outside of them, and checks that tags are closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.open, self.words, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [
            value for key, value in attributes if key in ("src", "href", "xlink:href", "action", "style")
        ]
        assert not [key for key, _ in attributes if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def hostile():
    """A comparison in which every name is somebody's."""
    classes = {HOSTILE: 0.3, "plain": 0.2}
    runs = [
        record(
            assigner,
            seed,
            data=HOSTILE,
            detector="d<i>",
            device=HOSTILE,
            metrics={"AP": 0.3 + seed / 100, "classes": classes},
        )
        for assigner in ("fcos", f"mine(k={HOSTILE})")
        for seed in range(2)
    ]
    return analyse(runs, {HOSTILE: HOSTILE, "detector": "d<i>"})


def test_the_page_asks_for_nothing_and_runs_nothing(hostile):
    text = page(hostile)
    reader = read(text)
    assert reader.addresses == []
    assert not {"script", "link", "img", "iframe", "object", "embed", "b"} & set(reader.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert "default-src 'none'" in text
    assert "\x1b" not in text


def test_names_are_shown_as_they_are(hostile):
    words = " ".join(read(page(hostile)).words)
    shown = "<script>alert('x')</script> & \"q\" 50% a_b {c} $x^2$ \\input{/etc/passwd} | `~` #1 细胞 \\x1b[2J next"
    assert shown in words
    assert "d<i>" in words


def test_every_chart_is_sound_xml_with_a_word_for_each_mark():
    text = page(analyse(records("fcos", "dw"), {}))
    drawings = [
        ElementTree.fromstring(one) for one in re.findall(r"<svg viewBox=.*?</svg>", text, re.DOTALL) if "xmlns" in one
    ]
    assert len(drawings) == 8  # AP, differences, two of curves, sizes, classes, time, memory
    told = [title.text for one in drawings for title in one.iter("{http://www.w3.org/2000/svg}title")]
    assert "dw: +5.0, 95 % +4.8 to +5.2 (t)" in told
    assert sum(line.startswith("dw: ") and " at " in line for line in told) == 4  # two evaluations over two axes


def test_curves_begin_at_second_0_where_nothing_was_learned_before():
    fresh, started = (page(analyse([record(init=init)], {})) for init in (None, "weights.pth"))
    assert fresh.count('class="lead"') == 2
    assert 'class="lead"' not in started
    assert ">0</text>" in started


def test_light_dark_paper_and_telephones_are_thought_of():
    text = page(analyse(records("fcos"), {}))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
    assert 'content="width=device-width' in text


def test_latex_has_no_command_that_is_not_ours(hostile):
    text = latex(hostile)
    ours = {
        "begin",
        "end",
        "centering",
        "caption",
        "label",
        "toprule",
        "midrule",
        "bottomrule",
        "pm",
        "usepackage",
        "input",
    }
    ours |= {name for name in re.findall(r"\\(text[a-z]+)\{", text)}
    commands = set(re.findall(r"(?<!\\)\\([a-zA-Z]+)", text))
    assert commands <= ours
    assert "\\input" not in text.replace("\\textbackslash{}input", "")
    body = re.sub(r"\\[{}]", "", text)
    assert body.count("{") == body.count("}")
    assert "XeLaTeX" in text.splitlines()[1]
    for line in text.splitlines():
        if line.startswith("    ") and line.endswith("\\\\") and "toprule" not in line:
            assert not re.search(r"(?<!\\)[#%_^~<>|]", line)


def test_latex_columns_are_as_many_as_declared():
    text = latex(analyse(records("fcos", "dw"), {}))
    for columns, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end", text, re.DOTALL):
        lines = [line for line in body.splitlines() if line.endswith("\\\\")]
        assert {len(re.split(r"(?<!\\)&", line)) for line in lines} == {len(columns)}
    assert "% Names below" not in text


def test_markdown_tables_keep_their_columns_whatever_names_hold(hostile):
    text = markdown(hostile)
    assert "<script>" not in text.replace("\\<script\\>", "")
    tables = [part for part in text.split("\n\n") if part.startswith("| ")]
    assert len(tables) == 3
    for table in tables:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


def test_markdown_tells_conditions_and_reading():
    text = markdown(analyse(records("fcos", "dw"), {"detector": "fcos_tiny", "epochs": 2}))
    assert text.startswith("| assigner | AP | AP, 95 % |")
    assert "detector fcos_tiny; epochs 2" in text
    assert "## What is not\n\n- dw has 5.0 AP more than fcos" in text


def test_figures_are_pdf_and_png_and_the_same_twice(hostile):
    drawn = figures(hostile)
    assert set(drawn) == {"curves", "ap", "differences", "classes", "cost"}  # no size was measured
    for one in drawn.values():
        assert one["pdf"].startswith(b"%PDF")
        assert b"/Type3" not in one["pdf"]  # fonts that journals take
        assert one["png"].startswith(b"\x89PNG\r\n\x1a\n")
    assert figures(hostile)["ap"] == drawn["ap"]


def test_one_run_without_a_curve_is_reported():
    analysis = analyse([record(curve=None)], {})
    assert "curves" not in figures(analysis)
    assert "Over the training" not in page(analysis)
    assert read(page(analysis)).tags


def test_telemetry_has_a_section_where_runs_have_it():
    """Means over the seeds at the epochs that all have; what is null is left out, and so is what nobody saw."""
    seen = [{"epoch": 1, "instability": None, "moved": None, "without_by_size": {"small": 0.25, "large": None}}]
    seen += [{"epoch": 2, "instability": 3.0, "moved": 0.5, "without_by_size": {"small": 0.125, "large": None}}]
    runs = [record("fcos", seed, telemetry=seen[: 2 - seed]) for seed in (0, 1)] + [record("dw", 0, telemetry=seen)]
    panels = {panel.y: panel.lines for panel in looks(analyse(runs, {}))}
    assert list(panels) == [
        "instability, samples per image",
        "weight that moved since the epoch before, %",
        "small objects that no sample learns, %",
    ]
    assert [(line.name, line.places) for line in panels["instability, samples per image"]] == [("dw", [(2, 3, 3, 3)])]
    small = panels["small objects that no sample learns, %"]
    assert {line.name: [place.mean for place in line.places] for line in small} == {"fcos": [25.0], "dw": [25.0, 12.5]}
    assert "Whom the assigners served, and how steadily" in page(analyse(runs, {}))
    assert figures(analyse(runs, {}))["telemetry"]["png"].startswith(b"\x89PNG")


def test_without_telemetry_there_is_no_section_and_what_is_none_is_refused():
    assert "Whom the assigners served" not in page(analyse(records("fcos"), {}))
    with pytest.raises(ValueError, match="'telemetry' is no list of objects"):
        analyse([record(telemetry=3)], {})
