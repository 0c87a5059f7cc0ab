"""How sparse embeddings are, measured while an evaluator encodes texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.evaluation.encoding import DOCUMENT, QUERY
from ml4ir_losses.evaluation.evaluators import Evaluator, RerankingEvaluator, RetrievalEvaluator
from ml4ir_losses.evaluation.scoring import QueryMetrics


def _statistics(active: Array, width: int) -> dict[str, float]:
    """`active_dims`, the mean number of nonzero entries of a row; `sparsity_ratio`, the share of zeros."""
    mean = float(active.mean())
    return {"active_dims": mean, "sparsity_ratio": 1.0 - mean / width}


class SparsityRecorder:
    """A sparse bi-encoder that counts the active dimensions of what it encodes."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.active: dict[str, list[Array]] = {}
        self.width = 0

    def encode(self, texts: Sequence[str], column: str = QUERY, batch_size: int = 256) -> Array:
        """The model's embeddings, [N, D]."""
        embeddings: Array = self.model.encode(texts, column=column, batch_size=batch_size)
        self.active.setdefault(column, []).append(np.count_nonzero(embeddings, axis=1))
        self.width = embeddings.shape[1]
        return embeddings

    def values(self, evaluator: Evaluator) -> dict[str, float]:
        """`active_dims` and `sparsity_ratio` of the texts; where queries search documents, of each of the two."""
        prefixes = {"": [QUERY, DOCUMENT]}
        if isinstance(evaluator, (RetrievalEvaluator, RerankingEvaluator)):
            prefixes = {"query_": [QUERY], "corpus_": [DOCUMENT]}
        return {
            prefix + name: value
            for prefix, columns in prefixes.items()
            for name, value in _statistics(
                np.concatenate([part for column in columns for part in self.active[column]]), self.width
            ).items()
        }


def evaluate(evaluator: Evaluator, model: Any) -> dict[str, float]:
    """The values of an evaluator, and of a sparse model its active dimensions and its share of zeros.

    `active_dims` and `sparsity_ratio` are means over the encoded texts; evaluators of retrieval and reranking have
    them as `query_...` and `corpus_...`.
    """
    if not getattr(model, "sparse", False):
        return evaluator.evaluate(model)
    recorder = SparsityRecorder(model)
    return {**evaluator.evaluate(recorder), **recorder.values(evaluator)}


def evaluate_by_query(
    evaluator: RetrievalEvaluator | RerankingEvaluator, model: Any
) -> tuple[QueryMetrics, dict[str, float]]:
    """The metrics of each query, which all count the same; and of a sparse model how sparse it is."""
    recorder = SparsityRecorder(model) if getattr(model, "sparse", False) else None
    values = evaluator.per_query(recorder or model)
    counted = np.ones(len(evaluator.query_ids), "float32")
    metrics = QueryMetrics(values, dict.fromkeys(values, counted), np.array(evaluator.query_ids, dtype=object))
    return metrics, recorder.values(evaluator) if recorder else {}
