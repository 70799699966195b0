"""The README's promises that a test can keep: its Python runs, its files exist, its commands parse."""

import re

import pytest
from PIL import Image
from support.documented import DOCUMENTS, ROOT

WITHOUT_PYTHON = (
    "architecture.md",
    "benchmarks.md",
    "conversion.md",
    "data.md",
    "export.md",
    "index.md",
    "profile.md",
    "telemetry.md",
    "training.md",
)


@pytest.fixture
def beside_data(tmp_path, monkeypatch):
    """A folder to work in that has what the documents name: a data set and a photo."""
    from detassign.data import make_dataset

    make_dataset(tmp_path / "my" / "folder", images=8, size=96)
    Image.new("RGB", (64, 48), "grey").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("own_parts", "beside_data")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document):
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    names = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, str(document), "exec"), names)  # the project's own text
    assert blocks or document.name in WITHOUT_PYTHON


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_linked_files_exist(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert all((document.parent / link).exists() for link in links)


def test_the_commands_shown_exist():
    from detassign.cli import COMMANDS

    shown = set(re.findall(r"^    detassign (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert shown
    assert shown <= set(COMMANDS)
