"""How much of a mixture each source gets, as exact fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction

from schemas.shards import MixtureSource

_POWERS = Context(prec=40)
"""Powers are taken in decimal: binary powers differ in the last bit between machines."""


def source_weights(
    sources: Sequence[MixtureSource],
    weights: Mapping[str, float] | None = None,
    temperature: float | None = None,
) -> tuple[Fraction, ...]:
    """Returns the share of each source, in their order; the shares sum to 1.

    Args:
        sources: the sources of the manifest.
        weights: weight by name of source, in place of the manifest's: every source, any scale;
            0 leaves a source out.
        temperature: shares in proportion to samples ** (1 / temperature): 1 is proportional to
            size, larger is flatter (multilingual BERT and T5 sample languages so).

    Raises:
        ValueError: both are given; a source is not named, or not known; a weight is negative; a
            source without samples has a weight; nothing is left.
    """
    if weights is not None and temperature is not None:
        raise ValueError("weights and temperature are both given; choose one of them")
    if temperature is not None:
        raw = [_tempered(source.samples, temperature) for source in sources]
    else:
        given = {source.name: source.weight for source in sources} if weights is None else weights
        raw = [_exact(name, weight) for name, weight in _in_order(sources, given)]
    for source, weight in zip(sources, raw, strict=True):
        if weight and not source.samples:
            raise ValueError(
                f"source {source.name!r} has weight {float(weight):g} and no samples; "
                "set its weight to 0 or rebuild the mixture"
            )
    total = sum(raw, Fraction())
    if not total:
        raise ValueError("no source of the mixture has samples and a weight above 0")
    return tuple(weight / total for weight in raw)


def _in_order(
    sources: Sequence[MixtureSource], given: Mapping[str, float]
) -> list[tuple[str, float]]:
    names = [source.name for source in sources]
    if set(names) != set(given):
        raise ValueError(
            f"weights name {sorted(given)}, the mixture has {sorted(names)}; "
            "name every source, with weight 0 for those to leave out"
        )
    return [(name, given[name]) for name in names]


def _exact(name: str, weight: float) -> Fraction:
    # repr gives the shortest decimal: 0.1 is one tenth, as its author meant.
    value = Fraction(repr(float(weight))) if 0 <= weight < float("inf") else None
    if value is None:
        raise ValueError(f"source {name!r} has weight {weight}; weights are finite and 0 or more")
    return value


def _tempered(samples: int, temperature: float) -> Fraction:
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}; it is above 0, and 1 for proportional")
    exponent = _POWERS.divide(Decimal(1), Decimal(repr(float(temperature))))
    return Fraction(_POWERS.power(Decimal(samples), exponent)) if samples else Fraction()
