"""Cross entropy of a row's positive among the texts of the whole batch."""

from __future__ import annotations

from typing import Any, ClassVar

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.parameters import NonNegative, Positive
from ml4ir_losses.core.registry import register_loss
from ml4ir_losses.losses.embedding.base import (
    CACHED,
    CACHED_DEFAULTS,
    EmbeddingLossBase,
    Memory,
    clean_rows,
    row_values,
)
from ml4ir_losses.losses.embedding.in_batch import (
    Directions,
    HardnessMode,
    PartitionMode,
    all_rows,
    in_batch_cross_entropy,
    symmetric_cross_entropy,
    warn_without_devices,
)
from ml4ir_losses.ops.similarity import Similarity


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
    directions: Directions = ("query_to_doc",),
    partition_mode: PartitionMode = "joint",
    hardness_mode: HardnessMode | None = None,
    hardness_strength: NonNegative = 0.0,
) -> Tensor:
    """Per-row cross entropy among in-batch negatives, [B]: see `MultipleNegativesRankingLoss`.

    `labels` are ignored; `scale` may also be a scalar tensor, which gets a gradient.
    """
    warn_without_devices(gather_across_devices)
    x, valid = clean_rows(embeddings, mask)
    rows = all_rows(x, valid, memory, gather_across_devices)
    terms = in_batch_cross_entropy(
        x, rows, scale, similarity, directions, partition_mode, hardness_mode, hardness_strength
    )
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
    """Per-row cross entropy in both directions, [B]: see `MultipleNegativesSymmetricRankingLoss`.

    `labels` are ignored; `scale` may also be a scalar tensor, which gets a gradient.
    """
    warn_without_devices(gather_across_devices)
    x, valid = clean_rows(embeddings, mask)
    rows = all_rows(x, valid, memory, gather_across_devices)
    return row_values(symmetric_cross_entropy(x, rows, scale, similarity), valid, item_weight)


@register_loss("multiple_negatives_ranking")
class MultipleNegativesRankingLoss(EmbeddingLossBase):
    r"""Cross entropy of an anchor's positive among the positives and hard negatives of all rows.

    $$\ln\sum_{j=1}^{B}\sum_{k=1}^{C-1} e^{c\,\mathrm{sim}(a_i,\,p_{jk}) + h_{ijk}} - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    a is column 0 of y_pred [B, C, D], p_1 column 1, the positive, and p_2, ... any number of hard negatives. A positive
    that occurs in two rows is a negative of both. h is 0, or α·sim(a_i, p_jk) without a gradient for the negatives that
    `hardness_mode` selects. Further `directions` add their similarities to the sum, times c. y_true has B rows and is
    ignored. In nats. The similarities are computed in blocks, forward and backward, if `similarity` is cosine or dot.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: with several devices (`training.distribution`), the rows of all devices are candidates of
            each anchor, as if one device had the whole batch; false: those of the anchor's device. On JAX all are.
        directions: whose similarities are in the sum: `query_to_doc`, required: the anchor to all positives and
            negatives; `query_to_query`: the anchor to other anchors; `doc_to_query`: the positive to all anchors;
            `doc_to_doc`: the positive to the positives and negatives of other rows.
        partition_mode: `joint`: one softmax over all directions; `per_direction`: the mean of a cross entropy for each
            of `query_to_doc` and `doc_to_query`.
        hardness_mode: which negatives of `query_to_doc` are raised by α times their similarity, without a gradient:
            `in_batch_negatives`: the texts of other rows; `hard_negatives`: the row's own negatives; `all_negatives`.
        hardness_strength: α, at least 0.
        min_label: no effect.

    Raises:
        ValueError: for directions without `query_to_doc`, for `per_direction` with `query_to_query` or `doc_to_doc`
            (their softmax has no positive), and for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Henderson et al., "Efficient natural language response suggestion for Smart Reply" (2017); van den Oord et
    al., "Representation learning with contrastive predictive coding" (2018); joint directions: Li et al., "Towards
    general text embeddings with multi-stage contrastive learning" (2023); hardness: Lan et al., "LLaVE: large language
    and vision embedding models with hardness-weighted contrastive learning" (2025).
    """

    function = staticmethod(multiple_negatives_ranking)
    takes_memory = True
    in_batch = True

    def __init__(self, *args: str, **params: Any) -> None:
        super().__init__(*args, **params)
        directions, mode = self.params["directions"], self.params["partition_mode"]
        if "query_to_doc" not in directions:
            raise UserError(
                f"`directions` of {self.key!r} must contain 'query_to_doc', the direction of the positive. "
                f"Received: {list(directions)}."
            )
        without_positive = [name for name in directions if name in ("query_to_query", "doc_to_doc")]
        if mode == "per_direction" and without_positive:
            raise UserError(
                f"`partition_mode` of {self.key!r} must be 'joint' with {' and '.join(map(repr, without_positive))}: "
                f"a softmax of that direction has no positive. Received: {mode!r}."
            )


