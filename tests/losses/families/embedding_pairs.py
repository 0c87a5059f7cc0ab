"""Losses of embedding pairs, and distillation losses of embeddings."""

import math

import keras
import numpy as np

from losses.families.common import Case, log_sigmoid, log_softmax, logsumexp


def length(x):
    return math.sqrt(dot(x, x))


def dot(x, y):
    return float(np.dot(np.asarray(x, "float64"), np.asarray(y, "float64")))


def cosine(x, y):
    norms = length(x) * length(y)
    return dot(x, y) / norms if norms else 0.0


def squared_euclidean(x, y):
    step = np.subtract(x, y, dtype="float64")
    return dot(step, step)


def manhattan(x, y):
    return float(np.abs(np.subtract(x, y, dtype="float64")).sum())


DISTANCE = {
    "cosine": lambda x, y: 1 - cosine(x, y),
    "euclidean": lambda x, y: math.sqrt(squared_euclidean(x, y)),
    "squared_euclidean": squared_euclidean,
    "manhattan": manhattan,
}
SIMILARITY = {
    "cosine": cosine,
    "dot": dot,
    "euclidean": lambda x, y: -math.sqrt(squared_euclidean(x, y)),
    "manhattan": lambda x, y: -manhattan(x, y),
}


def rows_of(terms, mask, weight, scaled=True):
    """Per-row values from the terms (or one number) of valid rows; `scaled`: by all rows / valid rows."""
    count = sum(map(bool, mask))
    scale = len(mask) / count if scaled and count else 1.0
    terms = terms if isinstance(terms, list) else [terms] * len(mask)
    weights = [1.0] * len(mask) if weight is None else weight
    return [float(w) * scale * t if m else 0.0 for t, m, w in zip(terms, mask, weights, strict=True)]


def contrastive(labels, scores, mask, weight, distance="cosine", margin=0.5, size_average=True):
    terms = []
    for y, (a, b) in zip(map(float, labels), scores, strict=True):
        d = DISTANCE[distance](a, b)
        terms.append(0.5 * (y * d**2 + (1 - y) * max(0.0, margin - d) ** 2) * (1 if size_average else len(labels)))
    return rows_of(terms, mask, weight, scaled=size_average)


def online_contrastive(labels, scores, mask, weight, distance="cosine", margin=0.5):
    pairs = [(float(y), DISTANCE[distance](a, b)) for y, (a, b) in zip(labels, scores, strict=True)]
    counted = [pair for pair, real in zip(pairs, mask, strict=True) if real]
    alike, different = ([d for y, d in counted if y == kind] for kind in (1, 0))
    terms = []
    for y, d in pairs:
        if y == 1:
            threshold = min(different) if different else sum(alike) / max(len(alike), 1)
            terms.append(d**2 if d > threshold else 0.0)
        else:
            threshold = max(alike) if alike else sum(different) / max(len(different), 1)
            terms.append(max(0.0, margin - d) ** 2 if d < threshold else 0.0)
    return rows_of(terms, mask, weight, scaled=False)


def contrastive_tension(labels, scores, mask, weight):
    pairs = [(float(y), dot(a, b)) for y, (a, b) in zip(labels, scores, strict=True)]
    terms = [-y * log_sigmoid(z) - (1 - y) * log_sigmoid(-z) for y, z in pairs]
    return rows_of(terms, mask, weight, scaled=False)


@keras.saving.register_keras_serializable("ml4ir_losses_tests")
def quartic(y_true, y_pred):
    return (y_true - y_pred) ** 4


@keras.saving.register_keras_serializable("ml4ir_losses_tests")
def twice(x):
    return 2.0 * x


def huber(y, x):
    error = abs(y - x)
    return 0.5 * error**2 if error <= 1 else error - 0.5


SQUARE, ABSOLUTE = (lambda y, x: (y - x) ** 2), (lambda y, x: abs(y - x))


def cosine_similarity(labels, scores, mask, weight, loss_fct="mse", cos_score_transformation=None):
    loss = {"mse": lambda y, x: (y - x) ** 2, "mae": lambda y, x: abs(y - x), "huber": huber, quartic: quartic}[
        loss_fct
    ]
    transform = {
        None: lambda x: x,
        "identity": lambda x: x,
        "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
        "tanh": math.tanh,
        "relu": lambda x: max(0.0, x),
        "softsign": lambda x: x / (1 + abs(x)),
        twice: twice,
    }[cos_score_transformation]
    terms = [loss(float(y), transform(cosine(a, b))) for y, (a, b) in zip(labels, scores, strict=True)]
    return rows_of(terms, mask, weight)


def in_order(labels, similarities, mask, weight, scale):
    counted = [(float(y), scale * s) for y, s, real in zip(labels, similarities, mask, strict=True) if real]
    return rows_of(logsumexp([0.0] + [s - t for y, s in counted for z, t in counted if y < z]), mask, weight)


