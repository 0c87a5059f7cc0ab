"""Losses with in-batch negatives, and metric-learning losses with classes."""

import itertools
import math

from losses.families.common import Case, logsumexp
from losses.families.embedding_pairs import SIMILARITY, cosine, rows_of


def valid_rows(mask):
    return [i for i, is_valid in enumerate(mask) if is_valid]


def multiple_negatives_ranking(
    labels,
    scores,
    mask,
    weight,
    scale=20.0,
    similarity="cosine",
    directions=("query_to_doc",),
    partition_mode="joint",
    hardness_mode=None,
    hardness_strength=0.0,
    held=None,
    **of_a_step,
):
    valid, terms, fixed = valid_rows(mask), [0.0] * len(mask), scores if held is None else held

    def scaled(x, y):
        return scale * SIMILARITY[similarity](x, y)

    for i in valid:
        anchor, positive = scores[i][:2]
        logits = {"query_to_doc": [], "query_to_query": [], "doc_to_query": [], "doc_to_doc": []}
        for j in valid:
            for k in range(1, len(scores[j])):
                own, is_positive = i == j, k == 1
                is_hard = {
                    None: False,
                    "in_batch_negatives": not own,
                    "hard_negatives": own and not is_positive,
                    "all_negatives": not (own and is_positive),
                }[hardness_mode]
                extra = hardness_strength * SIMILARITY[similarity](fixed[i][0], fixed[j][k]) if is_hard else 0.0
                logits["query_to_doc"].append(scaled(anchor, scores[j][k]) + extra)
                if not own:
                    logits["doc_to_doc"].append(scaled(positive, scores[j][k]))
            if i != j:
                logits["query_to_query"].append(scaled(anchor, scores[j][0]))
            logits["doc_to_query"].append(scaled(positive, scores[j][0]))
        parts = [logits[direction] for direction in directions]
        parts = [list(itertools.chain.from_iterable(parts))] if partition_mode == "joint" else parts
        terms[i] = math.fsum(map(logsumexp, parts)) / len(parts) - scaled(anchor, positive)
    return rows_of(terms, mask, weight)


BOTH_WAYS = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}


def symmetric(*batch, **params):
    return multiple_negatives_ranking(*batch, **params, **BOTH_WAYS)


def global_orthogonal_regularization(
    labels,
    scores,
    mask,
    weight,
    similarity="cosine",
    mean_weight=1.0,
    second_moment_weight=1.0,
    aggregation="mean",
):
    valid, total = valid_rows(mask), 0.0
    for column in range(len(scores[0])):
        texts = [scores[i][column] for i in valid]
        sims = [SIMILARITY[similarity](x, y) for i, x in enumerate(texts) for j, y in enumerate(texts) if i != j]
        count = max(1, len(sims))
        total += (mean_weight or 0.0) * (math.fsum(sims) / count) ** 2
        second_moment = math.fsum(s * s for s in sims) / count
        total += (second_moment_weight or 0.0) * max(0.0, second_moment - 1 / len(scores[0][0]))
    return rows_of(total / (len(scores[0]) if aggregation == "mean" else 1), mask, weight)


def mega_batch_margin(labels, scores, mask, weight, positive_margin=0.8, negative_margin=0.3, mini_batch_size=50):
    valid, terms = valid_rows(mask), [0.0] * len(mask)
    for i in valid:
        others = [cosine(scores[i][0], scores[j][1]) for j in valid if j != i]
        push = max(0.0, max(others) - negative_margin) if others else 0.0
        terms[i] = max(0.0, positive_margin - cosine(*scores[i])) + push
    return rows_of(terms, mask, weight)


def gist_embed(
    labels,
    scores,
    mask,
    weight,
    temperature=0.01,
    margin_strategy="absolute",
    margin=0.0,
    contrast_anchors=True,
    contrast_positives=True,
    as_shipped=False,
    **of_a_step,
):
    valid, terms = valid_rows(mask), [0.0] * len(mask)
    for i in valid:
        guide_score = cosine(labels[i][0], labels[i][1])
        share = guide_score if as_shipped else abs(guide_score)
        limit = guide_score - margin * (share if margin_strategy == "relative" else 1.0)
        pairs = [((i, 0), (j, 1)) for j in valid if j != i]
        pairs += [((i, 0), (j, 0)) for j in valid if j != i and contrast_anchors]
        pairs += [((i, 1), (j, 1)) for j in valid if j != i and contrast_positives]
        pairs += [((i, 0), (j, text)) for j in valid for text in range(2, len(scores[i]))]
        logits = [cosine(scores[i][0], scores[i][1]) / temperature]
        for (row, text), (other, candidate) in pairs:
            if cosine(labels[row][text], labels[other][candidate]) <= limit:
                logits.append(cosine(scores[row][text], scores[other][candidate]) / temperature)
        terms[i] = logsumexp(logits) - logits[0]
    return rows_of(terms, mask, weight)


