"""Losses that wrap an embedding loss."""

import math

import keras

from losses.families import embedding_triplets
from losses.families.common import Case, log_softmax
from losses.families.embedding_pairs import cosent, embedding_mse, length, rows_of
from losses.families.in_batch import multiple_negatives_ranking, symmetric


def batch_hard_triplet(labels, scores, mask, weight):
    """The flops oracle of the first column."""
    return embedding_triplets.batch_hard_triplet(labels, [row[0] for row in scores], mask, weight)


INNER = {
    "multiple_negatives_ranking": multiple_negatives_ranking,
    "multiple_negatives_symmetric_ranking": symmetric,
    "batch_hard_triplet": batch_hard_triplet,
    "cosent": cosent,
    "embedding_mse": embedding_mse,
}


def unit(x):
    norm = length(x)
    return [a / norm if norm else 0.0 for a in x]


def inner(spec):
    """The oracle of a loss with its parameters."""
    params = {"key": spec} if isinstance(spec, str) else dict(spec)
    oracle = INNER[params.pop("key")]
    return lambda *batch: oracle(*batch, **params)


def matryoshka(labels, scores, mask, weight, loss, dims, weights=None, n_dims_per_step=-1, seed=None):
    total = [0.0] * len(scores)
    for size, factor in zip(dims, weights or [1.0] * len(dims), strict=True):
        cut = [[unit(text[:size]) for text in row] for row in scores]
        values = inner(loss)(labels, cut, mask, weight)
        total = [t + factor * v for t, v in zip(total, values, strict=True)]
    return total


WEIGHTING = {"uniform": lambda i: 1.0, "linear": lambda i: 1 / (1 + i), "log": lambda i: 1 / (1 + math.log(1 + i))}


@keras.saving.register_keras_serializable("tests")
def twice_the_second(index):
    return 2.0 if index == 1 else 1.0


def adaptive_layer(
    labels,
    scores,
    mask,
    weight,
    loss,
    n_layers_per_step=1,
    last_layer_weight=1.0,
    prior_layers_weight=1.0,
    kl_div_weight=1.0,
    kl_temperature=0.3,
    layer_weighting="uniform",
    seed=None,
    held=None,
    value=None,
):
    fixed = scores if held is None else held
    value = value or inner(loss)
    layers = len(scores[0][0])
    at = [[[text[k] for text in row] for row in scores] for k in range(layers)]
    total = [last_layer_weight * v for v in value(labels, at[-1], mask, weight)]
    for k in range(1, layers):
        factor = WEIGHTING.get(layer_weighting, layer_weighting)(k - 1) / (layers - 1)
        values = value(labels, at[k - 1], mask, weight)
        terms = []
        for row, other in zip(fixed, scores, strict=True):
            kl = 0.0
            for text, states in zip(row, other, strict=True) if kl_temperature else ():
                log_p = log_softmax([float(x) / kl_temperature for x in text[-1]])
                log_q = log_softmax([float(x) / kl_temperature for x in states[k - 1]])
                kl += math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True)) / len(row)
            terms.append(kl_temperature * kl_div_weight * kl)
        divergence = rows_of(terms, mask, weight)
        parts = zip(total, values, divergence, strict=True)
        total = [t + prior_layers_weight * factor * v + d for t, v, d in parts]
    return total


def matryoshka_2d(
    labels, scores, mask, weight, loss, dims, weights=None, n_dims_per_step=1, seed=None, held=None, **layers
):
    def value(*batch):
        return matryoshka(*batch, loss, dims, weights)

    return adaptive_layer(labels, scores, mask, weight, loss, held=held, value=value, **layers)


def cross_batch_memory(labels, scores, mask, weight, loss, memory_size=1024):
    """The first batch, with an empty memory; later batches are tested in `test_memory`."""
    return inner(loss)(labels, scores, mask, weight)


def flops(labels, scores, mask, weight, threshold=None):
    return rows_of(penalty("flops", scores, mask, threshold), mask, weight)


def penalty(regularizer, rows, mask, threshold):
    texts = [[float(x) for x in text] for row, real in zip(rows, mask, strict=True) if real for text in row]
    if threshold is not None:
        texts = [text if sum(x != 0 for x in text) > threshold else [0.0] * len(text) for text in texts]
    if regularizer == "l1":
        return math.fsum(abs(x) for text in texts for x in text) / len(texts) if texts else 0.0
    return math.fsum((math.fsum(xs) / len(texts)) ** 2 for xs in zip(*texts, strict=True)) if texts else 0.0


DOT = {"key": "multiple_negatives_ranking", "scale": 1.0, "similarity": "dot"}


def splade(
    labels,
    scores,
    mask,
    weight,
    document_regularizer_weight,
    loss=DOT,
    query_regularizer_weight=None,
    document_regularizer="flops",
    query_regularizer="flops",
    document_regularizer_threshold=None,
    query_regularizer_threshold=None,
    use_document_regularizer_only=False,
):
    rows = [list(row) for row in scores]
    documents = rows if use_document_regularizer_only else [row[1:] for row in rows]
    extra = document_regularizer_weight * penalty(document_regularizer, documents, mask, document_regularizer_threshold)
    if query_regularizer_weight is not None and not use_document_regularizer_only:
        queries = [row[:1] for row in rows]
        extra += query_regularizer_weight * penalty(query_regularizer, queries, mask, query_regularizer_threshold)
    values = inner(loss)(labels, scores, mask, weight)
    return [v + e for v, e in zip(values, rows_of(extra, mask, weight), strict=True)]


