"""Losses on the outputs of a head, one per class."""

import math

from losses.families.common import Case, log_softmax, logsumexp
from losses.families.embedding_pairs import rows_of


def cross_entropy(labels, logits, mask, weight):
    terms = [-log_softmax(row)[int(y)] if real else 0.0 for y, row, real in zip(labels, logits, mask, strict=True)]
    return rows_of(terms, mask, weight)


def pair_softmax(
    labels,
    scores,
    mask,
    weight,
    num_labels=8,
    concatenation_sent_rep=True,
    concatenation_sent_difference=True,
    concatenation_sent_multiplication=False,
):
    return cross_entropy(labels, [list(map(float, row)) for row in scores], mask, weight)


def proxy_anchor(labels, scores, mask, weight, margin=0.1, alpha=32.0):
    pull, push = [], []
    for k in range(len(scores[0])):
        column = [(labels[i] == k, float(row[k])) for i, row in enumerate(scores) if mask[i]]
        own = [-alpha * (s - margin) for mine, s in column if mine]
        others = [alpha * (s + margin) for mine, s in column if not mine]
        if own:
            pull.append(logsumexp([0.0, *own]))
        push.append(logsumexp([0.0, *others]))
    value = math.fsum(pull) / max(len(pull), 1) + math.fsum(push) / len(push)
    return rows_of(value, mask, weight)


def proxy_nca(labels, scores, mask, weight, softmax_scale=1.0):
    return cross_entropy(labels, [[-softmax_scale * float(d) for d in row] for row in scores], mask, weight)


def arc_face(labels, scores, mask, weight, margin=28.6, scale=64.0):
    m = margin * math.pi / 180

    def target(c):
        if abs(c) > 1:  # beyond the range of a cosine: the continuation of the formula
            return c - m * math.sin(m) if c < -math.cos(m) else c * math.cos(m)
        theta = math.acos(c)
        return math.cos(theta + m) if theta <= math.pi - m else c - m * math.sin(m)

    return margin_softmax(labels, scores, mask, weight, scale, target)


def cos_face(labels, scores, mask, weight, margin=0.35, scale=64.0):
    return margin_softmax(labels, scores, mask, weight, scale, lambda c: c - margin)


def margin_softmax(labels, scores, mask, weight, scale, target):
    logits = [
        [scale * (target(float(s)) if k == labels[i] else float(s)) for k, s in enumerate(row)]
        for i, row in enumerate(scores)
    ]
    return cross_entropy(labels, logits, mask, weight)


def head(oracle, variants, **changes):
    return Case(oracle, variants, **{"layout": "embeddings", "labels": "class", **changes})


def denoising_auto_encoder(labels, scores, mask, weight, pad_token_id=0):
    terms, count = [], 0
    for tokens, logits, real in zip(labels, scores, mask, strict=True):
        kept = [(int(x), log_softmax(list(map(float, z)))) for x, z in zip(tokens, logits, strict=True)]
        kept = [logs[x] for x, logs in kept if x != pad_token_id and real]
        terms.append(-math.fsum(kept))
        count += len(kept)
    weights = [1.0] * len(terms) if weight is None else weight
    return [len(terms) * t * float(w) / count if count else 0.0 for t, w in zip(terms, weights, strict=True)]


CASES = {
    "denoising_auto_encoder": Case(
        denoising_auto_encoder,
        ({}, {"pad_token_id": 3}),
        layout="embeddings",
        columns=4,
        dims=5,
        labels="token",
        pooled=True,
    ),
    "pair_softmax": head(
        pair_softmax,
        ({}, {"concatenation_sent_multiplication": True}),
        dims=8,
        required={"num_labels": 8},
    ),
    "proxy_anchor": head(proxy_anchor, ({}, {"margin": 0.3, "alpha": 2.0}), pooled=True, steep=64.0),
    "proxy_nca": head(proxy_nca, ({}, {"softmax_scale": 3.0})),
    "arc_face": head(arc_face, ({}, {"margin": 0.0}, {"margin": 45.0, "scale": 2.0}), steep=64.0, smooth=False),
    "cos_face": head(cos_face, ({}, {"margin": 0.0, "scale": 2.0}), steep=64.0),
}
