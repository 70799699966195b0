"""What is written to the terminal is what was given, whatever its letters."""

import io

import pytest

from detassign.cli.tables import table
from detassign.engine.progress import make_bar
from detassign.engine.terminal import terminal
from detassign.evidence.words import printable

NAMES = ["person [adult]", "[/] none", "[bold]", ":dog:", "[link=http://x]y", "\\[x]", "100 % {x}", "a\x1b[2Jb"]


@pytest.mark.parametrize("name", NAMES)
def test_a_table_shows_names_as_they_are_everywhere(name, capsys):
    table([name, "AP"], [[name, 1]], title=name)
    shown = capsys.readouterr().out
    assert shown.count(printable(name)) == 3
    assert "\x1b" not in shown


@pytest.mark.parametrize("name", NAMES)
def test_a_progress_bar_shows_names_as_they_are(name):
    written = io.StringIO()
    bar = make_bar(terminal(file=written, width=200, force_terminal=True, color_system=None))
    bar.add_task(printable(name), total=2, note=printable(name))
    with bar:
        bar.refresh()
    assert printable(name) in written.getvalue()


def test_only_what_steers_a_terminal_is_written_as_codes():
    assert printable("图 é\u200d\u3000🐶\nb") == "图 é\u200d\u3000🐶\nb"
    assert printable("\x1b\x07\r\t\ud800\x9b") == "\\x1b\\x07\\r\\t\\ud800\\x9b"
