"""Mined rows compared with brute force."""

import sys

import numpy as np
import pytest
from word_model import WordModel, texts, vector_similarity

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.table import Table, group_by_query
from ml4ir_losses.evaluation.indices import searcher
from ml4ir_losses.evaluation.mining import mine
from ml4ir_losses.evaluation.nearest import SIMILARITIES

ANCHORS = texts(12, seed=3)
PAIRS = [(a, " ".join(a.split()[1:3]) + f" p{i}") for a in ANCHORS for i in range(1 + len(a) % 3)]
CORPUS = [text for _, text in PAIRS] + texts(150, seed=4)


def mined_rows(*, pairs=PAIRS, corpus=CORPUS, model=None, **params):
    anchors, positives = zip(*pairs, strict=True)
    columns, rows = mine(model or WordModel(), anchors, positives, corpus, **params)
    return columns, list(rows)


def brute_force_negatives(similarity="cosine", n=3, low=0, high=None, max_score=np.inf, margin=None):
    """The negatives of each anchor, most similar first."""
    model, negatives = WordModel(), {}
    vectors = dict(zip(CORPUS, model.encode(CORPUS), strict=True))
    for anchor in ANCHORS:
        x = model.encode([anchor])[0]
        own = [p for a, p in PAIRS if a == anchor]
        scores = {text: vector_similarity(x, vectors[text], similarity) for text in CORPUS}
        ranked = sorted((t for t in CORPUS if t not in own and t != anchor), key=scores.get, reverse=True)
        least = min(scores[p] for p in own)
        limit = max_score if margin is None else min(max_score, least - margin * abs(least))
        negatives[anchor] = [t for t in ranked[low:high] if scores[t] <= limit][:n]
    return negatives


def negatives_of(rows):
    """The distinct negatives of each anchor in triplets."""
    negatives = {}
    for anchor, _, negative in rows:
        if negative not in negatives.setdefault(anchor, []):
            negatives[anchor].append(negative)
    return negatives


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize(
    ("params", "expected_params"),
    [
        ({}, {}),
        ({"num_negatives": 5, "range_min": 2}, {"n": 5, "low": 2}),
        ({"relative_margin": 0.2, "range_max": 60}, {"margin": 0.2, "high": 60}),
        ({"range_min": 1, "range_max": 3}, {"low": 1, "high": 3}),
    ],
)
def test_triplets_match_brute_force(similarity, params, expected_params):
    columns, rows = mined_rows(similarity=similarity, **params)
    expected = brute_force_negatives(similarity, **expected_params)
    assert columns == ("anchor", "positive", "negative")
    assert rows == [(a, p, n) for a, p in PAIRS for n in expected[a]]
    assert rows


def test_max_score_leaves_out_similar_documents():
    expected = brute_force_negatives(max_score=0.4, high=50)
    assert negatives_of(mined_rows(max_score=0.4, range_max=50)[1]) == {a: n for a, n in expected.items() if n}
    assert expected != brute_force_negatives()


class TestOutputs:
    def test_n_tuple_has_one_row_per_pair(self):
        columns, rows = mined_rows(output="n_tuple", num_negatives=2)
        assert columns == ("anchor", "positive", "negative_1", "negative_2")
        assert rows == [(a, p, *brute_force_negatives(n=2)[a]) for a, p in PAIRS]

    def test_n_tuple_leaves_out_anchors_with_too_few_negatives(self):
        pairs = [("a b", "a b c"), ("x", "x y"), ("x", "x z"), ("x", "x u")]
        columns, rows = mined_rows(pairs=pairs, corpus=None, output="n_tuple", num_negatives=2)
        assert len(columns) == 4
        assert [row[0] for row in rows] == ["a b"]  # "x" has one

    def test_labeled_pair_lists_positives_then_negatives(self):
        columns, rows = mined_rows(output="labeled_pair")
        assert columns == ("anchor", "document", "label")
        expected = brute_force_negatives()
        own = {anchor: [p for a, p in PAIRS if a == anchor] for anchor in ANCHORS}
        assert rows == [
            (a, text, label) for a in ANCHORS for label, some in ((1, own[a]), (0, expected[a])) for text in some
        ]

    def test_labeled_list_has_one_query_per_anchor(self):
        columns, rows = mined_rows(output="labeled_list")
        assert columns == ("query_id", "anchor", "document", "label")
        assert [row[1:] for row in rows] == mined_rows(output="labeled_pair")[1]
        table = Table(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)), [], origin=range(len(rows)))
        order, offsets = group_by_query(table.strings("query_id"))
        assert order.tolist() == list(range(len(rows)))
        assert len(offsets) == len(ANCHORS) + 1
        assert np.add.reduceat(table.numeric("label"), offsets[:-1]).tolist() == [
            sum(a == anchor for a, _ in PAIRS) for anchor in ANCHORS
        ]

    def test_labeled_list_leaves_out_anchors_without_negatives(self):
        assert mined_rows(max_score=-1.0, output="labeled_list")[1] == []
        assert len(mined_rows(max_score=-1.0, output="labeled_pair")[1]) == len(PAIRS)


