"""What the evaluators and the mining ask of a model, and the checks on what it gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError

QUERY, DOCUMENT = "anchor", "positive"  # the columns that a bi-encoder knows the two sides by


class BiEncoder(Protocol):
    """Texts to embeddings; queries come as the column `anchor`, documents as `positive`."""

    def encode(self, texts: Sequence[str], column: str = QUERY, batch_size: int = 256) -> Array:
        """Embeddings, [N, D]."""


@runtime_checkable
class CrossEncoder(Protocol):
    """Pairs of a query and a document to scores."""

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """Scores, [N]; higher is better."""


def encode(model: BiEncoder, texts: Sequence[str], column: str, dims: int | None = None) -> Array:
    """Embeddings of texts, [N, D] float32; equal texts are encoded once.

    Args:
        model: a bi-encoder.
        texts: N of them.
        column: `anchor` for queries, `positive` for documents.
        dims: only the first dimensions; None: all.

    Raises:
        UserError: for embeddings of another shape, with fewer than `dims` dimensions, or that are not finite.
    """
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    embeddings = np.asarray(model.encode(list(places), column=column), dtype="float32")
    if embeddings.ndim != 2 or len(embeddings) != len(places):
        raise UserError(
            f"`encode` of the model must give one embedding for each of {len(places)} texts, [N, D]. "
            f"Received: {list(embeddings.shape)}."
        )
    if dims is not None and embeddings.shape[1] < dims:
        raise UserError(f"`dims` must be at most the embeddings' {embeddings.shape[1]}. Received: dims={dims}.")
    _check_finite(embeddings, "embeddings")
    embeddings = embeddings[:, :dims]
    if len(places) == len(texts):
        return embeddings
    chosen: Array = embeddings[[places[text] for text in texts]]
    return chosen


def score_pairs(model: CrossEncoder, queries: Sequence[str], documents: Sequence[str]) -> Array:
    """Scores of pairs, [N] float64.

    Raises:
        UserError: for scores of another shape, or that are not finite.
    """
    scores = np.asarray(model.score_pairs(queries, documents), dtype="float64")
    if scores.shape != (len(queries),):
        raise UserError(
            f"`score_pairs` of the model must give one score for each of {len(queries)} pairs. "
            f"Received: {list(scores.shape)}."
        )
    _check_finite(scores, "scores")
    return scores


def _check_finite(values: Array, what: str) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"The {what} of the model must be finite. Received: {values[~np.isfinite(values)][0]}.")


def check_lengths(**columns: Sequence[Any] | Array) -> None:
    """Raises `DataError` unless all columns have the same number of rows, at least one."""
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        names = ", ".join(f"`{name}`" for name in lengths)
        received = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise DataError(f"{names} must have the same number of rows, at least one. Received: {received}.")


def finite_numbers(name: str, values: Sequence[float] | Array) -> Array:
    """The values as float64 [N].

    Raises:
        DataError: for a value that is not a finite number; it names the row, from 0.
    """
    try:
        numbers = np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        raise DataError(f"`{name}` must be numbers. Received: {list(values)[:3]!r}, ...") from None
    if numbers.ndim != 1:
        raise DataError(f"`{name}` must be one number for each row. Received the shape {list(numbers.shape)}.")
    wrong = np.flatnonzero(~np.isfinite(numbers))
    if len(wrong):
        raise DataError(f"`{name}` must be finite numbers. Received: {numbers[wrong[0]]} in row {wrong[0]}.")
    return numbers
