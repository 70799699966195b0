"""Where the package's files lie in the source, and what they are called once installed."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
TOP = "api"  # the folder that is the package `detassign` itself; the others are packages in it
FOLDERS = tuple(sorted(path.parent.name for path in ROOT.glob("*/__init__.py")))


def python_files() -> list[Path]:
    """Every module of the package."""
    return [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def installed(path: Path | str) -> str:
    """What a file is called in an installed package, from its path in the source.

    >>> installed("api/__main__.py"), installed("ops/transfer.py")
    ('detassign/__main__.py', 'detassign/ops/transfer.py')
    """
    name = path.relative_to(ROOT).as_posix() if isinstance(path, Path) else path
    return f"detassign/{name.removeprefix(f'{TOP}/')}"


def module_name(path: Path) -> str:
    """The dotted name of a module, from its file."""
    return installed(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
