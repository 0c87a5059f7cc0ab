"""Random rankings with ties, queries without a relevant document, single documents and labels that are all equal."""

import numpy as np


def random_run(seed, queries=40, documents=6, grades=4, levels=4):
    """Labels and scores of each query, two lists of arrays. The queries have up to `documents` documents.

    Args:
        grades: the highest label.
        levels: how many scores there are to draw from: the fewer, the more ties.
    """
    rng = np.random.default_rng(seed)
    labels, scores = [], []
    for query in range(queries):
        size = 1 if query % 8 == 3 else int(rng.integers(1, documents + 1))
        drawn = rng.integers(0, grades + 1, size) * (rng.random(size) < 0.6)
        if query % 8 == 5:
            drawn = np.full(size, drawn[0])
        if query % 8 == 7:
            drawn = np.zeros(size, int)
        labels.append(drawn.astype("float64"))
        scores.append(rng.integers(0, levels, size) / 4.0)
    return labels, scores
