"""NeuralSort and Sinkhorn."""

import math

import numpy as np

from losses.families.common import SHARP, Case, documents, fixed_noise
from losses.families.surrogates import GUMBEL_VARIANTS, best_dcg, list_weight, sampled


def log_neural_sort(values):
    """ln P, [n, n]: row r is the log-softmax of (n + 1 - 2 r) v_i - Σ_j |v_i - v_j|."""
    v, n = np.array(values, dtype="float64"), len(values)
    if not n:
        return np.zeros((0, 0))
    logits = (n + 1 - 2 * np.arange(1, n + 1))[:, None] * v - np.abs(v[:, None] - v).sum(axis=1)
    logits -= logits.max(axis=1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def permutation(values):
    return np.exp(log_neural_sort(values))


def neural_sort_cross_entropy(labels, scores, mask, weight, temperature=1.0):
    values = []
    for query in documents(labels, scores, mask, weight):
        if not any(y > 0 for y, _, _ in query):
            values.append(0.0)
            continue
        target = permutation([y for y, _, _ in query])
        actual = log_neural_sort([s / temperature for _, s, _ in query])
        entropy = -float((target * actual).sum())
        values.append(list_weight(query) * entropy / len(query))
    return values


def relaxed_ndcg(query, matrix, k=None):
    """NDCG of a query with the gains sorted by a relaxed permutation matrix."""
    best = best_dcg(query, k)
    gains = np.array([2.0**y - 1 for y, _, _ in query])
    dcg = math.fsum(gain / math.log2(1 + r) for r, gain in enumerate((matrix @ gains)[:k], start=1))
    return list_weight(query) * dcg / best if best else 0.0


def neural_sort_ndcg(labels, scores, mask, weight, temperature=1.0):
    return [
        -relaxed_ndcg(query, permutation([s / temperature for _, s, _ in query]))
        for query in documents(labels, scores, mask, weight)
    ]


def scaled(matrix, iterations):
    """Sinkhorn: columns and rows divided by their sums in turn."""
    for _ in range(iterations):
        matrix = matrix / matrix.sum(axis=0)
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    return matrix


def neural_ndcg(
    labels, scores, mask, weight, temperature=1.0, k=None, stochastic=False, n_samples=32, beta=0.1, max_iter=50
):
    values = [0.0] * len(mask)
    places = [[i for i, real in enumerate(row) if real] for row in mask]
    samples = n_samples if stochastic else 1
    for b, query in enumerate(documents(labels, scores, mask, weight)):
        for sample in range(samples):
            noise = [beta * fixed_noise(sample, b, i) if stochastic else 0.0 for i in places[b]]
            z = [(s + g) / temperature for (_, s, _), g in zip(query, noise, strict=True)]
            values[b] -= relaxed_ndcg(query, scaled(permutation(z), max_iter), k) / samples
    return values


# |x| has kinks at ties, where finite differences need smaller steps: see tests/losses/test_surrogates.py.
CASES = {
    "neural_sort_cross_entropy": Case(neural_sort_cross_entropy, ({}, SHARP)),
    "neural_sort_ndcg": Case(neural_sort_ndcg, ({}, SHARP), constant_alone=False, smooth=False),
    "gumbel_neural_sort_cross_entropy": Case(sampled(neural_sort_cross_entropy, 1.0), GUMBEL_VARIANTS, random=True),
    "gumbel_neural_sort_ndcg": Case(sampled(neural_sort_ndcg, 1.0), GUMBEL_VARIANTS, constant_alone=False, random=True),
    "neural_ndcg": Case(
        neural_ndcg,
        ({}, {"stochastic": True, "n_samples": 3, "beta": 0.5, "max_iter": 4, "k": 3}),
        constant_alone=False,
        random=True,
    ),
    "neural_ndcg_transposed": Case(neural_ndcg, ({}, {"k": 2, "max_iter": 2, **SHARP}), constant_alone=False),
}