@register_loss("multiple_negatives_symmetric_ranking")
class MultipleNegativesSymmetricRankingLoss(EmbeddingLossBase):
    r"""The mean of `multiple_negatives_ranking` and its reverse, a positive's anchor among all anchors.

    $$\tfrac12\Big[\ln\sum_j\sum_k e^{c\,\mathrm{sim}(a_i,\,p_{jk})} + \ln\sum_j e^{c\,\mathrm{sim}(a_j,\,p_{i1})}\Big]
    - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Shapes and memory are those of `MultipleNegativesRankingLoss`; hard negatives are candidates in the forward
    direction only. In nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: with several devices (`training.distribution`), the rows of all devices are candidates of
            each anchor, as if one device had the whole batch; false: those of the anchor's device. On JAX all are.
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
    r"""`multiple_negatives_ranking` with GradCache, for batches whose texts do not fit into memory at once.

    $$\ln\sum_{j=1}^{B}\sum_{k=1}^{C-1} e^{c\,\mathrm{sim}(a_i,\,p_{jk}) + h_{ijk}} - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Value and gradient are the same; shapes are those of `MultipleNegativesRankingLoss`. In nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: with several devices (`training.distribution`), the rows of all devices are candidates of
            each anchor, as if one device had the whole batch; false: those of the anchor's device. On JAX all are.
        directions: whose similarities are in the sum: `query_to_doc`, required: the anchor to all positives and
            negatives; `query_to_query`: the anchor to other anchors; `doc_to_query`: the positive to all anchors;
            `doc_to_doc`: the positive to the positives and negatives of other rows.
        partition_mode: `joint`: one softmax over all directions; `per_direction`: the mean of a cross entropy for each
            of `query_to_doc` and `doc_to_query`.
        hardness_mode: which negatives of `query_to_doc` are raised by α times their similarity, without a gradient:
            `in_batch_negatives`: the texts of other rows; `hard_negatives`: the row's own negatives; `all_negatives`.
        hardness_strength: α, at least 0.
        mini_batch_size: number of rows that a model embeds at a time; does not change the value.
        show_progress_bar: kept for sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: as `MultipleNegativesRankingLoss`.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = CACHED_DEFAULTS


@register_loss("cached_multiple_negatives_symmetric_ranking")
class CachedMultipleNegativesSymmetricRankingLoss(MultipleNegativesSymmetricRankingLoss):
    r"""`multiple_negatives_symmetric_ranking` with GradCache, for batches whose texts do not fit into memory at once.

    $$\tfrac12\Big[\ln\sum_j\sum_k e^{c\,\mathrm{sim}(a_i,\,p_{jk})} + \ln\sum_j e^{c\,\mathrm{sim}(a_j,\,p_{i1})}\Big]
    - c\,\mathrm{sim}(a_i,\,p_{i1})$$

    Value and gradient are the same; shapes are those of `MultipleNegativesRankingLoss`. In nats.

    Args:
        scale: c, above 0.
        similarity: `cosine`, `dot`, `euclidean` or `manhattan` (of distances the negative).
        gather_across_devices: with several devices (`training.distribution`), the rows of all devices are candidates of
            each anchor, as if one device had the whole batch; false: those of the anchor's device. On JAX all are.
        mini_batch_size: number of rows that a model embeds at a time; does not change the value.
        show_progress_bar: kept for sentence-transformers, no effect.
        min_label: no effect.

    Raises:
        ValueError: for a y_pred that is not [B, C, D] with C of at least 2.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """

    cached: ClassVar[bool] = True
    step_parameters = CACHED
    defaults = CACHED_DEFAULTS
