from __future__ import annotations

import threading

import pytest

from transforms.ingest.ahead import map_ahead


def test_results_come_in_order_whoever_is_first():
    released = [threading.Event() for _ in range(4)]

    def read(number: int) -> int:
        if number:
            released[number - 1].set()
        else:
            # The first is done only after the fourth has begun.
            assert released[2].wait(30)
        return number * 10

    assert list(map_ahead(read, range(4), width=4)) == [0, 10, 20, 30]


def test_items_are_drawn_no_further_than_the_width():
    drawn = []

    def items():
        for number in range(100):
            drawn.append(number)
            yield number

    results = map_ahead(str, items(), width=5)
    assert next(results) == "0"
    assert len(drawn) == 5
    assert next(results) == "1"
    assert len(drawn) == 6
    results.close()


def test_nothing_and_errors():
    assert list(map_ahead(str, [])) == []
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_ahead(int, ["1", "x", "2"]))
