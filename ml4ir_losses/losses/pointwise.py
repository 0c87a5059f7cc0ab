"""Pointwise losses."""

from __future__ import annotations

from ml4ir_losses.lazy import Tensor, ops
from ml4ir_losses.losses.base import PointwiseLossBase
from ml4ir_losses.ops import clean, normalise, row_sum
from ml4ir_losses.registry import register_loss


def binary_terms(labels: Tensor, scores: Tensor, pos_weight: float | None = None) -> Tensor:
    """-[p·y·ln σ(s) + (1-y)·ln(1-σ(s))] in a form that is exact at any score."""
    positive = labels if pos_weight is None else pos_weight * labels
    return -positive * ops.log_sigmoid(scores) - (1.0 - labels) * ops.log_sigmoid(-scores)


def sigmoid_cross_entropy(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    pos_weight: float | None = None,
    normalization: str = "query",
) -> Tensor:
    """Per-query sigmoid cross entropy, [B]: see `SigmoidCrossEntropy`."""
    labels, scores, mask, weight = clean(labels, scores, mask, item_weight)
    terms = weight * binary_terms(labels, scores, pos_weight)
    return normalise(row_sum(terms), row_sum(weight), normalization)


@register_loss("sigmoid_cross_entropy", aliases=("sigmoid_cross_entropy_loss",))
class SigmoidCrossEntropy(PointwiseLossBase):
    r"""Cross entropy of every document's label with the sigmoid of its score.

    $$\ell_i = -[p\,y_i \ln\sigma(s_i) + (1-y_i)\ln(1-\sigma(s_i))]$$
    and the query's value is Σ w·ℓ / Σ w over its documents, in nats.

    Labels are used as they are: a label above 1 has no lower bound. Scores and labels [B, N].

    Args:
        pos_weight: p, the factor of the positive term; None is 1.
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch (ml4ir); `sum`.
        min_label: documents whose label is below it are padding.

    Source: Cox, "The regression analysis of binary sequences" (1958); the pointwise loss of ml4ir.
    """

    function = staticmethod(sigmoid_cross_entropy)
    activation = "sigmoid"
