"""Pairwise losses."""

import itertools

from losses.families.common import NORMALIZED, SHARP, Case, documents, log_sigmoid, pooled


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


CASES = {
    "pairwise_logistic": Case(pairwise_logistic, (*NORMALIZED, SHARP)),
}
