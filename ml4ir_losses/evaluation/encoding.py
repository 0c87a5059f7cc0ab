"""Protocols of the models that can be evaluated and mined with, and validation of their outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError

QUERY, DOCUMENT = "anchor", "positive"  # column names of queries and documents in a bi-encoder


class BiEncoder(Protocol):
    """A model that embeds texts; `column` is `anchor` for queries and `positive` for documents."""

    def encode(self, texts: Sequence[str], column: str = QUERY, batch_size: int = 256) -> Array:
        """Embeddings, [N, D]."""


@runtime_checkable
class CrossEncoder(Protocol):
    """A model that scores pairs of a query and a document."""

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """Scores, [N]; higher is better."""


class PairClassifier(Protocol):
    """A model that gives pairs of texts the probabilities of named classes."""

    classes: Sequence[str]

    def class_probabilities(self, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """Probabilities, [N, K]."""


def encode(model: BiEncoder, texts: Sequence[str], column: str, dims: int | None = None) -> Array:
    """Embeddings of texts, [N, D] float32; duplicate texts are encoded once.

    Args:
        model: a bi-encoder.
        texts: N texts.
        column: `anchor` for queries, `positive` for documents.
        dims: number of leading dimensions to keep; None: all.

    Raises:
        UserError: if the embeddings are not [N, D], have fewer than `dims` dimensions, or are not finite.
    """
    row_of = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    embeddings = np.asarray(model.encode(list(row_of), column=column), dtype="float32")
    if embeddings.ndim != 2 or len(embeddings) != len(row_of):
        raise UserError(
            f"`encode` of the model must give one embedding for each of {len(row_of)} texts, [N, D]. "
            f"Received: {list(embeddings.shape)}."
        )
    if dims is not None and embeddings.shape[1] < dims:
        raise UserError(f"`dims` must be at most the embeddings' {embeddings.shape[1]}. Received: dims={dims}.")
    _check_finite(embeddings, "embeddings")
    embeddings = embeddings[:, :dims]
    if len(row_of) == len(texts):
        return embeddings
    expanded: Array = embeddings[[row_of[text] for text in texts]]
    return expanded


def score_pairs(model: CrossEncoder, queries: Sequence[str], documents: Sequence[str]) -> Array:
    """Scores of pairs, [N] float64.

    Raises:
        UserError: if the scores are not [N] or not finite.
    """
    scores = np.asarray(model.score_pairs(queries, documents), dtype="float64")
    if scores.shape != (len(queries),):
        raise UserError(
            f"`score_pairs` of the model must give one score for each of {len(queries)} pairs. "
            f"Received: {list(scores.shape)}."
        )
    _check_finite(scores, "scores")
    return scores


def _check_finite(values: Array, name: str) -> None:
    if not np.isfinite(values).all():
        raise UserError(f"The {name} of the model must be finite. Received: {values[~np.isfinite(values)][0]}.")


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
        DataError: if a value is not a finite number; the message names its row, counted from 0.
    """
    try:
        numbers = np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        raise DataError(f"`{name}` must be numbers. Received: {list(values)[:3]!r}, ...") from None
    if numbers.ndim != 1:
        raise DataError(f"`{name}` must be one number for each row. Received the shape {list(numbers.shape)}.")
    invalid = np.flatnonzero(~np.isfinite(numbers))
    if len(invalid):
        raise DataError(f"`{name}` must be finite numbers. Received: {numbers[invalid[0]]} in row {invalid[0]}.")
    return numbers
