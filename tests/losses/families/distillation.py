"""Distillation, soft ranks and candidates."""

import math

from losses.families.common import SHARP, Case, documents, fixed_noise, log_sigmoid, logsumexp
from losses.families.listwise import mean_weights


def coupled_rank_distil(labels, scores, mask, weight, temperature=1.0, sample_size=8, topk=None):
    values = []
    for b, mean_weight in enumerate(mean_weights(labels, scores, mask, weight)):
        real = [i for i, valid in enumerate(mask[b]) if valid]
        samples = []
        for sample in range(sample_size):
            keys = {i: float(labels[b][i]) + fixed_noise(sample, b, i) for i in real}
            drawn = [float(scores[b][i]) / temperature for i in sorted(real, key=keys.__getitem__, reverse=True)]
            samples.append(math.fsum(logsumexp(drawn[r:]) - drawn[r] for r in range(len(drawn))[:topk]))
        values.append(mean_weight * math.fsum(samples) / sample_size)
    return values


def adr_mse(labels, scores, mask, weight, temperature=1.0, alpha=1.0):
    totals, sizes = [], []
    queries = documents(labels, scores, mask, weight)
    for query, mean_weight in zip(queries, mean_weights(labels, scores, mask, weight), strict=True):
        best_first = sorted((y for y, _, _ in query), reverse=True)
        terms = []
        for i, (y, s, _) in enumerate(query):
            tied = [r for r, other in enumerate(best_first, start=1) if other == y]
            rank = sum(tied) / len(tied)
            others = query[:i] + query[i + 1 :]
            soft = 1 + math.fsum(math.exp(log_sigmoid(alpha * (other - s) / temperature)) for _, other, _ in others)
            terms.append((rank - soft) ** 2 / math.log2(1 + rank))
        totals.append(mean_weight * math.fsum(terms))
        sizes.append(len(query))
    return [len(totals) * total / sum(sizes) if total else 0.0 for total in totals]


def multiple_negatives_ranking(
    labels, scores, mask, weight, temperature=1.0, num_negatives=4, scale=10.0, activation_fn="sigmoid"
):
    """Lists of already sampled candidates, the positive first."""
    squash = {None: lambda s: s, "sigmoid": lambda s: math.exp(log_sigmoid(s))}[activation_fn]
    values = []
    for row in scores:
        logits = [scale * squash(float(s)) / temperature for s in row]
        values.append(logsumexp(logits) - logits[0])
    return values


CANDIDATES = Case(
    multiple_negatives_ranking,
    ({}, {"scale": 2.0, "activation_fn": None}, SHARP),
    layout="columns",
    width=5,
    shift_invariant=False,
)
CASES = {
    "coupled_rank_distil": Case(
        coupled_rank_distil, ({}, {"sample_size": 3, "topk": 2, **SHARP}, {"sample_size": 1, "topk": 100}), random=True
    ),
    "adr_mse": Case(adr_mse, ({}, {"alpha": 3.0}, SHARP), pooled=True),
    "cross_encoder_multiple_negatives_ranking": CANDIDATES,
    "cached_cross_encoder_multiple_negatives_ranking": CANDIDATES,
}
