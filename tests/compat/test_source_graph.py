import ast

import pytest

from detassign.compat.source_graph import Definition, SourceGraph, type_names

SOURCES = {
    "__init__": "from .layers import Layer as Exported\nfrom . import extra",
    "layers.__init__": "from .core import Layer, helper",
    "layers.core": """
from ..extra import used_inside

@MODELS.register_module('short')
class Layer(Base):
    def forward(self, x):
        return helper(x)

try:
    import fast
    def helper(x): return fast.go(x)
except ImportError:
    def helper(x): return slow(x)

def slow(x): return used_inside(x)
class Base: pass
class Alone: pass
""",
    "extra": """
'An escape that Python warns of: \\d'
def used_inside(x): return x
def other(x): return x
""",
    "models": """
import pack.layers.core as core
from pack import Exported, extra

class Direct:
    def __init__(self): self.layer = Exported()
class ByModule:
    def __init__(self): self.layer = core.Alone()
class BySubmodule:
    def __init__(self): self.layer = extra.other
class ByType:
    def __init__(self, cfg=dict(type='short')): pass
class ByDefault:
    def __init__(self, cfg): cfg.pop('type', 'Alone')
class OnlyAsks:
    def __init__(self, layer: Exported) -> Exported:
        if isinstance(layer, Exported): pass
class Itself:
    def __init__(self): self.other = Itself
""",
}
LAYER = {("layers.core", name) for name in ("Layer", "Base", "helper", "slow")} | {("extra", "used_inside")}


@pytest.fixture
def graph(tmp_path):
    for module, source in SOURCES.items():
        file = (tmp_path / module.replace(".", "/")).with_suffix(".py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(source)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "broken.py").write_text("no Python")
    return SourceGraph({"pack": tmp_path})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Direct", LAYER),
        ("ByModule", {("layers.core", "Alone")}),
        ("BySubmodule", {("extra", "other")}),
        ("ByType", LAYER),
        ("ByDefault", {("layers.core", "Alone")}),
        ("OnlyAsks", set()),
        ("Itself", set()),
    ],
)
def test_a_definition_reaches_what_it_names_through_imports_and_types(graph, name, expected):
    start = Definition("pack.models", name)
    found = {(module.removeprefix("pack."), reached) for module, reached in graph.reached([start]) - {start}}
    assert found == expected


def test_types_are_found_under_their_own_and_their_registered_names(graph):
    layer = Definition("pack.layers.core", "Layer")
    assert graph.named(["short"]) == graph.named(["Layer"]) == {layer}
    assert graph.named(["absent"]) == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("dict(type='A', kind='B')", {"A"}),
        ("{'type': 'A', **rest}", {"A"}),
        ("cfg.get('type', 'A')", {"A"}),
        ("dict(type=A)", set()),
        ("dict(type=None)", set()),
    ],
)
def test_types_are_read_from_calls_dicts_and_defaults(source, expected):
    assert type_names(ast.parse(source, mode="eval").body) == expected
