"""Nearest neighbours and hard negatives compared with brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from word_model import vector_similarity

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.evaluation import nearest
from ml4ir_losses.evaluation.nearest import SIMILARITIES, compare_rows, hard_negatives, top_k

each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


def brute_force_top_k(queries, corpus, k, similarity):
    scores = np.array([[vector_similarity(q, c, similarity) for c in corpus] for q in queries])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


@each_similarity
@given(
    seed=st.integers(0, 1000),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 6)),
    k=st.integers(1, 45),
    block=st.integers(1, 50),
)
def test_top_k_matches_brute_force_for_any_block_size(similarity, seed, sizes, k, block):
    rng = np.random.default_rng(seed)
    queries, corpus = rng.normal(size=(sizes[0], sizes[2])), rng.normal(size=(sizes[1], sizes[2]))
    scores, rows = top_k(queries, corpus, k, similarity, block)
    expected, order = brute_force_top_k(queries, corpus, k, similarity)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    assert rows.shape == order.shape
    assert (np.diff(scores) <= 0).all()
    assert all(len(set(row)) == len(row) for row in rows.tolist())
    recomputed = np.array(
        [[vector_similarity(q, corpus[i], similarity) for i in row] for q, row in zip(queries, rows, strict=True)]
    )
    np.testing.assert_allclose(recomputed, scores, atol=1e-4)


@each_similarity
def test_query_block_size_does_not_change_top_k(similarity, monkeypatch):
    rng = np.random.default_rng(0)
    queries, corpus = rng.normal(size=(11, 4)), rng.normal(size=(30, 4))
    expected = top_k(queries, corpus, 5, similarity, 7)
    monkeypatch.setattr(nearest, "_QUERIES", 4)
    scores, rows = top_k(queries, corpus, 5, similarity, 7)
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)
    assert rows.tolist() == expected[1].tolist()


@pytest.mark.parametrize("similarity", [*SIMILARITIES, "manhattan"])
def test_compare_rows_matches_single_vectors(similarity, monkeypatch):
    monkeypatch.setattr(nearest, "BLOCK", 3)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(8, 5)).astype("float32"), rng.normal(size=(8, 5)).astype("float32")
    a[2] = 0
    expected = [vector_similarity(x, y, similarity) for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(compare_rows(a, b, similarity), expected, atol=1e-12)
    assert compare_rows(a[:0], b[:0], similarity).shape == (0,)


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_ties_keep_corpus_order(block):
    corpus = np.array([[0.0], [1.0], [1.0], [0.0], [1.0], [1.0]])
    scores, rows = top_k(np.array([[1.0]]), corpus, 3, "dot", block)
    assert rows.tolist() == [[1, 2, 4]]
    assert scores.tolist() == [[1.0, 1.0, 1.0]]


def test_cosine_of_a_zero_vector_is_zero():
    scores, rows = top_k(np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]]), 2)
    assert scores.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert rows.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "`k` must be"),
        ({"similarity": "cos"}, "`similarity` must be one of cosine, dot, euclidean"),
        ({"corpus": np.ones((4, 3))}, r"one width, \[Q, D\] and \[M, D\]. Received: \[2, 2\] and \[4, 3\]"),
    ],
)
def test_invalid_parameters_raise(arguments, message):
    with pytest.raises(UserError, match=message):
        top_k(**{"queries": np.ones((2, 2)), "corpus": np.ones((4, 2)), "k": 1, **arguments})


class TestHardNegatives:
    corpus = np.array([[np.cos(a), np.sin(a)] for a in 0.1 * np.arange(16) + 0.002 * np.arange(16) ** 2])
    anchors, positives = corpus[[0, 8]], corpus[[2, 9]]
    known = [[0, 2], [8, 9]]

    def mine(self, **params):
        return hard_negatives(self.anchors, self.positives, self.corpus, self.known, **params)

    def test_negatives_are_the_nearest_unknown_rows(self):
        assert self.mine().tolist() == [[1, 3, 4], [7, 6, 10]]
        assert self.mine(num_negatives=1, range_min=2).tolist() == [[4], [10]]

    def test_rows_above_the_score_limits_are_left_out(self):
        closest = float(self.anchors[0] @ self.corpus[4])
        assert self.mine(num_negatives=2, max_score=closest + 1e-4).tolist() == [[4, 5], [4, 12]]
        negatives = self.mine(num_negatives=1, relative_margin=0.05)
        own = (self.anchors * self.positives).sum(1)
        scores = np.array([self.anchors[a] @ self.corpus[row[0]] for a, row in enumerate(negatives)])
        assert (scores <= 0.95 * own + 1e-6).all()

    def test_missing_negatives_are_minus_one(self):
        assert self.mine(num_negatives=3, range_max=2).tolist() == [[1, 3, -1], [7, 6, -1]]
        assert (self.mine(max_score=-1.0) == -1).all()

    def test_sampling_function_chooses_among_the_candidates(self):
        assert self.mine(num_negatives=2, range_max=4, sampling=lambda rows, n: rows[-n:]).tolist() == [[4, 5], [10, 5]]

    def test_search_function_replaces_exact_search(self):
        calls = []

        def search(anchors, k):
            calls.append((len(anchors), k))
            return np.array([[0.9, 0.8, -np.inf], [0.9, 0.8, 0.7]]), np.array([[2, 5, -1], [8, 6, 7]])

        assert self.mine(search=search).tolist() == [[5, -1, -1], [6, 7, -1]]
        assert self.mine(search=search, max_score=0.75).tolist() == [[-1, -1, -1], [7, -1, -1]]
        assert self.mine(search=search, num_negatives=1, sampling=lambda rows, n: rows[-n:]).tolist() == [[5], [7]]
        assert calls == [(2, 5), (2, 32), (2, 12)]

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"num_negatives": 0}, "`num_negatives`"),
            ({"range_min": -1}, "`range_min` must be a whole number of at least 0"),
            ({"range_min": 4, "range_max": 4}, "`range_max` must be above range_min=4"),
            ({"max_score": "high"}, "`max_score` must be a number"),
        ],
    )
    def test_invalid_parameters_raise(self, params, message):
        with pytest.raises(UserError, match=message):
            self.mine(**params)
