"""LightGBM's example set, where it is there: `Ranker` reaches what `configs/ltr.yaml` reaches."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_svmlight_file

from ml4ir_losses import Ranker, train
from ml4ir_losses.config.load import load_config

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "ltr"

pytestmark = [
    pytest.mark.backend("tensorflow"),
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not beside the checkout"),
]


def test_equals_the_run_of_the_shipped_config(tmp_path):
    config = load_config(ROOT / "configs" / "ltr.yaml")
    run = train(config, tmp_path / "run", overrides=[f"data.directory={DATA}"], progress=False)
    (X, y, qid), valid, test = (
        load_svmlight_file(str(DATA / name), n_features=300, query_id=True)
        for name in ("train.txt", "vali.txt", "test.txt")
    )
    ranker = Ranker(
        "pairwise_logistic",
        architecture={"key": "dnn", "input_dropout": 0.2},
        hidden_units=[128],
        dropout=0.5,
        transforms=(),
        query_rank=True,
        metrics=config.model.metrics,
        batch_size=16,
        epochs=40,
        early_stopping={"patience": 15, "start_from_epoch": 9},
        random_state=1,
    ).fit(X, y, qid=qid, eval_set=[valid[:2]], eval_qid=[valid[2]])
    score = ranker.score(test[0], test[1], qid=test[2])
    assert score == pytest.approx(run.metrics["test"]["ndcg_10"], abs=1e-6)
    assert score > config.expected_metrics["test"]["ndcg_10"]
    expected = run.model.predict_rows(DATA / "test.txt", logits=True)
    np.testing.assert_allclose(ranker.predict(test[0], qid=test[2]), expected, rtol=1e-4, atol=1e-5)
