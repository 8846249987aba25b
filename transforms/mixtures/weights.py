"""Weights of a mixture, as exact fractions: what a source's share is, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor

from schemas.recipe import Mixture


class MixtureError(ValueError):
    """A mixture has nothing to mix; the message says what to loosen."""


def normalise_weights(mixture: Mixture, samples: Mapping[str, int]) -> dict[str, Fraction]:
    """Returns the share of every source of the mixture; shares are above 0 and sum to 1.

    A weight counts as the decimal number that the recipe says: 0.1 is a tenth. Without weights,
    sources have shares in proportion to their samples.

    Args:
        mixture: from the recipe.
        samples: kept samples by source, of all sources of the recipe, in order.

    Raises:
        MixtureError: a source has a weight but no samples, or no source has any.
    """
    weights = {
        name: Fraction(repr(mixture.weights.get(name, 0.0))) if mixture.weights else Fraction(kept)
        for name, kept in samples.items()
    }
    for name, weight in weights.items():
        if weight and not samples[name]:
            raise MixtureError(
                f"mixture {mixture.name!r}: source {name!r} has weight {mixture.weights[name]:g} "
                "but not one kept sample; set its weight to 0, or loosen the rules that drop it "
                "(its ledger says which)"
            )
    total = sum(weights.values())
    if not total:
        raise MixtureError(
            f"mixture {mixture.name!r}: no source has a kept sample; the ledger says which rules "
            "dropped them"
        )
    return {name: weight / total for name, weight in weights.items() if weight}


def largest_counts(shares: Mapping[str, Fraction], samples: Mapping[str, int]) -> dict[str, int]:
    """Returns how many samples of each source make the largest mixture without repetition.

    With T the largest total such that no source runs out, source i gives floor(share_i × T).

    Args:
        shares: by source, above 0, sum 1.
        samples: what each source has, 1 or more.
    """
    # floor(s T) <= n is the same as T < (n + 1) / s.
    total = min(ceil((samples[name] + 1) / share) - 1 for name, share in shares.items())
    return {name: floor(share * total) for name, share in shares.items()}
