"""Every config of a family of losses reaches the metrics that it promises."""

from pathlib import Path

import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.evaluate import check
from ml4ir_losses.experiments.train import train

CONFIGS = Path(__file__).parents[2] / "configs"
OTHERS = ("quickstart", "ltr", "cranfield_bi_encoder", "cranfield_rerank")  # with tests of their own
FAMILIES = sorted(path.stem for path in CONFIGS.glob("*.yaml") if path.stem not in OTHERS)

pytestmark = pytest.mark.backend("tensorflow")


def test_every_family_has_a_config():
    assert {"pointwise", "classification", "pairwise", "listwise", "embedding"} <= set(FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_config_is_valid(name):
    assert check(CONFIGS / f"{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_config_reaches_its_expected_metrics(name, tmp_path):
    run = train(CONFIGS / f"{name}.yaml", tmp_path / "run")
    assert run.missed == []
    metric = "similarity_spearman_cosine" if name == "embedding" else "ndcg_10"
    assert run.baselines.pop("original order", {metric: 0.0})[metric] < run.metrics["test"][metric]
    baselines = [values[metric] for values in run.baselines.values()]
    assert baselines == sorted(baselines)  # a random order, the best feature
    assert max(baselines) < run.metrics["test"][metric]
    assert (tmp_path / "run" / "model.keras").is_file()


def test_pointwise_config_names_the_missing_parameter_of_its_loss():
    with pytest.raises(UserError, match="needs the parameter 'ordinal_size'"):
        check(CONFIGS / "pointwise.yaml", overrides=["model.loss=ordinal"])
