"""The row of every key: its oracle, the parameters to test, and the properties that hold.

A key of the registry that no family describes fails the suite (`case_of`), so a new loss brings its row.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest

from losses.families import (
    classification,
    distillation,
    embedding_heads,
    embedding_pairs,
    embedding_triplets,
    embedding_wrappers,
    in_batch,
    lambdas,
    listwise,
    margin,
    outputs,
    pairwise,
    pointwise,
    sampling,
    surrogates,
)
from losses.families.common import Case
from losses.numeric import BACKEND, central_differences, with_slopes
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.losses import factory
from ml4ir_losses.losses.base import RelevanceLossBase

FAMILIES = (
    pointwise,
    outputs,
    classification,
    pairwise,
    lambdas,
    margin,
    listwise,
    surrogates,
    sampling,
    distillation,
    embedding_pairs,
    embedding_triplets,
    embedding_heads,
    embedding_wrappers,
    in_batch,
)
CASES: dict[str, Case] = {key: case for family in FAMILIES for key, case in family.CASES.items()}
KEYS = [entry.key for entry in LOSSES if entry.target.__module__.startswith("ml4ir_losses.")]


class Batch(NamedTuple):
    """Float64 arrays: labels, scores, mask and weight in the shapes of the loss's layout."""

    labels: Any
    scores: Any
    mask: Any
    weight: Any


def case_of(key: str) -> Case:
    if key not in CASES:
        pytest.fail(f"The loss {key!r} has no oracle and no properties: add its row to tests/losses/families.")
    return CASES[key]


def get_loss(spec: Any, **params: Any) -> RelevanceLossBase:
    """The loss; for a key, missing required parameters come from its case."""
    known = isinstance(spec, str) and spec in LOSSES and LOSSES[spec].key in CASES
    required = CASES[LOSSES[spec].key].required if known else {}
    return factory.get_loss(spec, **{**required, **params})


def make_embeddings(case: Case, rng: Any, rows: int, size: int, padded: bool, ties: bool) -> Batch:
    """A random batch of embeddings: row 1 is padding, rows share a class; `ties=False` makes numbers distinct."""
    places = [number for number in (case.columns, case.layers) if number]
    scores = rng.normal(size=(rows, *places, case.dims or size))
    labels = {
        "none": lambda: np.zeros(rows),
        "class": lambda: rng.permutation(np.arange(rows) % 3),
        "binary": lambda: rng.permutation(np.arange(rows) % 2),
        "share": lambda: rng.uniform(0, 1, rows),
        "number": lambda: rng.integers(0, 4, rows) if ties else rng.permutation(rows),
        "token": lambda: rng.integers(0, case.dims, (rows, case.columns)),
        "teacher": lambda: rng.normal(size=(rows, *case.teacher)),
    }[case.labels]()
    mask = np.arange(rows) != (1 if padded and rows > 1 else rows)
    return Batch(labels.astype("float64"), scores, mask, rng.uniform(0.2, 3.0, rows))


def make_batch(key: str, seed: int = 0, rows: int = 7, size: int = 6, padded: bool = True, ties: bool = True) -> Batch:
    """A random batch. With padding anywhere: query 0 has no relevance, 1 is all padding, 2 is one document, 3 is tied.

    In a batch of lists `ties=False` makes the labels of a query distinct, and its scores too.
    """
    case, rng = case_of(key), np.random.default_rng(seed)
    size = case.width or size
    if case.layout == "embeddings":
        return make_embeddings(case, rng, rows, size, padded, ties)
    if not ties:  # no two scores of a query within 0.1
        scores = rng.permuted(np.tile(np.linspace(-2.0, 2.0, size), (rows, 1)), axis=1)
    else:
        scores = np.round(rng.normal(size=(rows, size)) * 2, 1)  # one decimal: some scores tie
    if case.layout == "classes":
        labels = rng.integers(0, size, rows).astype("float64")
        mask = np.arange(rows) != (1 if padded and rows > 1 else rows)
        return Batch(np.where(mask, labels, -1.0), scores, mask, rng.uniform(0.2, 3.0, rows))
    if ties:
        labels = rng.integers(0, 2 if case.labels == "binary" else 4, (rows, size)).astype("float64")
        if rows > 3:
            labels[0], scores[3], labels[3] = 0.0, 0.5, 1.0
    else:
        labels = rng.permuted(np.tile(np.arange(size, dtype="float64"), (rows, 1)), axis=1)
    if case.labels == "unit":
        labels /= max(size - 1, 3)
    elif case.labels == "binary":
        labels = np.minimum(labels, 1.0)
    if case.layout == "outputs":
        scores = np.round(scores[..., None] + rng.normal(size=(rows, size, case.outputs)), 1)
    if case.layout == "columns":
        return Batch(labels, scores, np.ones((rows, size), dtype=bool), rng.uniform(0.2, 3.0, rows))
    mask = np.ones((rows, size), dtype=bool)
    if padded:
        mask = rng.random((rows, size)) < 0.7
        mask[0, 0] = True
        if rows > 2:
            mask[1], mask[2] = False, np.arange(size) == size // 2
    padding = np.nan if LOSSES[key].target.negative_labels else -1.0
    return Batch(np.where(mask, labels, padding), scores, mask, rng.uniform(0.2, 3.0, (rows, size)))


