"""Numbers and names as people are told them."""

from __future__ import annotations

import unicodedata

__all__ = ["duration", "in_one_line", "many", "printable", "three_digits"]

STEERING = ("Cc", "Cs")  # Unicode's categories of control characters and of halves of characters
UNITS = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def printable(text: str) -> str:
    """Text with everything that would steer a terminal written as its code; line breaks stay.

    >>> printable("person [adult]\\x1b[2J")
    'person [adult]\\\\x1b[2J'
    """
    return "".join(
        repr(sign)[1:-1] if sign != "\n" and unicodedata.category(sign) in STEERING else sign for sign in text
    )


def many(count: int, what: str) -> str:
    """So many of something, in words.

    >>> many(1, "class"), many(2, "class"), many(0, "image")
    ('1 class', '2 classes', '0 images')
    """
    ending = "" if count == 1 else "es" if what.endswith("s") else "s"
    return f"{count} {what}{ending}"


def in_one_line(error: Exception) -> str:
    """What an error says, or its kind, without line breaks and in 200 characters at most.

    >>> in_one_line(ValueError("two\\n  lines")), in_one_line(KeyError())
    ('two lines', 'KeyError')
    """
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def duration(seconds: float) -> str:
    """A length of time in its largest unit of which there are two.

    >>> duration(0.2), duration(100), duration(5000), duration(5 * 3600), duration(3 * 86400)
    ('1 s', '100 s', '83 min', '5 h', '3 days')
    """
    length, unit = next(((length, unit) for length, unit in UNITS if seconds >= 2 * length), UNITS[-1])
    return f"{max(round(seconds / length), 1)} {unit}"


def three_digits(value: float) -> str:
    """A number with three digits, or with all that it has before the point.

    >>> three_digits(0.008351), three_digits(12.84), three_digits(1664.2)
    ('0.00835', '12.8', '1664')
    """
    return f"{value:.3g}" if abs(value) < 999.5 else f"{value:.0f}"
