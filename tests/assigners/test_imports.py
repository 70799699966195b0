"""Parts of one's own, from files and modules."""

import pickle
import sys

import pytest
from support.own_parts import NEAREST

from detassign.assigners import MATCHINGS, Assigner, build, imports

pytestmark = pytest.mark.usefixtures("own_parts")


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(NEAREST)
    return path


def test_what_a_file_registers_is_known_by_name(mine):
    assert "nearest" not in MATCHINGS
    found = imports.load(mine)
    assert (found.name, found.digest) == ("mine.py", imports.digest_of(mine.read_bytes()))
    assert build("nearest(k=2)+focal", num_classes=3).matching.k == 2


def test_an_assigner_of_own_parts_can_be_pickled(mine):
    imports.load(mine)
    assigner = pickle.loads(pickle.dumps(build("nearest(k=2)+focal", num_classes=3)))
    assert isinstance(assigner, Assigner)
    assert type(assigner.matching) is MATCHINGS["nearest"]
    assert type(assigner.matching).__module__ == "detassign_imports.mine"


def test_an_unchanged_file_runs_once_wherever_it_lies(mine, tmp_path):
    imports.load(mine)
    before = MATCHINGS["nearest"]
    copy = tmp_path / "copy" / "mine.py"
    copy.parent.mkdir()
    copy.write_bytes(mine.read_bytes())
    imports.load(copy)
    assert MATCHINGS["nearest"] is before


def test_a_changed_file_takes_the_place_of_what_it_was(mine):
    imports.load(mine)
    mine.write_text(NEAREST.replace("nearest", "closest"))
    imports.load(mine)
    assert "closest" in MATCHINGS
    assert "nearest" not in MATCHINGS


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("\n\n1 / 0\n", r"import mine.py: line \d+: ZeroDivisionError: division by zero"),
        ("a b\n", r"import mine.py: line \d+: SyntaxError: invalid syntax"),
        ("import nowhere\n", r"import mine.py: line \d+: ModuleNotFoundError: No module named 'nowhere'"),
        ("raise SystemExit('done')\n", r"import mine.py: line \d+: SystemExit: done"),
        ("MATCHINGS.register('atss')(Nearest)\n", r"line \d+: ValueError: matching 'atss' is already registered by"),
    ],
)
def test_a_file_that_fails_leaves_nothing_behind_and_says_where(mine, code, sentence):
    imports.load(mine)
    before = MATCHINGS["nearest"]
    mine.write_text(NEAREST.replace("nearest", "closest") + code)
    with pytest.raises(ValueError, match=sentence):
        imports.load(mine)
    assert MATCHINGS["nearest"] is before
    assert "closest" not in MATCHINGS
    assert sys.modules["detassign_imports.mine"].Nearest is before


def test_what_is_no_code_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"import .*none\.py: there is no such file"):
        imports.load(tmp_path / "none.py")
    (tmp_path / "large.py").write_bytes(b"#" * (imports.LARGEST + 1))
    with pytest.raises(ValueError, match="expected code, at most"):
        imports.load(tmp_path / "large.py")
    with pytest.raises(ValueError, match=r"import 'my parts': expected a Python file, mine\.py, or the dotted name"):
        imports.load("my parts")
    with pytest.raises(ValueError, match=r"import no\.such\.parts: Python finds no such module"):
        imports.load("no.such.parts")


def test_a_module_is_imported_by_its_name(mine, tmp_path, monkeypatch):
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "__init__.py").touch()
    mine.rename(tmp_path / "own_package" / "parts.py")
    monkeypatch.syspath_prepend(tmp_path)
    found = imports.load("own_package.parts")
    assert found == imports.Imported("own_package.parts")
    assert MATCHINGS["nearest"].__module__ == "own_package.parts"


def test_a_spec_that_names_a_file_does_not_run_it(mine):
    witness = mine.with_name("ran")
    mine.write_text(NEAREST + f"\nopen({str(witness)!r}, 'w')\n")
    with pytest.raises(ValueError, match=r"nearest': the file is not loaded, and a spec runs no code"):
        build(f"{mine}:nearest+focal", num_classes=3)
    assert not witness.exists()


def test_a_name_may_say_which_file_it_comes_from(mine):
    imports.load(mine)
    assert build("mine.py:nearest(k=3)+focal", num_classes=3).matching.k == 3
    assert build("top_k(mine.py:nearest(k=3), k=2)+focal", num_classes=3).matching.matching.k == 3
    with pytest.raises(ValueError, match=r"unknown matching of mine\.py 'nearst'; did you mean 'nearest'\?"):
        build("mine.py:nearst+focal", num_classes=3)
    with pytest.raises(ValueError, match=r"unknown matching of mine\.py 'atss'; known: nearest"):
        build("mine.py:atss+focal", num_classes=3)
    with pytest.raises(ValueError, match=r"unknown weighting of mine\.py 'focal'; known: none"):
        build("atss+mine.py:focal", num_classes=3)
