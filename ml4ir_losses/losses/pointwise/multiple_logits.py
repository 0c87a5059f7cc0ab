"""Pointwise losses that take several logits per document."""

from __future__ import annotations

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, Positive, PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape, show
from ml4ir_losses.losses.base import PointwiseLossBase
from ml4ir_losses.losses.pointwise.single_logit import binary_terms
from ml4ir_losses.ops import as_float, clean, normalise, row_sum
from ml4ir_losses.ops.kernels.logarithms import softplus
from ml4ir_losses.ops.normalization import Normalization


def ordinal(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    ordinal_size: PositiveInt,
    use_fraction_label: bool = False,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query ordinal loss of scores [B, N, K], [B]: see `OrdinalLoss`."""
    labels, scores, mask, weight = _clean(labels, scores, mask, item_weight)
    levels = ops.arange(1, ordinal_size + 1, dtype=scores.dtype)[:, None, None]
    reached = labels - levels + 1.0  # at least 1 if the label is at least k; between 0 and 1: the fraction of level k
    target = ops.clip(reached, 0.0, 1.0) if use_fraction_label else ops.cast(reached >= 1.0, scores.dtype)
    terms = ops.sum(binary_terms(target, scores), axis=0)
    return normalise(row_sum(weight * terms), row_sum(weight), normalization)


def click_em(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    exam_loss_weight: NonNegative = 1.0,
    rel_loss_weight: NonNegative = 1.0,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query click EM loss of scores [B, N, 2], [B]: see `ClickEMLoss`."""
    labels, scores, mask, weight = _clean(labels, scores, mask, item_weight)
    exam, relevance = ops.unstack(scores, 2, axis=0)
    clicked = labels >= 1.0

    def posterior(logit: Tensor, other: Tensor) -> Tensor:
        return ops.where(clicked, 1.0, ops.sigmoid(logit - softplus(other)))

    detached = ops.stop_gradient(exam), ops.stop_gradient(relevance)
    terms = exam_loss_weight * binary_terms(posterior(*detached), exam)
    terms = terms + rel_loss_weight * binary_terms(posterior(*detached[::-1]), relevance)
    return normalise(row_sum(weight * terms), row_sum(weight), normalization)


def mixture_em(
    labels: Tensor,
    scores: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    temperature: Positive = 1.0,
    alpha: Positive = 1.0,
    normalization: Normalization = "query",
) -> Tensor:
    """Per-query mixture EM loss of scores [B, N, M], [B]: see `MixtureEMLoss`."""
    labels, scores, mask, weight = _clean(labels, scores, mask, item_weight, temperature)
    relevant = ops.any(labels > 0, axis=-1, keepdims=True)
    weight = ops.where(relevant, weight, 0.0)
    likelihood = row_sum(weight * binary_terms(labels, scores))
    # Subtract the first component term by term: the difference of two large sums would lose its precision.
    detached = ops.stop_gradient(scores)
    first = detached[:1]
    above = softplus(detached) - softplus(first) - labels * (detached - first)
    share = ops.softmax(-alpha * row_sum(weight * above), axis=0)
    return normalise(ops.sum(ops.stop_gradient(share) * likelihood, axis=0), row_sum(weight), normalization)


def _clean(
    labels: Tensor, scores: Tensor, mask: Tensor | None, item_weight: Tensor | None, temperature: float = 1.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`clean` for scores [B, N, K], returned as [K, B, N]: loops over a long inner dimension are faster.

    Scores [B, N] are one output per document.
    """
    scores = as_float(scores)
    scores = scores[None] if len(scores.shape) == 2 else ops.moveaxis(scores, -1, 0)
    labels, _, mask, weight = clean(labels, ops.min(scores, axis=0), mask, item_weight)
    scores = ops.where(mask, scores, 0.0)
    return labels, scores / temperature if temperature != 1.0 else scores, mask, weight


def mean_sigmoid_logit(logits: Tensor) -> Tensor:
    """The logit of the mean of the sigmoids over the last axis, unbounded, so that large logits do not tie."""
    logits = as_float(logits)
    return ops.logsumexp(ops.log_sigmoid(logits), axis=-1) - ops.logsumexp(ops.log_sigmoid(-logits), axis=-1)


class _OutputsLoss(PointwiseLossBase):
    """A loss of y_pred [B, N, K]."""

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        single = self.outputs == 1 and len(y_pred) == 2
        fits = len(y_true) == 2 and (single or len(y_pred) == 3)
        sizes = [*zip(y_true, y_pred, strict=False), (self.outputs, 1 if single else y_pred[-1] if y_pred else None)]
        if not fits or any(a is not None and b is not None and a != b for a, b in sizes):
            raise UserError(
                f"{self.key!r} takes y_true [B, N] and y_pred {self._wanted()}. "
                f"Received: y_true {show(y_true)}, y_pred {show(y_pred)}."
            )

    def _wanted(self) -> str:
        return f"[B, N, {self.outputs}]"


@register_loss("ordinal", aliases=("ordinal_loss",))
class OrdinalLoss(_OutputsLoss):
    r"""Cross entropy of K sigmoids, of which the k-th says whether the label is at least k.

    $$\ell_i = -\sum_{k=1}^{K} [o_{ik} \ln\sigma(s_{ik}) + (1-o_{ik})\ln(1-\sigma(s_{ik}))],\quad o_{ik} = [y_i \ge k]$$
    and the query's value is Σ w·ℓ / Σ w over its documents, in nats.

    Scores [B, N, K] (K = 1: [B, N] too), labels [B, N]; the final activation is the sum of the K sigmoids, the
    expected label.

    Args:
        ordinal_size: K, the highest label; that many logits per document.
        use_fraction_label: a label between k - 1 and k counts with its fraction, o = y - k + 1.
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch; `sum`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for y_pred of another width than `ordinal_size`.

    Source: Pobrotyn et al., "Context-aware learning to rank with self-attention" (2020).
    """

    function = staticmethod(ordinal)
    activation = "sum_of_sigmoids"

    @property
    def outputs(self) -> int:
        size: int = self.params["ordinal_size"]
        return size

    def rank_scores(self, logits: Tensor) -> Tensor:
        return mean_sigmoid_logit(logits) if len(logits.shape) == 3 else logits

    def _wanted(self) -> str:
        return f"[B, N, K] with K = ordinal_size = {self.outputs}"


@register_loss("click_em", aliases=("click_em_loss",))
class ClickEMLoss(_OutputsLoss):
    r"""One EM step of the model in which a click needs examination and relevance.

    $$\ell_i = a\,\mathrm{CE}(P^e_i, \sigma(e_i)) + b\,\mathrm{CE}(P^r_i, \sigma(r_i))$$
    CE is the binary cross entropy, and the posteriors are 1 for a click (y ≥ 1), else
    P^e = σ(e - ln(1 + exp r)) and P^r = σ(r - ln(1 + exp e)); no gradient flows through them. The query's value is
    Σ w·ℓ / Σ w over its documents, in nats.

    Scores [B, N, 2], the logits of examination and relevance; labels [B, N]. The documents are ranked by relevance.

    Args:
        exam_loss_weight: a, the factor of the examination term.
        rel_loss_weight: b, the factor of the relevance term.
        normalization: `query`, the mean over the query's documents; `batch`, the mean over all documents of the
            batch; `sum`.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for y_pred without two logits per document.

    Source: Wang et al., "Position bias estimation for unbiased learning to rank in personal search" (2018).
    """

    function = staticmethod(click_em)
    activation = "sigmoid_of_relevance"

    @property
    def outputs(self) -> int:
        return 2

    def rank_scores(self, logits: Tensor) -> Tensor:
        return logits[..., 1]


@register_loss("mixture_em", aliases=("mixture_em_loss",))
class MixtureEMLoss(_OutputsLoss):
    r"""One EM step of a mixture of M scorers, one of which explains each query.

    $$\sum_m q_m L_m,\quad L_m = \sum_i w_i\,\mathrm{CE}(y_i, \sigma(s_{im}/T)),\quad q = \mathrm{softmax}(-\alpha L)$$
    divided by Σ w of the query's documents. CE is the binary cross entropy; no gradient flows through q, and a query
    without a positive label gives 0. In nats. Scores [B, N, M], labels [B, N]; the final activation is the mean
    of the M sigmoids.

    Args:
        temperature: T, above 0; scores are divided by it.
        alpha: α, above 0; how sharply q prefers the scorer with the lowest L.
        normalization: `query`, divided by Σ w as above; `batch`, divided by Σ w of the whole batch; `sum`, not
            divided. q is the same in all three.
        min_label: documents whose label is below it are padding.

    Raises:
        ValueError: for y_pred that is not [B, N, M].

    Source: Yan et al., "Revisiting two-tower models for unbiased learning to rank" (2022); the loss of TF-Ranking.
    """

    function = staticmethod(mixture_em)
    activation = "mean_of_sigmoids"

    @property
    def outputs(self) -> None:
        """Any number of scorers."""

    def rank_scores(self, logits: Tensor) -> Tensor:
        return mean_sigmoid_logit(logits)

    def _wanted(self) -> str:
        return "[B, N, M]"
