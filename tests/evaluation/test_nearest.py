"""Nearest neighbours and hard negatives beside brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml4ir_losses.errors import UserError
from ml4ir_losses.evaluation.nearest import SIMILARITIES, hard_negatives, top_k

each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


def alike(a, b, similarity):
    a, b = a.astype("float64"), b.astype("float64")
    if similarity == "euclidean":
        return -np.linalg.norm(a - b)
    norms = np.linalg.norm(a) * np.linalg.norm(b) if similarity == "cosine" else 1.0
    return float(a @ b) / norms if norms else 0.0


def by_hand(queries, corpus, k, similarity):
    scores = np.array([[alike(q, c, similarity) for c in corpus] for q in queries])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@each_similarity
@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 6)),
    k=st.integers(1, 45),
    block=st.integers(1, 50),
)
def test_any_block_gives_the_nearest(similarity, seed, sizes, k, block):
    rng = np.random.default_rng(seed)
    queries, corpus = rng.normal(size=(sizes[0], sizes[2])), rng.normal(size=(sizes[1], sizes[2]))
    scores, rows = top_k(queries, corpus, k, similarity, block)
    expected, order = by_hand(queries, corpus, k, similarity)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert rows.shape == order.shape
    assert (np.diff(scores) <= 0).all()
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    found = np.array([[alike(q, corpus[i], similarity) for i in row] for q, row in zip(queries, rows, strict=True)])
    np.testing.assert_allclose(found, scores, atol=1e-4)


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_the_first_of_equals_comes_first(block):
    corpus = np.array([[0.0], [1.0], [1.0], [0.0], [1.0], [1.0]])
    scores, rows = top_k(np.array([[1.0]]), corpus, 3, "dot", block)
    assert rows.tolist() == [[1, 2, 4]]
    assert scores.tolist() == [[1.0, 1.0, 1.0]]


def test_a_zero_vector_is_like_nothing():
    scores, rows = top_k(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]]), 2)
    assert scores.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert rows.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"k": 0}, "`k` must be"),
        ({"similarity": "cos"}, "`similarity` must be one of cosine, dot, euclidean"),
        ({"corpus": np.ones((4, 3))}, r"one width, \[Q, D\] and \[M, D\]. Received: \[2, 2\] and \[4, 3\]"),
    ],
)
def test_what_is_refused(given_, message):
    with pytest.raises(UserError, match=message):
        top_k(**{"queries": np.ones((2, 2)), "corpus": np.ones((4, 2)), "k": 1, **given_})


class TestHardNegatives:
    corpus = np.array([[np.cos(a), np.sin(a)] for a in 0.1 * np.arange(16) + 0.002 * np.arange(16) ** 2])
    anchors, positives = corpus[[0, 8]], corpus[[2, 9]]
    known = [[0, 2], [8, 9]]

    def mine(self, **params):
        return hard_negatives(self.anchors, self.positives, self.corpus, self.known, **params)

    def test_the_nearest_that_are_not_known(self):
        assert self.mine().tolist() == [[1, 3, 4], [7, 6, 10]]
        assert self.mine(num_negatives=1, range_min=2).tolist() == [[4], [10]]

    def test_too_close_ones_are_left_out(self):
        closest = float(self.anchors[0] @ self.corpus[4])
        assert self.mine(num_negatives=2, max_score=closest + 1e-4).tolist() == [[4, 5], [4, 12]]
        found = self.mine(num_negatives=1, relative_margin=0.05)
        own = (self.anchors * self.positives).sum(1)
        scores = np.array([self.anchors[a] @ self.corpus[row[0]] for a, row in enumerate(found)])
        assert (scores <= 0.95 * own + 1e-6).all()

    def test_fewer_than_asked_for_are_marked(self):
        assert self.mine(num_negatives=3, range_max=2).tolist() == [[1, 3, -1], [7, 6, -1]]
        assert (self.mine(max_score=-1.0) == -1).all()

    def test_another_choice(self):
        assert self.mine(num_negatives=2, range_max=4, sampling=lambda rows, n: rows[-n:]).tolist() == [[4, 5], [10, 5]]

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"num_negatives": 0}, "`num_negatives`"),
            ({"range_min": -1}, "`range_min` must be a whole number of at least 0"),
            ({"range_min": 4, "range_max": 4}, "`range_max` must be above range_min=4"),
            ({"max_score": "high"}, "`max_score` must be a number"),
        ],
    )
    def test_what_is_refused(self, params, message):
        with pytest.raises(UserError, match=message):
            self.mine(**params)
