"""TF-Ranking's v1 API, `tfr.losses`, for Keras: `make_loss_fn`, `make_loss_metric_fn`, keys and lambda weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from ml4ir_losses.compat.tf_ranking.inputs import dense_inputs
from ml4ir_losses.compat.tf_ranking.keras.lambda_weights import (
    create_ndcg_lambda_weight,
    create_p_list_mle_lambda_weight,
    create_reciprocal_rank_lambda_weight,
)
from ml4ir_losses.compat.tf_ranking.keras.losses import get, loss_class
from ml4ir_losses.compat.tf_ranking.keys import RankingLossKey
from ml4ir_losses.compat.tf_ranking.v1_loss import V1Loss
from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.keras_loss import RelevanceLoss
from ml4ir_losses.losses.lambda_weights import get_lambda_weight
from ml4ir_losses.ops.backend import without_autograph
from ml4ir_losses.ops.weights import split_weights

__all__ = [
    "RankingLossKey",
    "create_ndcg_lambda_weight",
    "create_p_list_mle_lambda_weight",
    "create_reciprocal_rank_lambda_weight",
    "make_loss_fn",
    "make_loss_metric_fn",
]

_WEIGHTS_DOCUMENTS_THERE = ("calibrated_softmax_loss", "poly_one_softmax_loss")
_SAMPLED = {
    "yeti_logistic_loss": "pairwise_logistic_loss",
    "gumbel_approx_ndcg_loss": "approx_ndcg_loss",
    "gumbel_neural_sort_cross_entropy_loss": "neural_sort_cross_entropy_loss",
    "gumbel_neural_sort_ndcg_loss": "neural_sort_ndcg_loss",
}
"""The losses that v1 computes as others, on samples."""


def make_loss_fn(
    loss_keys: str | Sequence[str],
    loss_weights: Sequence[float] | None = None,
    weights_feature_name: str | None = None,
    lambda_weight: Any = None,
    reduction: str = "weighted_sum_by_nonzero_weights",
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    gumbel_params: Mapping[str, Any] | None = None,
) -> V1Loss:
    """One Keras loss that is the weighted sum of several: `"softmax_loss:0.9,mean_squared_loss:0.1"`.

    >>> make_loss_fn("softmax_loss:0.9, mean_squared_loss:0.1").name
    'softmax_loss_mean_squared_loss'

    Its values are those of v1: by default the sum over pairs, documents or lists over the number of those whose
    weight is not 0. Lambda weights of pairs have the factor N here, and `yeti_logistic_loss` has none by default.

    Args:
        loss_keys: one key, a list of keys, or `key:weight` pairs. A key given twice counts twice.
        loss_weights: the weights of a key or of a list of keys; None: 1 each.
        weights_feature_name: None; weights come as `sample_weight`.
        lambda_weight: for those of the losses that can use it.
        reduction: one of `tf.compat.v1.losses.Reduction`, but not its `NONE`: see `V1Loss`.
        name: by default the keys.
        params: further parameters of every loss.
        gumbel_params: `sample_size`, `temperature` and `seed` of the samples, which the losses share.

    Raises:
        ValueError: for unknown keys, weights that do not fit, and a lambda weight or samples that no loss can use.
    """
    keys, weights = _keys_and_weights(loss_keys, loss_weights)
    _no_weights_feature(weights_feature_name)
    if gumbel_params:
        _check_gumbel_params(keys, gumbel_params)
    own: list[dict[str, Any]] = [dict(params or {}) for _ in keys]
    plain = [_SAMPLED.get(key, key) for key in keys]
    if lambda_weight is not None:
        _add_lambda_weight(own, plain, lambda_weight)
    losses = [get(key, **more).loss for key, more in zip(plain, own, strict=True)]
    terms = zip(losses, weights, [key in _SAMPLED for key in keys], strict=True)
    return V1Loss(list(terms), reduction, name or "_".join(keys), gumbel_params)


def make_loss_metric_fn(
    loss_key: str, weights_feature_name: str | None = None, lambda_weight: Any = None, name: str | None = None
) -> keras.metrics.Metric:
    """A Keras metric: the mean over queries of a loss, for pairwise and pointwise losses of the query's mean.

    >>> make_loss_metric_fn("softmax_loss").name
    'softmax_loss'

    As in v1, losses on Gumbel samples are measured without sampling. The number differs from v1's where that divides
    by the pairs, places or relevance of all queries, or by lambda weights, and for `approx_*`, whose temperature v1
    leaves out there.

    Args:
        loss_key: the loss.
        weights_feature_name: None; weights come as `sample_weight`.
        lambda_weight: as in `get`.
        name: by default the key.

    Raises:
        ValueError: for an unknown key, and for losses that cannot be computed without sampling.
    """
    _no_weights_feature(weights_feature_name)
    parameters = loss_class(loss_key).peer_parameters
    key = loss_key.removeprefix("gumbel_")
    params = {"normalization": "query"} if "normalization" in parameters else {}
    loss = get(key, lambda_weight=lambda_weight, **params).loss
    if loss.samples:
        raise UserError(f"{loss_key!r} draws at random at every call and is no metric. Take another loss.")
    return LossMean(loss, name=name or loss_key)


@keras.saving.register_keras_serializable("ml4ir_losses")
class LossMean(keras.metrics.Mean):  # type: ignore[misc]
    """The mean over queries of a loss, by their weights.

    Args:
        loss: the loss, or its config.
        name: by default the loss's key.
        dtype: of the sums.
    """

    def __init__(self, loss: Any, name: str | None = None, dtype: str | None = None) -> None:
        self.loss_fn = RelevanceLoss(get_loss(loss), reduction="none")
        super().__init__(name=name or self.loss_fn.name, dtype=dtype)

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Adds a batch; weights are scalar, [B] or [B, 1] per query, or [B, N] per document."""
        y_true, y_pred, sample_weight = without_autograph(dense_inputs)(y_true, y_pred, sample_weight)
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        shape = self.loss_fn.loss.weight_shape(y_true.shape, y_pred.shape)
        query_weight, item_weight = split_weights(sample_weight, shape)
        super().update_state(self.loss_fn(y_true, y_pred, item_weight), query_weight)

    def get_config(self) -> dict[str, Any]:
        """The loss, name and dtype."""
        return {**super().get_config(), "loss": self.loss_fn.loss.get_config()}


