"""Streams of pictures: worked on by threads ahead of their turn, or in batches of one kind; given back in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

WINDOW = 4  # batches: so many items may wait for others of their kind
MOST = 2**29  # bytes, of what `weigh` says, that wait together


def _weightless(_: Any) -> int:
    return 0


def in_batches(
    items: Iterable[Item],
    work: Callable[[list[Item]], list[Result]],
    batch: int,
    kind: Callable[[Item], Hashable | None],
    weigh: Callable[[Item], int] = _weightless,
    most: int = MOST,
) -> Iterator[tuple[Item, Result | None]]:
    """Every item with its result, in the items' order; items of one kind are worked on together.

    Items wait until there are `batch` of their kind. When WINDOW batches or `most` of weight wait, the first one's kind goes
    on with those that are there, so memory stays bounded whatever comes.

    Args:
        items: taken one at a time.
        work: from items of one kind, at most `batch`, to a result for each.
        batch: at least 1.
        kind: of an item; None is not worked on and has no result.
        weigh: what an item takes while it waits.
        most: of that together.

    >>> list(in_batches([1, 2, 3, 4, 6], lambda several: [several] * len(several), 2, lambda number: number % 2))
    [(1, [1, 3]), (2, [2, 4]), (3, [1, 3]), (4, [2, 4]), (6, [6])]
    """
    queue = _Queue(work)
    for item in items:
        queue.add(item, kind(item), weigh(item), batch)
        while queue.held and (queue.held[0].done or len(queue.held) >= WINDOW * batch or queue.weight > most):
            yield queue.next()
    while queue.held:
        yield queue.next()


class _Held(Generic[Item, Result]):
    """An item that waits for others of its kind, or for those before it."""

    def __init__(self, item: Item, kind: Hashable | None, weight: int) -> None:
        self.item, self.kind, self.weight = item, kind, weight
        self.done, self.result = kind is None, None


class _Queue(Generic[Item, Result]):
    """Items in their order, and those that wait by kind."""

    def __init__(self, work: Callable[[list[Item]], list[Result]]) -> None:
        self.work, self.weight = work, 0
        self.held: deque[_Held[Item, Result]] = deque()
        self.waiting: dict[Hashable, list[_Held[Item, Result]]] = {}

    def add(self, item: Item, kind: Hashable | None, weight: int, batch: int) -> None:
        entry = _Held(item, kind, weight)
        self.held.append(entry)
        self.weight += weight
        if kind is not None:
            alike = self.waiting.setdefault(kind, [])
            alike.append(entry)
            if len(alike) == batch:
                self._finish(kind)

    def next(self) -> tuple[Item, Result | None]:
        if not self.held[0].done:
            self._finish(self.held[0].kind)
        first = self.held.popleft()
        self.weight -= first.weight
        return first.item, first.result

    def _finish(self, kind: Hashable) -> None:
        alike = self.waiting.pop(kind)
        for entry, result in zip(alike, self.work([entry.item for entry in alike]), strict=True):
            entry.result, entry.done = result, True


def ahead(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    threads: int,
    weigh: Callable[[Item], int] = _weightless,
    most: int = MOST,
) -> Iterator[tuple[Item, Result]]:
    """Every item with its result, in order; threads do the next ones meanwhile, at most three for each thread.

    An error comes at its item's turn. When `items` end in one, an interruption included, those before it come first.

    Args:
        items: taken as they are needed.
        work: from an item to its result.
        threads: how many.
        weigh: what an item takes, result included.
        most: of that at a time, one item excepted.

    >>> list(ahead([1, 2, 3], lambda number: number**2, threads=2))
    [(1, 1), (2, 4), (3, 9)]
    """
    coming: deque[tuple[Item, int, Any]] = deque()
    weight, failure = 0, None
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                own = weigh(item)
                while coming and (len(coming) >= 3 * threads or weight + own > most):
                    result = coming[0][2].result()
                    first, of_first, _ = coming.popleft()
                    weight -= of_first
                    yield first, result
                coming.append((item, own, pool.submit(work, item)))
                weight += own
        except GeneratorExit:
            _cancel(coming)
            raise
        except BaseException as error:  # raised again below
            failure = error
        try:
            while coming:
                first, _, future = coming.popleft()
                yield first, future.result()
        finally:
            _cancel(coming)
    if failure is not None:
        raise failure


def _cancel(coming: Iterable[tuple[Any, int, Any]]) -> None:
    for _, _, future in coming:
        future.cancel()
