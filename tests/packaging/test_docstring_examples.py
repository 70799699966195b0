"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib

import pytest
from support.package import module_name, python_files


def modules_with_examples() -> list[str]:
    return [module_name(path) for path in python_files() if ">>> " in path.read_text()]


@pytest.mark.parametrize("name", modules_with_examples())
def test_docstring_examples_run(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
