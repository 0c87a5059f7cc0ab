"""Every metric once more, as float64 loops over one query, and the random queries to compare them on."""

import math

import numpy as np

KEYS = ("ndcg", "dcg", "mrr", "map", "precision", "recall", "hits", "arp", "ordered_pair_accuracy")
BINARY = ("mrr", "map", "precision", "recall", "hits")
GAINS = {"identity": lambda y: y, "pow2_minus_1": lambda y: 2.0**y - 1.0}
DISCOUNTS = {
    "identity": lambda r: r,
    "inverse": lambda r: 1.0 / r,
    "log2_inverse": lambda r: 1.0 / math.log2(1.0 + r),
    "inverse_log1p": lambda r: 1.0 / math.log(1.0 + r),
}


def one_query(key, labels, scores, mask, weight, topn=None, threshold=1.0, gain="pow2_minus_1",
              discount="log2_inverse", denominator="retrieved", empty="skip"):  # fmt: skip
    """(value, weight) of one query."""
    docs = [i for i in range(len(labels)) if mask[i] and weight[i] > 0]
    docs = sorted(docs, key=lambda i: -scores[i])
    y, w, s = ([float(x[i]) for i in docs] for x in (labels, weight, scores))
    n = len(docs)
    if n == 0:
        return 0.0, 0.0
    cut = n if topn is None else min(topn, n)
    mean_weight = sum(w) / n

    if key == "arp":
        total = sum(w[r] * y[r] for r in range(n))
        last = math.inf if topn is None else topn + 1
        position = sum(w[r] * y[r] * min(r + 1, last) for r in range(n))
        return (position / total, total) if total > 0 else (0.0, 0.0)

    if key == "ordered_pair_accuracy":
        right = total = 0.0
        for i in range(n):
            for j in range(n):
                if y[i] > y[j] and min(i, j) < cut:
                    total += w[i]
                    right += w[i] if s[i] > s[j] else 0.0
        if total > 0:
            return right / total, total
        return {"skip": (0.0, 0.0), "zero": (0.0, mean_weight), "one": (1.0, mean_weight)}[empty]

    relevance = [GAINS[gain](v) for v in y] if key in ("ndcg", "dcg") else [float(v >= threshold) for v in y]
    if sum(relevance) == 0:
        return {"skip": (0.0, 0.0), "zero": (0.0, mean_weight), "one": (1.0, mean_weight)}[empty]
    omega = sum(a * b for a, b in zip(w, relevance, strict=True)) / sum(relevance)
    found = [r for r in range(cut) if relevance[r] > 0]

    if key in ("ndcg", "dcg"):
        products = [a * b for a, b in zip(w, relevance, strict=True)]
        cumulated = sum(products[r] * DISCOUNTS[discount](r + 1) for r in range(cut))
        best = sorted(products, reverse=True)
        ideal = sum(best[r] * DISCOUNTS[discount](r + 1) for r in range(cut))
        value = cumulated / (ideal if key == "ndcg" else omega)
    elif key == "mrr":
        value = 1.0 / (found[0] + 1) if found else 0.0
    elif key == "map":
        hits = [w[r] * (found.index(r) + 1) / (r + 1) for r in found]
        value = sum(hits) / sum(w[r] for r in range(n) if relevance[r] > 0)
    elif key == "precision":
        value = len(found) / (topn if denominator == "topn" and topn is not None else cut)
    elif key == "recall":
        value = len(found) / sum(relevance)
    else:
        value = float(bool(found))
    return value, omega


def batch(key, labels, scores, mask, weight=None, **params):
    """(values, weights), both [B]."""
    weight = np.ones(np.shape(labels)) if weight is None else weight
    rows = zip(labels, scores, mask, weight, strict=True)
    pairs = [one_query(key, *row, **params) for row in rows]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def queries(seed, rows=7, documents=9, ties=True, top_label=5):
    """Labels, scores, mask and weights with padding anywhere; row 0 has no relevance, row 1 only padding."""
    rng = np.random.default_rng(seed)
    shape = (rows, documents)
    labels = rng.integers(0, top_label, shape) * (rng.random(shape) < 0.6)
    labels = labels + 0.5 * (rng.random(shape) < 0.2)
    scores = rng.normal(size=shape) * 2
    scores = np.round(scores) if ties else scores
    mask = rng.random(shape) < 0.8
    weight = rng.uniform(0.1, 3.0, shape) * (rng.random(shape) < 0.85)
    labels[0], mask[0, :3] = 0.0, True
    mask[1] = False
    return labels.astype("float32"), scores.astype("float32"), mask, weight.astype("float32")
