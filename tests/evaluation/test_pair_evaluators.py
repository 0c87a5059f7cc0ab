"""Pair and triplet evaluators compared with loops, SciPy and every possible threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from word_model import Collapsed, WordModel, texts, vector_similarity

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.evaluators import BinaryEvaluator, ClassEvaluator, SimilarityEvaluator, TripletEvaluator
from ml4ir_losses.evaluation.pair_evaluators import PAIR_SIMILARITIES, binary_metrics

FIRST, SECOND, THIRD = texts(60), texts(60, seed=1), texts(60, seed=2)
RNG = np.random.default_rng(0)


def similarities(first, second, name, model=None):
    model = model or WordModel()
    return np.array(
        [vector_similarity(a, b, name) for a, b in zip(model.encode(first), model.encode(second), strict=True)]
    )


class TestSimilarity:
    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    def test_correlations_match_scipy(self, name):
        scores = similarities(FIRST, SECOND, name) + RNG.normal(size=60)
        metrics = SimilarityEvaluator(FIRST, SECOND, scores.tolist(), similarities=[name]).evaluate(WordModel())
        values = similarities(FIRST, SECOND, name)
        assert metrics == {
            f"spearman_{name}": pytest.approx(stats.spearmanr(values, scores).statistic, abs=1e-6),
            f"pearson_{name}": pytest.approx(stats.pearsonr(values, scores).statistic, abs=1e-6),
        }
        assert abs(metrics[f"spearman_{name}"]) > 0.05

    def test_default_evaluates_every_similarity(self):
        metrics = SimilarityEvaluator(FIRST, SECOND, range(60)).evaluate(WordModel())
        assert set(metrics) == {f"{key}_{name}" for key in ("spearman", "pearson") for name in PAIR_SIMILARITIES}

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        ("second", "scores", "model"),
        [
            (SECOND, [1.0] * 60, WordModel()),
            (SECOND, range(60), Collapsed()),
            (FIRST, range(60), WordModel()),  # cosines of 1, but for rounding
        ],
    )
    def test_constant_input_has_correlation_zero(self, second, scores, model):
        metrics = SimilarityEvaluator(FIRST, second, scores, similarities=["cosine"]).evaluate(model)
        assert metrics == {"spearman_cosine": 0, "pearson_cosine": 0}

    def test_equal_texts_are_encoded_once_per_column(self):
        model = WordModel()
        SimilarityEvaluator(["a", "b", "a"], ["c", "c", "c"], [1, 2, 3]).evaluate(model)
        assert model.calls == [("anchor", 2), ("positive", 1)]

    def test_dims_truncates_embeddings(self):
        metrics = SimilarityEvaluator(FIRST, SECOND, range(60), dims=3).evaluate(WordModel())
        assert metrics == SimilarityEvaluator(FIRST, SECOND, range(60)).evaluate(WordModel(change=lambda v: v[:, :3]))


def best_over_thresholds(labels, scores):
    """(best F1, best accuracy, average precision) by loops over all thresholds."""
    f1, accuracy, precision_sum, recall = [], [np.mean(labels == 0)], 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        predicted = scores >= threshold
        hits = int((predicted & (labels == 1)).sum())
        f1.append(2 * hits / (predicted.sum() + labels.sum()))
        accuracy.append(np.mean(predicted == (labels == 1)))
        precision_sum += hits / predicted.sum() * (hits / labels.sum() - recall)
        recall = hits / labels.sum()
    return max(f1), max(accuracy), precision_sum


class TestBinary:
    @given(rows=st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=30))
    def test_metrics_match_a_loop_over_all_thresholds(self, rows):
        labels, scores = np.array(rows)[:, 0], np.array(rows)[:, 1] / 2
        if labels.min() == labels.max():
            labels[0] = 1 - labels[0]
        metrics = binary_metrics(labels, scores)
        assert (metrics["f1"], metrics["accuracy"], metrics["ap"]) == pytest.approx(
            best_over_thresholds(labels, scores)
        )
        predicted = scores >= metrics["f1_threshold"]
        hits = (predicted & (labels == 1)).sum()
        assert metrics["precision"] == pytest.approx(hits / predicted.sum())
        assert metrics["recall"] == pytest.approx(hits / labels.sum())
        assert metrics["f1"] == pytest.approx(2 * hits / (predicted.sum() + labels.sum()))
        assert metrics["accuracy"] == pytest.approx(np.mean((scores >= metrics["accuracy_threshold"]) == labels))
        expected = np.corrcoef(predicted, labels)[0, 1] if 0 < predicted.sum() < len(predicted) else 0.0
        assert metrics["mcc"] == pytest.approx(expected)

    def test_thresholds_lie_halfway_between_scores(self):
        metrics = binary_metrics(np.array([1, 1, 0, 0]), np.array([4.0, 3.0, 1.0, 0.0]))
        assert (metrics["f1"], metrics["f1_threshold"], metrics["accuracy_threshold"]) == (1, 2, 2)

    def test_constant_scores_classify_every_pair_alike(self):
        metrics = binary_metrics(np.array([1, 0, 0, 0]), np.ones(4))
        assert metrics["ap"] == 0.25
        assert (metrics["accuracy"], metrics["recall"], metrics["mcc"]) == (0.75, 1, 0)
        assert 1 < metrics["accuracy_threshold"] < 1.001

    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    def test_metrics_of_each_similarity_match_a_loop_over_all_thresholds(self, name):
        labels = RNG.integers(0, 2, 60)
        second = [a if label else b for a, b, label in zip(FIRST[1:] + FIRST[:1], SECOND, labels, strict=True)]
        metrics = BinaryEvaluator(FIRST, second, labels.tolist(), similarities=[name]).evaluate(WordModel())
        f1, accuracy, ap = best_over_thresholds(labels, similarities(FIRST, second, name))
        assert (metrics[f"f1_{name}"], metrics[f"accuracy_{name}"], metrics[f"ap_{name}"]) == pytest.approx(
            (f1, accuracy, ap), abs=1e-6
        )
        keys = ("ap", "f1", "f1_threshold", "precision", "recall", "mcc", "accuracy", "accuracy_threshold")
        assert set(metrics) == {f"{key}_{name}" for key in keys}

    def test_rounding_errors_do_not_break_ties(self):
        metrics = BinaryEvaluator(
            ["a b"] * 60, ["a b " * i for i in range(1, 61)], [1, 0] * 30, similarities=["cosine"]
        ).evaluate(WordModel())
        assert (metrics["ap_cosine"], metrics["accuracy_cosine"]) == (0.5, 0.5)

    def test_collapsed_model_has_chance_metrics(self):
        metrics = BinaryEvaluator(FIRST, SECOND, [1, 0, 0] * 20).evaluate(Collapsed())
        assert metrics["ap_cosine"] == pytest.approx(1 / 3)
        assert metrics["f1_euclidean"] == pytest.approx(0.5)


class TestTriplets:
    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    @pytest.mark.parametrize("margin", [0, 0.1])
    def test_accuracy_matches_single_vectors(self, name, margin):
        metrics = TripletEvaluator(FIRST, SECOND, THIRD, margin=margin, similarities=[name]).evaluate(WordModel())
        near, far = similarities(FIRST, SECOND, name), similarities(FIRST, THIRD, name)
        assert metrics == {f"accuracy_{name}": pytest.approx(np.mean(near > far + margin))}
        assert 0 < metrics[f"accuracy_{name}"] < 1

    def test_equal_similarities_are_not_correct(self):
        assert set(TripletEvaluator(FIRST, SECOND, THIRD).evaluate(Collapsed()).values()) == {0}
        assert set(TripletEvaluator(FIRST, SECOND, SECOND).evaluate(WordModel()).values()) == {0}

    def test_anchors_are_encoded_as_queries_and_the_rest_as_documents(self):
        model = WordModel()
        TripletEvaluator(["a", "b"], ["c", "d"], ["e", "c"]).evaluate(model)
        assert model.calls == [("anchor", 2), ("positive", 3)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SimilarityEvaluator(["a"], ["b", "c"], [1]), "`first`, `second`, `scores` must have the same number"),
        (lambda: SimilarityEvaluator([], [], []), "at least one"),
        (lambda: SimilarityEvaluator(["a", "b"], ["b", "c"], [1, np.nan]), "`scores` must be finite numbers. .* row 1"),
        (lambda: SimilarityEvaluator(["a", "b"], ["b", "c"], [1, "high"]), "`scores` must be numbers"),
        (lambda: SimilarityEvaluator(["a", "b"], ["b", "c"], [[1], [2]]), "`scores` must be one number for each row"),
        (lambda: BinaryEvaluator(["a", "b"], ["b", "c"], [1]), "labels: 1"),
        (lambda: BinaryEvaluator(["a", "b"], ["b", "c"], [1, 2]), "`labels` must be 0 and 1, .* Received: 1, 2"),
        (lambda: BinaryEvaluator(["a", "b"], ["b", "c"], [0, 0]), "both must be there. Received: 0"),
        (lambda: TripletEvaluator(["a"], ["b"], []), "negatives: 0"),
    ],
)
def test_invalid_columns_raise(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"similarities": ["cos"]}, "`similarities` must be one of cosine, dot, euclidean, manhattan"),
        ({"dims": 0}, "`dims` must be"),
    ],
)
def test_invalid_parameters_raise(params, message):
    for evaluator in (SimilarityEvaluator, BinaryEvaluator):
        with pytest.raises(UserError, match=message):
            evaluator(["a", "b"], ["b", "c"], [0, 1], **params)
    with pytest.raises(UserError, match=message):
        TripletEvaluator(["a"], ["b"], ["c"], **params)
    with pytest.raises(UserError, match="`margin` must be a number"):
        TripletEvaluator(["a"], ["b"], ["c"], margin="wide")


class WordOverlap:
    """A cross-encoder: the share of the document's words that the query has."""

    def score_pairs(self, queries, documents, batch_size=256):
        pairs = zip(queries, documents, strict=True)
        return np.array([np.mean([word in q.split() for word in d.split()]) for q, d in pairs], "float32")


