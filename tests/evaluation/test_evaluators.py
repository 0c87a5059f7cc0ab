"""Retrieval and reranking metrics compared with ir-measures; ties, missing ids and invalid input."""

import ir_measures
import numpy as np
import pytest
from ir_measures import AP, RR, R, nDCG
from word_model import Collapsed, Overlap, WordModel, texts, vector_similarity

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.evaluators import RerankingEvaluator, RetrievalEvaluator

CORPUS = {f"d{i}": text for i, text in enumerate(texts(130))}
QUERIES = {f"q{i}": text for i, text in enumerate(texts(9, seed=1, words=3))}
NAMES = {"ndcg_10": nDCG @ 10, "mrr_10": RR @ 10, "map_100": AP @ 100, "recall_100": R @ 100}


def judgments(seed=0):
    """Grades 0 to 3 of 30 documents of each query."""
    rng = np.random.default_rng(seed)
    return {
        query: {
            f"d{d}": int(g) for d, g in zip(rng.choice(130, 30, replace=False), rng.integers(0, 4, 30), strict=True)
        }
        for query in QUERIES
    }


def score_corpus(model, similarity="cosine", corpus=CORPUS):
    """Every document's score for every query, in float64."""
    queries = dict(zip(QUERIES, model.encode(list(QUERIES.values())), strict=True))
    documents = dict(zip(corpus, model.encode(list(corpus.values())), strict=True))
    return {
        q: {d: float(vector_similarity(x, y, similarity)) for d, y in documents.items()} for q, x in queries.items()
    }


def ir_measures_values(judged, run, names=NAMES):
    """Metric values of ir-measures by metric and query."""
    values = {name: {} for name in names}
    for measured in ir_measures.iter_calc(list(names.values()), judged, run):
        name = next(name for name, measure in names.items() if str(measure) == str(measured.measure))
        values[name][measured.query_id] = measured.value
    return values


