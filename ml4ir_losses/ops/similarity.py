"""Similarities and distances of embeddings, paired and as matrices; gradients are finite for zero and equal vectors.

`PAIRED_SIMILARITY[name](a, b)` compares row by row, [..., D] with [..., D] to [...]; `SIMILARITY_MATRIX[name](a, b)`
every row with every row, [B, D] with [M, D] to [B, M]. The similarity of a distance is its negative.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import exact_products
from ml4ir_losses.ops.masking import safe_divide, safe_sqrt

Compare = Callable[[Tensor, Tensor], Tensor]
_SHORTEST = 1e-30  # shorter vectors would have an infinite gradient
_CHUNK = 16  # dimensions at a time, where a matrix needs elementwise differences


def unit_vectors(x: Tensor) -> Tensor:
    """Rows normalised to length 1, [..., D]; a row without an entry above 1e-30 becomes 0, with a zero gradient."""
    # First divided by the largest entry, so that squares neither overflow nor underflow. This factor cancels in the
    # result and needs no gradient.
    scale = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    scale = ops.where(scale > _SHORTEST, scale, 0.0)
    x = safe_divide(x, scale * ops.ones_like(x))
    return safe_divide(x, safe_sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)) * ops.ones_like(x))


def paired_dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d a·b."""
    return ops.sum(a * b, axis=-1)


def paired_cosine(a: Tensor, b: Tensor) -> Tensor:
    """The cosine; 0 if one vector is zero."""
    return paired_dot(unit_vectors(a), unit_vectors(b))


def paired_squared_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d (a - b)²."""
    return ops.sum(ops.square(a - b), axis=-1)


def paired_euclidean(a: Tensor, b: Tensor) -> Tensor:
    """√Σ_d (a - b)²."""
    return safe_sqrt(paired_squared_euclidean(a, b))


def paired_manhattan(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d |a - b|."""
    return ops.sum(absolute(a - b), axis=-1)


def dot_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d a·b of all pairs of rows."""
    # Not `ops.matmul`, which narrows float64 on torch.
    with exact_products():
        return ops.einsum("id,jd->ij", a, b)


def cosine_matrix(a: Tensor, b: Tensor) -> Tensor:
    """The cosine of all pairs of rows; 0 if one vector is zero."""
    return dot_matrix(unit_vectors(a), unit_vectors(b))


def squared_euclidean_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d (a - b)² of all pairs of rows, from dot products: memory B·M, not B·M·D."""
    # Centred, so that points far from 0 keep their digits.
    centre = ops.stop_gradient(ops.mean(b, axis=0, keepdims=True))
    a, b = a - centre, b - centre
    squares = ops.sum(ops.square(a), axis=-1)[:, None] + ops.sum(ops.square(b), axis=-1)[None, :]
    return ops.relu(squares - 2.0 * dot_matrix(a, b))


def euclidean_matrix(a: Tensor, b: Tensor) -> Tensor:
    """√Σ_d (a - b)² of all pairs of rows."""
    return safe_sqrt(squared_euclidean_matrix(a, b))


def manhattan_matrix(a: Tensor, b: Tensor) -> Tensor:
    """Σ_d |a - b| of all pairs of rows."""
    total = 0.0
    for first in range(0, a.shape[-1], _CHUNK):
        part = slice(first, first + _CHUNK)
        total = total + ops.sum(absolute(a[:, None, part] - b[None, :, part]), axis=-1)
    return total


def absolute(x: Tensor) -> Tensor:
    """|x|, with a zero gradient at 0 on every backend."""
    return x * ops.stop_gradient(ops.sign(x))


def _negative(distance: Compare) -> Compare:
    def similarity(a: Tensor, b: Tensor) -> Tensor:
        return -distance(a, b)

    return similarity


def _complement(similarity: Compare) -> Compare:
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return 1.0 - similarity(a, b)

    return distance


PAIRED_SIMILARITY: dict[str, Compare] = {
    "cosine": paired_cosine,
    "dot": paired_dot,
    "euclidean": _negative(paired_euclidean),
    "manhattan": _negative(paired_manhattan),
}
PAIRED_DISTANCE: dict[str, Compare] = {
    "euclidean": paired_euclidean,
    "squared_euclidean": paired_squared_euclidean,
    "manhattan": paired_manhattan,
    "cosine": _complement(paired_cosine),
}
SIMILARITY_MATRIX: dict[str, Compare] = {
    "cosine": cosine_matrix,
    "dot": dot_matrix,
    "euclidean": _negative(euclidean_matrix),
    "manhattan": _negative(manhattan_matrix),
}
DISTANCE_MATRIX: dict[str, Compare] = {
    "euclidean": euclidean_matrix,
    "squared_euclidean": squared_euclidean_matrix,
    "manhattan": manhattan_matrix,
    "cosine": _complement(cosine_matrix),
}
Similarity = Literal["cosine", "dot", "euclidean", "manhattan"]
Distance = Literal["euclidean", "squared_euclidean", "manhattan", "cosine"]
