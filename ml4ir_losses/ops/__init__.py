"""Masked tensor maths on `keras.ops`: no classes, no I/O."""

from ml4ir_losses.ops.backend import gather_documents
from ml4ir_losses.ops.masking import (
    Cleaned,
    as_float,
    as_mask,
    below_top,
    clean,
    lowest,
    masked_cross_entropy,
    masked_log_softmax,
    masked_logsumexp,
    row_sum,
    safe_divide,
    safe_sqrt,
    softmax_of_valid,
    surprisal,
    where_finite,
)
from ml4ir_losses.ops.normalization import NORMALIZATIONS, list_weight, normalise
from ml4ir_losses.ops.sorting import descending_order, rank_table, ranks
from ml4ir_losses.ops.tail_sums import tail_sums

__all__ = [
    "NORMALIZATIONS",
    "Cleaned",
    "as_float",
    "as_mask",
    "below_top",
    "clean",
    "descending_order",
    "gather_documents",
    "list_weight",
    "lowest",
    "masked_cross_entropy",
    "masked_log_softmax",
    "masked_logsumexp",
    "normalise",
    "rank_table",
    "ranks",
    "row_sum",
    "safe_divide",
    "safe_sqrt",
    "softmax_of_valid",
    "surprisal",
    "tail_sums",
    "where_finite",
]