class TestRetrieval:
    @pytest.mark.parametrize("similarity", ["cosine", "dot", "euclidean"])
    @pytest.mark.parametrize("block", [7, 4096])
    def test_metrics_match_ir_measures(self, similarity, block):
        judged, model = judgments(), WordModel()
        evaluator = RetrievalEvaluator(CORPUS, QUERIES, judged, similarity=similarity, block=block)
        ours, theirs = evaluator.per_query(model), ir_measures_values(judged, score_corpus(model, similarity))
        assert set(ours) == set(NAMES)
        for name, values in ours.items():
            np.testing.assert_allclose(values, [theirs[name][q] for q in evaluator.query_ids], atol=1e-6, err_msg=name)
            assert evaluator.evaluate(model)[name] == pytest.approx(np.mean(values))
        assert 0 < np.mean(ours["ndcg_10"]) < 1

    def test_rankings_match_brute_force(self):
        model = WordModel()
        evaluator = RetrievalEvaluator(CORPUS, QUERIES, judgments(), block=50)
        run = score_corpus(model)
        best = {q: sorted(scores, key=scores.get, reverse=True) for q, scores in run.items()}
        assert evaluator.rankings(model, 20) == {q: best[q][:20] for q in QUERIES}
        assert {len(ranking) for ranking in evaluator.rankings(model, 500).values()} == {130}

    def test_corpus_is_encoded_block_by_block(self):
        model = WordModel()
        RetrievalEvaluator(CORPUS, QUERIES, judgments(), block=50).evaluate(model)
        assert model.calls == [("anchor", 9), ("positive", 50), ("positive", 50), ("positive", 30)]

    def test_dims_truncates_embeddings(self):
        wide, narrow = WordModel(), WordModel()
        narrow.change = lambda vectors: vectors[:, :5]
        judged = judgments()
        assert RetrievalEvaluator(CORPUS, QUERIES, judged, dims=5).evaluate(wide) == RetrievalEvaluator(
            CORPUS, QUERIES, judged
        ).evaluate(narrow)
        with pytest.raises(UserError, match=r"`dims` must be at most the embeddings' 16. Received: dims=17"):
            RetrievalEvaluator(CORPUS, QUERIES, judged, dims=17).evaluate(wide)

    def test_corpus_order_does_not_help_a_collapsed_model(self):
        halves = ({q: {f"d{d}": 1 for d in half} for q in QUERIES} for half in (range(65), range(65, 130)))
        results = [RetrievalEvaluator(CORPUS, QUERIES, half, [("recall", 65)]).evaluate(Collapsed()) for half in halves]
        assert [values["recall_65"] for values in results] == pytest.approx([0.5, 0.5], abs=0.15)

    def test_precomputed_rankings_are_evaluated(self):
        evaluator = RetrievalEvaluator(
            CORPUS, QUERIES, {"q0": {"d1": 1}, "q1": {"d2": 2}}, [("mrr", 10), ("recall", None)]
        )
        values = evaluator.per_query({"q0": ["d5", "d5", "d1"], "q7": ["d2"]})
        assert {name: column.tolist() for name, column in values.items()} == {"mrr_10": [0.5, 0], "recall": [1, 0]}
        with pytest.raises(DataError, match=r"rankings name none of the judged queries. Received: 0 in the rankings"):
            evaluator.evaluate({0: ["d5"]})

    def test_queries_without_relevant_documents_are_left_out(self):
        judged = {"q3": {"d1": 0}, "q2": {"d1": 1}}
        assert RetrievalEvaluator(CORPUS, QUERIES, judged).query_ids == ["q2"]

    def test_missing_queries_and_documents_are_logged(self, caplog):
        judged = {"q0": {"d1": 1, "gone": 2}, "q1": {"d2": 1}, "lost": {"d1": 1}}
        evaluator = RetrievalEvaluator(CORPUS, QUERIES, judged, [("recall", 100)])
        assert evaluator.query_ids == ["q0", "q1"]
        assert "1 of 3 judged queries have no text" in caplog.text
        assert "1 of 3 judged documents are not in the corpus" in caplog.text
        assert evaluator.evaluate({"q0": ["d1"], "q1": ["d2"]})["recall_100"] == pytest.approx(0.75)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"corpus": {}}, "`corpus` must not be empty"),
            ({"queries": {}}, "`queries` must not be empty"),
            ({"judgments": {}}, "`judgments` must not be empty"),
            ({"judgments": {0: {"d1": 1}}}, "none of the ids of `queries`. Received: 0 in the judgments, 'q0' in"),
            ({"judgments": {"q0": {1: 1}}}, "none of the ids of `corpus`. Received: 1 in the judgments, 'd0' in"),
            ({"judgments": {"q0": {"d1": 0}}}, "no document is relevant"),
            ({"judgments": {"q0": {"d1": float("nan")}}}, "`judgments` must be finite numbers"),
            ({"judgments": {"q0": {"d1": "good"}}}, "`judgments` must be numbers"),
            ({"metrics": [("ndgc", 10)]}, "`metrics` must be one of .* Did you mean 'ndcg'"),
            ({"metrics": ["ndcg"]}, "must be pairs of a name and a topn"),
            ({"metrics": [("ndcg", 0)]}, "`topn` must be"),
            ({"similarity": "manhattan"}, "`similarity` must be one of cosine, dot, euclidean"),
            ({"block": None}, "`block` must be"),
            ({"dims": 0}, "`dims` must be"),
        ],
    )
    def test_invalid_parameters_raise(self, arguments, message):
        with pytest.raises(UserError, match=message) as caught:
            RetrievalEvaluator(**{"corpus": CORPUS, "queries": QUERIES, "judgments": judgments(), **arguments})
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda vectors: vectors[0],
                r"`encode` of the model must .* for each of 9 texts, \[N, D\]. Received: \[16\]",
            ),
            (lambda vectors: vectors[1:], r"Received: \[8, 16\]"),
            (lambda vectors: vectors * np.nan, "embeddings of the model must be finite. Received: nan"),
        ],
    )
    def test_invalid_embeddings_raise(self, change, message):
        with pytest.raises(UserError, match=message):
            RetrievalEvaluator(CORPUS, QUERIES, judgments()).evaluate(WordModel(change=change))


