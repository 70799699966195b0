"""For `make docs`: examples that stand in docstrings without a heading are shown as code."""

import re

import griffe

EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)


def fenced(text: str) -> str:
    """The text with a fence around every example.

    >>> print(fenced("One.\\n\\n>>> 1 + 1\\n2"))
    One.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    return EXAMPLE.sub(lambda found: "{0}```pycon\n{1}\n{0}```".format(found["indent"], found[0]), text)


class ExamplesAsCode(griffe.Extension):
    """Fences the examples of every docstring that has no section of examples."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        if obj.docstring is not None and "Example:" not in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
