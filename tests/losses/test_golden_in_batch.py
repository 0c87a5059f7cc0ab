"""Cross-encoder losses with in-batch negatives against sentence-transformers 6.2, on the same drawn negatives."""

import json
from pathlib import Path

import numpy as np
import pytest

from losses.numeric import value_and_gradient
from ml4ir_losses.losses.factory import get_loss

CASES = json.loads((Path(__file__).parents[1] / "golden" / "st_in_batch.json").read_text())
KEYS = {
    "MultipleNegativesRankingLoss": "cross_encoder_multiple_negatives_ranking",
    "CachedMultipleNegativesRankingLoss": "cached_cross_encoder_multiple_negatives_ranking",
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{KEYS[case['loss']]}-{case['id']}")
def test_loss_over_drawn_lists_matches_sentence_transformers(case):
    logits = np.array(case["logits"], "float32")
    rows, width = logits.shape
    own = [[column * rows + row for column in range(width // rows)] for row in range(rows)]
    documents = np.array([[*o, *drawn] for o, drawn in zip(own, case["drawn"], strict=True)])
    labels = np.eye(1, documents.shape[1], dtype="float32").repeat(rows, axis=0)
    loss = get_loss(KEYS[case["loss"]], min_label=0.0, **case["params"]).without_draws().get_loss_fn()
    place = np.arange(rows)[:, None], documents
    slopes = np.zeros(logits.shape)
    value, slopes[place] = value_and_gradient(lambda scores: loss(labels, scores), logits[place])
    np.testing.assert_allclose(value, case["value"], rtol=1e-5)
    np.testing.assert_allclose(slopes, case["gradient"], atol=2e-6)
