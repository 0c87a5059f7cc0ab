"""Sparse embeddings: the FLOPS regulariser, and a loss with regularisers of queries and documents."""

from __future__ import annotations

from typing import ClassVar, Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import NonNegative, PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.core.shapes import Shape
from ml4ir_losses.losses.embedding.base import CACHED, CACHED_DEFAULTS, EmbeddingLossBase, clean_rows, row_values
from ml4ir_losses.losses.embedding.wrappers import EmbeddingWrapper
from ml4ir_losses.losses.factory import LossSpec, get_loss
from ml4ir_losses.ops.replicas import sum_over_replicas
from ml4ir_losses.ops.similarity import absolute


def flops(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    threshold: PositiveInt | None = None,
) -> Tensor:
    """Row values of the FLOPS regulariser, [B], all the same number: see `FlopsLoss`. `labels` are not read."""
    x, valid = clean_rows(embeddings, mask)
    return row_values(_penalty("flops", x, valid, threshold), valid, item_weight, scaled=True)


SPARSE_RANKING = {"key": "multiple_negatives_ranking", "scale": 1.0, "similarity": "dot"}
Regularizer = Literal["flops", "l1"]


def splade(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    loss: LossSpec = SPARSE_RANKING,
    document_regularizer_weight: NonNegative,
    query_regularizer_weight: NonNegative | None = None,
    document_regularizer: Regularizer = "flops",
    query_regularizer: Regularizer = "flops",
    document_regularizer_threshold: PositiveInt | None = None,
    query_regularizer_threshold: PositiveInt | None = None,
    use_document_regularizer_only: bool = False,
) -> Tensor:
    """Row values of a loss and its regularisers, [B]: see `SpladeLoss`."""
    x, valid = clean_rows(embeddings, mask)
    documents = x if use_document_regularizer_only else x[:, 1:]
    penalty = _penalty(document_regularizer, documents, valid, document_regularizer_threshold)
    penalty = document_regularizer_weight * penalty
    if query_regularizer_weight is not None and not use_document_regularizer_only:
        of_queries = _penalty(query_regularizer, x[:, :1], valid, query_regularizer_threshold)
        penalty = penalty + query_regularizer_weight * of_queries
    return get_loss(loss).per_query(labels, embeddings, item_weight, mask) + row_values(penalty, valid, item_weight)


def _penalty(regularizer: Regularizer, x: Tensor, valid: Tensor, threshold: int | None) -> Tensor:
    """One number of [B, C, D]: Σ_j of the mean of entry j over rows and columns, squared, or of its size for `l1`.

    The rows are those of all replicas.
    """
    if threshold is not None:
        active = ops.sum(ops.cast(x != 0, x.dtype), axis=-1, keepdims=True)
        x = ops.where(active > threshold, x, 0.0)
    own = ops.sum(absolute(x)) if regularizer == "l1" else ops.sum(x, axis=(0, 1))
    count, total = sum_over_replicas((ops.sum(ops.cast(valid, x.dtype)) * x.shape[1], own))
    mean = total / ops.where(count > 0, count, 1.0)
    return mean if regularizer == "l1" else ops.sum(ops.square(mean))


@register_loss("flops")
class FlopsLoss(EmbeddingLossBase):
    r"""How many products it takes to score a document with sparse embeddings, smoothly.

    $$\sum_j \Big(\frac{1}{B C} \sum_{i,c} x_{icj}\Big)^2$$

    Made for embeddings of at least 0. y_pred [B, C, D] or [B, D]; y_true is anything with B rows. Every row carries the
    value of the batch.

    Args:
        threshold: embeddings of at most so many entries that are not 0 count as 0; None: all count.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred of another rank.

    Source: Paria et al., "Minimizing FLOPs to learn efficient sparse representations" (2020).
    """

    function = staticmethod(flops)
    columns = (1, None)


@register_loss("splade")
class SpladeLoss(EmbeddingWrapper):
    r"""A loss of sparse embeddings, with regularisers of documents and queries.

    $$L(x) + \lambda_d\,R(x_{\cdot,2..C}) + \lambda_q\,R(x_{\cdot,1}),\quad
    R = \mathrm{FLOPS}\ \text{or}\ \frac{1}{B C}\sum_{i,c,j} |x_{icj}|$$

    y_pred [B, C, D]: the query's embedding, then those of documents. Labels and units are those of `loss`.

    Args:
        loss: L, the key or `{key: ..., <parameters>}` of an embedding loss; when left out
            `multiple_negatives_ranking` with scale 1 and `dot`.
        document_regularizer_weight: λ_d, at least 0.
        query_regularizer_weight: λ_q, at least 0; None: queries have no regulariser.
        document_regularizer: R for documents: `flops`, or `l1`, the mean L1 norm.
        query_regularizer: R for queries.
        document_regularizer_threshold: `threshold` of `FlopsLoss`, for documents.
        query_regularizer_threshold: the same for queries.
        use_document_regularizer_only: one regulariser of documents and queries together, with λ_d.
        min_label: no effect.

    Raises:
        ValueError: what `loss` raises.

    Source: Formal et al., "SPLADE v2: sparse lexical and expansion model for information retrieval" (2021).
    """

    function = staticmethod(splade)

    def check_shapes(self, y_true: Shape, y_pred: Shape) -> None:
        super().check_shapes(y_true, y_pred)
        self.inner.check_shapes(y_true, y_pred)


@register_loss("cached_splade")
class CachedSpladeLoss(SpladeLoss):
    r"""`splade` for batches whose texts do not fit into memory at once.

    $$L(x) + \lambda_d\,R(x_{\cdot,2..C}) + \lambda_q\,R(x_{\cdot,1}),\quad
    R = \mathrm{FLOPS}\ \text{or}\ \frac{1}{B C}\sum_{i,c,j} |x_{icj}|$$

    Value and gradient are those of `SpladeLoss`, as are shapes, labels and units.

    Args:
        loss: L, as in `SpladeLoss`.
        document_regularizer_weight: λ_d, at least 0.
        query_regularizer_weight: λ_q, at least 0; None: queries have no regulariser.
        document_regularizer: R for documents: `flops`, or `l1`, the mean L1 norm.
        query_regularizer: R for queries.
        document_regularizer_threshold: `threshold` of `FlopsLoss`, for documents.
        query_regularizer_threshold: the same for queries.
        use_document_regularizer_only: one regulariser of documents and queries together, with λ_d.
        mini_batch_size: how many rows a model embeds at a time; never changes the value.
        show_progress_bar: kept from sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: what `loss` raises.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = {"min_label": None, **CACHED_DEFAULTS}

    @property
    def cached_batch_size(self) -> int | None:
        size: int = self.params["mini_batch_size"]
        return size