class TestReranking:
    def rows(self, count=11):
        """Query ids, queries, documents and grades, in random row order."""
        rng = np.random.default_rng(2)
        rows = [
            (q, d, int(rng.integers(0, 3))) for q in QUERIES for d in rng.choice(list(CORPUS), count, replace=False)
        ]
        rng.shuffle(rows)
        rows = [(str(q), str(d), int(g)) for q, d, g in rows]
        return rows, [QUERIES[q] for q, _, _ in rows], [CORPUS[d] for _, d, _ in rows], [g for _, _, g in rows]

    @pytest.mark.parametrize("similarity", ["cosine", "manhattan"])
    @pytest.mark.parametrize("by_id", [True, False])
    def test_metrics_match_ir_measures(self, similarity, by_id):
        rows, *columns = self.rows()
        ids = [q for q, _, _ in rows]
        evaluator = RerankingEvaluator(*columns, query_ids=ids if by_id else None, similarity=similarity)
        model = WordModel()
        run, judged = {q: {} for q in QUERIES}, {q: {} for q in QUERIES}
        for q, d, grade in rows:
            x, y = model.encode([QUERIES[q], CORPUS[d]])
            run[q][d], judged[q][d] = float(vector_similarity(x, y, similarity)), grade
        theirs = ir_measures_values(judged, run, {"ndcg_10": nDCG @ 10, "mrr_10": RR @ 10, "map": AP})
        ours = evaluator.per_query(model)
        for name, values in ours.items():
            order = [q if by_id else next(k for k, v in QUERIES.items() if v == q) for q in evaluator.query_ids]
            np.testing.assert_allclose(values, [theirs[name][q] for q in order], atol=1e-6, err_msg=name)
        assert evaluator.evaluate(model) == pytest.approx({name: np.mean(values) for name, values in ours.items()})

    def test_cross_encoder_scores_pairs(self):
        evaluator = RerankingEvaluator(["a b", "a b", "c"], ["x y", "a b z", "c c"], [0, 2, 1])
        assert evaluator.evaluate(Overlap()) == {"ndcg_10": 1, "mrr_10": 1, "map": 1}
        backwards = Overlap()
        backwards.score_pairs = lambda queries, documents: -Overlap().score_pairs(queries, documents)
        assert evaluator.per_query(backwards)["mrr_10"].tolist() == [0.5, 1]

    @pytest.mark.parametrize("model", [Collapsed(), Overlap()])
    def test_row_order_does_not_help_equal_scores(self, model):
        queries = [f"q{i}" for i in range(300) for _ in range(4)]
        mrr = [
            RerankingEvaluator(queries, [f"d{i}" for i in range(1200)], grades * 300).evaluate(model)["mrr_10"]
            for grades in ([1, 0, 0, 0], [0, 0, 0, 1])
        ]
        assert mrr == pytest.approx([25 / 48] * 2, abs=0.06)  # the mean of 1, 1/2, 1/3 and 1/4

    def test_rounding_errors_do_not_break_ties(self):
        evaluator = RerankingEvaluator(["a b"] * 60, ["a b " * i for i in range(1, 61)], [*range(60)])
        assert evaluator.evaluate(WordModel()) == evaluator.evaluate(Collapsed())

    def test_queries_without_relevant_documents_are_left_out(self):
        evaluator = RerankingEvaluator(["a", "a", "b"], ["a", "b", "b"], [0, 0, 1], query_ids=[1, 1, 2])
        assert evaluator.query_ids == [2]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"grades": [1]}, "same number of rows, at least one. Received: queries: 2, documents: 2, grades: 1"),
            ({"queries": [], "documents": [], "grades": []}, "at least one"),
            ({"grades": [0, 0]}, "no document is relevant"),
            ({"grades": [1, float("inf")]}, "`grades` must be finite numbers. Received: inf in row 1"),
            ({"query_ids": [1]}, "query_ids: 1"),
            ({"similarity": "cos"}, "`similarity` must be one of"),
        ],
    )
    def test_invalid_parameters_raise(self, arguments, message):
        with pytest.raises(UserError, match=message):
            RerankingEvaluator(**{"queries": ["a", "b"], "documents": ["c", "d"], "grades": [0, 1], **arguments})

    def test_invalid_scores_raise(self):
        model = Overlap()
        for scores, message in ((np.ones((2, 1)), r"Received: \[2, 1\]"), (np.array([1, np.nan]), "Received: nan")):
            model.score_pairs = lambda queries, documents, scores=scores: scores
            with pytest.raises(UserError, match=message):
                RerankingEvaluator(["a", "b"], ["c", "d"], [0, 1]).evaluate(model)
