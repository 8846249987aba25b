"""Maps on threads that do not run away from their consumer."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from transforms.verifying.ahead import map_ahead


def test_results_come_in_order_and_few_items_are_taken_ahead() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(100):
            taken = number + 1
            yield number

    with ThreadPoolExecutor(4) as pool:
        results = map_ahead(pool, lambda number: number * 2, items(), most=5)
        for number, result in enumerate(results):
            assert result == number * 2
            assert taken <= number + 7


def test_failure_reaches_the_consumer() -> None:
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        list(map_ahead(pool, lambda number: 1 // number, [1, 0, 2]))
