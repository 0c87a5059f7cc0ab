"""The softmax family and ListMLE."""

import math

from losses.families.common import SHARP, Case, documents, log_softmax, logsumexp


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


CASES = {
    "softmax_cross_entropy": Case(
        softmax_cross_entropy, ({}, SHARP, {"normalize_labels": True}, {"normalize_labels": True, **SHARP})
    ),
    "rank_one_listnet": Case(rank_one_listnet, ({}, SHARP), labels="unit"),
    "aux_one_hot_cross_entropy": Case(aux_one_hot_cross_entropy, ({}, SHARP)),
    "aux_softmax_cross_entropy": Case(aux_softmax_cross_entropy, ({}, SHARP)),
    "list_mle": Case(list_mle, ({}, SHARP, {"respect_input_order": True}, {"activation_fn": "tanh"})),
}
