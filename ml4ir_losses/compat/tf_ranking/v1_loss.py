"""The Keras loss behind `make_loss_fn`: sums of losses, with the reductions and samples of TF-Ranking's v1 API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from ml4ir_losses.compat.tf_ranking.inputs import dense_inputs
from ml4ir_losses.core.errors import UserError, unknown_name
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.parameters import Positive, PositiveInt, Seed, check_values
from ml4ir_losses.losses.base import RelevanceLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.keras_loss import concrete
from ml4ir_losses.losses.lambda_weights import DCGLambdaWeight, NDCGLambdaWeightV2, get_lambda_weight
from ml4ir_losses.ops import as_float, ranks, row_sum, safe_divide
from ml4ir_losses.ops.backend import without_autograph
from ml4ir_losses.ops.pairs import valid_pairs
from ml4ir_losses.ops.sampling import gumbel_noise, perturb
from ml4ir_losses.ops.weights import split_weights

REDUCTIONS = ("weighted_sum", "weighted_sum_by_nonzero_weights", "weighted_mean", "weighted_sum_over_batch_size")
_TIMES_LIST_LENGTH = (DCGLambdaWeight, NDCGLambdaWeightV2)  # what TF-Ranking multiplies by the padded length
_LABEL_WEIGHTED = ("softmax_cross_entropy", "calibrated_softmax", "poly1_softmax")
_EVERY_LIST = ("list_mle", "unique_softmax")  # count lists without relevance too


class Term(NamedTuple):
    """A loss of the sum. One that is `sampled` is computed on perturbed scores."""

    loss: RelevanceLossBase
    weight: float
    sampled: bool


class Batch(NamedTuple):
    """Labels [B, N], scores, mask [B, N], and weights of the documents [B, N] or None."""

    labels: Tensor
    scores: Tensor
    mask: Tensor
    weight: Tensor | None


@keras.saving.register_keras_serializable("ml4ir_losses.tf_ranking")
class V1Loss(keras.losses.Loss):  # type: ignore[misc]
    """Σ weight · loss, each reduced over the batch by the weights that TF-Ranking gives to pairs, documents or lists.

    Args:
        losses: (loss, weight, sampled) of every term.
        reduction: `weighted_sum`, or that over the number of weights that are not 0 (`_by_nonzero_weights`), over
            the sum of weights (`weighted_mean`), or over the number of weights (`_over_batch_size`).
        name: the name of the loss.
        sampling: `sample_size`, `temperature` and `seed` of the Gumbel noise of the sampled terms.

    Raises:
        ValueError: for another reduction, and values of `sampling` that are not allowed.
    """

    def __init__(
        self,
        losses: Sequence[tuple[Any, float, bool]],
        reduction: str = "weighted_sum_by_nonzero_weights",
        name: str | None = None,
        sampling: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(name=name, reduction="sum")
        if reduction not in REDUCTIONS:
            raise UserError(unknown_name("reduction", reduction, REDUCTIONS))
        self.losses = [Term(get_loss(loss), float(weight), bool(sampled)) for loss, weight, sampled in losses]
        self.v1_reduction = reduction
        self.sampling = {"sample_size": 8, "temperature": 1.0, "seed": None, **(sampling or {})}
        check_values(sampled_batch, self.sampling)
        draws = any(term.sampled or term.loss.samples for term in self.losses)
        self.seed_generator = keras.random.SeedGenerator(self.sampling["seed"]) if draws else None

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        return without_autograph(self._total)(*without_autograph(dense_inputs)(y_true, y_pred, sample_weight))

    def _total(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None) -> Tensor:
        scores = as_float(ops.convert_to_tensor(y_pred))
        labels = ops.cast(ops.convert_to_tensor(y_true), scores.dtype)
        known = concrete(labels)
        for loss, *_ in self.losses:
            loss.check_shapes(tuple(labels.shape), tuple(scores.shape))
            if known is not None:
                loss.check_labels(known, scores.shape)
        plain = Batch(labels, scores, labels >= 0, _document_weight(sample_weight, labels))
        sampled = plain
        if any(term.sampled for term in self.losses):
            sampled = sampled_batch(plain, **{**self.sampling, "seed": self.seed_generator})
        values = [term.weight * self._reduced(term.loss, sampled if term.sampled else plain) for term in self.losses]
        return sum(values[1:], values[0])

    def _reduced(self, loss: RelevanceLossBase, batch: Batch) -> Tensor:
        weights = _list_weights(loss, batch) if _has_list_weights(loss) else None
        item_weight = batch.weight if weights is None else None
        values = loss.per_query(batch.labels, batch.scores, item_weight, batch.mask, self.seed_generator)
        if weights is not None:
            values = ops.where(weights != 0, values * weights, 0.0)
        total = ops.sum(values) * _list_length_factor(loss, batch)
        if self.v1_reduction == "weighted_sum":
            return total
        if weights is None:
            weights = _term_weights(loss, batch)
        counted = {
            "weighted_sum_by_nonzero_weights": lambda: ops.cast(weights != 0, total.dtype),
            "weighted_mean": lambda: weights,
            "weighted_sum_over_batch_size": lambda: ops.ones_like(weights),
        }[self.v1_reduction]()
        return safe_divide(total, ops.sum(counted))

    def get_config(self) -> dict[str, Any]:
        """The losses, reduction, name and sampling."""
        losses = [[loss.get_config(), weight, sampled] for loss, weight, sampled in self.losses]
        return {"losses": losses, "reduction": self.v1_reduction, "name": self.name, "sampling": dict(self.sampling)}


def sampled_batch(
    batch: Batch, *, sample_size: PositiveInt = 8, temperature: Positive = 1.0, seed: Seed = None
) -> Batch:
    """The batch `sample_size` times, [S·B, N], each time with other Gumbel noise on its scores."""

    def repeated(x: Tensor) -> Tensor:
        return ops.tile(x, [sample_size, 1])

    noise = gumbel_noise(batch.scores, sample_size, seed)
    scores = ops.reshape(perturb(batch.scores, batch.mask, noise, temperature), (-1, ops.shape(batch.scores)[1]))
    weight = None if batch.weight is None else repeated(batch.weight)
    return Batch(repeated(batch.labels), scores, repeated(batch.mask), weight)


def _document_weight(sample_weight: Any, labels: Tensor) -> Tensor | None:
    """Weights of a scalar, [B], [B, 1] or [B, N] for every document, [B, N]; None without weights."""
    given = sample_weight if isinstance(sample_weight, Mapping) else {"": sample_weight}
    weight = None
    for value in given.values():
        query, item = split_weights(value, tuple(labels.shape))
        if query is not None:
            item = ops.reshape(query, (-1, *[1] * (len(labels.shape) - 1)))
        if item is not None:
            item = ops.cast(item, labels.dtype) * ops.ones_like(labels)
            weight = item if weight is None else weight * item
    return weight


def _has_list_weights(loss: RelevanceLossBase) -> bool:
    """True for the losses of whole lists that TF-Ranking weights as a whole."""
    of_lists = loss.loss_type == "listwise" or loss.key == "circle"
    return of_lists and loss.key not in _LABEL_WEIGHTED


def _list_weights(loss: RelevanceLossBase, batch: Batch) -> Tensor:
    """The weights of lists, [B]: by relevance where documents are weighted, 0 or 1 without weights."""
    labels = ops.where(batch.mask, batch.labels, 0.0)
    if loss.key == "circle":
        counts = ops.any(_pairs(loss, batch), axis=(1, 2))
    elif loss.key in _EVERY_LIST:
        counts = ops.ones_like(labels[:, 0], dtype="bool")
    else:
        counts = row_sum(labels) > 0
    weights = ops.cast(counts, labels.dtype)
    if batch.weight is not None:
        weights = weights * safe_divide(row_sum(ops.where(batch.mask, batch.weight, 0.0) * labels), row_sum(labels))
    return weights


def _term_weights(loss: RelevanceLossBase, batch: Batch) -> Tensor:
    """The weights of what the loss is a sum of: pairs [B, N, N], documents [B, N], or lists [B] by their labels."""
    labels, scores, mask, weight = batch
    weight = ops.ones_like(labels) if weight is None else weight
    weight, spec = ops.where(mask, weight, 0.0), loss.params.get("lambda_weight")
    if loss.loss_type == "pairwise":
        weights = ops.where(_pairs(loss, batch), weight[:, :, None], 0.0)
        if spec is not None:
            given = get_lambda_weight(spec).pair_weights(labels, ranks(scores, mask), mask)
            weights = weights * given * _list_length_factor(loss, batch)
        return weights
    if loss.key in _LABEL_WEIGHTED:
        labels = ops.where(mask, labels, 0.0)
        if spec is not None:
            labels = get_lambda_weight(spec).document_weights(labels, ranks(scores, mask), mask)
        return row_sum(weight * labels)
    return weight


def _pairs(loss: RelevanceLossBase, batch: Batch) -> Tensor:
    """True for the pairs that the loss sums over, [B, N, N]."""
    labels, valid = batch.labels, valid_pairs(batch.mask)
    if loss.key == "pairwise_mse":
        return ops.logical_and(valid, ops.logical_not(ops.eye(ops.shape(labels)[1], dtype="bool")))
    return ops.logical_and(valid, labels[:, :, None] > labels[:, None, :])


def _list_length_factor(loss: RelevanceLossBase, batch: Batch) -> Any:
    """The padded length N where TF-Ranking multiplies the lambda weights of pairs by it, else 1."""
    spec = loss.params.get("lambda_weight") if loss.loss_type == "pairwise" else None
    if spec is None or not isinstance(get_lambda_weight(spec), _TIMES_LIST_LENGTH):
        return 1.0
    return ops.cast(ops.shape(batch.labels)[1], batch.scores.dtype)
