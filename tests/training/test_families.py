"""Every config of a family of losses reaches the metrics that it promises."""

from pathlib import Path

import pytest

from ml4ir_losses.errors import UserError
from ml4ir_losses.evaluation.evaluate import check
from ml4ir_losses.training.train import train

CONFIGS = Path(__file__).parents[2] / "configs"
FAMILIES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in ("quickstart", "ltr"))

pytestmark = pytest.mark.backend("tensorflow")


def test_there_is_one_of_each_family():
    assert {"pointwise", "classification", "pairwise", "listwise"} <= set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_config_reaches_its_figures(name, tmp_path):
    run = train(CONFIGS / f"{name}.yaml", tmp_path / "run")
    assert run.missed == []
    random = run.baselines["random"]["ndcg_10"]
    best = max(values["ndcg_10"] for key, values in run.baselines.items() if key != "random")
    assert random < best < run.metrics["test"]["ndcg_10"]
    assert (tmp_path / "run" / "model.keras").is_file()


def test_the_pointwise_config_says_what_its_loss_needs():
    with pytest.raises(UserError, match="needs the parameter 'ordinal_size'"):
        check(CONFIGS / "pointwise.yaml", overrides=["model.loss=ordinal"])
