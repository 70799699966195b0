"""The README's promises that a test can keep: its Python runs, its files exist, its commands parse."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.usefixtures("own_parts")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_run(document):
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        exec(compile(block, str(document), "exec"), {"__name__": "readme"})  # the project's own text
    assert blocks or document.name in ("architecture.md", "benchmarks.md", "conversion.md", "index.md", "telemetry.md")


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_linked_files_exist(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8"))
    assert all((document.parent / link).exists() for link in links)


def test_the_commands_shown_exist():
    from detassign.cli import COMMANDS

    shown = set(re.findall(r"^    detassign (\w+)", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert shown
    assert shown <= set(COMMANDS)
