"""Losses made from metrics with smooth ranks."""

import math

from losses.families.common import SHARP, Case, documents, fixed_noise, log_softmax


def list_weight(query):
    gain = math.fsum(max(y, 0.0) for y, _, _ in query)
    shares = [max(y, 0.0) / gain if gain else 1 / len(query) for y, _, _ in query]
    return math.fsum(share * w for share, (_, _, w) in zip(shares, query, strict=True))


def best_dcg(query, k=None):
    gains = sorted((2.0**y - 1 for y, _, _ in query), reverse=True)[:k]
    return math.fsum(g / math.log2(1 + r) for r, g in enumerate(gains, start=1))


def approx_ranks(scores, temperature):
    def share(x):
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    return [0.5 + math.fsum(share((t - s) / temperature) for t in scores) for s in scores]


def approx_ndcg(labels, scores, mask, weight, temperature=0.1):
    values = []
    for query in documents(labels, scores, mask, weight):
        best = best_dcg(query)
        ranks = approx_ranks([s for _, s, _ in query], temperature)
        dcg = math.fsum((2.0**y - 1) / math.log2(1 + r) for r, (y, _, _) in zip(ranks, query, strict=True))
        values.append(-list_weight(query) * dcg / best if best else 0.0)
    return values


def bound_ndcg(labels, scores, mask, weight, temperature=1.0):
    values = []
    for query in documents(labels, scores, mask, weight):
        best = best_dcg(query)
        ranks = [math.fsum(max(0.0, 1 + (t - s) / temperature) for _, t, _ in query) for _, s, _ in query]
        dcg = math.fsum((2.0**y - 1) / math.log2(1 + r) for r, (y, _, _) in zip(ranks, query, strict=True))
        values.append(-list_weight(query) * dcg / best if best else 0.0)
    return values


def approx_mrr(labels, scores, mask, weight, temperature=0.1):
    values = []
    for query in documents(labels, scores, mask, weight):
        relevance = math.fsum(y for y, _, _ in query)
        ranks = approx_ranks([s for _, s, _ in query], temperature)
        total = math.fsum(y / r for r, (y, _, _) in zip(ranks, query, strict=True))
        values.append(-list_weight(query) * total / relevance if relevance else 0.0)
    return values


def sampled(oracle, default_temperature):
    """The mean of an oracle over lists with the fixed Gumbel noise."""

    def mean(labels, scores, mask, weight, temperature=default_temperature, sample_size=8, gumbel_temperature=1.0):
        totals = [0.0] * len(mask)
        for sample in range(sample_size):
            perturbed = [[0.0] * len(row) for row in mask]
            for b, row in enumerate(mask):
                real = [i for i, valid in enumerate(row) if valid]
                z = [(float(scores[b][i]) + fixed_noise(sample, b, i)) / gumbel_temperature for i in real]
                for i, log_p in zip(real, log_softmax(z) if real else [], strict=True):
                    perturbed[b][i] = log_p
            rows = oracle(labels, perturbed, mask, weight, temperature=temperature)
            totals = [t + value / sample_size for t, value in zip(totals, rows, strict=True)]
        return totals

    return mean


GUMBEL_VARIANTS = ({}, {"sample_size": 2, "gumbel_temperature": 2.5, **SHARP})

FLAT = 1e-6  # slopes of that size: at a temperature of 0.1 the test scores are far apart

CASES = {
    "approx_ndcg": Case(approx_ndcg, ({}, {"temperature": 1.0}), constant_alone=False, steep=FLAT),
    "approx_mrr": Case(approx_mrr, ({}, {"temperature": 1.0}), constant_alone=False, steep=FLAT),
    "bound_ndcg": Case(bound_ndcg, ({}, SHARP), constant_alone=False, smooth=False),
    "gumbel_approx_ndcg": Case(sampled(approx_ndcg, 0.1), GUMBEL_VARIANTS, constant_alone=False, random=True),
}