def csr_reconstruction(labels, scores, mask, weight, beta=1.0, held=None):
    fixed = scores if held is None else held
    real = [b for b in range(len(scores)) if mask[b]]
    columns, size = len(scores[0]), len(scores[0][0][0])

    def square(a, b):
        return math.fsum((float(p) - float(q)) ** 2 for p, q in zip(a, b, strict=True)) / size

    def rest(b, c):
        return [float(x) - float(y) for x, y in zip(scores[b][c][0], fixed[b][c][4], strict=True)]

    terms = [0.0] * len(scores)
    for c in range(columns):
        mean = [math.fsum(rest(b, c)[j] for b in real) / len(real) for j in range(size)] if real else []
        spread = math.fsum(square(rest(b, c), mean) for b in real) / len(real) if len(real) > 1 else 0.0
        for b in real:
            x, by_k, by_4k, by_dead = (scores[b][c][part] for part in range(4))
            value = square(x, by_k) + square(x, by_4k) / 8 + beta * square(by_dead, rest(b, c)) / (spread or 1.0)
            terms[b] += value / columns
    return rows_of(terms, mask, weight)


def csr(labels, scores, mask, weight, loss=DOT, beta=0.1, gamma=1.0, held=None):
    codes = [[[x for part in text[5:] for x in part] for text in row] for row in scores]
    parts = [csr_reconstruction(labels, scores, mask, weight, beta, held), inner(loss)(labels, codes, mask, weight)]
    return [a + gamma * b for a, b in zip(*parts, strict=True)]


LOSS = {"loss": {"key": "multiple_negatives_ranking", "scale": 3.0}}
ALL = {"n_layers_per_step": -1}
SPLADE = {
    "layout": "embeddings",
    "columns": 3,
    "labels": "none",
    "required": {"document_regularizer_weight": 0.3},
    "pooled": True,
}
CASES = {
    "matryoshka": Case(
        matryoshka,
        (
            {**LOSS, "dims": [6, 2]},
            {**LOSS, "dims": [2, 4, 6], "weights": [0.3, 1.0, 0.0]},
            {"loss": {"key": "cosent", "scale": 2.0}, "dims": [3]},
        ),
        layout="embeddings",
        columns=2,
        dims=6,
        labels="number",
        required={**LOSS, "dims": [6, 2]},
        pooled=True,
    ),
    "adaptive_layer": Case(
        adaptive_layer,
        (
            {**LOSS, **ALL},
            {**LOSS, **ALL, "layer_weighting": "linear", "kl_temperature": 0.7, "prior_layers_weight": 2.0},
            {**LOSS, **ALL, "layer_weighting": "log", "kl_temperature": 0.0, "last_layer_weight": 0.5},
            {"loss": {"key": "cosent", "scale": 2.0}, **ALL, "kl_div_weight": 0.3, "kl_temperature": 1.0},
            {**LOSS, **ALL, "layer_weighting": twice_the_second},
        ),
        layout="embeddings",
        columns=2,
        layers=3,
        dims=6,
        labels="number",
        required={**LOSS, **ALL},
        pooled=True,
        held=True,
    ),
    "matryoshka_2d": Case(
        matryoshka_2d,
        (
            {**LOSS, **ALL, "dims": [6, 3], "n_dims_per_step": -1},
            {**LOSS, **ALL, "dims": [2, 6], "weights": [0.5, 2.0], "n_dims_per_step": -1, "kl_temperature": 0.6},
        ),
        layout="embeddings",
        columns=2,
        layers=3,
        dims=6,
        required={**LOSS, **ALL, "dims": [6, 3], "n_dims_per_step": -1},
        labels="none",
        pooled=True,
        held=True,
    ),
    "cross_batch_memory": Case(
        cross_batch_memory,
        (
            LOSS,
            {"loss": "batch_hard_triplet", "memory_size": 5},
            {"loss": {"key": "multiple_negatives_symmetric_ranking", "scale": 2.0, "similarity": "dot"}},
        ),
        layout="embeddings",
        columns=2,
        labels="class",
        required=LOSS,
        smooth=False,
        pooled=True,
        steep=3.0,
        remembers=True,
    ),
    "flops": Case(
        flops, ({}, {"threshold": 3}), layout="embeddings", columns=2, labels="none", pooled=True, smooth=True
    ),
    "splade": Case(
        splade,
        (
            {"document_regularizer_weight": 0.3},
            {"document_regularizer_weight": 0.3, "query_regularizer_weight": 0.5, **LOSS},
            {"document_regularizer_weight": 0.3, "use_document_regularizer_only": True},
            {
                "document_regularizer_weight": 0.3,
                "query_regularizer_weight": 0.5,
                "document_regularizer": "l1",
                "query_regularizer": "l1",
            },
        ),
        **SPLADE,
    ),
    "cached_splade": Case(
        splade, ({"document_regularizer_weight": 0.3, "query_regularizer_weight": 0.1, **LOSS},), **SPLADE
    ),
    "csr_reconstruction": Case(
        csr_reconstruction,
        ({}, {"beta": 0.3}),
        layout="embeddings",
        columns=2,
        layers=5,
        labels="none",
        pooled=True,
        held=True,
    ),
    "csr": Case(
        csr,
        ({}, {"beta": 1.0, "gamma": 0.3, **LOSS}),
        layout="embeddings",
        columns=2,
        layers=7,
        labels="none",
        pooled=True,
        held=True,
    ),
}
