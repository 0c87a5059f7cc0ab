"""Cross entropy of each row's positive among the texts of the batch, in one direction or in several."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import MinLen

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.core.parameters import Allowed
from ml4ir_losses.losses.embedding.base import Memory, with_memory
from ml4ir_losses.ops.in_batch import Candidates, logsumexp_both_ways, logsumexp_of_dots
from ml4ir_losses.ops.replicas import gather_rows, has_devices
from ml4ir_losses.ops.similarity import PAIRED_SIMILARITY, SIMILARITY_MATRIX, unit_vectors

Direction = Literal["query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"]
Directions = Annotated[
    Sequence[Direction],
    MinLen(1),
    Allowed("a list of query_to_doc, query_to_query, doc_to_query, doc_to_doc"),
]
PartitionMode = Literal["joint", "per_direction"]
HardnessMode = Literal["in_batch_negatives", "hard_negatives", "all_negatives"]


class AllRows(NamedTuple):
    """The rows whose texts are candidates: those of the batch, of other replicas and of the memory.

    Args:
        embeddings: [A, C, D].
        valid: mask [A].
        first: the index of the batch's first row.
    """

    embeddings: Tensor
    valid: Tensor
    first: Any = 0


def all_rows(x: Tensor, valid: Tensor, memory: Memory | None, gather: bool) -> AllRows:
    """The rows x [B, C, D] with mask [B], with `gather` those of all replicas, followed by those of the memory."""
    (embeddings, valid), first = gather_rows(x, valid) if gather else ((x, valid), 0)
    if memory is not None:
        embeddings, _, valid = with_memory(memory, embeddings, ops.zeros_like(embeddings[:, 0, 0]), valid)
    return AllRows(embeddings, valid, first)


def warn_without_devices(gather_across_devices: bool) -> None:
    """Warns where the parameter has no effect."""
    if gather_across_devices and not has_devices():
        warnings.warn("`gather_across_devices` has no effect: there is one device.", stacklevel=3)


def in_batch_cross_entropy(
    x: Tensor,
    rows: AllRows,
    scale: Any,
    similarity: str,
    directions: Sequence[str] = ("query_to_doc",),
    partition_mode: str = "joint",
    hardness_mode: str | None = None,
    hardness_strength: float = 0.0,
) -> Tensor:
    """Per-row cross entropy of the positive, [B]: see `MultipleNegativesRankingLoss`; x [B, C, D] are the rows."""
    scale = scale if isinstance(scale, (int, float)) else ops.cast(scale, x.dtype)
    target = scale * PAIRED_SIMILARITY[similarity](x[:, 0], x[:, 1])
    hard = (_IS_HARD[hardness_mode], hardness_strength / scale) if hardness_mode and hardness_strength else ()
    # The own positive is added to these sums last, so that no digits are lost where the loss is near 0.
    sums = _sums_of_negatives(x, rows, scale, similarity, directions, hard)
    if partition_mode == "per_direction":
        return sum(_cross_entropy(negatives, target) for negatives in sums.values()) / len(sums)
    # The positive pair is in the sum of both of its directions.
    terms = [*sums.values(), target] if "doc_to_query" in sums else [*sums.values()]
    return _cross_entropy(terms[0] if len(terms) == 1 else ops.logsumexp(ops.stack(terms, axis=-1), axis=-1), target)


def symmetric_cross_entropy(x: Tensor, rows: AllRows, scale: Any, similarity: str) -> Tensor:
    """Per-row mean of the cross entropies of the positive and of its anchor, [B]."""
    return in_batch_cross_entropy(x, rows, scale, similarity, ("query_to_doc", "doc_to_query"), "per_direction")


def is_candidate(own: Tensor, index: Tensor, valid: Tensor) -> Tensor:
    """Boolean mask [R, M]: the valid columns whose index is not the row's own."""
    return ops.logical_and(own[:, None] != index[None, :], valid[None, :])


