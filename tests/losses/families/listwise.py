"""The softmax family and ListMLE."""

import math

from losses.families.common import SHARP, Case, documents, log_softmax, logsumexp
from losses.families.lambdas import DISCOUNTS, GAINS, ideal_dcg, ranks_of


def cross_entropy(queries, temperature, target):
    """-Σ target·ln softmax(s/T) with `target` a function of a query's [(y, w)]."""
    values = []
    for query in queries:
        shares = target([(y, w) for y, _, w in query]) if query else []
        log_p = log_softmax([s / temperature for _, s, _ in query]) if query else []
        values.append(-math.fsum(t * lp for t, lp in zip(shares, log_p, strict=True)))
    return values


def softmax_cross_entropy(
    labels, scores, mask, weight, temperature=1.0, normalize_labels=False, lambda_weight=None, held=None
):
    def target(query):
        gains = [w * y for y, w in query]
        whole = math.fsum(gains) if normalize_labels else 1.0
        return [g / whole if whole else 0.0 for g in gains]

    queries = list(documents(labels, scores, mask, weight))
    if lambda_weight is not None:
        at = documents(labels, scores if held is None else held, mask, weight)
        for query, fixed in zip(queries, at, strict=True):
            weights = document_weights(lambda_weight, [y for y, _, _ in query], ranks_of([s for _, s, _ in fixed]))
            query[:] = [(gain, s, w) for gain, (_, s, w) in zip(weights, query, strict=True)]
    return cross_entropy(queries, temperature, target)


def document_weights(spec, labels, ranks):
    """The gain of every document, discounted by its rank; for `ndcg` divided by the best DCG."""
    params = {"key": spec} if isinstance(spec, str) else spec
    plain = params["key"] == "dcg"
    gain, discount = GAINS["identity" if plain else "pow2_minus_1"], DISCOUNTS["inverse" if plain else "log2_inverse"]
    gains = [gain(y) for y in labels]
    best = 1.0 if plain else ideal_dcg(gains, discount, params.get("topn"))
    return [g * discount(r) / best if best else 0.0 for g, r in zip(gains, ranks, strict=True)]


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
            if others:  # the probability of a single document is the constant 1
                whole = logsumexp(logits)
                terms.append(w * (y * (logits[i] - whole) + (1 - y) * (logsumexp(others) - whole)))
        values.append(-math.fsum(terms))
    return values


def plackett_luce(logits, factors=None):
    """-ln of the probability of drawing the documents in this order, with an optional factor per step."""
    factors = [1.0] * len(logits) if factors is None else factors
    return math.fsum(c * (logsumexp(logits[r:]) - logits[r]) for r, c in enumerate(factors))


def mean_weights(labels, scores, mask, weight):
    """The mean weight of every query, weighted by labels if any is positive."""
    for query in documents(labels, scores, mask, weight):
        gain = math.fsum(max(y, 0.0) for y, _, _ in query)
        shares = [max(y, 0.0) / gain if gain else 1 / len(query) for y, _, _ in query]
        yield math.fsum(share * w for share, (_, _, w) in zip(shares, query, strict=True))


def list_mle(
    labels,
    scores,
    mask,
    weight,
    temperature=1.0,
    respect_input_order=False,
    lambda_weight=None,
    activation_fn=None,
):
    values = []
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    queries = documents(labels, scores, mask, weight)
    for query, mean_weight in zip(queries, mean_weights(labels, scores, mask, weight), strict=True):
        ideal = query if respect_input_order else sorted(query, key=lambda document: -document[0])
        factors = position_weights(lambda_weight, len(query))
        values.append(mean_weight * plackett_luce([squash(s) / temperature for _, s, _ in ideal], factors))
    return values


def position_weights(spec, size):
    if spec is None:
        return [1.0] * size
    ranks = range(1, size + 1)
    if not isinstance(spec, str) and spec["key"] == "list_mle":
        return [DISCOUNTS[spec["discount"]](r) for r in ranks]
    name = None if isinstance(spec, str) else spec["rank_discount_fn"]
    weights = [2 ** (size - r) - 1 if name is None else DISCOUNTS[name](r) for r in ranks]
    return [w / sum(weights) if sum(weights) else 0.0 for w in weights]


