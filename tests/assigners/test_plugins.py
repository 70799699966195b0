"""Parts that installed packages bring."""

import pytest
from support.own_parts import NEAREST

from detassign.assigners import MATCHINGS, build, plugins

pytestmark = pytest.mark.usefixtures("own_parts")


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution whose one module is a plugin."""

    def installed(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        described = tmp_path / "own_package-1.2.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Metadata-Version: 2.1\nName: own-package\nVersion: 1.2\n")
        (described / "entry_points.txt").write_text(f"[detassign.plugins]\nmine = {name}\n")
        monkeypatch.syspath_prepend(tmp_path)

    plugins.load_plugins.cache_clear()
    yield installed
    plugins.load_plugins.cache_clear()


def test_an_unknown_name_is_looked_for_among_plugins(install):
    install("plugin_of_nearest", NEAREST)
    assert "nearest" not in list(MATCHINGS)
    assert build("nearest+focal", num_classes=3).matching.k == 1
    assert "nearest" in list(MATCHINGS)


def test_known_names_load_no_plugin(install):
    install("plugin_that_must_not_run", "raise AssertionError")
    build("dw", num_classes=3)
    assert "atss" in MATCHINGS


def test_a_plugin_that_fails_is_one_warning_naming_its_distribution_and_leaves_nothing(install):
    install("plugin_that_fails", NEAREST + "\n1 / 0\n")
    with (
        pytest.warns(
            plugins.PluginWarning, match=r"plugin 'mine' of own-package 1\.2 .* \(ZeroDivisionError: division"
        ) as said,
        pytest.raises(ValueError, match="unknown matching 'nearest'"),
    ):
        build("nearest+focal", num_classes=3)
    assert len(said) == 1
    with pytest.raises(ValueError, match="unknown matching 'nearest'"):  # and it is said once
        build("nearest+focal", num_classes=3)
