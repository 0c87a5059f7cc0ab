"""Margins of known pairs."""

import itertools
import math

from losses.families.common import NORMALIZED, SHARP, Case, documents, log_sigmoid, pooled


def margin_mse(
    labels, scores, mask, weight, temperature=1.0, normalization="query", min_label=None, activation_fn=None
):
    squash = {None: lambda s: s, "sigmoid": lambda s: math.exp(log_sigmoid(s))}[activation_fn]
    rows = []
    for y, row in zip(labels, scores, strict=True):
        s = [squash(float(x)) / temperature for x in row]
        teacher = [float(y[0]) - float(other) for other in y[1:]]
        rows.append([(1.0, (s[0] - other - t) ** 2) for other, t in zip(s[1:], teacher, strict=True)])
    return pooled(rows, normalization)


def sigmoid(x):
    return math.exp(log_sigmoid(x))


def prob_margin_ranking(
    labels,
    scores,
    mask,
    weight,
    temperature=1.0,
    normalization="query",
    base_margin=1.0,
    do_fine_small_difference=False,
    scale=1.0,
    shift=0.0,
):
    queries, near = [], []
    for query in documents(labels, scores, mask, weight):
        pairs = [
            (w, (s - other_s) / temperature)
            for (y, s, w), (other_y, other_s, _) in itertools.permutations(query, 2)
            if y > other_y
        ]
        queries.append([(w, sigmoid(scale * (base_margin - d) - shift)) for w, d in pairs])
        steepness = int((1 / base_margin) * 100)
        near.append([(w * sigmoid(steepness * (base_margin - abs(d))), abs(d)) for w, d in pairs])
    values = pooled(queries, normalization)
    if not do_fine_small_difference:
        return values
    totals = [math.fsum(v * d for v, d in query) for query in near]
    shares = [math.fsum(v for v, _ in query) for query in near]
    if normalization == "batch":
        pool = math.fsum(shares) + 1e-10
        return [value + len(totals) * total / pool for value, total in zip(values, totals, strict=True)]
    return [value + total / (share + 1e-10) for value, total, share in zip(values, totals, shares, strict=True)]


# Test scores are far beyond the steep part of the sigmoid: the tests divide them by 100.
COSINE = {"temperature": 100.0, "base_margin": 0.01}


def cosine_prob_margin_ranking(*batch, as_shipped=False, **params):
    steep = {} if as_shipped else {"scale": 400.0, "shift": 6.0}
    return prob_margin_ranking(*batch, **{**COSINE, **params, **steep})


CASES = {
    "margin_mse": Case(
        margin_mse, ({}, {"normalization": "sum"}, SHARP, {"activation_fn": "sigmoid"}), layout="columns"
    ),
    "prob_margin_ranking": Case(
        prob_margin_ranking,
        (
            *NORMALIZED,
            {**SHARP, "base_margin": 0.2},
            {"do_fine_small_difference": True, "base_margin": 2.0},
            {"do_fine_small_difference": True, "normalization": "batch"},
        ),
    ),
    "cosine_prob_margin_ranking": Case(
        cosine_prob_margin_ranking,
        ({}, {"base_margin": 0.03, "normalization": "sum"}, {"as_shipped": True, "temperature": 1.0}),
        required=COSINE,
    ),
}