class TestTexts:
    def test_positives_and_the_anchor_are_not_negatives(self):
        pairs = [("a", "a b"), ("c", "c d"), ("a", "a e"), ("a", "a b")]
        _, rows = mined_rows(pairs=pairs, corpus=["a", "a e", "a b", "c", "c d", "a", "c d"], num_negatives=9)
        negatives = negatives_of(rows)
        assert {a: sorted(n) for a, n in negatives.items()} == {"a": ["c", "c d"], "c": ["a", "a b", "a e"]}
        assert {row[:2] for row in rows} == set(pairs)
        assert len(rows) == len(set(rows))

    def test_negatives_come_only_from_the_corpus(self):
        _, rows = mined_rows(pairs=[("a", "a b"), ("c", "c d")], corpus=["x", "y"], num_negatives=9)
        assert {n for _, _, n in rows} == {"x", "y"}
        _, rows = mined_rows(pairs=[("a", "a b"), ("c", "c d")], corpus=None, num_negatives=9)
        assert rows == [("a", "a b", "c d"), ("c", "c d", "a b")]

    def test_equal_texts_are_encoded_once(self):
        model = WordModel()
        mined_rows(pairs=[("a", "b"), ("a", "c"), ("d", "b")], corpus=["b", "e", "e"], model=model)
        assert model.calls == [("positive", 3), ("anchor", 2)]


def test_block_size_of_anchors_does_not_change_rows(monkeypatch):
    expected = mined_rows(relative_margin=0.1)
    monkeypatch.setattr("ml4ir_losses.evaluation.mining._BLOCK", 5)
    assert mined_rows(relative_margin=0.1) == expected


def test_random_sampling_is_seeded_and_stays_within_the_range():
    samples = [negatives_of(mined_rows(sampling="random", range_max=30, seed=seed)[1]) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    top = brute_force_negatives(n=30, high=30)
    for anchor, negatives in samples[0].items():
        places = [top[anchor].index(text) for text in negatives]
        assert places == sorted(set(places))
        assert len(places) == 3
    assert max(top[a].index(n) for a, some in samples[0].items() for n in some) > 10


@pytest.mark.parametrize("index", ["hnswlib", "faiss"])
@pytest.mark.parametrize("similarity", SIMILARITIES)
class TestIndices:
    @pytest.fixture(autouse=True)
    def installed(self, index):
        pytest.importorskip(index)

    def test_small_corpus_matches_exact_search(self, index, similarity):
        for params in ({"num_negatives": 4}, {"relative_margin": 0.1, "num_negatives": 100}):
            approximate, exact = (mined_rows(index=i, similarity=similarity, **params)[1] for i in (index, "exact"))
            assert approximate == exact

    def test_large_corpus_nearly_matches_exact_search(self, index, similarity):
        corpus = CORPUS + texts(3000, seed=5)
        approximate, exact = (
            set(mined_rows(index=i, similarity=similarity, corpus=corpus)[1]) for i in (index, "exact")
        )
        assert len(approximate & exact) >= 0.7 * len(exact)
        assert len(approximate) == len(exact)


def test_faiss_marks_missing_results():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    queries, corpus = rng.normal(size=(4, 3)).astype("float32"), rng.normal(size=(3000, 3)).astype("float32")
    scores, rows = searcher("faiss", corpus, "dot")(queries, 2900)
    missing = rows < 0
    assert 0 < missing.sum() < missing.size
    assert (np.diff(missing.astype(int), axis=1) >= 0).all()
    assert (scores[missing] == -np.inf).all()
    for query, values, row in zip(queries, scores, rows, strict=True):
        np.testing.assert_allclose(values[row >= 0], corpus[row[row >= 0]] @ query, atol=1e-5)


def test_summary_matches_the_rows():
    anchors, positives = zip(*PAIRS, strict=True)
    _, rows = mine(WordModel(), anchors, positives, CORPUS, relative_margin=0.3, range_max=9)
    summary = rows.summary  # known before the rows are read
    rows = list(rows)
    assert (summary.rows, summary.anchors) == (len(rows), len(ANCHORS))
    expected = brute_force_negatives(margin=0.3, high=9)
    assert summary.short == sum(len(n) < 3 for n in expected.values()) > 0
    model = WordModel()

    def mean(pairs):
        return np.mean([vector_similarity(*model.encode(pair), "cosine") for pair in pairs])

    assert summary.positive_score == pytest.approx(mean(PAIRS))
    assert summary.negative_score == pytest.approx(mean([(a, n) for a, some in expected.items() for n in some]))
    assert mine(WordModel(), anchors, positives, CORPUS, max_score=-1.0)[1].summary.negative_score is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"output": "pairs"}, "`output` must be one of triplet, n_tuple, labeled_pair, labeled_list"),
        ({"similarity": "manhattan"}, "`similarity` must be one of"),
        ({"sampling": "best"}, "`sampling` must be one of top, random"),
        ({"index": "fais"}, "`index` must be one of exact, hnswlib, faiss.*Did you mean 'faiss'"),
        ({"seed": -1}, "`seed` must be a whole number of at least 0"),
        ({"num_negatives": 0}, "`num_negatives` must be"),
        ({"range_min": 5, "range_max": 5}, "`range_max` must be above range_min=5"),
        ({"max_score": "high"}, "`max_score` must be a number"),
        ({"corpus": []}, "`corpus` must not be empty"),
    ],
)
def test_invalid_parameters_raise_before_encoding(params, message):
    model = WordModel()
    with pytest.raises(UserError, match=message):
        mined_rows(model=model, **params)
    assert model.calls == []


def test_columns_of_different_lengths_raise():
    for anchors, positives in (([], []), (["a"], ["b", "c"])):
        with pytest.raises(DataError, match="`anchors`, `positives` must have the same number of rows, at least one"):
            mine(WordModel(), anchors, positives)


@pytest.mark.parametrize(("index", "package"), [("hnswlib", "hnswlib"), ("faiss", "faiss-cpu")])
def test_missing_index_package_is_named(index, package, monkeypatch):
    monkeypatch.setitem(sys.modules, index, None)
    with pytest.raises(UserError, match=f"`index='{index}'` needs the package {package}: pip install {package}"):
        mined_rows(index=index)
