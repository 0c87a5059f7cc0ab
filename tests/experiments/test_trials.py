"""Many trainings in one process give what single ones give."""

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.train import train
from ml4ir_losses.experiments.trials import Workbench
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def make(folder):
    """A checked config: a function of overrides and the seed."""
    spec = config(folder, training={"epochs": 3}, model={"architecture": {"key": "dnn", "dropout": 0.3}})
    return lambda *overrides, seed=1: load_config(spec, overrides, seed)


def test_a_trial_is_a_training_run_whatever_was_trained_before(make, tmp_path):
    bench = Workbench()
    first = make("model.loss=gumbel_approx_ndcg", "model.optimizer.learning_rate=0.003")
    bench.train(first)
    bench.train(make("model.loss=gumbel_approx_ndcg", "training.epochs=2", seed=7))
    again, run = bench.train(first), train(first, tmp_path / "run", progress=False)
    for part in ("validation", "test"):
        assert again.judged[part].means() == run.metrics[part]
    assert again.score == pytest.approx(run.metrics["validation"]["ndcg_5"], abs=1e-6)
    assert (again.mode, again.epochs) == ("max", 3)


def test_the_values_per_query_have_their_ids_and_average_to_the_metric(make, folder):
    judged = Workbench().train(make(), parts=["test"]).judged["test"]
    lines = (folder / "test.csv").read_text().splitlines()
    assert judged.ids.tolist() == list(dict.fromkeys(line.split(",")[0] for line in lines[1:]))
    weighted = (judged.values["mrr"] * judged.weights["mrr"]).sum() / judged.weights["mrr"].sum()
    assert judged.means()["mrr"] == pytest.approx(weighted, abs=1e-6)


def test_data_are_read_once_for_configs_that_read_the_same(make, monkeypatch):
    read, reads = FeatureExperiment.read, []
    monkeypatch.setattr(FeatureExperiment, "read", lambda config: reads.append(config) or read(config))
    bench = Workbench()
    for overrides in ([], ["model.loss=list_mle"], ["data.batch_size=2"], ["features.inputs.0.transforms=[]"]):
        bench.prepare(make(*overrides))
    assert len(reads) == 2


def test_models_are_shared_where_only_variables_differ(make):
    bench = Workbench()
    first = bench.prepare(make()).model
    other_seed = bench.prepare(make("model.optimizer.learning_rate=0.5", "training.epochs=9", seed=2)).model
    assert other_seed is first
    assert float(other_seed.optimizer.learning_rate) == 0.5
    for override in ("model.loss=list_mle", "model.architecture.dropout=0.2", "model.lr_schedule=exponential"):
        assert bench.prepare(make(override)).model is not first
    start = bench.prepare(make()).model.get_weights()
    assert all(
        np.array_equal(a, b) for a, b in zip(start, Workbench().prepare(make()).model.get_weights(), strict=True)
    )


def test_steps_with_a_learning_rate_schedule_are_traced_for_each_rate(make):
    bench, schedule = Workbench(), "model.lr_schedule=exponential"
    first = bench.prepare(make(schedule)).model
    assert bench.prepare(make(schedule, seed=3)).model is first
    assert bench.prepare(make(schedule, "model.optimizer.learning_rate=0.5")).model is not first


def test_models_not_used_for_longest_are_traced_anew(make, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.experiments.trials._KEPT", 2)
    bench = Workbench()
    first, second = (bench.prepare(make(f"model.loss={loss}")).model for loss in ("list_mle", "listnet"))
    assert bench.prepare(make("model.loss=list_mle")).model is first
    bench.prepare(make("model.loss=ranknet"))
    assert bench.prepare(make("model.loss=list_mle")).model is first
    assert bench.prepare(make("model.loss=listnet")).model is not second
