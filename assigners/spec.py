"""Assigners as text: names, names with arguments, and sums of parts, read into plain values and never evaluated.

    dw    dw(top_k=9)    atss+dual(gamma=1.5)    top_k(center_prior(sigma=1.5), k=9)+dual
    hungarian(costs={focal: 2, l1: {weight: 5}})+focal    dw(score=softmax, prior={'exclusive': None})
    mine.py:nearest(k=3)+dual

The notation is Python's. Arguments are numbers, texts, True, False, None, lists, dicts and further specs; a bare name is a
text. A name may say which file it comes from, which must have been loaded (see `assigners.imports`). Nothing else is allowed,
so a spec may come from anywhere.
"""

from __future__ import annotations

import ast
import hashlib
import keyword
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

LONGEST = 2000  # characters
DEEPEST = 16  # brackets inside brackets
LARGEST = 2**63  # whole numbers that every reader of JSON takes
SHOWN = 20  # characters of a spec in the sentence about a mistake
LONGEST_SLUG = 80  # characters; file systems take 255 bytes, and more is added to it
BRACKETS = {")": "(", "]": "[", "}": "{"}
PACKAGE = "detassign_imports"  # of modules that are files of users
PARTS = ("matching", "weighting", "score")
WORDS = {"true": True, "false": False, "none": None, "null": None}  # as `--set` understands them
EXAMPLE = "dw(top_k=9) or atss+dual(gamma=1.5)"
TOKEN = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?P<file>[\w./~-]+\.py):(?=[^\W\d])|(?P<letter>.)""")
"""A text in quotes, a file that a name comes from, or one character."""


@dataclass(frozen=True)
class Part:
    """A name with arguments; values are plain, or further parts, alone or in a tuple of those joined by +."""

    name: str
    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)
    file: str | None = None


def parse(text: str, kind: str = "spec") -> tuple[Part, ...]:
    """The parts of a spec, those joined by + in their order.

    Args:
        text: the spec.
        kind: what it is a spec of, for the sentence about a mistake.

    Raises:
        ValueError: when it is none, too long or too deep; with the place of the mistake.

    >>> parse("top_k(atss, k=9)+dual")
    (Part(name='top_k', positional=('atss',), named={'k': 9}, file=None), Part(name='dual', ...))
    """
    return _Reader(text, kind).parts()


def split(text: str, kind: str = "spec") -> list[str]:
    """Specs of a comma-separated list, each once; commas inside brackets belong to a spec.

    Raises:
        ValueError: for an empty list and brackets that do not pair up.

    >>> split("fcos, dw(top_k=9, form='paper'),fcos")
    ['fcos', "dw(top_k=9, form='paper')"]
    """
    commas = [place for place, letter, depth in _Reader(text, kind).outside_quotes() if letter == "," and depth == 0]
    bounds = zip([-1, *commas], [*commas, len(text)], strict=True)
    chosen = list(dict.fromkeys(one for start, stop in bounds if (one := text[start + 1 : stop].strip())))
    if not chosen:
        raise ValueError(f"expected at least one {kind}, got {text!r}")
    return chosen


def files(text: str) -> list[str]:
    """The files that a spec, or a list of specs, names.

    >>> files("mine.py:nearest+parts/other.py:flat(gamma=1)")
    ['mine.py', 'parts/other.py']
    """
    return list(dict.fromkeys(_Reader(text, "spec").files.values()))


def label(text: str) -> str:
    """A spec without the folders of its files: what to call it by.

    >>> label("../parts/mine.py:nearest+dual")
    'mine.py:nearest+dual'
    """
    for file in files(text):
        text = text.replace(f"{file}:", f"{file.rpartition('/')[2]}:")
    return text


def name_of(assigner: str | Mapping[str, Any]) -> str:
    """What to call an assigner by, given as a spec or as its description: its spec."""
    return label(assigner) if isinstance(assigner, str) else write(assigner)


def module_name(file: str) -> str:
    """The dotted name under which a file is loaded, wherever it lies.

    >>> module_name("parts/my-own.py")
    'detassign_imports.my_own'
    """
    stem = file.rpartition("/")[2].removesuffix(".py")
    return f"{PACKAGE}.{re.sub(r'[^0-9A-Za-z_]', '_', stem)}"


def write(description: Any) -> str:
    """The spec of a description, a dict with "type" or one of parts; any other value as an argument would be written.

    >>> write({"type": "dw", "top_k": 9, "score": "softmax"})
    'dw(top_k=9, score=softmax)'
    >>> write({"matching": "atss", "weighting": {"type": "dual", "gamma": 1.5}})
    'atss+dual(gamma=1.5)'
    """
    if isinstance(description, Mapping):
        return _write_mapping(description)
    if isinstance(description, list | tuple):
        return f"[{', '.join(map(write, description))}]"
    is_name = isinstance(description, str) and _is_name(description) and description.lower() not in WORDS
    return description if is_name else repr(description)


def slugs(texts: Iterable[str]) -> dict[str, str]:
    """Specs and a slug for each, no two alike.

    >>> slugs(["dw", "dw(1)", "dw('1')"])
    {'dw': 'dw', 'dw(1)': 'dw-1-...', "dw('1')": 'dw-1-...'}
    """
    plain = {text: slug(text) for text in texts}
    shared = {name for name, count in Counter(plain.values()).items() if count > 1}
    return {text: _with_digest(name, text) if name in shared else name for text, name in plain.items()}


def slug(text: str) -> str:
    """A spec as the name of a file or folder: letters, digits and ``._+-`` only, and not too many.

    >>> slug("hungarian(costs={'focal': 2, 'l1': 5})+dual(gamma=1.5)")
    'hungarian-costs-focal-2-l1-5+dual-gamma-1.5'
    """
    safe = re.sub(r"[^\w.+-]+", "-", text, flags=re.ASCII)
    safe = re.sub(r"-+(?=\+|$)", "", safe).lstrip(".-") or "unnamed"
    return safe if len(safe) <= LONGEST_SLUG else _with_digest(safe[:LONGEST_SLUG], text)


def _with_digest(name: str, text: str) -> str:
    return f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class _Reader:
    """Turns one text into parts, and knows its places: every refusal says what stands where."""

    def __init__(self, text: str, kind: str) -> None:
        self.text = re.sub(r"\s", " ", text)
        self.kind = kind
        if len(text) > LONGEST:
            raise ValueError(f"{kind}: expected at most {LONGEST} characters, got {len(text)}")
        found = [token for token in TOKEN.finditer(self.text) if token["file"]]
        self.files = {token.end(): token["file"] for token in found}  # by the place of the name that comes from it
        self.names = self.text  # with blanks for files, so that every name keeps its place
        for token in found:
            self.names = f"{self.names[: token.start()]}{' ' * len(token[0])}{self.names[token.end() :]}"

    def parts(self) -> tuple[Part, ...]:
        list(self.outside_quotes())  # refuses what could overwhelm the parser
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of unknown escapes in a text
                tree = ast.parse(f"({self.names})", mode="eval")
        except SyntaxError as error:
            raise self.mistake((error.offset or 2) - 2, "cannot be read") from None
        except (ValueError, MemoryError, RecursionError):  # a huge number, a long chain of signs
            raise self.mistake(0, "cannot be read") from None
        return self.sum(tree.body)

    def outside_quotes(self) -> Iterator[tuple[int, str, int]]:
        """Place, character and depth of brackets of everything that is not in quotes."""
        opened: list[int] = []
        for found in TOKEN.finditer(self.text):
            place, letter = found.start(), found["letter"]
            if letter is None:
                continue
            if letter in BRACKETS.values():
                opened.append(place)
            elif letter in BRACKETS and not (opened and self.text[opened.pop()] == BRACKETS[letter]):
                raise self.mistake(place, f"{letter} closes nothing")
            elif letter in "'\"":
                raise self.mistake(place, f"{letter} is never closed")
            elif letter in "#\\\0":
                raise self.mistake(place, f"{letter!r} has no place here")
            if len(opened) > DEEPEST:
                raise self.mistake(place, f"expected at most {DEEPEST} brackets inside each other")
            yield place, letter, len(opened)
        if opened:
            raise self.mistake(opened[-1], f"{self.text[opened[-1]]} is never closed")

    def sum(self, node: ast.expr) -> tuple[Part, ...]:
        parts = []
        while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            parts.append(self.part(node.right))
            node = node.left
        return (self.part(node), *reversed(parts))

    def part(self, node: ast.expr) -> Part:
        if isinstance(node, ast.Name):
            return Part(node.id, file=self.file_of(node))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise self.unexpected(node, "a name, or a name with arguments in brackets")
        named: dict[str, Any] = {}
        for argument in node.keywords:
            if argument.arg is None or argument.arg in named:
                raise self.unexpected(argument, "every argument by its own name, once")
            named[argument.arg] = self.value(argument.value)
        return Part(node.func.id, tuple(map(self.value, node.args)), named, self.file_of(node))

    def value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str() | bool() | float() | None as value):
                return value
            case ast.Constant(value=int() as number) if abs(number) < LARGEST:
                return number
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()) as number):
                return -self.value(number)
            case ast.Name(id=name):
                return self.part(node) if self.file_of(node) else WORDS.get(name, name)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self.value(element) for element in elements]
            case ast.Dict(keys=keys, values=values):
                return {self.key(key, node): self.value(value) for key, value in zip(keys, values, strict=True)}
            case ast.Call():
                return self.part(node)
            case ast.BinOp(op=ast.Add()):
                return self.sum(node)
        raise self.unexpected(node, "a number, a text, True, False, None, a list, a dict or another spec")

    def key(self, node: ast.expr | None, parent: ast.expr) -> str:
        match node:
            case ast.Constant(value=str() as text) | ast.Name(id=text):
                return text
        raise self.unexpected(node or parent, "a name or a text as a dict's key")

    def unexpected(self, node: ast.expr | ast.keyword, wanted: str) -> ValueError:
        return self.mistake(self.place(node), f"expected {wanted}")

    def file_of(self, node: ast.expr) -> str | None:
        return self.files.get(self.place(node))

    def place(self, node: ast.expr | ast.keyword) -> int:
        """The character at which a node begins; the parser counts bytes, and one bracket more."""
        return len(f"({self.names}".encode()[: node.col_offset].decode()) - 1

    def mistake(self, place: int, what: str) -> ValueError:
        """The sentence about a mistake at a character, counted from 0 here and from 1 by people."""
        rest = self.text[place : place + SHOWN]
        near = f"at character {place + 1}, {rest!r}" if rest else "at its end"
        whole = self.text if len(self.text) <= 4 * SHOWN else f"{self.text[: 4 * SHOWN]}..."
        return ValueError(f"{self.kind} {whole!r}: {what}, {near}; a spec looks like {EXAMPLE}")


def _write_mapping(description: Mapping[str, Any]) -> str:
    if {"matching", "weighting"} <= set(description) <= set(PARTS):
        return "+".join(write(description[part]) for part in PARTS if part in description)
    name = description.get("type")
    if not _is_name(name) or not all(map(_is_name, description)):
        return f"{{{', '.join(f'{_write_key(key)}: {write(value)}' for key, value in description.items())}}}"
    arguments = ", ".join(f"{key}={write(value)}" for key, value in description.items() if key != "type")
    return f"{name}({arguments})" if arguments else name


def _write_key(key: str) -> str:
    return key if _is_name(key) else repr(key)


def _is_name(text: Any) -> TypeGuard[str]:
    return isinstance(text, str) and text.isidentifier() and not keyword.iskeyword(text)
