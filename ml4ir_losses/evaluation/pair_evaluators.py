"""Embedding evaluators on pairs and triplets of texts, named as in sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef, roc_curve

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, check_choice, check_count, check_number
from ml4ir_losses.evaluation.encoding import (
    DOCUMENT,
    QUERY,
    BiEncoder,
    CrossEncoder,
    PairClassifier,
    check_lengths,
    encode,
    finite_numbers,
    score_pairs,
)
from ml4ir_losses.evaluation.nearest import compare_rows

PAIR_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")  # distances are negated
_NOISE = 1e-7  # relative differences that float32 embeddings cannot resolve


class SimilarityEvaluator:
    """Correlation of pair similarities with given scores: `spearman_cosine`, `pearson_cosine`, ...

    Of a cross-encoder it is that of its scores, `spearman_score`. 0 if the similarities or the scores are constant.

    Args:
        first: N texts, encoded as queries.
        second: N texts, encoded as documents.
        scores: N numbers, higher for more similar pairs.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: number of leading embedding dimensions to use; None: all.

    Raises:
        DataError: for columns of different lengths, or non-finite scores.
    """

    def __init__(
        self,
        first: Sequence[str],
        second: Sequence[str],
        scores: Sequence[float] | Array,
        *,
        similarities: Sequence[str] = PAIR_SIMILARITIES,
        dims: int | None = None,
    ) -> None:
        check_lengths(first=first, second=second, scores=scores)
        _check_similarities(similarities, dims)
        self.first, self.second, self.scores = first, second, finite_numbers("scores", scores)
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder | CrossEncoder) -> dict[str, float]:
        """Correlations by name."""
        result = {}
        for name, values in _pair_scores(model, self).items():
            constant = _is_constant(values) or _is_constant(self.scores)
            for key, correlation in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
                result[f"{key}_{name}"] = 0.0 if constant else float(correlation(self.scores, values).statistic)
        return result


class BinaryEvaluator:
    """Binary classification of pairs by similarity: `ap_cosine`, `f1_cosine`, `accuracy_cosine`, ...

    A cross-encoder is evaluated by its score, `ap_score`.
    For each similarity: the average precision (`ap`); the best F1, its `f1_threshold`, and the `precision`, the
    `recall` and Matthews' correlation (`mcc`) there; the best `accuracy` and its `accuracy_threshold`. A pair is
    predicted positive if its similarity (the negative distance, for distances) is at least the threshold. Thresholds
    lie half-way to the next lower similarity; pairs of equal similarity get the same prediction.

    Args:
        first: N texts, encoded as queries.
        second: N texts, encoded as documents.
        labels: N labels 0 or 1; both must occur.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: number of leading embedding dimensions to use; None: all.

    Raises:
        DataError: for columns of different lengths, or labels other than 0 and 1.
    """

    def __init__(
        self,
        first: Sequence[str],
        second: Sequence[str],
        labels: Sequence[float] | Array,
        *,
        similarities: Sequence[str] = PAIR_SIMILARITIES,
        dims: int | None = None,
    ) -> None:
        check_lengths(first=first, second=second, labels=labels)
        _check_similarities(similarities, dims)
        numbers = finite_numbers("labels", labels)
        if set(numbers.tolist()) != {0.0, 1.0}:
            values = ", ".join(f"{value:g}" for value in np.unique(numbers)[:5])
            raise DataError(f"`labels` must be 0 and 1, and both must be there. Received: {values}.")
        self.first, self.second, self.labels = first, second, numbers.astype(int)
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder | CrossEncoder) -> dict[str, float]:
        """Metric values by name."""
        result: dict[str, float] = {}
        for name, values in _pair_scores(model, self).items():
            # float32, the precision of the embeddings: similarities that differ only by rounding become equal.
            scores = values.astype("float32").astype("float64")
            result |= {f"{key}_{name}": value for key, value in binary_metrics(self.labels, scores).items()}
        return result


class ClassEvaluator:
    """Classification of pairs by a cross-encoder: `accuracy`, and `f1_macro`, the mean F1 of the classes.

    Args:
        first: N texts, read as queries.
        second: N texts, read as documents.
        classes: N names.

    Raises:
        DataError: for columns of different lengths.
    """

    def __init__(self, first: Sequence[str], second: Sequence[str], classes: Sequence[str]) -> None:
        check_lengths(first=first, second=second, classes=classes)
        self.first, self.second, self.classes = first, second, list(classes)

    def evaluate(self, model: PairClassifier) -> dict[str, float]:
        """Metric values by name."""
        best = np.argmax(model.class_probabilities(self.first, self.second), axis=1)
        predicted = [model.classes[index] for index in best]
        return {
            "accuracy": float(np.mean([a == b for a, b in zip(self.classes, predicted, strict=True)])),
            "f1_macro": float(f1_score(self.classes, predicted, average="macro", zero_division=0.0)),
        }


def binary_metrics(labels: Array, scores: Array) -> dict[str, float]:
    """Binary classification metrics of scores [N] for labels [N]; keys as in `BinaryEvaluator`, without similarity."""
    false_rate, true_rate, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    true, false = np.rint(true_rate * positives), np.rint(false_rate * negatives)
    f1 = 2 * true / (true + false + positives)
    accuracy = (true + negatives - false) / len(labels)
    best_f1, best_accuracy = int(np.argmax(f1)), int(np.argmax(accuracy))
    f1_threshold = _threshold_below(thresholds, best_f1)
    return {
        "ap": float(average_precision_score(labels, scores)),
        "f1": float(f1[best_f1]),
        "f1_threshold": f1_threshold,
        "precision": float(true[best_f1] / (true[best_f1] + false[best_f1])),
        "recall": float(true_rate[best_f1]),
        "mcc": float(matthews_corrcoef(labels, scores >= f1_threshold)),
        "accuracy": float(accuracy[best_accuracy]),
        "accuracy_threshold": _threshold_below(thresholds, best_accuracy),
    }


def _threshold_below(thresholds: Array, index: int) -> float:
    """The threshold half-way to the next lower score; the first one is above all scores."""
    if index == 0:
        return float(np.nextafter(thresholds[1], np.inf))
    if index + 1 == len(thresholds):
        return float(thresholds[index])
    return float((float(thresholds[index]) + float(thresholds[index + 1])) / 2)


class TripletEvaluator:
    """The share of anchors that are more similar to their positive than to their negative: `accuracy_cosine`, ...

    Ties count as wrong.

    Args:
        anchors: N texts, encoded as queries.
        positives: N texts, encoded as documents.
        negatives: N texts, encoded as documents.
        margin: minimum similarity difference between positive and negative.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: number of leading embedding dimensions to use; None: all.

    Raises:
        DataError: for columns of different lengths.
    """

    def __init__(
        self,
        anchors: Sequence[str],
        positives: Sequence[str],
        negatives: Sequence[str],
        *,
        margin: float = 0.0,
        similarities: Sequence[str] = PAIR_SIMILARITIES,
        dims: int | None = None,
    ) -> None:
        check_lengths(anchors=anchors, positives=positives, negatives=negatives)
        check_number(margin=margin)
        _check_similarities(similarities, dims)
        self.anchors, self.positives, self.negatives, self.margin = anchors, positives, negatives, margin
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder) -> dict[str, float]:
        """Accuracies by name."""
        anchors = encode(model, self.anchors, QUERY, self.dims)
        documents = encode(model, [*self.positives, *self.negatives], DOCUMENT, self.dims)
        positives, negatives = documents[: len(anchors)], documents[len(anchors) :]
        return {
            f"accuracy_{name}": float(
                np.mean(compare_rows(anchors, positives, name) > compare_rows(anchors, negatives, name) + self.margin)
            )
            for name in self.similarities
        }


def _pair_scores(model: BiEncoder | CrossEncoder, pairs: SimilarityEvaluator | BinaryEvaluator) -> dict[str, Array]:
    """The scores [N] of a cross-encoder, as `score`; else the similarities of the embeddings by name."""
    if isinstance(model, CrossEncoder):
        return {"score": score_pairs(model, pairs.first, pairs.second)}
    first, second = encode(model, pairs.first, QUERY, pairs.dims), encode(model, pairs.second, DOCUMENT, pairs.dims)
    return {name: compare_rows(first, second, name) for name in pairs.similarities}


def _check_similarities(similarities: Sequence[str], dims: int | None) -> None:
    check_count(dims=dims)
    for name in similarities:
        check_choice(PAIR_SIMILARITIES, similarities=name)


def _is_constant(values: Array) -> bool:
    return bool(np.ptp(values) <= _NOISE * np.abs(values).max())
