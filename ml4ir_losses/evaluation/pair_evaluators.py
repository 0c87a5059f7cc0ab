"""Evaluators of embeddings by pairs and triplets of texts, named as in sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats
from sklearn.metrics import average_precision_score, matthews_corrcoef, roc_curve

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, check_choice, check_count, check_number
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY, BiEncoder, check_lengths, encode, finite_numbers
from ml4ir_losses.evaluation.nearest import compare_rows

PAIR_SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")  # those of distances are the negative distances
_NOISE = 1e-7  # relative: what float32 embeddings cannot tell apart


class SimilarityEvaluator:
    """Correlation of the similarities of pairs with scores: `spearman_cosine`, `pearson_cosine`, ...

    0 where the similarities or the scores are all the same.

    Args:
        first: N texts, encoded as queries.
        second: N texts, encoded as documents.
        scores: N numbers, higher for more similar pairs.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: only the first dimensions of the embeddings; None: all.

    Raises:
        DataError: for columns of different lengths, and scores that are not finite.
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
        _check(similarities, dims)
        self.first, self.second, self.scores = first, second, finite_numbers("scores", scores)
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder) -> dict[str, float]:
        """The correlations by name."""
        first, second = encode(model, self.first, QUERY, self.dims), encode(model, self.second, DOCUMENT, self.dims)
        result = {}
        for name in self.similarities:
            values = compare_rows(first, second, name)
            same = _all_the_same(values) or _all_the_same(self.scores)
            for key, correlation in (("spearman", stats.spearmanr), ("pearson", stats.pearsonr)):
                result[f"{key}_{name}"] = 0.0 if same else float(correlation(self.scores, values).statistic)
        return result


class BinaryEvaluator:
    """Pairs that belong together told from those that do not: `ap_cosine`, `f1_cosine`, `accuracy_cosine`, ...

    For each similarity: the average precision (`ap`); the best F1, its `f1_threshold`, and the `precision`, the
    `recall` and Matthews' correlation (`mcc`) there; the best `accuracy` and its `accuracy_threshold`. A pair whose
    similarity is at least the threshold counts as one that belongs together; for distances that is the negative
    distance. Thresholds lie half-way to the next lower similarity; equal similarities are never told apart.

    Args:
        first: N texts, encoded as queries.
        second: N texts, encoded as documents.
        labels: N times 0 or 1, both of them present.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: only the first dimensions of the embeddings; None: all.

    Raises:
        DataError: for columns of different lengths, and labels that are not 0 and 1.
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
        _check(similarities, dims)
        found = finite_numbers("labels", labels)
        if set(found.tolist()) != {0.0, 1.0}:
            values = ", ".join(f"{value:g}" for value in np.unique(found)[:5])
            raise DataError(f"`labels` must be 0 and 1, and both must be there. Received: {values}.")
        self.first, self.second, self.labels = first, second, found.astype(int)
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder) -> dict[str, float]:
        """The values by name."""
        first, second = encode(model, self.first, QUERY, self.dims), encode(model, self.second, DOCUMENT, self.dims)
        result: dict[str, float] = {}
        for name in self.similarities:
            # float32, what the embeddings hold: similarities that differ by rounding alone are equal.
            scores = compare_rows(first, second, name).astype("float32").astype("float64")
            result |= {f"{key}_{name}": value for key, value in separation(self.labels, scores).items()}
        return result


def separation(labels: Array, scores: Array) -> dict[str, float]:
    """How well scores tell labels 1 from 0, [N] each: `ap`, `f1` and what belongs to it, `accuracy`."""
    false_rate, true_rate, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    true, false = np.rint(true_rate * positives), np.rint(false_rate * negatives)
    f1 = 2 * true / (true + false + positives)
    accuracy = (true + negatives - false) / len(labels)
    best, right = int(np.argmax(f1)), int(np.argmax(accuracy))
    f1_threshold = _between(thresholds, best)
    return {
        "ap": float(average_precision_score(labels, scores)),
        "f1": float(f1[best]),
        "f1_threshold": f1_threshold,
        "precision": float(true[best] / (true[best] + false[best])),
        "recall": float(true_rate[best]),
        "mcc": float(matthews_corrcoef(labels, scores >= f1_threshold)),
        "accuracy": float(accuracy[right]),
        "accuracy_threshold": _between(thresholds, right),
    }


def _between(thresholds: Array, at: int) -> float:
    """A threshold half-way to the next lower score; the first is above all scores."""
    if at == 0:
        return float(np.nextafter(thresholds[1], np.inf))
    if at + 1 == len(thresholds):
        return float(thresholds[at])
    return float((float(thresholds[at]) + float(thresholds[at + 1])) / 2)


class TripletEvaluator:
    """The share of anchors that are more similar to their positive than to their negative: `accuracy_cosine`, ...

    Equally similar ones do not count.

    Args:
        anchors: N texts, encoded as queries.
        positives: N texts, encoded as documents.
        negatives: N texts, encoded as documents.
        margin: by how much the positive must be more similar.
        similarities: which of `cosine`, `dot`, `euclidean` and `manhattan`.
        dims: only the first dimensions of the embeddings; None: all.

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
        _check(similarities, dims)
        self.anchors, self.positives, self.negatives, self.margin = anchors, positives, negatives, margin
        self.similarities, self.dims = similarities, dims

    def evaluate(self, model: BiEncoder) -> dict[str, float]:
        """The shares by name."""
        anchors = encode(model, self.anchors, QUERY, self.dims)
        documents = encode(model, [*self.positives, *self.negatives], DOCUMENT, self.dims)
        positives, negatives = documents[: len(anchors)], documents[len(anchors) :]
        return {
            f"accuracy_{name}": float(
                np.mean(compare_rows(anchors, positives, name) > compare_rows(anchors, negatives, name) + self.margin)
            )
            for name in self.similarities
        }


def _check(similarities: Sequence[str], dims: int | None) -> None:
    check_count(dims=dims)
    for name in similarities:
        check_choice(PAIR_SIMILARITIES, similarities=name)


def _all_the_same(values: Array) -> bool:
    return bool(np.ptp(values) <= _NOISE * np.abs(values).max())
