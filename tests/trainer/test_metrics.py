import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import metrics


def unit(*shape, seed=0):
    return metrics.normalise(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def test_any_of_an_images_captions_counts():
    images = np.eye(2, dtype=np.float32)
    captions = np.array([[0, 1], [0.9, 0.1], [0.1, 0.9], [0.2, 0.8]], np.float32)
    groups = np.array([0, 0, 1, 1])
    # The first caption of image 0 lies with image 1; the second finds it.
    ranks = metrics.first_relevant_ranks(images, captions, np.arange(2), groups)
    assert ranks.tolist() == [0, 1]
    back = metrics.first_relevant_ranks(captions, images, groups, np.arange(2))
    assert back.tolist() == [1, 0, 0, 0]


def test_ties_count_against_the_model():
    constant = np.ones((4, 3), np.float32)
    ranks = metrics.first_relevant_ranks(constant, constant, np.arange(4), np.arange(4))
    assert ranks.tolist() == [3, 3, 3, 3]
    assert metrics.recall_at(ranks, 1) == 0
    assert metrics.recall_at(ranks, 4) == 1


def test_a_query_without_an_item_is_refused():
    with pytest.raises(ValueError, match="1 queries have no relevant item, the first is number 1"):
        metrics.first_relevant_ranks(np.eye(2), np.eye(2), np.array([0, 5]), np.array([0, 1]))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 3))
def test_ranks_are_those_of_a_sort(seed, queries, per_query):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, (queries, 3)).astype(np.float32)
    y = rng.integers(-2, 3, (queries * per_query, 3)).astype(np.float32)
    groups = np.repeat(np.arange(queries), per_query)
    got = metrics.first_relevant_ranks(x, y, np.arange(queries), groups)
    for number in range(queries):
        scores = [(-float(x[number] @ y[j]), groups[j] == number) for j in range(len(y))]
        order = sorted(scores, key=lambda pair: (pair[0], pair[1]))
        assert got[number] == next(at for at, pair in enumerate(order) if pair[1])


@pytest.mark.parametrize(("relevant", "expected"), [(2, 0.5), (10, 0.6)])
def test_mean_modified_precision(relevant, expected):
    relevance = np.array([[1, 0, 1, 1, 0]], bool)
    assert metrics.mean_modified_precision(relevance, np.array([relevant])) == expected


def test_mean_modified_precision_needs_something_relevant():
    with pytest.raises(ValueError, match="leave the others out"):
        metrics.mean_modified_precision(np.zeros((1, 5), bool), np.array([0]))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 9), st.integers(1, 6))
def test_best_relevance_is_that_of_a_sort_with_misses_first(seed, queries, items, k):
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (queries, 2)).astype(np.float32)
    y = rng.integers(-1, 2, (items, 2)).astype(np.float32)
    groups = rng.integers(0, 3, items)
    wanted = rng.integers(-1, 3, (queries, 2))
    own = rng.integers(-1, items, queries)
    hits, counts = metrics.best_relevance(x, y, wanted, groups, k, own)
    assert hits.shape == (queries, min(k, items))
    for number in range(queries):
        others = [j for j in range(items) if j != own[number]]
        right = {j: groups[j] in wanted[number] for j in others}
        order = sorted(others, key=lambda j: (-float(x[number] @ y[j]), right[j]))
        expected = [right[j] for j in order[:k]]
        assert hits[number].tolist()[: len(expected)] == expected
        assert counts[number] == sum(right.values())


def test_nearest_leaves_out_the_query_itself():
    x = unit(7, 4)
    found, scores = metrics.nearest(x, x, 3, exclude_self=True)
    assert not np.any(found == np.arange(7)[:, None])
    assert np.all(np.diff(scores, axis=1) <= 0)


def test_class_vectors_average_unit_prompts():
    prompts = np.array([[10, 0], [0, 1], [0, 3]], np.float32)
    vectors = metrics.class_vectors(prompts, np.array([0, 0, 1]), 2)
    np.testing.assert_allclose(vectors, [[2**-0.5, 2**-0.5], [0, 1]], rtol=1e-6)


def test_mean_per_class_weighs_classes_equally():
    correct = np.array([1, 1, 1, 0], bool)
    assert metrics.mean_per_class(correct, np.array([5, 5, 5, 9])) == 0.5


def test_nearest_neighbours_vote_by_similarity():
    items = metrics.normalise(np.array([[1, 0.1], [0.2, 1], [0.25, 1]], np.float32))
    labels = np.array([0, 1, 1])
    query = metrics.normalise(np.array([[1, 0]], np.float32))
    # One close neighbour outweighs two far ones; with flat votes they win.
    assert metrics.knn_predictions(query, items, labels, k=3).tolist() == [0]
    assert metrics.knn_predictions(query, items, labels, k=3, temperature=100).tolist() == [1]


def test_bootstrap_finds_a_difference_and_its_absence():
    rng = np.random.default_rng(0)
    worse = (rng.random(400) < 0.5).astype(float)
    better = np.maximum(worse, rng.random(400) < 0.3)
    gain, low, high = metrics.paired_bootstrap([worse], [better], seed=1)
    assert gain == pytest.approx(np.mean(better) - np.mean(worse))
    assert 0 < low < gain < high
    assert metrics.paired_bootstrap([worse], [worse], seed=1) == (0, 0, 0)
    assert metrics.paired_bootstrap([worse], [better], seed=1) == (gain, low, high)


def test_bootstrap_over_runs_widens_with_their_spread():
    one = np.tile([0.0, 1.0], 100)
    narrow = metrics.paired_bootstrap([one, one], [one, one], seed=0)
    wide = metrics.paired_bootstrap([one, one], [np.zeros(200), np.ones(200)], seed=0)
    assert wide[2] - wide[1] > narrow[2] - narrow[1]
    with pytest.raises(ValueError, match="same queries"):
        metrics.paired_bootstrap([one], [one[:10]], seed=0)
