"""The Cranfield collection, where it is there: a bi-encoder trained on titles, and a ranker of BM25's best."""

import importlib.util
from pathlib import Path

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.experiments.train import train

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "cranfield"

pytestmark = [
    pytest.mark.backend("tensorflow"),
    pytest.mark.skipif(not DATA.is_dir(), reason="the collection is not beside the checkout"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    overrides = [f"data.directory={DATA}"]
    return train(
        ROOT / "configs" / "cranfield_bi_encoder.yaml", tmp_path_factory.mktemp("run") / "run", overrides=overrides
    )


@pytest.mark.slow
def test_trained_encoder_beats_bm25(run):
    pytest.importorskip("bm25s")
    assert run.missed == []
    found = {name: values["ndcg_10"] for name, values in run.baselines.items()}
    assert found["bm25"] == pytest.approx(0.5075, abs=0.002)
    assert run.metrics["retrieval"]["ndcg_10"] > found["untrained"] > found["bm25"]


def test_reranker_config_is_valid():
    assert load_config(ROOT / "configs" / "cranfield_rerank.yaml").name == "cranfield_rerank"


@pytest.mark.slow
def test_trained_reranker_beats_bm25(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("bm25s")
    spec = importlib.util.spec_from_file_location("rerank", ROOT / "benchmarks" / "cranfield_rerank.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    arguments = ["--collection", str(DATA), "--encoder", str(run.path), "--folder", str(tmp_path), "--seeds", "1"]
    monkeypatch.setattr("sys.argv", ["cranfield_rerank.py", *arguments])
    script.main()
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| ranker"))
    _, _, value, p, _ = (cell.strip() for cell in row.split("|"))
    assert float(value) > 0.53
    assert float(p) < 0.05
