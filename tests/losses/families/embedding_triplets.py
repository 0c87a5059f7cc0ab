"""Triplet losses."""

import math

from losses.families.common import Case, log_sigmoid
from losses.families.embedding_pairs import DISTANCE, DISTANCES, rows_of


def triplet(labels, scores, mask, weight, distance="euclidean", margin=5.0):
    d = DISTANCE[distance]
    return rows_of([max(0.0, d(a, p) - d(a, n) + margin) for a, p, n in scores], mask, weight)


def anchors(labels, scores, mask, distance):
    """For each valid row: the distances to its positives and to its negatives."""
    real = [i for i, counts in enumerate(mask) if counts]
    for a in real:
        d = {i: DISTANCE[distance](scores[a], scores[i]) for i in real}
        positives = [d[i] for i in real if i != a and labels[i] == labels[a]]
        yield a, positives, [d[i] for i in real if labels[i] != labels[a]]


def shares(terms, count, mask, weight):
    """Σ terms / count, one number for the batch, as per-row values of the anchors."""
    values = [0.0] * len(mask)
    for a, term in terms.items():
        values[a] = len(mask) * term / count if count else 0.0
    return rows_of(values, mask, weight, scaled=False)


def batch_all_triplet(labels, scores, mask, weight, distance="euclidean", margin=5.0):
    hinges = {
        a: [p - n + margin for p in positives for n in negatives if p - n + margin > 0]
        for a, positives, negatives in anchors(labels, scores, mask, distance)
    }
    count = sum(map(len, hinges.values()))
    return shares({a: math.fsum(terms) for a, terms in hinges.items()}, count, mask, weight)


def hardest(labels, scores, mask, distance):
    gaps = [0.0] * len(mask)
    for a, positives, negatives in anchors(labels, scores, mask, distance):
        gaps[a] = max([0.0, *positives]) - min(negatives) if negatives else 0.0
    return gaps


def batch_hard_triplet(labels, scores, mask, weight, distance="euclidean", margin=5.0):
    return rows_of([max(0.0, gap + margin) for gap in hardest(labels, scores, mask, distance)], mask, weight)


def batch_hard_soft_margin_triplet(labels, scores, mask, weight, distance="euclidean"):
    return rows_of([-log_sigmoid(-gap) for gap in hardest(labels, scores, mask, distance)], mask, weight)


def batch_semi_hard_triplet(labels, scores, mask, weight, distance="euclidean", margin=5.0):
    terms, count = {}, 0
    for a, positives, negatives in anchors(labels, scores, mask, distance):
        count += len(positives)
        hinges = []
        for p in positives:
            beyond = [n for n in negatives if n > p]
            h = min(beyond) if beyond else max(negatives, default=0.0)
            hinges.append(max(0.0, p - h + margin))
        terms[a] = math.fsum(hinges)
    return shares(terms, count, mask, weight)


def mined(oracle, variants):
    return Case(oracle, variants, layout="embeddings", labels="class", pooled=True, smooth=False, steep=5.0)


MARGINS = ({}, *DISTANCES, {"margin": 0.0})
CASES = {
    "triplet": Case(triplet, MARGINS, layout="embeddings", columns=3, labels="none", smooth=False),
    "batch_all_triplet": mined(batch_all_triplet, MARGINS),
    "batch_hard_triplet": mined(batch_hard_triplet, MARGINS),
    "batch_hard_soft_margin_triplet": mined(
        batch_hard_soft_margin_triplet, tuple({"distance": name} for name in ("euclidean", *DISTANCE))
    ),
    "batch_semi_hard_triplet": mined(batch_semi_hard_triplet, MARGINS),
}
