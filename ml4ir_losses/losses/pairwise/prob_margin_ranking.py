"""Probabilistic margin losses: a pair in the wrong order costs its confidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import UserError, check_positive
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, differ, same_shape, show
from ml4ir_losses.losses.base import PairwiseLossBase, RelevanceLossBase
from ml4ir_losses.losses.pairwise.prob_margin_terms import LowerConfidence, NearDifference, Nearness, Shortfall
from ml4ir_losses.ops import as_float, clean, normalise, safe_divide
from ml4ir_losses.ops.normalization import Normalization
from ml4ir_losses.ops.pair_terms import Term
from ml4ir_losses.ops.pairs import ordered_pair_weight, pair_sums
from ml4ir_losses.ops.replicas import row_number, sum_over_replicas
from ml4ir_losses.ops.weighing import PairWeights


def prob_margin_ranking(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    base_margin: Positive = 1.0,
    do_fine_small_difference: bool = False,
) -> Tensor:
    """Per-query or per-pair values of the probabilistic margin loss, [B] or [M]: see `ProbMarginRankingLoss`."""
    pairs = _pairs(labels, scores, mask, item_weight)
    value = pairs.mean(Shortfall(temperature, base_margin), normalization)
    if do_fine_small_difference:
        value = value + _small_differences(pairs, normalization, base_margin, temperature)
    return value


def cosine_prob_margin_ranking(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    normalization: Normalization = "query",
    base_margin: Positive = 1.0,
    as_shipped: bool = False,
) -> Tensor:
    """Per-query or per-pair values of the steep form, [B] or [M]: see `CosineProbMarginRankingLoss`."""
    steep = {} if as_shipped else {"scale": 400.0, "shift": 6.0}
    pairs = _pairs(labels, scores, mask, item_weight)
    return pairs.mean(Shortfall(temperature, base_margin, **steep), normalization)


@dataclass(eq=False)
class FineTuningFeatures:
    """Pairs of a positive and a negative item of a query, aligned element by element: five tensors [M].

    Args:
        positive_ranks: similarity (or distance) of the positive to the query.
        negative_ranks: that of the negative.
        target: 1 where ranks are similarities, -1 where they are distances.
        positive_confidences: confidence that the positive is relevant, 0 to 1.
        negative_confidences: confidence that the negative is not relevant, 0 to 1.

    Raises:
        ValueError: unless all five are 1-D and of one length.
    """

    positive_ranks: Tensor
    negative_ranks: Tensor
    target: Tensor
    positive_confidences: Tensor
    negative_confidences: Tensor

    def __post_init__(self) -> None:
        names = [field.name for field in fields(self)]
        for name in names:
            setattr(self, name, ops.convert_to_tensor(getattr(self, name)))
        shapes = {name: tuple(getattr(self, name).shape) for name in names}
        if any(len(shape) != 1 or not same_shape(shape, shapes["positive_ranks"]) for shape in shapes.values()):
            listed = ", ".join(f"{name} {show(shape)}" for name, shape in shapes.items())
            raise UserError(f"FineTuningFeatures takes five 1-D tensors of one length. Received: {listed}.")


class RankingLossInterface(ABC):
    """A loss that is called on `FineTuningFeatures`, and whose margin a trainer sets."""

    @abstractmethod
    def __call__(self, features: FineTuningFeatures) -> Tensor:
        """The loss of the pairs, a scalar."""

    @abstractmethod
    def set_margin(self, margin: float) -> None:
        """Sets the margin, above 0."""


@register_loss("prob_margin_ranking")
class ProbMarginRankingLoss(PairwiseLossBase, RankingLossInterface):
    r"""Sigmoid of how far a pair falls short of the margin, times the confidence in the pair.

    $$\frac{1}{M} \sum_m c_m\, \sigma\big(\beta - t_m (s^+_m - s^-_m)/T\big), \qquad c_m = \min(c^+_m, c^-_m)$$

    A mistake costs at most its confidence; the divisor is the number of pairs, whatever their confidence. No pair
    gives 0. Two forms, which their shapes distinguish:

    * pairs: y_pred [M, 2] (positive, negative), y_true [M, 3] (target t, 1 for similarities and -1 for distances;
      confidence of the positive; of the negative). The loss is the mean of the per-pair values; weights are [M].
    * ranking: y_pred [B, N], y_true [B, N] labels, or [B, N, 2] labels and confidences (1 where not given; in a config,
      `features.confidence`). Pairs are y_i > y_j with t = 1; a pair's weight is that of document i.

    `loss(FineTuningFeatures(...))` and `loss.forward` give the scalar of the pairs.

    Args:
        base_margin: β, above 0; `set_margin` changes it for functions obtained afterwards.
        do_fine_small_difference: adds Σ|d|v / (Σv + 1e-10) with d the scaled difference, v = σ(k(β - |d|)) and
            k = int(100/β): it shrinks small differences of either sign. The sums run over the query, over the whole
            batch for pairs and with `normalization: batch`.
        temperature: T, above 0; scores are divided by it.
        normalization: of the ranking form: `query`, the mean over the query's pairs; `batch`, over all pairs of the
            batch; `sum`.
        min_label: of the ranking form: documents whose label is below it are padding.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for a target that is neither 1 nor -1.

    Source: Embedding Studio (version of 2025).
    """

    function = staticmethod(prob_margin_ranking)
    takes_confidence = True

    def get_loss_fn(self, **kwargs: Any) -> Any:
        """See `RelevanceLossBase.get_loss_fn`; later calls of `set_margin` do not change the result."""
        return RelevanceLossBase.get_loss_fn(type(self)(**self.params), **kwargs)

    def __call__(self, features: FineTuningFeatures, *others: Any, **kwargs: Any) -> Tensor:
        if others or kwargs:  # labels and scores, from Keras
            return super().__call__(features, *others, **kwargs)
        return self.forward(features)

    def forward(self, features: FineTuningFeatures) -> Tensor:
        """The loss of the pairs, a scalar; 0 without a pair."""
        positive, *others = (as_float(getattr(features, field.name)) for field in fields(features))
        negative, *labels = (ops.cast(other, positive.dtype) for other in others)
        rows = self.per_query(ops.stack(labels, axis=-1), ops.stack([positive, negative], axis=-1))
        return safe_divide(ops.sum(rows), ops.sum(ops.ones_like(rows)))

    def set_margin(self, margin: float) -> None:
        check_positive(margin=margin)
        self.params["base_margin"] = margin

    def valid(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return super().valid(y_true[..., 0] if len(y_true.shape) == 3 else y_true, y_pred)

    def per_query(
        self,
        y_true: Tensor,
        y_pred: Tensor,
        item_weight: Tensor | None = None,
        mask: Tensor | None = None,
        generator: Any = None,
    ) -> Tensor:
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if not _is_pair_form(y_true.shape, y_pred.shape):
            return super().per_query(y_true, y_pred, item_weight, mask, generator)
        # No `min_label`: -1 is a target here.
        return type(self).function(y_true, y_pred, mask, item_weight=item_weight, **self.arguments)

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        lists = len(y_pred) == 2 and (len(y_true) == 2 or (len(y_true) == 3 and y_true[2] in (2, None)))
        if (
            not lists
            or not (_is_pair_form(y_true, y_pred) or same_shape(y_true[:2], y_pred))
            or differ(y_true[0], y_pred[0])
        ):
            raise UserError(
                f"{self.key!r} takes y_pred [B, N] with y_true [B, N] labels or [B, N, 2] labels and confidences, or "
                "pairs: y_pred [M, 2] with y_true [M, 3] (target, two confidences). "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def check_labels(
        self, labels: np.ndarray[Any, Any], y_pred: Shape, mask: np.ndarray[Any, Any] | None = None
    ) -> None:
        if labels.ndim == 2 and _is_pair_form(labels.shape, y_pred):
            wrong = np.abs(labels[:, 0]) != 1
            if wrong.any():
                raise UserError(
                    f"{self.key!r} takes pairs whose target, the first column of y_true, is 1 or -1. "
                    f"Received: {labels[wrong][0, 0]:g}."
                )


@register_loss("cosine_prob_margin_ranking")
class CosineProbMarginRankingLoss(ProbMarginRankingLoss):
    r"""A steep sigmoid for cosines: every pair that is short of the margin by 0.02 or more costs its whole confidence.

    $$\frac{1}{M} \sum_m c_m\, \sigma\big(400\,(\beta - t_m (s^+_m - s^-_m)/T) - 6\big)$$

    Meant for small margins: with β = 1 it is flat for differences below 0.98. Inputs are those of
    `ProbMarginRankingLoss`, both forms.

    Args:
        base_margin: β, above 0.
        as_shipped: True gives what Embedding Studio computes under this name, `ProbMarginRankingLoss` (its override
            is never called).
        temperature: T, above 0; scores are divided by it.
        normalization: of the ranking form: `query`, `batch` or `sum`.
        min_label: of the ranking form: documents whose label is below it are padding.

    Raises:
        ValueError: as `ProbMarginRankingLoss`.

    Source: Embedding Studio (version of 2025).
    """

    function = staticmethod(cosine_prob_margin_ranking)  # type: ignore[assignment]


@dataclass(frozen=True)
class _Pairs:
    """The pairs y_i > y_j of each row of documents, [B, N]; without confidences and weights all are 1."""

    labels: Tensor
    scores: Tensor
    mask: Tensor
    confidence: Tensor | None
    weight: Tensor | None
    pair_form: bool

    def sums(self, term: Term, confidences: PairWeights | None = None) -> Tensor:
        """Σ w·term(s_i - s_j), [B]; the term divides by T, so that an offset of all scores costs no precision."""
        return pair_sums(term, self.labels, self.scores, self.mask, self.weight, confidences)

    def mean(self, term: Term, normalization: str) -> Tensor:
        """The weighted mean of confidence times term over the pairs."""
        confidences = None if self.confidence is None else PairWeights(LowerConfidence(), (self.confidence,))
        weight = ops.cast(self.mask, self.scores.dtype) if self.weight is None else self.weight
        divisor = ordered_pair_weight(self.labels, self.mask, weight)
        return normalise(self.sums(term, confidences), divisor, normalization)


def _pairs(labels: Tensor, scores: Tensor, mask: Tensor | None, item_weight: Tensor | None) -> _Pairs:
    labels, scores = ops.convert_to_tensor(labels), ops.convert_to_tensor(scores)
    pair_form = _is_pair_form(labels.shape, scores.shape)
    confidence = None
    if pair_form:
        if mask is not None or item_weight is not None:
            raise UserError("Pairs (y_pred [M, 2], y_true [M, 3]) take weights [M], and no mask or document weights.")
        # A list of two documents; the target says which has the higher label.
        confidence, target = labels[:, 1:], labels[:, :1]
        labels = ops.concatenate([target, ops.zeros_like(target)], axis=1)
    elif len(labels.shape) == 3:
        labels, confidence = labels[..., 0], labels[..., 1]
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    if confidence is not None:
        confidence = ops.where(mask, ops.cast(confidence, scores.dtype), 0.0)
    return _Pairs(labels, scores, mask, confidence, None if item_weight is None else weight, pair_form)


def _small_differences(pairs: _Pairs, normalization: str, base_margin: float, temperature: float) -> Tensor:
    """Smooth mean of the differences below the margin; its weights have gradients too."""
    shape = temperature, base_margin, int((1.0 / base_margin) * 100)
    total, weight = pairs.sums(NearDifference(*shape)), pairs.sums(Nearness(*shape))
    if pairs.pair_form or normalization == "batch":
        rows, whole = sum_over_replicas((row_number(total), ops.sum(weight)))
        return rows * total / (whole + 1e-10)
    return total / (weight + 1e-10)


def _is_pair_form(y_true: Shape, y_pred: Shape) -> bool:
    """True for labels [M, 3] of scores [M, 2]."""
    return len(y_true) == len(y_pred) == 2 and (y_true[1], y_pred[1]) == (3, 2)
