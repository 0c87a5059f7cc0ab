"""Lambda losses and lambda weights."""

import itertools
import math

from losses.families.common import SHARP, Case, documents, log_sigmoid, pooled

GAINS = {"identity": lambda y: y, "pow2_minus_1": lambda y: 2.0**y - 1}
DISCOUNTS = {"inverse": lambda r: 1 / r, "log2_inverse": lambda r: 1 / math.log2(1 + r)}


def ranks_of(scores):
    """1-based ranks by descending score; ties keep their order."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [order.index(i) + 1 for i in range(len(scores))]


def ideal_dcg(gains, discount, topn):
    best = sorted(gains, reverse=True)[:topn]
    return math.fsum(g * discount(r) for r, g in enumerate(best, start=1))


def pair_weight(spec, labels, ranks, i, j):
    """Λ of the documents i and j of a query with these labels and 1-based ranks."""
    params = {"key": spec} if isinstance(spec, str) else dict(spec)
    key = params.pop("key")
    first, second = ranks[i], ranks[j]
    if key == "label_diff":
        return abs(labels[i] - labels[j])
    if key == "precision":
        within = (first <= params["topn"]) != (second <= params["topn"])
        positive = params.get("positive", 1.0)
        is_positive = positive if callable(positive) else lambda y: y >= positive
        return float(within and is_positive(labels[i]) != is_positive(labels[j]))

    plain = key == "dcg"
    gain = GAINS[params.get("gain", "identity" if plain else "pow2_minus_1")]
    discount = DISCOUNTS[params.get("discount", "inverse" if plain else "log2_inverse")]
    topn = params.get("topn") or len(labels)
    gains = [gain(y) for y in labels]
    if params.get("normalized", key in ("ndcg", "ndcg_v2")):
        best = ideal_dcg(gains, discount, topn)
        gains = [g / best if best else 0.0 for g in gains]
    apart = abs(first - second)
    step = abs(discount(apart) - (0.0 if params.get("light_discount") else discount(apart + 1)))
    if key in ("dcg", "ndcg"):
        if first > topn and second > topn:
            return 0.0
        cut = [discount(r) if r <= topn else 0.0 for r in (first, second)]
        smooth = params.get("smooth_fraction", 0.0)
        step = (1 - smooth) * step + smooth * abs(cut[0] - cut[1])
    else:
        if max(first, second) > topn:
            step /= 1 - discount(max(first, second))
        if key == "yeti_dcg" and apart != 1:
            step = 0.0
    return abs(gains[i] - gains[j]) * step


def scheme_weight(scheme, gains, i, j):
    """w of the documents at ranks i and j, 1-based."""
    name, mu = (scheme["key"], scheme["mu"]) if isinstance(scheme, dict) else (scheme, 10.0)
    far = abs(gains[i - 1] - gains[j - 1])
    discount = DISCOUNTS["log2_inverse"]
    if name in (None, "none"):
        return 1.0
    if name == "ndcg_loss1":
        return gains[i - 1] * discount(i)
    rank_change = abs(discount(i) - discount(j)) * far
    if name == "lambda_rank":
        return rank_change
    step = abs(discount(abs(i - j)) - discount(abs(i - j) + 1)) * far if i != j else 0.0
    return step if name == "ndcg_loss2" else mu * step + rank_change


def in_top_k(rank, other_rank, k, top_k_pairs):
    """True for a pair of these ranks that counts."""
    within = [k is None or r <= k for r in (rank, other_rank)]
    return all(within) if top_k_pairs == "both" else any(within)


def lambda_loss(
    labels,
    scores,
    mask,
    weight,
    temperature=1.0,
    normalization="sum",
    weighting_scheme="ndcg_loss2pp",
    k=None,
    top_k_pairs="either",
    sigma=1.0,
    reduction_log="binary",
    activation_fn=None,
    eps=1e-10,
    held=None,
):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    base = {"binary": 2.0, "natural": math.e}[reduction_log]
    queries = []
    at = documents(labels, scores if held is None else held, mask, weight)
    for query, fixed in zip(documents(labels, scores, mask, weight), at, strict=True):
        gains = [2 ** max(y, 0.0) - 1 for y, _, _ in query]
        best = max(ideal_dcg(gains, DISCOUNTS["log2_inverse"], k), eps)
        ranks = ranks_of([squash(s) for _, s, _ in fixed])
        order = sorted(range(len(query)), key=ranks.__getitem__)
        shown = [query[i] for i in order]
        gains = [gains[i] / best if best else 0.0 for i in order]
        terms = []
        for i, j in itertools.product(range(1, len(shown) + 1), repeat=2):
            (y, s, w), (other_y, other_s, _) = shown[i - 1], shown[j - 1]
            pair = y > other_y or weighting_scheme == "ndcg_loss1"
            if pair and in_top_k(i, j, k, top_k_pairs):
                nats = -log_sigmoid(sigma * (squash(s) - squash(other_s)) / temperature)
                terms.append((w, scheme_weight(weighting_scheme, gains, i, j) * nats / math.log(base)))
        queries.append(terms)
    return pooled(queries, normalization)


CASES = {
    "lambda_loss": Case(
        lambda_loss,
        (
            {},
            {"weighting_scheme": None, "normalization": "query", **SHARP},
            {"weighting_scheme": "ndcg_loss1", "k": 3, "normalization": "query"},
            {"weighting_scheme": "ndcg_loss2", "sigma": 2.0, "eps": 6.0},
            {"weighting_scheme": "lambda_rank", "k": 2, "reduction_log": "natural"},
            {"k": 2, "top_k_pairs": "both"},
            {"weighting_scheme": {"key": "ndcg_loss2pp", "mu": 3.0}, "activation_fn": "tanh", "normalization": "batch"},
        ),
        pooled=True,
        held=True,
    ),
}
