"""The metrics as float64 loops over one query, written from their formulas, and random queries to compare them on.

A row of `CASES` describes a metric to all tests in this folder. An oracle is
`oracle(query, topn=None, **params) -> (value, weight)`, or None for a query that is empty in the sense of the metric.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

GAINS = {"identity": lambda y: y, "pow2_minus_1": lambda y: 2.0**y - 1.0}
DISCOUNTS = {
    "identity": lambda r: r,
    "inverse": lambda r: 1.0 / r,
    "log2_inverse": lambda r: 1.0 / math.log2(1.0 + r),
    "inverse_log1p": lambda r: 1.0 / math.log(1.0 + r),
}


class Query(NamedTuple):
    """Labels, weights and scores of the documents in ranked order; those that are not retrieved (-inf) come last."""

    y: list
    w: list
    s: list

    def cut(self, topn):
        """The number of documents in the top n."""
        retrieved = sum(s > -math.inf for s in self.s)
        return retrieved if topn is None else min(topn, retrieved)

    def weight(self, relevance):
        """Σ w·R / ΣR; the mean of w without relevance."""
        if sum(relevance) == 0:
            return sum(self.w) / len(self.w)
        return sum(a * b for a, b in zip(self.w, relevance, strict=True)) / sum(relevance)


@dataclass(frozen=True)
class Case:
    """What the tests know about a metric."""

    oracle: Callable
    binary: bool = False  # takes relevance_threshold
    gains: bool = False  # takes gain and discount
    lower_is_better: bool = False
    ideal: float | None = None  # the value of the ideal ranking of every query
    single: float = 1.0  # the value of a query with one document, which is relevant
    needs_cutoff: bool = False  # without topn every order has the same value
    needs_pairs: bool = False  # compares documents with different labels: one document is an empty query
    subtopics: int = 0  # labels per document
    policies: tuple[str, ...] = ("skip", "zero", "one")


def cumulated_gain(query, topn, gain, discount):
    """w·g of every document, its sum with discounts over the top n, and the weight; None without gain."""
    gains = [GAINS[gain](y) for y in query.y]
    if sum(gains) == 0:
        return None
    products = [w * g for w, g in zip(query.w, gains, strict=True)]
    total = sum(products[r] * DISCOUNTS[discount](r + 1) for r in range(query.cut(topn)))
    return products, total, query.weight(gains)


def ndcg(query, topn=None, gain="pow2_minus_1", discount="log2_inverse"):
    found = cumulated_gain(query, topn, gain, discount)
    if found is None:
        return None
    products, total, weight = found
    best = sorted(products, reverse=True)
    ideal = sum(p * DISCOUNTS[discount](r) for r, p in enumerate(best[:topn], start=1))
    return total / ideal, weight


def dcg(query, topn=None, gain="pow2_minus_1", discount="log2_inverse"):
    found = cumulated_gain(query, topn, gain, discount)
    return None if found is None else (found[1] / found[2], found[2])


def binary(value):
    """The oracle of a metric of relevant documents: `value(query, ranks of the relevant ones from 0, cutoff, ...)`."""

    def oracle(query, topn=None, relevance_threshold=1.0, **params):
        lowest = max(*query.y, 1e-9) if relevance_threshold == "highest" else relevance_threshold
        relevance = [float(y >= lowest) for y in query.y]
        relevant = [r for r, y in enumerate(relevance) if y]
        if not relevant:
            return None
        return value(query, relevant, query.cut(topn), topn=topn, **params), query.weight(relevance)

    return oracle


def mrr(query, relevant, cut, topn):
    return 1.0 / (relevant[0] + 1) if relevant[0] < cut else 0.0


def average_precision(query, relevant, cut, topn, denominator="relevant"):
    precisions = [query.w[r] * (k + 1) / (r + 1) for k, r in enumerate(relevant) if r < cut]
    share = topn / len(relevant) if denominator == "topn" and topn is not None else 1.0
    return sum(precisions) / sum(query.w[r] for r in relevant) / min(share, 1.0)


def precision(query, relevant, cut, topn, denominator="retrieved"):
    size = topn if denominator == "topn" and topn is not None else cut
    return sum(r < cut for r in relevant) / size if size else 0.0


def recall(query, relevant, cut, topn):
    return sum(r < cut for r in relevant) / len(relevant)


def hits(query, relevant, cut, topn):
    return float(relevant[0] < cut)


def arp(query, topn=None):
    total = sum(w * y for w, y in zip(query.w, query.y, strict=True))
    if total == 0:
        return None
    last = math.inf if topn is None else topn + 1
    positions = [r + 1 if r < query.cut(None) else len(query.y) + 1 for r in range(len(query.y))]
    terms = (w * y * min(r, last) for r, w, y in zip(positions, query.w, query.y, strict=True))
    return sum(terms) / total, total


def ordered_pair_accuracy(query, topn=None):
    correct = total = 0.0
    for i in range(len(query.y)):
        for j in range(len(query.y)):
            if query.y[i] > query.y[j] and (topn is None or min(i, j) < query.cut(topn)):
                total += query.w[i]
                correct += query.w[i] if i < j and query.s[i] > -math.inf else 0.0
    return (correct / total, total) if total > 0 else None


def bpref(query, relevant, cut, topn, use_trec_version=True):
    number, others = len(relevant), len(query.y) - len(relevant)
    divisor = min(number, others) if use_trec_version else number
    value = 0.0
    for k, r in enumerate(relevant):
        if r < cut:
            value += 1 - (min(r - k, number) / divisor if divisor else 0.0)
    return value / number


def pwa(query, topn=None):
    if sum(query.y) == 0:
        return None
    ranks = range(1, query.cut(topn) + 1)
    total = sum(1 / r for r in ranks)
    return sum(query.y[r - 1] / r for r in ranks) / total if total else 0.0, query.weight([0])


def alpha_dcg(query, topn=None, alpha=0.5, discount="log2_inverse"):
    covers = [[max(y, 0.0) for y in labels] for labels in query.y]
    relevance = [float(any(labels)) for labels in covers]
    if not any(relevance):
        return None
    value = 0.0
    for r in range(query.cut(topn)):
        for t, y in enumerate(covers[r]):
            covered = sum(covers[above][t] for above in range(r))
            value += query.w[r] * DISCOUNTS[discount](r + 1) * y * (1 - alpha) ** covered
    return value / query.weight(relevance), query.weight(relevance)


def precision_ia(query, topn=None, relevance_threshold=1.0):
    relevant = [{t for t, y in enumerate(labels) if y >= relevance_threshold} for labels in query.y]
    subtopics = set().union(*relevant)
    if not subtopics:
        return None
    cut = query.cut(topn)
    precisions = [sum(t in relevant[r] for r in range(cut)) / cut if cut else 0.0 for t in subtopics]
    return sum(precisions) / len(subtopics), query.weight([float(bool(topics)) for topics in relevant])


def err(query, topn=None, max_grade=4):
    satisfied = [(2.0 ** min(max(y, 0.0), max_grade) - 1) / 2.0**max_grade for y in query.y]
    if not any(satisfied):
        return None
    value, reading = 0.0, 1.0
    for r in range(query.cut(topn)):
        value += reading * satisfied[r] / (r + 1)
        reading *= 1 - satisfied[r]
    return value, query.weight(satisfied)


def rbp(query, relevant, cut, topn, p=0.8):
    return sum((1 - p) * p**r for r in relevant if r < cut)


def auc(query, topn=None, relevance_threshold=1.0):
    relevant = [y >= relevance_threshold for y in query.y]
    pairs = [(i, j) for i, y in enumerate(relevant) for j, z in enumerate(relevant) if y and not z]
    if not pairs:
        return None
    retrieved, cut, correct = query.cut(None), query.cut(topn), 0.0
    for i, j in pairs:
        both_below = i >= cut and cut <= j < retrieved
        correct += (0.5 if both_below else float(i < j)) if i < retrieved else 0.0
    return correct / len(pairs), query.weight([float(y) for y in relevant])


CASES = {
    "ndcg": Case(ndcg, gains=True, ideal=1.0),
    "dcg": Case(dcg, gains=True),
    "mrr": Case(binary(mrr), binary=True, ideal=1.0),
    "map": Case(binary(average_precision), binary=True),
    "precision": Case(binary(precision), binary=True, needs_cutoff=True),
    "recall": Case(binary(recall), binary=True, needs_cutoff=True),
    "hits": Case(binary(hits), binary=True, ideal=1.0, needs_cutoff=True),
    "arp": Case(arp, lower_is_better=True, policies=("skip",)),
    "ordered_pair_accuracy": Case(ordered_pair_accuracy, ideal=1.0, needs_pairs=True),
    "bpref": Case(binary(bpref), binary=True),
    "pwa": Case(pwa),
    "alpha_dcg": Case(alpha_dcg, subtopics=3),
    "err": Case(err, single=1 / 16),
    "rbp": Case(binary(rbp), binary=True, single=0.2),
    "auc": Case(auc, binary=True, ideal=1.0, needs_pairs=True),
    "precision_ia": Case(precision_ia, binary=True, needs_cutoff=True, subtopics=3),
}
KEYS = tuple(CASES)


def keys(**fields):
    """The keys of the metrics whose rows have these values."""
    return [key for key, case in CASES.items() if all(getattr(case, f) == value for f, value in fields.items())]


def one_query(key, labels, scores, mask, weight, empty_queries="skip", ties="average", **params):
    """(value, weight) of one query; the values of all orders of equal scores count with the weights that they have."""
    ranked = sorted((i for i in range(len(labels)) if mask[i] and weight[i] > 0), key=lambda i: -scores[i])
    if not ranked:
        return 0.0, 0.0
    labels, weight, scores = map(np.float64, (labels, weight, scores))
    ranking = [
        Query(*([x[i].tolist() for i in order] for x in (labels, weight, scores)))
        for order in orders(ranked, scores, ties)
    ]
    found = [pair for query in ranking if (pair := CASES[key].oracle(query, **params)) is not None]
    if found:
        values, weights = np.array(found).T
        if ties == "worst":
            best_last = np.argmax(values) if CASES[key].lower_is_better else np.argmin(values)
            return values[best_last], weights[best_last]
        return np.average(values, weights=weights), weights.sum() / len(ranking)
    mean_weight = ranking[0].weight([0])
    return {"skip": (0.0, 0.0), "zero": (0.0, mean_weight), "one": (1.0, mean_weight)}[empty_queries]


def orders(ranked, scores, ties):
    """The orders of the documents in which those of equal scores may be; those that are not retrieved keep theirs."""
    if ties == "order":
        return [ranked]
    groups = [list(group) for _, group in itertools.groupby(ranked, key=lambda i: scores[i])]
    each = [[g] if scores[g[0]] == -math.inf else list(itertools.permutations(g)) for g in groups]
    return [list(itertools.chain(*order)) for order in itertools.product(*each)]


def batch(key, labels, scores, mask, weight=None, **params):
    """(values, weights), both [B]."""
    weight = np.ones(np.shape(scores)) if weight is None else weight
    rows = zip(labels, scores, mask, weight, strict=True)
    pairs = [one_query(key, *row, **params) for row in rows]
    return np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])


def in_layout(key, labels):
    """Labels [B, N] as the metric takes them: those of one subtopic, [B, N, 1], for a metric over subtopics."""
    labels = np.asarray(labels, "float32")
    return labels[..., None] if CASES[key].subtopics else labels


def valid(labels):
    """The documents with a label of at least 0."""
    return labels >= 0 if labels.ndim == 2 else (labels >= 0).any(axis=-1)


def fill(labels, mask, filler):
    """The labels [B, N] or [B, N, S] with another number where the mask [B, N] is false."""
    return np.where(mask if labels.ndim == 2 else mask[..., None], labels, np.float32(filler))


def queries_for(key, seed, **kwargs):
    """`queries` with the labels of this metric; a third of the subtopic labels are 0, and some are padding, -1."""
    labels, scores, mask, weight = queries(seed, **kwargs)
    if CASES[key].subtopics:
        rng = np.random.default_rng(seed)
        shape = (*labels.shape, CASES[key].subtopics)
        labels = labels[..., None] * (rng.random(shape) < 2 / 3) - (rng.random(shape) < 0.1)
        labels = np.maximum(labels, -1.0).astype("float32")
        labels[0] = np.minimum(labels[0], 0.0)
        mask &= valid(labels)
    return labels, scores, mask, weight


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
