"""Equal scores: expected, lowest and given order, against all orders of the documents; and what follows from them."""

import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.registry import METRICS

from .oracle import KEYS, batch, queries_for


def compute(key, labels, scores, mask=None, weight=None, **params):
    values, weights = METRICS[key].target(labels, scores, mask, item_weight=weight, **params)
    return np.stack([ops.convert_to_numpy(values), ops.convert_to_numpy(weights)])


def tied_queries(key, seed):
    """Queries with large groups of equal scores and documents that are not retrieved."""
    labels, scores, mask, weight = queries_for(key, seed, rows=10, documents=7)
    rng = np.random.default_rng(seed)
    scores = np.sign(scores) * rng.integers(0, 2, (10, 1)).astype("float32")
    scores = np.where(rng.random(scores.shape) < 0.15, np.float32(-np.inf), scores)
    return labels, scores, mask, weight


@pytest.mark.parametrize("ties", ["average", "worst", "order"])
@pytest.mark.parametrize("key", KEYS)
def test_value_is_that_of_all_orders(key, ties):
    if (key, ties) == ("alpha_dcg", "worst"):
        pytest.skip("has no worst")
    labels, scores, mask, weight = tied_queries(key, 3)
    for topn in (None, 1, 2, 3, 5, 20):
        for w in (None, weight):
            if ties == "worst" and topn is not None and w is not None and key in ("map", "ordered_pair_accuracy"):
                continue
            got = compute(key, labels, scores, mask, w, topn=topn, ties=ties)
            want = np.stack(batch(key, labels, scores, mask, w, topn=topn, ties=ties))
            np.testing.assert_allclose(got, want, rtol=2e-5, atol=1e-6, err_msg=f"{topn} {w is None}")
