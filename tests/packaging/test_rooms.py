"""Who imports whom is as docs/architecture.md draws it, imports inside functions included."""

import ast
import re

import pytest
from support.package import FOLDERS, ROOT, TOP, module_name, python_files

BELOW_ENGINE = {"assigners", "compat", "data", "detectors", "evidence", "heads", "ops"}
MAY_IMPORT = {
    "ops": set(),
    "data": set(),
    "assigners": {"ops"},
    "testing": {"assigners"},
    "compat": {"ops"},
    "heads": {"assigners", "compat", "ops"},
    "integrations": {"assigners", "compat"},
    "detectors": {"assigners", "compat", "heads", "ops"},
    "configs": {"assigners", "compat", "detectors", "heads"},
    "evidence": {"assigners", "data", "heads"},
    "engine": BELOW_ENGINE,
    "bench": BELOW_ENGINE | {"configs", "engine"},
    "api": BELOW_ENGINE | {"bench", "engine", "testing"},
    "cli": BELOW_ENGINE | {"api", "bench", "engine"},
}


def imported(path):
    """The rooms that a module imports; what it takes from the package itself is of the room `api`."""
    parts = module_name(path).split(".")
    package = parts if path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            place = package[: len(package) + 1 - node.level] if node.level else []
            base = ".".join([*place, *([node.module] if node.module else [])])
            names = [f"{base}.{each.name}" for each in node.names]
        else:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        for found in (name.split(".") for name in names):
            if found[0] == "detassign":
                yield found[1] if len(found) > 1 and found[1] in FOLDERS else TOP


@pytest.mark.parametrize("room", FOLDERS)
def test_a_room_imports_none_but_those_below_it(room):
    files = [path for path in python_files() if path.relative_to(ROOT).parts[0] == room]
    found = {(path.name, other) for path in files for other in imported(path) if other != room}
    found.discard(("__main__.py", "cli"))  # `python -m detassign` starts the command line
    assert {pair for pair in found if pair[1] not in MAY_IMPORT[room]} == set()


def test_the_reader_of_imports_sees_every_form(tmp_path):
    file = ROOT / "engine" / "inner" / "module.py"
    lines = [
        "import detassign",
        "from ...data import files",
        "def f():",
        "    from ... import heads, load",
        "import os",
    ]
    text = "\n".join(lines)
    source = type("Source", (type(file),), {"read_text": lambda self, encoding: text})(file)
    assert sorted(imported(source)) == ["api", "api", "data", "heads"]


def test_every_room_is_in_the_table():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert {*re.findall(r"^\| `(\w+)/` \|", text, re.MULTILINE)} == {*FOLDERS, "csrc"}
