"""Oracles of pair losses, value and gradient, in float64 NumPy, from the formulas of the docstrings."""

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from losses.families.lambdas import DISCOUNTS, ideal_dcg, in_top_k, pair_weight, ranks_of, scheme_weight


class Lists(NamedTuple):
    """Float64 arrays [B, N]; NaN where masked."""

    labels: Any
    scores: Any
    mask: Any
    weight: Any


def make_lists(rows, size, spread=1.0, seed=0):
    """Lists of various lengths with padding anywhere; of three or more the second is empty, the third has one document.

    Scores are multiples of 1/8, so that some tie and differences are exact in float32.
    """
    rng = np.random.default_rng((seed, rows, size))
    lengths = rng.choice([size, size // 2 + 1, size // 4 + 1, size // 8 + 1], rows)
    lengths[0] = size
    mask = (np.arange(size) < lengths[:, None]) & (rng.random((rows, size)) < 0.8)
    mask[0, -1] = True
    if rows > 2:
        mask[1], mask[2] = False, np.arange(size) == size // 3
    labels, weight = rng.integers(0, 4, (rows, size)), rng.uniform(0.2, 3.0, (rows, size)).astype("float32")
    scores = np.round(rng.normal(size=(rows, size)) * spread * 8) / 8
    return Lists(*(np.where(mask, x, np.nan) for x in (labels, scores)), mask, np.where(mask, weight, np.nan))


def logistic(d, dy):
    return np.logaddexp(0.0, -d), -expit(-d)


def hinge(d, dy, margin=1.0):
    return np.maximum(0.0, margin - d), -1.0 * (d < margin)


def soft_zero_one(d, dy):
    return expit(-d), -expit(d) * expit(-d)


def quantile(d, dy, tau=0.5, squared=False):
    x = d - dy
    share = np.where(x < 0, tau, 1 - tau)
    return (share * x**2, 2 * share * x) if squared else (share * np.abs(x), share * np.sign(x))


def squared_error(d, dy):
    return (d - dy) ** 2, 2 * (d - dy)


TERMS = {
    "pairwise_logistic": logistic,
    "pairwise_hinge": hinge,
    "pairwise_soft_zero_one": soft_zero_one,
    "pairwise_quantile": quantile,
    "pairwise_mse": squared_error,
}


def over_pairs(term, y, s, weight, shares, all_pairs=False, counted=True):
    """Σ w_i·Λ_ij·term over the counted pairs y_i > y_j, or over all with `all_pairs`, and its gradient in s."""
    pairs = ((y[:, None] > y[None, :]) | all_pairs) & counted
    value, slope = term(s[:, None] - s[None, :], y[:, None] - y[None, :])
    factor = np.where(pairs, weight[:, None] * shares, 0.0)
    force = factor * slope
    return (factor * value).sum(), force.sum(axis=1) - force.sum(axis=0)


def shares_of(spec, y, by):
    """Λ of a lambda weight, [N, N], in the ranking by the numbers `by`."""
    if spec is None:
        return np.ones((len(y), len(y)))
    at = ranks_of(list(by))
    places = range(len(y))
    return np.array([[0.0 if i == j else pair_weight(spec, list(y), at, i, j) for j in places] for i in places])


def pairwise(key, y, s, weight, lambda_weight=None, **params):
    def term(d, dy):
        return TERMS[key](d, dy, **params)

    return over_pairs(term, y, s, weight, shares_of(lambda_weight, y, s), all_pairs=key == "pairwise_mse")


def yeti_logistic(y, s, weight, noise, lambda_weight, sample_size, gumbel_temperature):
    value, slopes = 0.0, np.zeros_like(s)
    for sample in noise:
        z, shares = (s + sample) / gumbel_temperature, shares_of(lambda_weight, y, s + sample)
        sample_value, slope = over_pairs(logistic, y, z, weight, shares)
        value, slopes = value + sample_value / sample_size, slopes + slope / gumbel_temperature / sample_size
    return value, slopes


def lambda_loss(y, s, weight, weighting_scheme="ndcg_loss2pp", k=None, sigma=1.0, top_k_pairs="either"):
    order = np.argsort(ranks_of(list(s)))
    counted = np.array([[in_top_k(i, j, k, top_k_pairs) for j in range(1, len(s) + 1)] for i in range(1, len(s) + 1)])
    ideal = ideal_dcg(list(2**y - 1), DISCOUNTS["log2_inverse"], k)
    gains = (2 ** y[order] - 1) / ideal if ideal else np.zeros(len(order))
    ranks = range(1, len(order) + 1)
    shares = np.array([[scheme_weight(weighting_scheme, list(gains), i, j) for j in ranks] for i in ranks])
    all_pairs = weighting_scheme == "ndcg_loss1"
    value, slope = over_pairs(logistic, y[order], sigma * s[order], weight[order], shares, all_pairs, counted)
    slopes = np.zeros_like(s)
    slopes[order] = sigma * slope / math.log(2)
    return value / math.log(2), slopes


def approximate(key, y, s, weight, temperature=0.1):
    """Minus the metric at ρ_i = 1/2 + Σ_j σ((s_j - s_i)/T), times the mean weight by labels."""
    lead = (s[None, :] - s[:, None]) / temperature
    rank, push = 0.5 + expit(lead).sum(axis=1), expit(lead) * expit(-lead) / temperature
    if key == "approx_mrr":
        gain, value, slope = y, 1 / rank, -1 / rank**2
        ideal = gain.sum()
    else:
        gain, value = 2**y - 1, 1 / np.log2(1 + rank)
        slope = -(value**2) / (1 + rank) / math.log(2)
        ideal = ideal_dcg(list(gain), DISCOUNTS["log2_inverse"], None)
    if not ideal:
        return 0.0, np.zeros_like(s)
    share = -(weight * y).sum() / y.sum() / ideal
    by_rank = share * gain * slope
    return share * (gain * value).sum(), by_rank @ push - by_rank * push.sum(axis=1)


def expected(key, lists, weighted, params, noise=None):
    """Values [B] and gradients [B, N] of a loss by key, with normalisation `sum`."""
    values, slopes = np.zeros(len(lists.mask)), np.zeros(lists.mask.shape)
    for b, valid in enumerate(lists.mask):
        if not valid.any():
            continue
        y, s = lists.labels[b, valid], lists.scores[b, valid]
        weight = lists.weight[b, valid] if weighted else np.ones(valid.sum())
        if key == "lambda_loss":
            found = lambda_loss(y, s, weight, **params)
        elif key.startswith("approx"):
            found = approximate(key, y, s, weight, **params)
        elif key == "yeti_logistic":
            found = yeti_logistic(y, s, weight, noise[:, b, valid], **params)
        else:
            found = pairwise(key, y, s, weight, **params)
        values[b], slopes[b, valid] = found
    return values, slopes


def graph_of_unknown_shapes(function, dtypes, jit):
    """A graph with unknown shapes that returns a function's value and its gradient in the scores."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], dtype) for dtype in dtypes], jit_compile=jit)
    def graph(labels, scores, *others):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            value = function(labels, scores, *others)
        return value, tape.gradient(value, scores)

    return graph