def p_list_mle(*batch, lambda_weight="p_list_mle", **params):
    return list_mle(*batch, lambda_weight=lambda_weight, **params)


def listnet(labels, scores, mask, weight, temperature=1.0, label_temperature=1.0, activation_fn=None):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]

    def target(query):
        log_t = log_softmax([y / label_temperature for y, _ in query])
        return [w * math.exp(t) for (_, w), t in zip(query, log_t, strict=True)]

    queries = [[(y, squash(s), w) for y, s, w in query] for query in documents(labels, scores, mask, weight)]
    return cross_entropy(queries, temperature, target)


def binary_listnet(labels, scores, mask, weight, temperature=1.0):
    return softmax_cross_entropy(labels, scores, mask, weight, temperature, normalize_labels=True)


def calibrated_softmax(labels, scores, mask, weight, temperature=1.0, virtual_label=0.0):
    values = []
    for query in documents(labels, scores, mask, weight):
        whole = logsumexp([0.0, *(s / temperature for _, s, _ in query)])
        terms = [w * y * (whole - s / temperature) for y, s, w in query]
        values.append(math.fsum(terms) + virtual_label * whole)
    return values


def unique_softmax(labels, scores, mask, weight, temperature=1.0, gain="pow2_minus_1"):
    values = []
    queries = documents(labels, scores, mask, weight)
    for query, mean_weight in zip(queries, mean_weights(labels, scores, mask, weight), strict=True):
        terms = []
        for y, s, _ in query:
            rivals = [other / temperature for lower, other, _ in query if lower < y]
            factor = 1.0 if gain is None else GAINS[gain](y)
            terms.append(factor * (logsumexp([s / temperature, *rivals]) - s / temperature))
        values.append(mean_weight * math.fsum(terms))
    return values


def poly1_softmax(labels, scores, mask, weight, temperature=1.0, epsilon=1.0):
    values = []
    for query in documents(labels, scores, mask, weight):
        log_p = log_softmax([s / temperature for _, s, _ in query]) if query else []
        gains = [w * y for y, _, w in query]
        whole = math.fsum(gains)
        hit = math.fsum(g / whole * math.exp(lp) for g, lp in zip(gains, log_p, strict=True)) if whole else 1.0
        cross = -math.fsum(g * lp for g, lp in zip(gains, log_p, strict=True))
        values.append(cross + epsilon * whole * (1 - hit))
    return values


CASES = {
    "softmax_cross_entropy": Case(
        softmax_cross_entropy,
        (
            {},
            SHARP,
            {"normalize_labels": True},
            {"lambda_weight": "dcg", **SHARP},
            {"lambda_weight": {"key": "ndcg", "topn": 2}, "normalize_labels": True},
        ),
        held=True,
    ),
    "rank_one_listnet": Case(rank_one_listnet, ({}, SHARP), labels="unit"),
    "aux_one_hot_cross_entropy": Case(aux_one_hot_cross_entropy, ({}, SHARP)),
    "aux_softmax_cross_entropy": Case(aux_softmax_cross_entropy, ({}, SHARP)),
    "listnet": Case(listnet, ({}, {**SHARP, "label_temperature": 0.5}, {"activation_fn": "tanh"})),
    "binary_listnet": Case(binary_listnet, ({}, SHARP)),
    "calibrated_softmax": Case(
        calibrated_softmax,
        ({}, {"virtual_label": 0.5, **SHARP}),
        shift_invariant=False,
        constant_alone=False,
    ),
    "unique_softmax": Case(unique_softmax, ({}, SHARP, {"gain": "identity"}, {"gain": None})),
    "poly1_softmax": Case(poly1_softmax, ({}, {"epsilon": 2.0, **SHARP}, {"epsilon": 0.0})),
    "list_mle": Case(
        list_mle,
        (
            {},
            SHARP,
            {"respect_input_order": True},
            {"activation_fn": "tanh"},
            {"lambda_weight": {"key": "list_mle", "discount": "log2_inverse"}},
        ),
    ),
    "p_list_mle": Case(
        p_list_mle,
        (
            {},
            {"lambda_weight": None, **SHARP},
            {"lambda_weight": {"key": "p_list_mle", "rank_discount_fn": "inverse"}, "respect_input_order": True},
            {"activation_fn": "tanh"},
        ),
    ),
}
