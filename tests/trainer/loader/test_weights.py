from __future__ import annotations

from fractions import Fraction

import pytest

from schemas.shards import MixtureSource
from trainer.loader.weights import source_weights


def sources(**counts: int) -> list[MixtureSource]:
    total = sum(counts.values()) or 1
    return [
        MixtureSource(name=name, weight=count / total, samples=count, shards=())
        for name, count in counts.items()
    ]


def test_weights_come_from_the_manifest_as_exact_fractions() -> None:
    given = [
        MixtureSource(name="a", weight=0.1, samples=5, shards=()),
        MixtureSource(name="b", weight=0.9, samples=5, shards=()),
    ]
    assert source_weights(given) == (Fraction(1, 10), Fraction(9, 10))


def test_given_weights_are_normalised() -> None:
    assert source_weights(sources(a=9, b=1), {"a": 2, "b": 1}) == (Fraction(2, 3), Fraction(1, 3))
    assert source_weights(sources(a=9, b=1), {"a": 2, "b": 0}) == (1, 0)


def test_temperature_flattens() -> None:
    counts = sources(a=10_000, b=100)
    assert source_weights(counts, temperature=1) == (Fraction(100, 101), Fraction(1, 101))
    assert source_weights(counts, temperature=2) == (Fraction(10, 11), Fraction(1, 11))
    flat = source_weights(counts, temperature=1e6)
    assert float(flat[0]) == pytest.approx(0.5, abs=1e-5)
    assert sum(source_weights(sources(a=7, b=11, c=13), temperature=3.3)) == 1


@pytest.mark.parametrize(
    ("counts", "weights", "temperature", "message"),
    [
        ({"a": 1, "b": 1}, {"a": 1}, None, "name every source"),
        ({"a": 1}, {"a": 1, "x": 1}, None, "name every source"),
        ({"a": 1}, {"a": -1}, None, "finite and 0 or more"),
        ({"a": 1}, {"a": float("nan")}, None, "finite and 0 or more"),
        ({"a": 1}, {"a": float("inf")}, None, "finite and 0 or more"),
        ({"a": 1}, {"a": 0}, None, "no source of the mixture"),
        ({"a": 1, "b": 0}, {"a": 1, "b": 1}, None, "has weight 1 and no samples"),
        ({"a": 1}, {"a": 1}, 2, "choose one"),
        ({"a": 1}, None, 0, "above 0"),
    ],
)
def test_weights_that_make_no_sense_are_refused(
    counts: dict[str, int],
    weights: dict[str, float] | None,
    temperature: float | None,
    message: str,
) -> None:
    with pytest.raises(ValueError, match=message):
        source_weights(sources(**counts), weights, temperature)
