"""Pointwise losses."""

import math

import numpy as np

from losses.families.common import NORMALIZED, Case, documents, log_sigmoid, pooled


def sigmoid_cross_entropy(labels, scores, mask, weight, pos_weight=None, normalization="query"):
    p = 1.0 if pos_weight is None else pos_weight
    queries = [
        [(w, -(p * y * log_sigmoid(s) + (1 - y) * log_sigmoid(-s))) for y, s, w in query]
        for query in documents(labels, scores, mask, weight)
    ]
    return pooled(queries, normalization)


def mean_squared_error(labels, scores, mask, weight, normalization="query", activation_fn=None):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    queries = [[(w, (squash(s) - y) ** 2) for y, s, w in query] for query in documents(labels, scores, mask, weight)]
    return pooled(queries, normalization)


def binary_cross_entropy(labels, scores, mask, item_weight, activation_fn=None, weight=1.0, **params):
    squash = np.tanh if activation_fn == "tanh" else np.asarray
    values = sigmoid_cross_entropy(labels, squash(scores), mask, item_weight, **params)
    return [weight * value for value in values]


def root_mean_squared_error(labels, scores, mask, weight, no_of_levels=1, normalization="query"):
    queries = [
        [(w, (no_of_levels * math.exp(log_sigmoid(s)) - y) ** 2) for y, s, w in query]
        for query in documents(labels, scores, mask, weight)
    ]
    if normalization != "batch":
        return [math.sqrt(mean) for mean in pooled(queries, normalization)]
    whole = math.sqrt(pooled([[term for query in queries for term in query]], "query")[0])
    shares = pooled(queries, "batch")  # their mean is the mean square of the batch
    return [share / whole if whole else 0.0 for share in shares]


CASES = {
    "sigmoid_cross_entropy": Case(
        sigmoid_cross_entropy,
        (*NORMALIZED, {"pos_weight": 3.0}),
        shift_invariant=False,
        constant_alone=False,
    ),
    "binary_cross_entropy": Case(
        binary_cross_entropy,
        (*NORMALIZED, {"pos_weight": 3.0, "activation_fn": "tanh"}, {"weight": 0.5, "normalization": "batch"}),
        labels="unit",
        shift_invariant=False,
        constant_alone=False,
    ),
    "mean_squared_error": Case(
        mean_squared_error, (*NORMALIZED, {"activation_fn": "tanh"}), shift_invariant=False, constant_alone=False
    ),
    "root_mean_squared_error": Case(
        root_mean_squared_error,
        (*NORMALIZED, {"no_of_levels": 3}),
        shift_invariant=False,
        constant_alone=False,
    ),
}
