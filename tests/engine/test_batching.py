"""Streams: nothing lost, nothing out of order, nothing held without bound."""

import threading

import pytest

from detassign.engine.batching import WINDOW, ahead, in_batches


def parity(number):
    return number % 2


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_every_item_comes_once_in_order_with_its_own_result(batch):
    items = [5, 2, 4, 4, 7, 8, 6, 9, 0, 2, 2]
    batches = []

    def work(several):
        batches.append(several)
        return [number * 10 for number in several]

    assert list(in_batches(items, work, batch, parity)) == [(number, number * 10) for number in items]
    assert all(len({parity(number) for number in several}) == 1 and len(several) <= batch for several in batches)
    assert batch == 1 or max(map(len, batches)) > 1


def test_an_item_of_no_kind_is_passed_on_in_its_place():
    found = list(in_batches([1, None, 3], lambda several: several, 2, lambda item: item and "number"))
    assert found == [(1, 1), (None, None), (3, 3)]


def test_a_lonely_item_does_not_hold_up_those_behind_it():
    taken = []

    def items():
        for number in [1, *range(0, 100, 2)]:
            taken.append(number)
            yield number

    batches = []
    worked = in_batches(items(), lambda several: batches.append(several) or several, 2, parity)
    assert next(worked) == (1, 1)
    assert len(taken) == WINDOW * 2
    assert [1] in batches


def test_heavy_items_do_not_wait_together():
    taken = []

    def items():
        for number in range(10):
            taken.append(number)
            yield number

    worked = in_batches(items(), lambda several: several, 4, parity, weigh=lambda _: 60, most=100)
    assert next(worked) == (0, 0)
    assert taken == [0, 1]


def test_threads_work_ahead_and_keep_the_order():
    gate = threading.Event()

    def slow_first(number):
        if number == 0:
            assert gate.wait(60)
        else:
            gate.set()
        return -number

    assert list(ahead(range(9), slow_first, threads=2)) == [(number, -number) for number in range(9)]


def test_an_error_comes_at_its_turn():
    def work(number):
        return 12 // number

    worked = ahead([4, 3, 0, 2], work, threads=2)
    assert [next(worked), next(worked)] == [(4, 3), (3, 4)]
    with pytest.raises(ZeroDivisionError):
        next(worked)


def test_what_came_before_an_interruption_is_given_first():
    def items():
        yield from (1, 2)
        raise KeyboardInterrupt

    worked = ahead(items(), str, threads=1)
    assert [next(worked), next(worked)] == [(1, "1"), (2, "2")]
    with pytest.raises(KeyboardInterrupt):
        next(worked)


def test_no_more_is_taken_than_there_is_room_for():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    worked = ahead(items(), str, threads=2)
    next(worked)
    assert len(taken) == 7  # three for each thread, and the one for which there was no room
    worked.close()
    taken.clear()
    worked = ahead(items(), str, threads=2, weigh=lambda _: 60, most=100)
    next(worked)
    assert taken == [0, 1]
    worked.close()
