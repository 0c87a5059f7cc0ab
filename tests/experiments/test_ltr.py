"""The real learning-to-rank set, where it is there: svmlight, 300 sparse features, grades 0 to 4."""

from pathlib import Path

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.experiments.evaluate import check
from ml4ir_losses.experiments.train import train

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "ltr"

pytestmark = [
    pytest.mark.backend("tensorflow"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the data set is not beside the checkout"),
]


@pytest.fixture
def config():
    return load_config(ROOT / "configs" / "ltr.yaml", [f"data.directory={DATA}"])


def test_check_counts_all_queries_and_documents(config):
    summary = check(config)
    sizes = {split: (values["queries"], values["documents"]) for split, values in summary["splits"].items()}
    assert sizes == {"train": (161, 2387), "validation": (40, 618), "test": (50, 768)}
    assert summary["splits"]["train"]["longest"] <= 27
    assert summary["features"] == 300
    constant, shared = summary["findings"]
    assert constant.startswith("train: the inputs 'f3', 'f4', 'f5', 'f13', 'f14' and 77 more: one value in all rows")
    # Query 175 has the documents of query 36 in LightGBM's file of training queries.
    assert shared.startswith("validation: 1 of 40 queries, first '175': in train too, with the same documents")


@pytest.mark.slow
def test_config_reaches_its_expected_metric(config, tmp_path):
    run = train(config, tmp_path / "run")
    assert run.missed == []
    assert run.metrics["test"]["ndcg_10"] > 0.745
    assert run.baselines["random"]["ndcg_10"] == pytest.approx(0.582, abs=0.02)
