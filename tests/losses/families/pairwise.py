"""Pairwise losses."""

import itertools
import math

from losses.families.common import (
    NORMALIZED,
    SHARP,
    Case,
    documents,
    fixed_noise,
    log_sigmoid,
    log_softmax,
    logsumexp,
    pooled,
)
from losses.families.lambdas import in_top_k, pair_weight, ranks_of


def pairwise(term, labels, scores, mask, weight, temperature, normalization, lambda_weight, held, ties=False):
    """Per-query Σ w·Λ·term(s_i - s_j, y_i - y_j) over the pairs; Λ by the ranking of the `held` scores."""
    queries, divisors = [], []
    ranked = documents(labels, scores if held is None else held, mask, weight)
    for query, at in zip(documents(labels, scores, mask, weight), ranked, strict=True):
        ranks = ranks_of([s for _, s, _ in at])
        gains = [y for y, _, _ in query]
        terms, shares = [], []
        for i, j in itertools.permutations(range(len(query)), 2):
            (y, s, w), (other_y, other_s, _) = query[i], query[j]
            if y > other_y or ties:
                share = 1.0 if lambda_weight is None else pair_weight(lambda_weight, gains, ranks, i, j)
                terms.append(w * share * term((s - other_s) / temperature, y - other_y))
                shares.append(w)
        queries.append(math.fsum(terms))
        divisors.append(math.fsum(shares))
    return divided(queries, divisors, normalization)


def divided(totals, weights, normalization):
    if normalization == "query":
        return [t / w if w else 0.0 for t, w in zip(totals, weights, strict=True)]
    if normalization == "batch":
        pool = math.fsum(weights)
        return [len(totals) * t / pool if pool else 0.0 for t in totals]
    return totals


def with_pairs(term, ties=False):
    def oracle(
        labels, scores, mask, weight, temperature=1.0, normalization="query", lambda_weight=None, held=None, **params
    ):
        def at(ds, dy):
            return term(ds, dy, **params)

        return pairwise(at, labels, scores, mask, weight, temperature, normalization, lambda_weight, held, ties)

    return oracle


def quantile(ds, dy, tau=0.5, squared=False):
    power = 2 if squared else 1
    return tau * max(dy - ds, 0.0) ** power + (1 - tau) * max(ds - dy, 0.0) ** power


def ranknet(
    labels,
    scores,
    mask,
    weight,
    temperature=1.0,
    normalization="batch",
    k=None,
    top_k_pairs="either",
    sigma=1.0,
    reduction_log="binary",
    activation_fn=None,
    held=None,
):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    base = {"binary": 2.0, "natural": math.e}[reduction_log]
    queries = []
    at = documents(labels, scores if held is None else held, mask, weight)
    for query, fixed in zip(documents(labels, scores, mask, weight), at, strict=True):
        ranks = ranks_of([squash(s) for _, s, _ in fixed])
        queries.append(
            [
                (w, -log_sigmoid(sigma * (squash(s) - squash(other_s)) / temperature) / math.log(base))
                for ((y, s, w), rank), ((other_y, other_s, _), other_rank) in itertools.permutations(
                    zip(query, ranks, strict=True), 2
                )
                if y > other_y and in_top_k(rank, other_rank, k, top_k_pairs)
            ]
        )
    return pooled(queries, normalization)


def yeti_logistic(
    labels,
    scores,
    mask,
    weight,
    temperature=1.0,
    normalization="query",
    sample_size=8,
    gumbel_temperature=1.0,
    lambda_weight="yeti_dcg",
    held=None,
):
    def perturbed(scores, sample):
        rows = []
        for b, row in enumerate(scores):
            real = [i for i in range(len(row)) if mask[b][i]]
            z = [(float(row[i]) + fixed_noise(sample, b, i)) / gumbel_temperature for i in real]
            values = dict(zip(real, log_softmax(z), strict=True)) if real else {}
            rows.append([values.get(i, 0.0) for i in range(len(row))])
        return rows

    rows = [
        pairwise(
            lambda ds, dy: -log_sigmoid(ds),
            labels,
            perturbed(scores, sample),
            mask,
            weight,
            temperature,
            normalization,
            lambda_weight,
            perturbed(scores if held is None else held, sample),
        )
        for sample in range(sample_size)
    ]
    return [math.fsum(values) / sample_size for values in zip(*rows, strict=True)]


