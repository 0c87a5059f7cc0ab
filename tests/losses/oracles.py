"""The losses once more, as float64 loops over documents: written from the formulas, sharing no code with the library.

Every oracle is `oracle(labels, scores, mask, weight, **params) -> [value of each row]`; `weight` may be None.
"""

import itertools
import math


def documents(labels, scores, mask, weight):
    """For every query the (label, score, weight) of its real documents."""
    for b, row in enumerate(mask):
        yield [
            (float(labels[b][i]), float(scores[b][i]), 1.0 if weight is None else float(weight[b][i]))
            for i, real in enumerate(row)
            if real
        ]


def logsumexp(xs):
    top = max(xs)
    return top + math.log(math.fsum(math.exp(x - top) for x in xs))


def log_sigmoid(x):
    return -math.log1p(math.exp(-x)) if x >= 0 else x - math.log1p(math.exp(x))


def log_softmax(xs):
    return [x - logsumexp(xs) for x in xs]


def pooled(queries, normalization):
    """Row values from each query's list of (weight, term)."""
    totals = [math.fsum(w * term for w, term in query) for query in queries]
    weights = [math.fsum(w for w, _ in query) for query in queries]
    if normalization == "query":
        return [t / w if w else 0.0 for t, w in zip(totals, weights, strict=True)]
    if normalization == "batch":
        pool = math.fsum(weights)
        return [len(totals) * t / pool if pool else 0.0 for t in totals]
    return totals


def sigmoid_cross_entropy(labels, scores, mask, weight, pos_weight=None, normalization="query"):
    p = 1.0 if pos_weight is None else pos_weight
    queries = [
        [(w, -(p * y * log_sigmoid(s) + (1 - y) * log_sigmoid(-s))) for y, s, w in query]
        for query in documents(labels, scores, mask, weight)
    ]
    return pooled(queries, normalization)


def pairwise_logistic(labels, scores, mask, weight, temperature=1.0, normalization="query"):
    queries = [
        [
            (w, -log_sigmoid((s - other_s) / temperature))
            for (y, s, w), (other_y, other_s, _) in itertools.permutations(query, 2)
            if y > other_y
        ]
        for query in documents(labels, scores, mask, weight)
    ]
    return pooled(queries, normalization)


def cross_entropy(queries, temperature, target):
    """-Σ target·ln softmax(s/T) with the targets that `target` makes of a query's [(y, w)]."""
    values = []
    for query in queries:
        shares = target([(y, w) for y, _, w in query]) if query else []
        log_p = log_softmax([s / temperature for _, s, _ in query]) if query else []
        values.append(-math.fsum(t * lp for t, lp in zip(shares, log_p, strict=True)))
    return values


def softmax_cross_entropy(labels, scores, mask, weight, temperature=1.0, normalize_labels=False):
    def target(query):
        gains = [w * y for y, w in query]
        whole = math.fsum(gains) if normalize_labels else 1.0
        return [g / whole if whole else 0.0 for g in gains]

    return cross_entropy(documents(labels, scores, mask, weight), temperature, target)


def aux_one_hot_cross_entropy(labels, scores, mask, weight, temperature=1.0):
    def target(query):
        top = max(y for y, _ in query)
        ties = sum(y == top for y, _ in query)
        return [w / ties if y == top else 0.0 for y, w in query]

    return cross_entropy(documents(labels, scores, mask, weight), temperature, target)


def aux_softmax_cross_entropy(labels, scores, mask, weight, temperature=1.0):
    def target(query):
        log_t = log_softmax([y for y, _ in query])
        return [w * math.exp(t) for (_, w), t in zip(query, log_t, strict=True)]

    return cross_entropy(documents(labels, scores, mask, weight), temperature, target)


def rank_one_listnet(labels, scores, mask, weight, temperature=1.0):
    values = []
    for query in documents(labels, scores, mask, weight):
        logits = [s / temperature for _, s, _ in query]
        terms = []
        for i, (y, _, w) in enumerate(query):
            others = logits[:i] + logits[i + 1 :]
            if others:  # the probability of the only document is the constant 1
                whole = logsumexp(logits)
                terms.append(w * (y * (logits[i] - whole) + (1 - y) * (logsumexp(others) - whole)))
        values.append(-math.fsum(terms))
    return values


def plackett_luce(logits):
    """-ln of the probability that the documents are drawn in the given order."""
    return math.fsum(logsumexp(logits[r:]) - logits[r] for r in range(len(logits)))


def list_mle(labels, scores, mask, weight, temperature=1.0, respect_input_order=False, activation_fn=None):
    values = []
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    for query in documents(labels, scores, mask, weight):
        gain = math.fsum(max(y, 0.0) for y, _, _ in query)
        shares = [max(y, 0.0) / gain if gain else 1 / len(query) for y, _, _ in query]
        mean_weight = math.fsum(share * w for share, (_, _, w) in zip(shares, query, strict=True))
        ideal = query if respect_input_order else sorted(query, key=lambda document: -document[0])
        values.append(mean_weight * plackett_luce([squash(s) / temperature for _, s, _ in ideal]))
    return values


def categorical_cross_entropy(
    labels, scores, mask, weight, label_smoothing=0.0, class_weight=None, ignore_index=None, activation_fn=None
):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    classes = range(len(scores[0]))
    importance = class_weight or [1.0 for _ in classes]
    terms, shares = [], []
    for b, row in enumerate(scores):
        if not mask[b] or labels[b] == ignore_index:
            terms.append(0.0)
            continue
        one_hot = [float(k == labels[b]) for k in classes]
        log_p = log_softmax([squash(float(s)) for s in row])
        smooth = [(1 - label_smoothing) * t + label_smoothing / len(one_hot) for t in one_hot]
        terms.append(-math.fsum(v * t * lp for v, t, lp in zip(importance, smooth, log_p, strict=True)))
        shares.append(importance[int(labels[b])])
    pool = math.fsum(shares)
    scale = len(terms) / pool if pool else 0.0
    return [scale * t * (1.0 if weight is None else float(weight[b])) for b, t in enumerate(terms)]
