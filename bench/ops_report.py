"""The ops' rows as tables for people: a title, headings and texts each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .ceilings import Ceilings
from .comparison import Row

__all__ = ["legend", "tables"]

Table = tuple[str, list[str], list[list[str]]]


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """Times, a table for each op and peer, then memory where it was measured."""
    for op, peer in dict.fromkeys((row.op, row.peer) for row in rows):
        yield _times(f"{op} beside {peer}", [row for row in rows if (row.op, row.peer) == (op, peer)])
    measured = [row for row in rows if row.extra_bytes is not None]
    if measured:
        yield _memory(f"memory of {measured[0].op} beyond arguments and results, beside {measured[0].peer}", measured)


def legend(ceilings: Ceilings) -> str:
    """What the floor is, and what it is made of here."""
    return (
        "of floor: the time that moving every byte needed once, or the multiply-adds alone, would take at this machine's "
        f"best, {ceilings.bytes_per_second / 1e9:.1f} GB/s copied and {ceilings.multiply_adds_per_second / 1e9:.0f} "
        "billion float32 multiply-adds/s, as a share of the time."
    )


def _times(title: str, rows: Sequence[Row]) -> Table:
    headings = ["case", "dtype", "pass", "time, ms", "peer, ms", "times faster"]
    texts = [[*_names(row), _ms(row.seconds), _ms(row.peer_seconds), f"{row.ratio:.2f}"] for row in rows]
    if all(row.share_of_floor is None for row in rows):
        return title, headings, texts
    shares = [f"{100 * row.share_of_floor:.0f} %" for row in rows]
    return title, [*headings, "of floor"], [[*text, share] for text, share in zip(texts, shares, strict=True)]


def _memory(title: str, rows: Sequence[Row]) -> Table:
    headings = ["case", "dtype", "pass", "peak, MB", "peer, MB"]
    return title, headings, [[*_names(row), _mb(row.extra_bytes), _mb(row.peer_extra_bytes)] for row in rows]


def _names(row: Row) -> list[str]:
    return [row.case, row.dtype, row.pass_]


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3f}"


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f}"