def cosent(labels, scores, mask, weight, scale=20.0, similarity="cosine"):
    return in_order(labels, [SIMILARITY[similarity](u, v) for u, v in scores], mask, weight, scale)


def complex_similarity(u, v):
    """|Re + Im| of the quotient of two complex vectors, up to the ratio of their lengths."""
    half = len(u) // 2
    total = 0.0
    for k in range(half):
        z = complex(u[k], u[half + k]) * complex(v[k], v[half + k]).conjugate()
        total += z.real + z.imag
    return abs(total) / (length(u) * length(v)) if length(u) * length(v) else 0.0


def angle(labels, scores, mask, weight, scale=20.0):
    return in_order(labels, [complex_similarity(u, v) for u, v in scores], mask, weight, scale)


def embedding_margin_mse(labels, scores, mask, weight, similarity="dot"):
    terms = []
    for y, (query, *candidates) in zip(labels, scores, strict=True):
        sims = [SIMILARITY[similarity](query, c) for c in candidates]
        y = [float(number) for number in y]
        margins = [y[0] - other for other in y[1:]] if len(y) == len(sims) else y
        errors = [sims[0] - other - m for other, m in zip(sims[1:], margins, strict=True)]
        terms.append(math.fsum(e * e for e in errors) / len(errors))
    return rows_of(terms, mask, weight)


def embed_distill(labels, scores, mask, weight, distance="cosine", projection_dim=None):
    terms = []
    for teacher, columns in zip(labels, scores, strict=True):
        teachers = teacher if np.ndim(teacher) == 2 else [teacher] * len(columns)
        distances = [
            squared_euclidean(x, t) / len(x) if distance == "mse" else DISTANCE[distance](x, t)
            for x, t in zip(columns, teachers, strict=True)
        ]
        terms.append(math.fsum(distances) / len(columns))
    return rows_of(terms, mask, weight)


def embedding_mse(*batch, **params):
    return embed_distill(*batch, **params, distance="mse")


def distill_kl_div(
    labels,
    scores,
    mask,
    weight,
    similarity="dot",
    temperature=1.0,
    student_temperature=None,
    teacher_temperature=None,
):
    of_student, of_teacher = student_temperature or temperature, teacher_temperature or temperature
    terms = []
    for y, (query, *candidates) in zip(labels, scores, strict=True):
        teacher = log_softmax([float(number) / of_teacher for number in y])
        student = log_softmax([SIMILARITY[similarity](query, c) / of_student for c in candidates])
        divergence = math.fsum(math.exp(p) * (p - q) for p, q in zip(teacher, student, strict=True))
        terms.append(of_student**2 * divergence)
    return rows_of(terms, mask, weight)


DISTANCES = tuple({"distance": name, "margin": 2.0} for name in DISTANCE)


def pairs(oracle, variants, labels, **changes):
    return Case(
        oracle, variants, **{"layout": "embeddings", "columns": 2, "labels": labels, "smooth": False, **changes}
    )


CASES = {
    "contrastive": pairs(contrastive, ({}, *DISTANCES, {"size_average": False}), "share"),
    "online_contrastive": pairs(online_contrastive, ({}, *DISTANCES), "binary", pooled=True),
    "contrastive_tension": pairs(contrastive_tension, ({},), "binary", steep=10.0),
    "cosine_similarity": pairs(
        cosine_similarity,
        (
            {},
            {"loss_fct": "mae", "cos_score_transformation": "sigmoid"},
            {"loss_fct": "huber", "cos_score_transformation": "tanh"},
            {"cos_score_transformation": "relu"},
            {"cos_score_transformation": "softsign"},
            {"loss_fct": quartic, "cos_score_transformation": twice},
        ),
        "number",
    ),
    "cosent": pairs(
        cosent,
        ({}, {"scale": 1.0}, *({"similarity": name, "scale": 0.5} for name in SIMILARITY)),
        "number",
        pooled=True,
        steep=20.0,
    ),
    "angle": pairs(angle, ({}, {"scale": 1.0}), "number", pooled=True, steep=20.0),
    "embedding_margin_mse": pairs(
        embedding_margin_mse,
        ({}, *({"similarity": name} for name in ("cosine", "euclidean", "manhattan"))),
        "teacher",
        columns=4,
        teacher=(3,),
        steep=100.0,
    ),
    "embedding_mse": pairs(embedding_mse, ({}, {"projection_dim": 8}), "teacher", dims=8, teacher=(8,)),
    "embed_distill": pairs(
        embed_distill, ({}, {"distance": "euclidean"}, {"distance": "mse"}), "teacher", dims=8, teacher=(2, 8)
    ),
    "distill_kl_div": pairs(
        distill_kl_div,
        (
            {},
            {"temperature": 2.0},
            {"student_temperature": 0.5, "teacher_temperature": 3.0},
            *({"similarity": name} for name in ("cosine", "euclidean", "manhattan")),
        ),
        "teacher",
        columns=4,
        teacher=(3,),
        steep=10.0,
    ),
}
