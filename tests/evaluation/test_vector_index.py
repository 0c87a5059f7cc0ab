"""Search in quantized embeddings, against exact similarities in float64."""

import numpy as np
import pytest

from ml4ir_losses.core.arrays import normalize_rows
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.vector_index import VECTORS, IndexSettings, make_vector_index, read_vector_index

pytest.importorskip("faiss")
rng = np.random.default_rng(0)
CENTRES = rng.normal(size=(20, 30))
DOCUMENTS = (CENTRES[rng.integers(20, size=600)] + rng.normal(size=(600, 30)) * 0.5).astype("float32")
QUERIES = (CENTRES[:7] + rng.normal(size=(7, 30)) * 0.3).astype("float32")
SIMILARITIES = ("cosine", "dot", "euclidean")
each_similarity = pytest.mark.parametrize("similarity", SIMILARITIES)


def given(similarity, x=DOCUMENTS):
    """Embeddings as an index takes them."""
    return normalize_rows(x) if similarity == "cosine" else x


def exact(similarity, queries=QUERIES, documents=DOCUMENTS):
    """The similarity of every query with every document, [Q, N]."""
    queries, documents = (given(similarity, x).astype("float64") for x in (queries, documents))
    if similarity == "euclidean":
        return -np.sqrt(((queries[:, None] - documents[None]) ** 2).sum(axis=-1))
    return queries @ documents.T


def int8(x):
    """Embeddings in 255 equal steps between the extremes of each dimension, by plain arithmetic."""
    low, high = x.min(axis=0).astype("float64"), x.max(axis=0).astype("float64")
    step = (high - low) / 255
    return low + (np.floor((x - low) / step).clip(0, 254) + 0.5) * step


@each_similarity
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_scores_are_the_similarities_of_the_stored_vectors(similarity, precision):
    index = make_vector_index(given(similarity), IndexSettings(precision, similarity))
    scores, rows = index.search(QUERIES, 10)
    stored = given(similarity) if precision == "float32" else int8(given(similarity))
    queries = given(similarity, QUERIES).astype("float64")
    if similarity == "euclidean":
        expected = -np.sqrt(((queries[:, None] - stored[None]) ** 2).sum(axis=-1))
    else:
        expected = queries @ stored.T
    best = np.argsort(-expected, axis=1)[:, :10]
    tolerance = 1e-5 if precision == "float32" else np.ptp(stored, axis=0).max() / 100
    np.testing.assert_allclose(scores, np.take_along_axis(expected, rows, axis=1), atol=tolerance)
    shared = np.mean([len({*a} & {*b}) / 10 for a, b in zip(best, rows, strict=True)])
    assert shared == 1.0 if precision == "float32" else shared > 0.9
    assert (np.diff(scores, axis=1) <= 0).all()


@each_similarity
def test_int8_errs_by_at_most_half_a_step_per_dimension(similarity):
    index = make_vector_index(given(similarity), IndexSettings("int8", similarity))
    x = given(similarity)
    errors = np.abs(index.vectors.reconstruct_n(0, len(x)) - x)
    assert (errors <= np.ptp(x, axis=0) / 255 * 1.01).all()


@each_similarity
@pytest.mark.parametrize("rescore_by", ["int8", "float32"])
def test_more_rescored_documents_find_more_of_the_best(similarity, rescore_by):
    best = np.argsort(-exact(similarity), axis=1)[:, :10]
    found = []
    for rescore in (1, 4, 20):
        index = make_vector_index(given(similarity), IndexSettings("binary", similarity, rescore, rescore_by))
        scores, rows = index.search(QUERIES, 10)
        found.append(np.mean([len({*a} & {*b}) / 10 for a, b in zip(best, rows, strict=True)]))
        tolerance = 1e-4 if rescore_by == "float32" else 0.2
        np.testing.assert_allclose(scores, np.take_along_axis(exact(similarity), rows, axis=1), atol=tolerance)
    assert found == sorted(found)
    assert found[1] > 0.8
    assert found[2] > 0.95


@each_similarity
@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
def test_a_written_index_gives_the_same_results(similarity, precision, tmp_path):
    index = make_vector_index(given(similarity), IndexSettings(precision, similarity, 3))
    names = index.write(tmp_path)
    assert sorted(names) == sorted(file.name for file in tmp_path.iterdir())
    again = read_vector_index(tmp_path, index.settings)
    assert (len(again), again.dimensions) == DOCUMENTS.shape
    for one, other in zip(index.search(QUERIES, 5), again.search(QUERIES, 5), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("precision", ["float32", "int8", "binary"])
@pytest.mark.parametrize("documents", [1, 3])
def test_few_documents_and_texts_without_words_are_found(precision, documents):
    x = DOCUMENTS[:documents].copy()
    x[0] = 0.0  # a text without a known word
    index = make_vector_index(given("cosine", x), IndexSettings(precision))
    scores, rows = index.search(np.concatenate([QUERIES, np.zeros((1, 30), "float32")]), 10)
    assert scores.shape == rows.shape == (8, documents)
    assert (np.sort(rows, axis=1) == np.arange(documents)).all()
    np.testing.assert_allclose(scores[-1], 0.0, atol=1e-6)


def test_equal_documents_come_in_the_order_of_their_rows():
    index = make_vector_index(np.repeat(given("cosine")[:1], 5, axis=0), IndexSettings())
    assert index.search(QUERIES, 5)[1].tolist() == [[0, 1, 2, 3, 4]] * 7


def test_wider_queries_are_cut_and_narrower_ones_refused():
    index = make_vector_index(given("dot"), IndexSettings("float32", "dot"))
    wide = np.concatenate([QUERIES, QUERIES], axis=1)
    np.testing.assert_array_equal(index.search(wide, 3)[1], index.search(QUERIES, 3)[1])
    with pytest.raises(UserError, match=r"must be embeddings \[Q, 30\], as the index has. Received: \[7, 8\]"):
        index.search(QUERIES[:, :8], 3)


def test_a_damaged_file_is_refused(tmp_path):
    make_vector_index(given("dot"), IndexSettings("int8", "dot")).write(tmp_path)
    (tmp_path / VECTORS).write_bytes((tmp_path / VECTORS).read_bytes()[:200])
    with pytest.raises(DataError, match="is damaged"):
        read_vector_index(tmp_path, IndexSettings("int8", "dot"))


def test_wrong_options_are_named():
    with pytest.raises(UserError, match="`precision` must be one of float32, int8, binary"):
        IndexSettings("int4")
    with pytest.raises(UserError, match="`rescore`"):
        IndexSettings("binary", rescore=0)
