"""Code that comes with a run: recorded, copied, and run with consent alone."""

import pytest
from support.own_parts import NEAREST

from detassign.assigners import MATCHINGS, imports
from detassign.engine.imports import adopt, code_of, load_named, restore, save
from detassign.engine.trust import is_trusted, remember, state_folder

pytestmark = pytest.mark.usefixtures("own_parts")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("DETASSIGN_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(NEAREST)
    return path


@pytest.fixture
def run(mine, tmp_path, state):
    """The config and folder of a run made with a file, as somebody else may have sent it; nothing of it is loaded."""
    config, folder = {"imports": load_named([mine])}, tmp_path / "run"
    folder.mkdir()
    save(config, folder)
    (state / "trusted" / config["imports"]["mine.py"]).unlink()
    imports._loaded.clear()
    MATCHINGS._entries.pop("nearest")
    return config, folder


def test_a_run_holds_a_copy_of_the_files_it_was_made_with(run, mine):
    config, folder = run
    assert config == {"imports": {"mine.py": imports.digest_of(mine.read_bytes())}}
    assert (folder / "imports" / "mine.py").read_bytes() == mine.read_bytes()


def test_code_of_somebody_else_runs_with_consent_only_and_then_always(run):
    config, folder = run
    with pytest.raises(
        ValueError, match=r"imports: the run brings code that you have not run here before, mine\.py; .*--trust"
    ):
        restore(config, folder)
    assert "nearest" not in MATCHINGS
    restore(config, folder, trust=True)
    assert "nearest" in MATCHINGS
    imports._loaded.clear()
    restore(config, folder)
    assert imports.find("mine.py") is not None


def test_consent_to_one_content_is_none_to_another(run):
    config, folder = run
    restore(config, folder, trust=True)
    imports._loaded.clear()
    (folder / "imports" / "mine.py").write_text(NEAREST + "\nraise SystemExit\n")
    with pytest.raises(ValueError, match=r"mine\.py: not the file that the run was made with"):
        restore(config, folder)
    config["imports"]["mine.py"] = imports.digest_of((folder / "imports" / "mine.py").read_bytes())
    with pytest.raises(ValueError, match="say --trust"):
        restore(config, folder)


def test_nothing_runs_before_everything_is_agreed_to(run, mine):
    config, folder = run
    remember(config["imports"]["mine.py"], "mine.py")
    (folder / "imports" / "other.py").write_text("raise SystemExit")
    config["imports"]["other.py"] = imports.digest_of(b"raise SystemExit")
    with pytest.raises(ValueError, match=r"before, other\.py;"):
        restore(config, folder)
    assert "nearest" not in MATCHINGS


def test_a_file_that_is_given_takes_the_place_of_the_runs(run, mine):
    config, folder = run
    mine.write_text(NEAREST.replace("k=1", "k=5"))
    restore(config, folder, given=load_named([mine]))
    assert MATCHINGS.build("nearest").k == 5


def test_naming_a_file_is_consent(run, mine):
    config, folder = run
    load_named([mine])
    restore(config, folder)
    assert "nearest" in MATCHINGS


def test_a_module_is_recorded_by_name_and_trusted_by_name(run, mine, tmp_path, monkeypatch):
    _, folder = run
    mine.rename(tmp_path / "module_of_nearest.py")
    monkeypatch.syspath_prepend(tmp_path)
    config = {"imports": {"module_of_nearest": None}}
    with pytest.raises(ValueError, match=r"before, module_of_nearest; .*--trust"):
        restore(config, folder)
    assert load_named(["module_of_nearest"]) == config["imports"]
    restore(config, folder)
    save(config, tmp_path)
    assert not (tmp_path / "imports").exists()


@pytest.mark.parametrize(
    "recorded",
    [
        ["mine.py"],
        {"../mine.py": "0" * 64},
        {"/etc/mine.py": "0" * 64},
        {"..py": "0" * 64},
        {"mine": "0" * 64},
        {"mine; import os": None},
        {f"m{number}.py": "0" * 64 for number in range(40)},
    ],
)
def test_imports_that_no_run_writes_are_refused(run, recorded):
    with pytest.raises(ValueError, match=r"imports are .*; expected names of files and modules"):
        restore({"imports": recorded}, run[1], trust=True)


def test_a_config_without_imports_needs_none(tmp_path):
    restore({}, tmp_path)
    restore({"imports": {}}, tmp_path)
    assert code_of({}) == []


def test_a_missing_copy_is_named(run):
    config, folder = run
    (folder / "imports" / "mine.py").unlink()
    with pytest.raises(FileNotFoundError, match=r"imports/mine\.py: there is no such file"):
        restore(config, folder, trust=True)


def test_two_files_of_one_name_are_refused(mine, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text(NEAREST.replace("nearest", "closest"))
    with pytest.raises(ValueError, match=r"another file is called mine\.py too; give one of them another name"):
        load_named([mine, tmp_path / "other" / "mine.py"])


def test_code_travels_to_other_processes_by_its_content(mine):
    code = code_of({"imports": load_named([mine])})
    imports._loaded.clear()
    MATCHINGS._entries.pop("nearest")
    mine.unlink()
    adopt(code)
    assert "nearest" in MATCHINGS


def test_consent_that_others_could_have_written_is_none(state):
    remember("0" * 64, "mine.py")
    assert is_trusted("0" * 64)
    assert not is_trusted("1" * 64)
    (state / "trusted").chmod(0o777)
    assert not is_trusted("0" * 64)
    (state / "trusted").chmod(0o700)
    (state / "trusted" / ("0" * 64)).chmod(0o666)
    assert not is_trusted("0" * 64)


def test_consent_is_kept_where_the_user_keeps_state(monkeypatch, tmp_path):
    monkeypatch.delenv("DETASSIGN_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "detassign"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert state_folder() == tmp_path / "home" / ".local" / "state" / "detassign"


def test_where_nothing_can_be_written_consent_is_asked_for_again(state):
    state.write_text("no folder")
    remember("0" * 64, "mine.py")
    assert not is_trusted("0" * 64)