def cosines(labels, scores, mask):
    """For each valid row: its number, the cosines with its positives, and those with its negatives."""
    valid = valid_rows(mask)
    for i in valid:
        positives = [cosine(scores[i], scores[j]) for j in valid if j != i and labels[j] == labels[i]]
        yield i, positives, [cosine(scores[i], scores[j]) for j in valid if labels[j] != labels[i]]


def shares(terms, count, mask, weight):
    """Per-row values whose mean is Σ terms / count."""
    values = [len(mask) * terms.get(i, 0.0) / count if count else 0.0 for i in range(len(mask))]
    return rows_of(values, mask, weight, scaled=False)


def nt_xent(labels, scores, mask, weight, temperature=0.07):
    terms, count = {}, 0
    for i, positives, negatives in cosines(labels, scores, mask):
        count += len(positives)
        far = [n / temperature for n in negatives]
        terms[i] = math.fsum(logsumexp([p / temperature, *far]) - p / temperature for p in positives)
    return shares(terms, count, mask, weight)


def sup_con(labels, scores, mask, weight, temperature=0.1):
    terms = {}
    for i, positives, negatives in cosines(labels, scores, mask):
        if positives:
            total = logsumexp([x / temperature for x in positives + negatives])
            terms[i] = total - math.fsum(positives) / len(positives) / temperature
    return shares(terms, sum(term > 0 for term in terms.values()), mask, weight)


def multi_similarity(labels, scores, mask, weight, alpha=2.0, beta=50.0, base=0.5):
    terms = [0.0] * len(mask)
    for i, positives, negatives in cosines(labels, scores, mask):
        pull = logsumexp([0.0, *(-alpha * (p - base) for p in positives)]) / alpha
        terms[i] = pull + logsumexp([0.0, *(beta * (n - base) for n in negatives)]) / beta
    return rows_of(terms, mask, weight)


def texts(oracle, variants, columns=3, steep=20.0, labels="none", teacher=(), held=False):
    return Case(
        oracle,
        variants,
        layout="embeddings",
        columns=columns,
        labels=labels,
        teacher=teacher,
        smooth=False,
        pooled=True,
        steep=steep,
        held=held,
    )


def classes(oracle, variants, steep):
    return Case(oracle, variants, layout="embeddings", labels="class", smooth=False, pooled=True, steep=steep)


RANKING = ({}, {"scale": 1.0, "similarity": "dot"}, *({"similarity": name} for name in ("euclidean", "manhattan")))
GUIDED = (
    {},
    {"temperature": 0.2, "margin": 0.3},
    {"temperature": 0.2, "margin": 0.3, "margin_strategy": "relative"},
    {"temperature": 0.2, "margin": 0.1, "contrast_anchors": False},
    {"temperature": 0.2, "margin": 0.1, "contrast_positives": False},
)
STEP = {"mini_batch_size": 2, "show_progress_bar": True}
EVERY = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
DIRECTED = (
    BOTH_WAYS,
    {"directions": EVERY, "scale": 2.0},
    {"directions": EVERY[:3:2], "hardness_mode": "in_batch_negatives", "hardness_strength": 2.0, "scale": 2.0},
    {"hardness_mode": "hard_negatives", "hardness_strength": 5.0, "similarity": "dot", "scale": 1.0},
    {"directions": EVERY, "hardness_mode": "all_negatives", "hardness_strength": 1.0, "similarity": "euclidean"},
)
CASES = {
    "multiple_negatives_ranking": texts(multiple_negatives_ranking, (*RANKING, *DIRECTED), held=True),
    "multiple_negatives_symmetric_ranking": texts(symmetric, RANKING),
    "cached_multiple_negatives_ranking": texts(multiple_negatives_ranking, ({}, STEP, DIRECTED[2]), held=True),
    "cached_multiple_negatives_symmetric_ranking": texts(symmetric, ({}, STEP)),
    "contrastive_tension_in_batch": texts(symmetric, ({}, {"scale": 2.0}), columns=2),
    "mega_batch_margin": texts(
        mega_batch_margin,
        ({}, {"mini_batch_size": 3}, {"positive_margin": 0.95, "negative_margin": -0.2, "mini_batch_size": 2}),
        columns=2,
        steep=2.0,
    ),
    "gist_embed": texts(gist_embed, GUIDED, columns=4, labels="teacher", teacher=(4, 5), steep=100.0),
    "cached_gist_embed": texts(gist_embed, ({}, STEP), columns=3, labels="teacher", teacher=(3, 5), steep=100.0),
    "global_orthogonal_regularization": texts(
        global_orthogonal_regularization,
        (
            {},
            {"mean_weight": None, "similarity": "dot", "aggregation": "sum"},
            *({"second_moment_weight": 0.5, "similarity": name} for name in ("euclidean", "manhattan")),
        ),
        columns=2,
    ),
    "nt_xent": classes(nt_xent, ({}, {"temperature": 0.5}), steep=20.0),
    "sup_con": classes(sup_con, ({}, {"temperature": 0.5}), steep=20.0),
    "multi_similarity": classes(multi_similarity, ({}, {"alpha": 1.0, "beta": 10.0, "base": 0.2}), steep=5.0),
}