def keras_batch(key: str, rows: int = 7, size: int = 6) -> Batch:
    """A random float32 batch for a Keras model: padding only where labels can mark it."""
    return float32(make_batch(key, rows=rows, size=size, padded=case_of(key).marked))


def fill(x: Any, mask: Any, filler: Any) -> Any:
    """The array with other numbers where the mask is false."""
    return np.where(mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x, filler)


def pure(loss: RelevanceLossBase | str, batch: Batch, weighted: bool = True, /, **params: Any) -> Callable[[Any], Any]:
    """scores -> per-row values of the loss, for the labels, mask and weights of the batch."""
    loss = get_loss(loss, **params) if isinstance(loss, str) else loss
    weight = batch.weight if weighted and case_of(loss.key).layout != "columns" else None
    call, both = compiled(loss) if BACKEND == "jax" else (loss.per_query, None)

    def function(scores: Any) -> Any:
        return call(batch.labels, scores, weight, batch.mask)

    if both is not None:
        function.both = lambda scores: both(batch.labels, scores, weight, batch.mask)  # type: ignore
    return function


_COMPILED: dict[Any, Any] = {}


def compiled(loss: RelevanceLossBase) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """On JAX, `per_query` without and with its gradient by the scores, each compiled once for every loss and shape.

    Operation by operation takes ten times as long. A loss that samples has its gradient taken inside, which JAX cannot
    differentiate from outside a compiled function.
    """
    import jax

    def both(labels: Any, scores: Any, weight: Any, mask: Any) -> Any:
        return with_slopes(lambda x: loss.per_query(labels, x, weight, mask), scores)

    noise = keras.random.uniform  # replaced by a test that fixes the noise
    if loss.samples and noise.__module__.startswith("keras"):
        return loss.per_query, both
    key = (repr(loss), noise)
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(loss.per_query), jax.jit(both)
    return _COMPILED[key]


def oracle(key: str, batch: Batch, scores: Any = None, weighted: bool = True, **params: Any) -> Any:
    """Per-row values by the oracle of the key."""
    case = case_of(key)
    weight = batch.weight if weighted and case.layout != "columns" else None
    return np.array(
        case.oracle(
            batch.labels, batch.scores if scores is None else scores, batch.mask, weight, **{**case.required, **params}
        )
    )


def rows_are_independent(key: str, params: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """True if the value of a row does not depend on the other rows of the batch."""
    case = case_of(key)
    return case.layout != "embeddings" and not case.pooled and params.get("normalization") != "batch"


def oracle_slopes(key: str, batch: Batch, step: float = 1e-5, **params: Any) -> Any:
    """d Σ oracle / d scores by central differences, with the parts without gradient held constant."""
    case = case_of(key)
    held = {"held": batch.scores} if case.held else {}
    return central_differences(
        lambda s: oracle(key, batch, s, **params, **held), batch.scores, step, rows_are_independent(key, params)
    )


def move(batch: Batch, order: Any) -> Batch:
    """The batch with the documents of each query in another order, [B, N] indices."""
    return Batch(*(np.take_along_axis(x, order.reshape(order.shape + (1,) * (x.ndim - 2)), axis=1) for x in batch))


def float32(batch: Batch) -> Batch:
    return Batch(*(x.astype("float32") if x.dtype == "float64" else x for x in batch))