class TestCrossEncoder:
    first, second = ["a b", "a b", "c d", "c d"], ["a b", "a x", "x y", "c x"]

    def test_correlations_are_those_of_the_scores(self):
        found = SimilarityEvaluator(self.first, self.second, [1.0, 0.4, 0.0, 0.5]).evaluate(WordOverlap())
        expected = stats.pearsonr([1.0, 0.4, 0.0, 0.5], [1.0, 0.5, 0.0, 0.5]).statistic
        assert set(found) == {"spearman_score", "pearson_score"}
        assert found["pearson_score"] == pytest.approx(expected)

    def test_pairs_are_classified_by_their_scores(self):
        found = BinaryEvaluator(self.first, self.second, [1, 1, 0, 0]).evaluate(WordOverlap())
        expected = binary_metrics(np.array([1, 1, 0, 0]), np.array([1.0, 0.5, 0.0, 0.5]))
        assert found == pytest.approx({f"{name}_score": value for name, value in expected.items()})


class FirstWord:
    """A model that takes the class from the first word of the document."""

    classes = ("no", "yes", "maybe")

    def class_probabilities(self, queries, documents, batch_size=256):
        return np.array([[document.startswith(name) for name in self.classes] for document in documents], float)


class TestClasses:
    def test_accuracy_and_mean_f1_match_hand_computed_values(self):
        documents = ["yes a", "yes b", "no c", "maybe d"]
        found = ClassEvaluator(["q"] * 4, documents, ["yes", "no", "no", "maybe"]).evaluate(FirstWord())
        assert found == pytest.approx({"accuracy": 0.75, "f1_macro": (2 / 3 + 2 / 3 + 1.0) / 3})
