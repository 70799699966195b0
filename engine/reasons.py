"""What went wrong, in one line: other packages' errors come with and without words."""

from __future__ import annotations

import traceback

__all__ = ["reason"]


def reason(error: BaseException) -> str:
    """The first line of an error's text; of one without, its kind and the line of code that raised it.

    >>> reason(KeyError("invalid depth 19 for resnet"))
    'invalid depth 19 for resnet'
    >>> reason(KeyError("depth"))
    "KeyError: 'depth'"
    """
    text = str(error).strip()
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str) and " " in error.args[0]:
        text = error.args[0].strip()
    elif isinstance(error, KeyError | AttributeError | IndexError | NameError):
        text = f"{type(error).__name__}: {text}"
    if text:
        return text.splitlines()[0]
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].line!r}" if frames and frames[-1].line else type(error).__name__
