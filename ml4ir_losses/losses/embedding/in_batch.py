"""Losses whose negatives are the other rows of the batch."""

from __future__ import annotations

from typing import Any, ClassVar

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Positive, PositiveInt
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase, Memory, clean_rows, row_values, with_memory
from ml4ir_losses.ops import lowest
from ml4ir_losses.ops.in_batch import hardest_columns, logsumexp_both_ways, logsumexp_of_dots
from ml4ir_losses.ops.replicas import gather_rows
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY, SIMILARITY_MATRIX, Similarity, paired_cosine, unit_vectors

CACHED = {"mini_batch_size": PositiveInt, "show_progress_bar": bool}  # parameters of a training step
CACHED_DEFAULTS = {"mini_batch_size": 32, "show_progress_bar": False}


def multiple_negatives_ranking(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    scale: Positive = 20.0,
    similarity: Similarity = "cosine",
    gather_across_devices: bool = False,
) -> Tensor:
    """Row values of the cross entropy among in-batch negatives, [B]: see `MultipleNegativesRankingLoss`.

    `labels` are not read; `scale` may also be a scalar tensor, which gets a gradient.
    """
    x, valid = clean_rows(embeddings, mask)
    others, real, before = _candidates(x, valid, memory, gather_across_devices)
    terms, _ = in_batch_cross_entropy(x, others, real, before, scale, similarity)
    return row_values(terms, valid, item_weight)


def multiple_negatives_symmetric_ranking(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    memory: Memory | None = None,
    scale: Positive = 20.0,
    similarity: Similarity = "cosine",
    gather_across_devices: bool = False,
) -> Tensor:
    """Row values of the cross entropy in both directions, [B]: see `MultipleNegativesSymmetricRankingLoss`.

    `labels` are not read; `scale` may also be a scalar tensor, which gets a gradient.
    """
    x, valid = clean_rows(embeddings, mask)
    others, real, before = _candidates(x, valid, memory, gather_across_devices)
    forward, back = in_batch_cross_entropy(x, others, real, before, scale, similarity, symmetric=True)
    return row_values((forward + back) / 2.0, valid, item_weight)


def contrastive_tension_in_batch(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    scale: Positive = 20.0,
) -> Tensor:
    """Row values of contrastive tension against the batch, [B]: see `ContrastiveTensionInBatchLoss`.

    `labels` are not read; `scale` may also be a scalar tensor, which gets a gradient.
    """
    return multiple_negatives_symmetric_ranking(labels, embeddings, mask, item_weight=item_weight, scale=scale)


def mega_batch_margin(
    labels: Tensor,
    embeddings: Tensor,
    mask: Tensor | None = None,
    *,
    item_weight: Tensor | None = None,
    positive_margin: float = 0.8,
    negative_margin: float = 0.3,
    mini_batch_size: PositiveInt = 50,
) -> Tensor:
    """Row values of the margins of the positive and the hardest negative, [B]: see `MegaBatchMarginLoss`.

    `labels` are not read.
    """
    x, valid = clean_rows(embeddings, mask)
    anchors, positives = unit_vectors(x[:, 0]), unit_vectors(x[:, 1])
    index = ops.arange(ops.shape(x)[0], dtype="int32")
    hardest = hardest_columns(anchors, positives, _others, (index,), (index, valid), mini_batch_size)
    negative = paired_cosine(anchors, ops.take(positives, hardest, axis=0))
    pull = ops.relu(positive_margin - paired_cosine(anchors, positives))
    push = ops.relu(negative - negative_margin)
    is_only_row = ops.sum(ops.cast(valid, x.dtype)) < 2
    return row_values(pull + ops.where(is_only_row, 0.0, push), valid, item_weight)