def circle(labels, scores, mask, weight, temperature=1.0, gamma=64.0, margin=0.25, held=None):
    def clip(s):
        return min(max(s / temperature, 0.0), 1.0)

    values = []
    at = documents(labels, scores if held is None else held, mask, weight)
    for query, fixed in zip(documents(labels, scores, mask, weight), at, strict=True):
        exponents, weights = [0.0], []
        for i, j in itertools.permutations(range(len(query)), 2):
            if query[i][0] > query[j][0]:
                pull = max(1 - clip(fixed[i][1]) + margin, 0.0) * (1 - clip(query[i][1]) - margin)
                push = max(clip(fixed[j][1]) + margin, 0.0) * (clip(query[j][1]) - margin)
                exponents.append(gamma * (pull + push))
                weights.append(query[i][2])
        values.append(math.fsum(weights) / len(weights) * logsumexp(exponents) if weights else 0.0)
    return values


# Most test scores lie outside [0, 1], where the gradient is 0: the tests divide them by 4.
QUARTERS = {"temperature": 4.0}


def circle_of_quarters(*batch, **params):
    return circle(*batch, **{**QUARTERS, **params})


NDCG_AT_3 = {"lambda_weight": {"key": "ndcg", "topn": 3, "smooth_fraction": 0.4}}
CASES = {
    "pairwise_logistic": Case(
        with_pairs(lambda ds, dy: -log_sigmoid(ds)),
        (
            *NORMALIZED,
            SHARP,
            {"lambda_weight": "label_diff"},
            {"lambda_weight": "dcg", "normalization": "batch"},
            NDCG_AT_3,
            {"lambda_weight": "ndcg_v2"},
            {"lambda_weight": {"key": "ndcg_v2", "topn": 2}},
            {"lambda_weight": {"key": "yeti_dcg", "topn": 2}},
            {"lambda_weight": {"key": "precision", "topn": 2}},
        ),
        held=True,
    ),
    "pairwise_hinge": Case(
        with_pairs(lambda ds, dy, margin=1.0: max(0.0, margin - ds)),
        ({}, {"normalization": "batch", **SHARP}, {"margin": 2.5}, {"lambda_weight": "ndcg", "normalization": "sum"}),
        smooth=False,
        held=True,
    ),
    "pairwise_soft_zero_one": Case(
        with_pairs(lambda ds, dy: math.exp(log_sigmoid(-ds))),
        ({}, {"normalization": "batch", **SHARP}, {"lambda_weight": "ndcg", "normalization": "sum"}),
        held=True,
    ),
    "pairwise_mse": Case(
        with_pairs(lambda ds, dy: (ds - dy) ** 2, ties=True),
        ({}, {"normalization": "batch", **SHARP}, {"lambda_weight": "ndcg", "normalization": "sum"}),
        held=True,
    ),
    "pairwise_quantile": Case(
        with_pairs(quantile),
        (
            {},
            {"tau": 0.8, "normalization": "batch", **SHARP},
            {"tau": 0.3, "squared": True},
            {"lambda_weight": "ndcg", "normalization": "sum"},
        ),
        smooth=False,
        held=True,
    ),
    "ranknet": Case(
        ranknet,
        (
            {},
            {"normalization": "query", **SHARP},
            {"k": 3, "sigma": 2.0, "normalization": "query"},
            {"k": 2, "top_k_pairs": "both"},
            {"reduction_log": "natural", "activation_fn": "tanh"},
        ),
        pooled=True,
        held=True,
    ),
    "yeti_logistic": Case(
        yeti_logistic,
        (
            {},
            {"sample_size": 2, "gumbel_temperature": 0.5, "normalization": "batch", **SHARP},
            {"sample_size": 2, "lambda_weight": {"key": "yeti_dcg", "topn": 2, "normalized": True}},
            {"sample_size": 2, "lambda_weight": {"key": "ndcg", "topn": 3}},
            {"sample_size": 2, "lambda_weight": None},
        ),
        random=True,
        held=True,
    ),
    "circle": Case(
        circle_of_quarters,
        ({}, {"temperature": 1.0}, {"gamma": 4.0, "margin": 0.1}),
        shift_invariant=False,
        smooth=False,
        steep=64.0,
        required=QUARTERS,
        held=True,
    ),
}
