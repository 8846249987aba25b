from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from trainer.loader.permutation import Permutation


@given(size=st.integers(1, 3000), key=st.text(max_size=5))
def test_every_number_has_one_image(size: int, key: str) -> None:
    images = Permutation.keyed(size, key)(np.arange(size))
    assert images.dtype == np.int64
    assert np.array_equal(np.sort(images), np.arange(size))


@given(size=st.integers(1, 2**63), data=st.data())
def test_images_stay_inside_and_do_not_depend_on_company(size: int, data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=8, unique=True))
    shuffle = Permutation.keyed(size, "k")
    images = shuffle(np.array(index, np.int64))
    assert ((images >= 0) & (images <= size - 1)).all()
    assert len(set(images.tolist())) == len(index)
    assert images.tolist() == [int(shuffle(np.array([one]))[0]) for one in index]


def test_keys_give_independent_orders() -> None:
    first, second = (Permutation.keyed(10_000, key)(np.arange(10_000)) for key in "ab")
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.05
    assert abs(np.corrcoef(first, np.arange(10_000))[0, 1]) < 0.05
    assert (np.diff(first) == 1).sum() < 10


def test_all_places_are_equally_likely_on_a_small_domain() -> None:
    size, keys = 11, 4000
    images = np.stack([Permutation.keyed(size, str(key))(np.arange(size)) for key in range(keys)])
    for place in range(size):
        assert chisquare(np.bincount(images[:, place], minlength=size)).pvalue > 1e-4
    pairs = np.bincount(images[:, 0] * size + images[:, 1], minlength=size**2)
    off_diagonal = pairs.reshape(size, size)[~np.eye(size, dtype=bool)]
    assert chisquare(off_diagonal).pvalue > 1e-4


def test_the_order_is_fixed_for_good() -> None:
    images = Permutation.keyed(10, "mixture", "7")(np.arange(10))
    assert images.tolist() == [7, 6, 3, 0, 4, 2, 5, 9, 1, 8]