def in_batch_cross_entropy(
    x: Tensor, others: Tensor, real: Tensor, before: Any, scale: Any, similarity: str, symmetric: bool = False
) -> tuple[Tensor, Tensor]:
    """Cross entropy of every row's positive among the candidates, and of its anchor among the anchors, [B] each.

    Args:
        x: [B, C, D], the rows whose loss it is.
        others: [A, C, D], all rows, those of `x` among them, whose positives and negatives are the candidates.
        real: [A], which of all rows count.
        before: how many of all rows stand before those of `x`.
        scale: what similarities are multiplied with.
        similarity: a key of `SIMILARITY_MATRIX`.
        symmetric: False: the second result is the first again.
    """
    rows, count, texts = ops.shape(x)[0], ops.shape(others)[0], x.shape[1] - 1
    own = ops.arange(rows, dtype="int32") + before
    index = ops.arange(count, dtype="int32")
    candidates = ops.concatenate([others[:, column + 1] for column in range(texts)])
    # Own positives are left out of the sum and compared with it: no digits are lost where the loss is near 0.
    number = ops.arange(count * texts, dtype="int32")
    real_texts = ops.tile(real, (texts,))
    anchors, positives, all_anchors = x[:, 0], x[:, 1], others[:, 0]
    scale = scale if isinstance(scale, (int, float)) else ops.cast(scale, x.dtype)
    target = scale * PAIRED_SIMILARITY[similarity](anchors, positives)
    if similarity in ("cosine", "dot"):
        if similarity == "cosine":
            anchors, positives, all_anchors, candidates = (
                unit_vectors(part) for part in (anchors, positives, all_anchors, candidates)
            )
        anchors, positives = scale * anchors, scale * positives
        if symmetric and others is x:
            forward, back = logsumexp_both_ways(anchors, candidates, _real_others, (own, real), (number, real_texts))
            return _cross_entropy(forward, target), _cross_entropy(back[:rows], target)
        forward = logsumexp_of_dots(anchors, candidates, _others, (own,), (number, real_texts))
        if not symmetric:
            return _cross_entropy(forward, target), _cross_entropy(forward, target)
        back = logsumexp_of_dots(positives, all_anchors, _others, (own,), (index, real))
        return _cross_entropy(forward, target), _cross_entropy(back, target)

    def logsumexp(a: Tensor, b: Tensor, kept: Tensor) -> Tensor:
        return ops.logsumexp(ops.where(kept, scale * SIMILARITY_MATRIX[similarity](a, b), lowest(a)), axis=-1)

    forward = back = _cross_entropy(logsumexp(anchors, candidates, _others(own, number, real_texts)), target)
    if symmetric:
        back = _cross_entropy(logsumexp(positives, all_anchors, _others(own, index, real)), target)
    return forward, back


def _candidates(x: Tensor, valid: Tensor, memory: Memory | None, gather: bool) -> tuple[Tensor, Tensor, Any]:
    """All rows, [A, C, D], which of them count, [A], and how many of them stand before those of `x`."""
    (others, real), before = gather_rows(x, valid) if gather else ((x, valid), 0)
    if memory is None:
        return others, real, before
    others, _, real = with_memory(memory, others, ops.zeros_like(others[:, 0, 0]), real)
    return others, real, before


def _others(own: Tensor, index: Tensor, real: Tensor) -> Tensor:
    """Every real candidate but the row's own positive."""
    return ops.logical_and(own[:, None] != index[None, :], real[None, :])


def _real_others(own: Tensor, row_is_real: Tensor, index: Tensor, real: Tensor) -> Tensor:
    return ops.logical_and(_others(own, index, real), row_is_real[:, None])


def _cross_entropy(others: Tensor, target: Tensor) -> Tensor:
    """ln(e^others + e^target) - target."""
    return -ops.log_sigmoid(target - others)


@register_loss("multiple_negatives_ranking")
class MultipleNegativesRankingLoss(EmbeddingLossBase):
    r"""Cross entropy of an anchor's positive among the positives and negatives of all rows.

    $$\ln\sum_{j=1}^{B}\sum_{k=1}^{C-1} e^{c\,\mathrm{sim}(a_i,\,p_{jk})} - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    a is column 0 of y_pred [B, C, D], p_1 column 1, the positive, and p_2, ... the negatives, as many as there are.
    A positive that stands in two rows is a negative of both. y_true is anything with B rows. In nats. Of the B·B·(C-1)
    similarities only a block at a time is in memory, forward and backward, where `similarity` is cosine or dot.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: under a `tf.distribute` strategy the rows of all replicas are candidates.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Henderson et al., "Efficient natural language response suggestion for Smart Reply" (2017); van den Oord et
    al., "Representation learning with contrastive predictive coding" (2018).
    """

    function = staticmethod(multiple_negatives_ranking)
    takes_memory = True
    in_batch = True


