"""Pointwise losses."""

from losses.families.common import NORMALIZED, Case, documents, log_sigmoid, pooled


def sigmoid_cross_entropy(labels, scores, mask, weight, pos_weight=None, normalization="query"):
    p = 1.0 if pos_weight is None else pos_weight
    queries = [
        [(w, -(p * y * log_sigmoid(s) + (1 - y) * log_sigmoid(-s))) for y, s, w in query]
        for query in documents(labels, scores, mask, weight)
    ]
    return pooled(queries, normalization)


CASES = {
    "sigmoid_cross_entropy": Case(
        sigmoid_cross_entropy,
        (*NORMALIZED, {"pos_weight": 3.0}),
        shift_invariant=False,
        constant_alone=False,
    ),
}
