"""Cross entropy of each row's positive among the rows of the batch."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.losses.embedding.base import Memory, with_memory
from ml4ir_losses.ops import lowest
from ml4ir_losses.ops.in_batch import logsumexp_both_ways, logsumexp_of_dots
from ml4ir_losses.ops.replicas import gather_rows
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY, SIMILARITY_MATRIX, unit_vectors


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
        forward = logsumexp_of_dots(anchors, candidates, is_candidate, (own,), (number, real_texts))
        if not symmetric:
            return _cross_entropy(forward, target), _cross_entropy(forward, target)
        back = logsumexp_of_dots(positives, all_anchors, is_candidate, (own,), (index, real))
        return _cross_entropy(forward, target), _cross_entropy(back, target)

    def logsumexp(a: Tensor, b: Tensor, kept: Tensor) -> Tensor:
        return ops.logsumexp(ops.where(kept, scale * SIMILARITY_MATRIX[similarity](a, b), lowest(a)), axis=-1)

    forward = back = _cross_entropy(logsumexp(anchors, candidates, is_candidate(own, number, real_texts)), target)
    if symmetric:
        back = _cross_entropy(logsumexp(positives, all_anchors, is_candidate(own, index, real)), target)
    return forward, back


def candidates(x: Tensor, valid: Tensor, memory: Memory | None, gather: bool) -> tuple[Tensor, Tensor, Any]:
    """All rows, [A, C, D], which of them count, [A], and how many of them stand before those of `x`."""
    (others, real), before = gather_rows(x, valid) if gather else ((x, valid), 0)
    if memory is None:
        return others, real, before
    others, _, real = with_memory(memory, others, ops.zeros_like(others[:, 0, 0]), real)
    return others, real, before


def is_candidate(own: Tensor, index: Tensor, real: Tensor) -> Tensor:
    """Every real candidate but the row's own positive."""
    return ops.logical_and(own[:, None] != index[None, :], real[None, :])


def _real_others(own: Tensor, row_is_real: Tensor, index: Tensor, real: Tensor) -> Tensor:
    return ops.logical_and(is_candidate(own, index, real), row_is_real[:, None])


def _cross_entropy(others: Tensor, target: Tensor) -> Tensor:
    """ln(e^others + e^target) - target."""
    return -ops.log_sigmoid(target - others)
