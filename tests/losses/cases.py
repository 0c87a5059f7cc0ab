"""What the suite knows of every key: its oracle, the parameters to try, and the properties that hold.

A key of the registry that is missing here fails the suite (`case_of`), so a new loss brings its row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from losses import oracles
from ml4ir_losses.losses.base import RelevanceLossBase, get_loss
from ml4ir_losses.registry import LOSSES

NORMALIZED = ({"normalization": "query"}, {"normalization": "batch"}, {"normalization": "sum"})
SHARP = {"temperature": 0.3}


class Batch(NamedTuple):
    """Float64 arrays. Ranking: all [B, N]. Classification: scores [B, K], the others [B]; its padding is rows."""

    labels: Any
    scores: Any
    mask: Any
    weight: Any


@dataclass(frozen=True)
class Case:
    oracle: Callable[..., list[float]]
    variants: tuple[dict[str, Any], ...]
    labels: str = "graded"  # graded, unit (0 to 1) or class
    shift_invariant: bool = True
    constant_alone: bool = True  # a query of one document is worth 0 at any score

    @property
    def ranking(self) -> bool:
        return self.labels != "class"


CASES = {
    "sigmoid_cross_entropy": Case(
        oracles.sigmoid_cross_entropy,
        (*NORMALIZED, {"pos_weight": 3.0}),
        shift_invariant=False,
        constant_alone=False,
    ),
    "pairwise_logistic": Case(oracles.pairwise_logistic, (*NORMALIZED, SHARP)),
    "softmax_cross_entropy": Case(
        oracles.softmax_cross_entropy, ({}, SHARP, {"normalize_labels": True}, {"normalize_labels": True, **SHARP})
    ),
    "rank_one_listnet": Case(oracles.rank_one_listnet, ({}, SHARP), labels="unit"),
    "aux_one_hot_cross_entropy": Case(oracles.aux_one_hot_cross_entropy, ({}, SHARP)),
    "aux_softmax_cross_entropy": Case(oracles.aux_softmax_cross_entropy, ({}, SHARP)),
    "list_mle": Case(oracles.list_mle, ({}, SHARP, {"respect_input_order": True}, {"activation_fn": "tanh"})),
    "categorical_cross_entropy": Case(
        oracles.categorical_cross_entropy,
        (
            {},
            {"label_smoothing": 0.2},
            {"class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0]},
            {"class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0], "label_smoothing": 0.1},
            {"ignore_index": 2},
            {"activation_fn": "tanh"},
        ),
        labels="class",
        constant_alone=False,
    ),
}
KEYS = [entry.key for entry in LOSSES if entry.target.__module__.startswith("ml4ir_losses.")]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    (key, params) for key in KEYS for params in (CASES[key].variants if key in CASES else ({},))
]

each_key = pytest.mark.parametrize("key", KEYS)
each_ranking_key = pytest.mark.parametrize("key", [k for k in KEYS if k not in CASES or CASES[k].ranking])
each_variant = pytest.mark.parametrize(
    ("key", "params"), VARIANTS, ids=[f"{key}-{'-'.join(map(str, params.values()))}" for key, params in VARIANTS]
)
each_ranking_variant = pytest.mark.parametrize(
    ("key", "params"), [(key, params) for key, params in VARIANTS if key not in CASES or CASES[key].ranking]
)


def case_of(key: str) -> Case:
    if key not in CASES:
        pytest.fail(f"The loss {key!r} has no oracle and no properties: add its row to tests/losses/cases.py.")
    return CASES[key]


def make_batch(key: str, seed: int = 0, rows: int = 7, size: int = 6, padded: bool = True, ties: bool = True) -> Batch:
    """A random batch. With padding anywhere: query 0 has no relevance, 1 is all padding, 2 is one document, 3 is tied.

    In a ranking batch `ties=False` makes the labels of a query distinct.
    """
    case, rng = case_of(key), np.random.default_rng(seed)
    scores = np.round(rng.normal(size=(rows, size)) * 2, 1)  # one decimal: some scores tie
    if not case.ranking:
        labels = rng.integers(0, size, rows).astype("float64")
        mask = np.arange(rows) != (1 if padded and rows > 1 else rows)
        return Batch(np.where(mask, labels, -1.0), scores, mask, rng.uniform(0.2, 3.0, rows))
    if ties:
        labels = rng.integers(0, 4, (rows, size)).astype("float64")
        if rows > 3:
            labels[0], scores[3], labels[3] = 0.0, 0.5, 1.0
    else:
        labels = rng.permuted(np.tile(np.arange(size, dtype="float64"), (rows, 1)), axis=1)
    if case.labels == "unit":
        labels /= max(size - 1, 3)
    mask = np.ones((rows, size), dtype=bool)
    if padded:
        mask = rng.random((rows, size)) < 0.7
        mask[0, 0] = True
        if rows > 2:
            mask[1], mask[2] = False, np.arange(size) == size // 2
    return Batch(np.where(mask, labels, -1.0), scores, mask, rng.uniform(0.2, 3.0, (rows, size)))


def pure(loss: RelevanceLossBase | str, batch: Batch, weighted: bool = True, **params: Any) -> Callable[[Any], Any]:
    """scores -> row values by the pure function of the loss, labels, mask and weights being those of the batch."""
    loss = get_loss(loss, **params) if isinstance(loss, str) else loss
    return lambda scores: loss.per_query(batch.labels, scores, batch.weight if weighted else None, batch.mask)


def float32(batch: Batch) -> Batch:
    return Batch(*(x.astype("float32") if x.dtype == "float64" else x for x in batch))