@register_loss("multiple_negatives_symmetric_ranking")
class MultipleNegativesSymmetricRankingLoss(EmbeddingLossBase):
    r"""The mean of `multiple_negatives_ranking` and its reverse, a positive's anchor among all anchors.

    $$\tfrac12\Big[\ln\sum_j\sum_k e^{c\,\mathrm{sim}(a_i,\,p_{jk})} + \ln\sum_j e^{c\,\mathrm{sim}(a_j,\,p_{i1})}\Big]
    - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Shapes and memory are those of `MultipleNegativesRankingLoss`; negatives count in the forward direction only. In
    nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: under a `tf.distribute` strategy the rows of all replicas are candidates.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Radford et al., "Learning transferable visual models from natural language supervision" (2021), for pairs.
    """

    function = staticmethod(multiple_negatives_symmetric_ranking)
    takes_memory = True
    in_batch = True


@register_loss("cached_multiple_negatives_ranking")
class CachedMultipleNegativesRankingLoss(MultipleNegativesRankingLoss):
    r"""`multiple_negatives_ranking` for batches whose texts do not fit into memory at once.

    $$\ln\sum_{j=1}^{B}\sum_{k=1}^{C-1} e^{c\,\mathrm{sim}(a_i,\,p_{jk})} - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Value and gradient are the same; shapes are those of `MultipleNegativesRankingLoss`. In nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: under a `tf.distribute` strategy the rows of all replicas are candidates.
        mini_batch_size: how many rows a model embeds at a time; never changes the value.
        show_progress_bar: kept from sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = {"min_label": None, **CACHED_DEFAULTS}


@register_loss("cached_multiple_negatives_symmetric_ranking")
class CachedMultipleNegativesSymmetricRankingLoss(MultipleNegativesSymmetricRankingLoss):
    r"""`multiple_negatives_symmetric_ranking` for batches whose texts do not fit into memory at once.

    $$\tfrac12\Big[\ln\sum_j\sum_k e^{c\,\mathrm{sim}(a_i,\,p_{jk})} + \ln\sum_j e^{c\,\mathrm{sim}(a_j,\,p_{i1})}\Big]
    - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Value and gradient are the same; shapes are those of `MultipleNegativesRankingLoss`. In nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: under a `tf.distribute` strategy the rows of all replicas are candidates.
        mini_batch_size: how many rows a model embeds at a time; never changes the value.
        show_progress_bar: kept from sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = {"min_label": None, **CACHED_DEFAULTS}


@register_loss("contrastive_tension_in_batch")
class ContrastiveTensionInBatchLoss(EmbeddingLossBase):
    r"""Cross entropy, in both directions, of two encoders' embeddings of one text among those of all texts.

    $$\tfrac12\Big[\ln\sum_j e^{c\cos(u_i,\,v_j)} + \ln\sum_j e^{c\cos(u_j,\,v_i)}\Big] - c\cos(u_i,\,v_i)$$

    y_pred [B, 2, D]: u is the first encoder's, v the second's. y_true is anything with B rows. In nats. The pure
    function also takes a scalar tensor as `scale`, such as the exponential of a number that a model trains.

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


@register_loss("mega_batch_margin")
class MegaBatchMarginLoss(EmbeddingLossBase):
    r"""Margins of the cosines with the positive and with the hardest negative of the batch.

    $$\max(0,\ m_+ - \cos(a_i, p_i)) + \max(0,\ \max_{j \ne i}\cos(a_i, p_j) - m_-)$$

    y_pred [B, 2, D]: anchor and positive; y_true is anything with B rows. The second term is 0 in a batch of one row.
    The hardest negative is looked up by blocks of rows, so that memory is `mini_batch_size`·B.

    Args:
        positive_margin: m₊, the cosine from which on a positive is near enough.
        negative_margin: m₋, the cosine up to which a negative is far enough.
        mini_batch_size: rows of a block; never changes the value.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, 2, D].

    Source: Wieting, Gimpel, "ParaNMT-50M: pushing the limits of paraphrastic sentence embeddings with millions of
    machine translations" (2018).
    """

    function = staticmethod(mega_batch_margin)
    columns = (2, 2)
    in_batch = True