def _sums_of_negatives(
    x: Tensor,
    rows: AllRows,
    scale: Any,
    similarity: str,
    directions: Sequence[str],
    hard: tuple[Any, ...],
) -> dict[str, Tensor]:
    """Log-sum-exp of each row's negatives by direction, [B] each; `hard`: `is_hard` and `hardness` of `Candidates`."""
    uses_dots = similarity in ("cosine", "dot")
    is_whole_batch = rows.embeddings is x  # no replicas, no memory
    if similarity == "cosine":
        rows = rows._replace(embeddings=unit_vectors(rows.embeddings))
        x = rows.embeddings if is_whole_batch else unit_vectors(x)
    count, texts = ops.shape(rows.embeddings)[0], x.shape[1] - 1
    queries, docs = rows.embeddings[:, 0], ops.concatenate([rows.embeddings[:, text + 1] for text in range(texts)])
    own, index = ops.arange(ops.shape(x)[0], dtype="int32") + rows.first, ops.arange(count, dtype="int32")
    doc_number, doc_row = ops.arange(count * texts, dtype="int32"), ops.tile(index, (texts,))
    doc_valid = ops.tile(rows.valid, (texts,))
    # The rows, columns and candidates of each direction; excluded are the own positive, query, query and documents.
    pairs = {
        "query_to_doc": (x[:, 0], docs, Candidates(_is_other_doc, (own,), (doc_number, doc_row, doc_valid), *hard)),
        "query_to_query": (x[:, 0], queries, Candidates(is_candidate, (own,), (index, rows.valid))),
        "doc_to_query": (x[:, 1], queries, Candidates(is_candidate, (own,), (index, rows.valid))),
        "doc_to_doc": (x[:, 1], docs, Candidates(is_candidate, (own,), (doc_row, doc_valid))),
    }

    def logsumexp(queries: Tensor, columns: Tensor, candidates: Candidates) -> Tensor:
        if uses_dots:
            return logsumexp_of_dots(scale * queries, columns, candidates)
        logits = scale * SIMILARITY_MATRIX[similarity](queries, columns)
        return ops.logsumexp(candidates.masked(logits, candidates.row_fields), axis=-1)

    sums = {}
    if uses_dots and is_whole_batch and not hard and "doc_to_query" in directions:
        # Both directions in one pass: column i of the documents is the positive of row i.
        valid_pairs = Candidates(_is_other_doc_of_valid_row, (own, rows.valid), (doc_number, doc_row, doc_valid))
        forward, back = logsumexp_both_ways(scale * x[:, 0], docs, valid_pairs)
        sums = {"query_to_doc": forward, "doc_to_query": back[:count]}
    return sums | {name: logsumexp(*pairs[name]) for name in directions if name not in sums}


def _is_other_doc(own: Tensor, doc_number: Tensor, doc_row: Tensor, valid: Tensor) -> Tensor:
    return is_candidate(own, doc_number, valid)


def _is_other_doc_of_valid_row(
    own: Tensor, valid_row: Tensor, doc_number: Tensor, doc_row: Tensor, valid: Tensor
) -> Tensor:
    return ops.logical_and(is_candidate(own, doc_number, valid), valid_row[:, None])


def _is_of_other_row(own: Tensor, doc_number: Tensor, doc_row: Tensor, valid: Tensor) -> Tensor:
    return own[:, None] != doc_row[None, :]


def _is_own_hard_negative(own: Tensor, doc_number: Tensor, doc_row: Tensor, valid: Tensor) -> Tensor:
    own_doc = own[:, None] == doc_row[None, :]
    return ops.logical_and(own_doc, doc_number[None, :] != doc_row[None, :])  # the positives are numbered first


# Which documents a hardness mode raises; the own positive is no candidate.
_IS_HARD: dict[str, Callable[..., Tensor]] = {
    "in_batch_negatives": _is_of_other_row,
    "hard_negatives": _is_own_hard_negative,
    "all_negatives": _is_other_doc,
}


def _cross_entropy(negatives: Tensor, target: Tensor) -> Tensor:
    """ln(e^negatives + e^target) - target."""
    return -ops.log_sigmoid(target - negatives)
