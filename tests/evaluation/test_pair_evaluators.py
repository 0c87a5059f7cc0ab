"""Evaluators of pairs and triplets beside loops, SciPy and every possible threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from word_model import Collapsed, WordModel, alike, texts

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.evaluators import BinaryEvaluator, SimilarityEvaluator, TripletEvaluator
from ml4ir_losses.evaluation.pair_evaluators import PAIR_SIMILARITIES, binary_metrics

FIRST, SECOND, THIRD = texts(60), texts(60, seed=1), texts(60, seed=2)
RNG = np.random.default_rng(0)


def similarities(first, second, name, model=None):
    model = model or WordModel()
    return np.array([alike(a, b, name) for a, b in zip(model.encode(first), model.encode(second), strict=True)])


class TestSimilarity:
    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    def test_correlations_equal_scipy(self, name):
        scores = similarities(FIRST, SECOND, name) + RNG.normal(size=60)
        found = SimilarityEvaluator(FIRST, SECOND, scores.tolist(), similarities=[name]).evaluate(WordModel())
        values = similarities(FIRST, SECOND, name)
        assert found == {
            f"spearman_{name}": pytest.approx(stats.spearmanr(values, scores).statistic, abs=1e-6),
            f"pearson_{name}": pytest.approx(stats.pearsonr(values, scores).statistic, abs=1e-6),
        }
        assert abs(found[f"spearman_{name}"]) > 0.05

    def test_all_similarities_are_reported_by_default(self):
        found = SimilarityEvaluator(FIRST, SECOND, range(60)).evaluate(WordModel())
        assert set(found) == {f"{key}_{name}" for key in ("spearman", "pearson") for name in PAIR_SIMILARITIES}

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize(
        ("second", "scores", "model"),
        [
            (SECOND, [1.0] * 60, WordModel()),
            (SECOND, range(60), Collapsed()),
            (FIRST, range(60), WordModel()),  # cosines of 1, but for rounding
        ],
    )
    def test_constant_scores_give_no_correlation(self, second, scores, model):
        found = SimilarityEvaluator(FIRST, second, scores, similarities=["cosine"]).evaluate(model)
        assert found == {"spearman_cosine": 0, "pearson_cosine": 0}

    def test_equal_texts_are_encoded_once_and_on_their_side(self):
        model = WordModel()
        SimilarityEvaluator(["a", "b", "a"], ["c", "c", "c"], [1, 2, 3]).evaluate(model)
        assert model.calls == [("anchor", 2), ("positive", 1)]

    def test_first_dims(self):
        found = SimilarityEvaluator(FIRST, SECOND, range(60), dims=3).evaluate(WordModel())
        assert found == SimilarityEvaluator(FIRST, SECOND, range(60)).evaluate(WordModel(change=lambda v: v[:, :3]))


def by_every_threshold(labels, scores):
    """(best F1, best accuracy, average precision) by loops over all thresholds."""
    f1, accuracy, precision_sum, recall = [], [np.mean(labels == 0)], 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        taken = scores >= threshold
        true = int((taken & (labels == 1)).sum())
        f1.append(2 * true / (taken.sum() + labels.sum()))
        accuracy.append(np.mean(taken == (labels == 1)))
        precision_sum += true / taken.sum() * (true / labels.sum() - recall)
        recall = true / labels.sum()
    return max(f1), max(accuracy), precision_sum


class TestBinary:
    @given(rows=st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4)), min_size=2, max_size=30))
    def test_best_threshold_equals_a_search_over_all(self, rows):
        labels, scores = np.array(rows)[:, 0], np.array(rows)[:, 1] / 2
        if labels.min() == labels.max():
            labels[0] = 1 - labels[0]
        found = binary_metrics(labels, scores)
        assert (found["f1"], found["accuracy"], found["ap"]) == pytest.approx(by_every_threshold(labels, scores))
        taken = scores >= found["f1_threshold"]
        true = (taken & (labels == 1)).sum()
        assert found["precision"] == pytest.approx(true / taken.sum())
        assert found["recall"] == pytest.approx(true / labels.sum())
        assert found["f1"] == pytest.approx(2 * true / (taken.sum() + labels.sum()))
        assert found["accuracy"] == pytest.approx(np.mean((scores >= found["accuracy_threshold"]) == labels))
        expected = np.corrcoef(taken, labels)[0, 1] if 0 < taken.sum() < len(taken) else 0.0
        assert found["mcc"] == pytest.approx(expected)

    def test_thresholds_lie_between_scores(self):
        found = binary_metrics(np.array([1, 1, 0, 0]), np.array([4.0, 3.0, 1.0, 0.0]))
        assert (found["f1"], found["f1_threshold"], found["accuracy_threshold"]) == (1, 2, 2)

    def test_uninformative_scores_get_no_credit(self):
        found = binary_metrics(np.array([1, 0, 0, 0]), np.ones(4))
        assert found["ap"] == 0.25
        assert (found["accuracy"], found["recall"], found["mcc"]) == (0.75, 1, 0)
        assert 1 < found["accuracy_threshold"] < 1.001

    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    def test_f1_accuracy_and_precision_equal_a_loop_over_thresholds(self, name):
        labels = RNG.integers(0, 2, 60)
        second = [a if label else b for a, b, label in zip(FIRST[1:] + FIRST[:1], SECOND, labels, strict=True)]
        found = BinaryEvaluator(FIRST, second, labels.tolist(), similarities=[name]).evaluate(WordModel())
        f1, accuracy, ap = by_every_threshold(labels, similarities(FIRST, second, name))
        assert (found[f"f1_{name}"], found[f"accuracy_{name}"], found[f"ap_{name}"]) == pytest.approx(
            (f1, accuracy, ap), abs=1e-6
        )
        keys = ("ap", "f1", "f1_threshold", "precision", "recall", "mcc", "accuracy", "accuracy_threshold")
        assert set(found) == {f"{key}_{name}" for key in keys}

    def test_rounding_errors_do_not_separate_equal_scores(self):
        found = BinaryEvaluator(
            ["a b"] * 60, ["a b " * i for i in range(1, 61)], [1, 0] * 30, similarities=["cosine"]
        ).evaluate(WordModel())
        assert (found["ap_cosine"], found["accuracy_cosine"]) == (0.5, 0.5)

    def test_collapsed_model_gets_no_credit(self):
        found = BinaryEvaluator(FIRST, SECOND, [1, 0, 0] * 20).evaluate(Collapsed())
        assert found["ap_cosine"] == pytest.approx(1 / 3)
        assert found["f1_euclidean"] == pytest.approx(0.5)


class TestTriplets:
    @pytest.mark.parametrize("name", PAIR_SIMILARITIES)
    @pytest.mark.parametrize("margin", [0, 0.1])
    def test_result_equals_a_loop(self, name, margin):
        found = TripletEvaluator(FIRST, SECOND, THIRD, margin=margin, similarities=[name]).evaluate(WordModel())
        near, far = similarities(FIRST, SECOND, name), similarities(FIRST, THIRD, name)
        assert found == {f"accuracy_{name}": pytest.approx(np.mean(near > far + margin))}
        assert 0 < found[f"accuracy_{name}"] < 1

    def test_equals_do_not_count(self):
        assert set(TripletEvaluator(FIRST, SECOND, THIRD).evaluate(Collapsed()).values()) == {0}
        assert set(TripletEvaluator(FIRST, SECOND, SECOND).evaluate(WordModel()).values()) == {0}

    def test_queries_and_documents(self):
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
def test_data_that_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"similarities": ["cos"]}, "`similarities` must be one of cosine, dot, euclidean, manhattan"),
        ({"dims": 0}, "`dims` must be"),
    ],
)
def test_parameters_that_are_refused(params, message):
    for evaluator in (SimilarityEvaluator, BinaryEvaluator):
        with pytest.raises(UserError, match=message):
            evaluator(["a", "b"], ["b", "c"], [0, 1], **params)
    with pytest.raises(UserError, match=message):
        TripletEvaluator(["a"], ["b"], ["c"], **params)
    with pytest.raises(UserError, match="`margin` must be a number"):
        TripletEvaluator(["a"], ["b"], ["c"], margin="wide")
