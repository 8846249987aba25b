import numpy as np
import pytest

from trainer.probe import linear_probe


def test_a_probe_learns_what_is_linear():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(3, 8))
    labels = rng.integers(0, 3, 240)
    x = (centres[labels] + 0.3 * rng.normal(size=(240, 8))).astype(np.float32)
    train, validation, test = (slice(0, 120), slice(120, 180), slice(180, 240))
    predicted = linear_probe(
        (x[train], labels[train]), (x[validation], labels[validation]), x[test], steps=30
    )
    assert np.mean(predicted == labels[test]) > 0.95


def test_a_probe_needs_a_penalty():
    one = np.zeros((2, 2), np.float32), np.array([0, 1])
    with pytest.raises(ValueError, match="name at least one"):
        linear_probe(one, one, one[0], penalties=())
