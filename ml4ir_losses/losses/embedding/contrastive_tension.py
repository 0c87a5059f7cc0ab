"""Contrastive tension: two encoders agree on the same text."""

from __future__ import annotations

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, clean_rows, labelled_pairs, row_values
from ml4ir_losses.losses.embedding.in_batch import all_rows, symmetric_cross_entropy
from ml4ir_losses.ops.similarity import paired_dot


def contrastive_tension(
    labels: Tensor, embeddings: Tensor, mask: Tensor | None = None, *, item_weight: Tensor | None = None
) -> Tensor:
    """Per-row values of contrastive tension, [B]: see `ContrastiveTensionLoss`."""
    y, (a, b), valid = labelled_pairs(labels, embeddings, mask)
    z = paired_dot(a, b)
    terms = -y * ops.log_sigmoid(z) - (1.0 - y) * ops.log_sigmoid(-z)
    return row_values(terms, valid, item_weight, scaled=False)


def contrastive_tension_in_batch(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
) -> Tensor:
    """Per-row values of contrastive tension against the batch, [B]: see `ContrastiveTensionInBatchLoss`.

    `labels` are ignored; `scale` may also be a scalar tensor, which gets a gradient.
    """
    x, valid = clean_rows(embeddings, mask)
    rows = all_rows(x, valid, memory=None, gather=True)
    return row_values(symmetric_cross_entropy(x, rows, scale, "cosine"), valid, item_weight)


@register_loss("contrastive_tension")
class ContrastiveTensionLoss(EmbeddingLossBase):
    r"""Contrastive tension: logistic loss of whether two encoders embedded the same text.

    $$-y \ln\sigma(u \cdot v) - (1 - y) \ln\sigma(-u \cdot v)$$

    u is the first encoder's embedding of a text, v the second encoder's; both are trained. The loss of
    sentence-transformers is the sum of the row values (`reduction="sum"`). In nats. y_pred [B, 2, D]; y_true [B], 1 if
    the two texts are the same, else 0.

    Raises:
        ValueError: for shapes that do not fit, and in direct calls for labels other than 0 and 1.

    Source: Carlsson et al., "Semantic re-tuning with contrastive tension" (2021).
    """

    function = staticmethod(contrastive_tension)
    columns = (2, 2)
    labels = "binary"

    def default_batching(self, labelled: bool) -> str:
        return super().default_batching(labelled) if labelled else "contrastive_pairs"


@register_loss("contrastive_tension_in_batch")
class ContrastiveTensionInBatchLoss(EmbeddingLossBase):
    r"""Contrastive tension with in-batch negatives: cross entropy, in both directions, over two encoders' embeddings.

    $$\tfrac12\Big[\ln\sum_j e^{c\cos(u_i,\,v_j)} + \ln\sum_j e^{c\cos(u_j,\,v_i)}\Big] - c\cos(u_i,\,v_i)$$

    y_pred [B, 2, D]: u is the first encoder's, v the second's. y_true has B rows and is ignored. In nats. The pure
    function also takes a scalar tensor as `scale`, such as the exponential of a trained variable.

    Args:
        scale: c, above 0.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, 2, D].

    Source: Carlsson et al., "Semantic re-tuning with contrastive tension" (2021); the form is that of
    sentence-transformers.
    """

    function = staticmethod(contrastive_tension_in_batch)
    columns = (2, 2)
    in_batch = True
    trained = ("scale",)