def _keys_and_weights(
    loss_keys: str | Sequence[str], loss_weights: Sequence[float] | None
) -> tuple[list[str], list[float]]:
    if not loss_keys:
        raise UserError(f"`loss_keys` must name at least one loss. Received: {loss_keys!r}.")
    if isinstance(loss_keys, str) and (":" in loss_keys or "," in loss_keys):
        if loss_weights is not None:
            raise UserError(
                f"`loss_weights` must be None where `loss_keys` holds weights, as {loss_keys!r} does. "
                f"Received: {loss_weights!r}."
            )
        pairs = [pair.partition(":") for pair in loss_keys.replace(" ", "").split(",")]
        return [key for key, _, _ in pairs], [_weight(text or 1.0) for _, _, text in pairs]
    keys = [loss_keys] if isinstance(loss_keys, str) else list(loss_keys)
    weights = [1.0] * len(keys) if loss_weights is None else [_weight(weight) for weight in loss_weights]
    if len(keys) != len(weights):
        raise UserError(f"`loss_weights` must hold one weight for each of {len(keys)} losses. Received: {weights!r}.")
    return keys, weights


def _weight(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UserError(
            f"The weight of a loss must be a number, as in 'softmax_loss:0.9'. Received: {value!r}."
        ) from None


def _no_weights_feature(weights_feature_name: str | None) -> None:
    if weights_feature_name:
        raise UserError(
            "`weights_feature_name` must be None: pass the weights as `sample_weight` (to the loss, or to `fit`). "
            f"Received: {weights_feature_name!r}."
        )


def _add_lambda_weight(params: list[dict[str, Any]], keys: Sequence[str], lambda_weight: Any) -> None:
    weight, used = get_lambda_weight(lambda_weight), False
    for key, own in zip(keys, params, strict=True):
        families = getattr(LOSSES[loss_class(key).key].target, "lambda_weights", ())
        if weight.family in families or (weight.family == "dcg" and key in _WEIGHTS_DOCUMENTS_THERE):
            own["lambda_weight"], used = weight, True
    if not used:
        raise UserError(f"None of the losses {', '.join(keys)} can use the lambda weight {weight.key!r}.")


def _check_gumbel_params(keys: Sequence[str], gumbel_params: Mapping[str, Any]) -> None:
    known = ("sample_size", "temperature", "seed")
    for name in gumbel_params:
        if name not in known:
            raise UserError(
                f"`gumbel_params` has no {name!r}.{did_you_mean(name, known)} It holds: {', '.join(known)}."
            )
    if not any(key in _SAMPLED for key in keys):
        raise UserError(f"`gumbel_params` must be None: none of the losses {', '.join(keys)} samples.")
