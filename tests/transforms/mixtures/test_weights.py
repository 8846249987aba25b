from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.recipe import Mixture
from transforms.mixtures.weights import largest_counts, normalise_weights


def test_weights_are_the_decimals_of_the_recipe():
    shares = normalise_weights(Mixture(weights={"a": 0.1, "b": 0.2, "c": 0}), dict(a=1, b=1, c=9))
    assert shares == {"a": Fraction(1, 3), "b": Fraction(2, 3)}


def test_weights_are_in_the_order_of_the_recipe():
    shares = normalise_weights(Mixture(weights={"b": 1, "a": 1}), dict(a=1, b=1))
    assert list(shares) == ["a", "b"]


def test_without_weights_shares_are_in_proportion():
    shares = normalise_weights(Mixture(), dict(a=30, empty=0, b=10))
    assert shares == {"a": Fraction(3, 4), "b": Fraction(1, 4)}
    assert largest_counts(shares, dict(a=30, b=10)) == {"a": 30, "b": 10}


def test_a_weight_on_nothing_says_what_to_do():
    with pytest.raises(
        ValueError, match=r"source 'b' has weight 0\.5 but not one kept sample; set"
    ):
        normalise_weights(Mixture(name="m", weights={"a": 1, "b": 0.5}), dict(a=1, b=0))


@pytest.mark.parametrize("mixture", [Mixture(name="m")])
def test_a_mixture_of_nothing_is_refused(mixture):
    with pytest.raises(ValueError, match="mixture 'm': no source has a kept sample"):
        normalise_weights(mixture, dict(a=0, b=0))


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.tuples(st.integers(1, 1000), st.floats(1e-6, 1e6)),
        min_size=1,
    )
)
def test_the_mixture_is_as_large_as_it_can_be(sources):
    samples = {name: have for name, (have, _) in sources.items()}
    weights = {name: weight for name, (_, weight) in sources.items()}
    shares = normalise_weights(Mixture(weights=weights), samples)
    assert sum(shares.values()) == 1
    counts = largest_counts(shares, samples)
    assert all(counts[name] <= samples[name] for name in counts)
    assert any(counts[name] == samples[name] for name in counts)
    # T itself: the smallest total with these counts and the next one that changes them.
    total = min((floor((samples[name] + 1) / share) for name, share in shares.items()), default=0)
    fits = [
        one
        for one in range(max(0, total - 2), total + 2)
        if all(floor(share * one) <= samples[name] for name, share in shares.items())
    ]
    assert counts == {name: floor(share * max(fits)) for name, share in shares.items()}


def test_a_half_and_a_half_of_unequal_sources():
    shares = normalise_weights(Mixture(weights={"a": 1, "b": 1}), dict(a=10, b=1000))
    assert largest_counts(shares, dict(a=10, b=1000)) == {"a": 10, "b": 10}
