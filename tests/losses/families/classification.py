"""Classification losses."""

import math

from losses.families.common import Case, log_softmax


def categorical_cross_entropy(
    labels,
    scores,
    mask,
    weight,
    label_smoothing=0.0,
    class_weight=None,
    ignore_index=None,
    activation_fn=None,
    normalization="batch",
):
    squash = {None: lambda s: s, "tanh": math.tanh}[activation_fn]
    classes = range(len(scores[0]))
    importance = class_weight or [1.0 for _ in classes]
    terms, shares = [], []
    for b, row in enumerate(scores):
        if not mask[b] or labels[b] == ignore_index:
            terms.append(0.0)
            shares.append(0.0)
            continue
        one_hot = [float(k == labels[b]) for k in classes]
        log_p = log_softmax([squash(float(s)) for s in row])
        smooth = [(1 - label_smoothing) * t + label_smoothing / len(one_hot) for t in one_hot]
        terms.append(-math.fsum(v * t * lp for v, t, lp in zip(importance, smooth, log_p, strict=True)))
        shares.append(importance[int(labels[b])])
    pool = math.fsum(shares)
    divisors = {"batch": [pool / len(terms)] * len(terms), "query": shares, "sum": [1.0] * len(terms)}[normalization]
    weights = [1.0] * len(terms) if weight is None else map(float, weight)
    return [w * t / d if d else 0.0 for t, d, w in zip(terms, divisors, weights, strict=True)]


CASES = {
    "categorical_cross_entropy": Case(
        categorical_cross_entropy,
        (
            {},
            {"label_smoothing": 0.2},
            {"class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0]},
            {"class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0], "label_smoothing": 0.1},
            {"ignore_index": 2},
            {"normalization": "sum", "class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0]},
            {"normalization": "query", "class_weight": [1.0, 0.5, 2.0, 0.0, 1.0, 3.0], "label_smoothing": 0.1},
            {"activation_fn": "tanh"},
        ),
        layout="classes",
        labels="class",
        constant_alone=False,
        pooled=True,
    ),
}
