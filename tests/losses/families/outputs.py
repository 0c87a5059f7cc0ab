"""Losses of several outputs per document.

`held`: scores at which the parts are computed that get no gradient, where a difference quotient must hold them.
"""

import math

from losses.families.common import NORMALIZED, Case, log_sigmoid, pooled


def entropy(target, s):
    return -(target * log_sigmoid(s) + (1 - target) * log_sigmoid(-s))


def lists(labels, scores, mask, weight, held=None):
    """For every query the (label, scores, weight, held scores) of its valid documents."""
    for b, row in enumerate(mask):
        yield [
            (
                float(labels[b][i]),
                [float(s) for s in scores[b][i]],
                1.0 if weight is None else float(weight[b][i]),
                [float(s) for s in (scores if held is None else held)[b][i]],
            )
            for i, real in enumerate(row)
            if real
        ]


def ordinal(labels, scores, mask, weight, ordinal_size=3, use_fraction_label=False, normalization="query"):
    def reached(y, k):
        if y >= k:
            return 1.0
        return y - k + 1 if use_fraction_label and y > k - 1 else 0.0

    queries = [
        [(w, math.fsum(entropy(reached(y, k), z[k - 1]) for k in range(1, ordinal_size + 1))) for y, z, w, _ in query]
        for query in lists(labels, scores, mask, weight)
    ]
    return pooled(queries, normalization)


def click_em(labels, scores, mask, weight, exam_loss_weight=1.0, rel_loss_weight=1.0, normalization="query", held=None):
    def posterior(y, one, other):
        return 1.0 if y >= 1 else math.exp(log_sigmoid(one + log_sigmoid(-other)))

    queries = [
        [
            (
                w,
                exam_loss_weight * entropy(posterior(y, at[0], at[1]), e)
                + rel_loss_weight * entropy(posterior(y, at[1], at[0]), r),
            )
            for y, (e, r), w, at in query
        ]
        for query in lists(labels, scores, mask, weight, held)
    ]
    return pooled(queries, normalization)


def mixture_em(labels, scores, mask, weight, temperature=1.0, alpha=1.0, normalization="query", held=None):
    totals, sizes = [], []
    for query in lists(labels, scores, mask, weight, held):
        if not any(y > 0 for y, *_ in query):
            totals.append(0.0)
            sizes.append(0.0)
            continue
        components = range(len(query[0][1]))
        now = [math.fsum(w * entropy(y, z[m] / temperature) for y, z, w, _ in query) for m in components]
        at = [math.fsum(w * entropy(y, z[m] / temperature) for y, _, w, z in query) for m in components]
        share = [math.exp(-alpha * (loss - min(at))) for loss in at]
        totals.append(math.fsum(q * loss for q, loss in zip(share, now, strict=True)) / math.fsum(share))
        sizes.append(math.fsum(w for *_, w, _ in query))
    # one pooled item per query: its weight is the query's, its term the mean
    queries = [[(n, t / n if n else 0.0)] for t, n in zip(totals, sizes, strict=True)]
    return pooled(queries, normalization)


SEVERAL = {"layout": "outputs", "shift_invariant": False, "constant_alone": False}
CASES = {
    "ordinal": Case(
        ordinal,
        (*NORMALIZED, {"use_fraction_label": True}),
        outputs=3,
        required={"ordinal_size": 3},
        **SEVERAL,
    ),
    "click_em": Case(
        click_em,
        (*NORMALIZED, {"exam_loss_weight": 2.0, "rel_loss_weight": 0.5}),
        outputs=2,
        held=True,
        labels="binary",
        **SEVERAL,
    ),
    "mixture_em": Case(mixture_em, (*NORMALIZED, {"temperature": 0.5, "alpha": 0.3}), outputs=2, held=True, **SEVERAL),
}
