"""`tune` and its command: files of the folder, the best run, one line for bad input."""

import csv
import json
import sys

import pytest
import yaml

from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.experiments.train import train
from ml4ir_losses.experiments.trials import Workbench
from ml4ir_losses.experiments.tune import tune
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]
RATE, LOSS = "model.optimizer.learning_rate", "model.loss"
TUNE = {
    RATE: {"log_uniform": [1e-3, 1e-1]},
    LOSS: {"choice": ["softmax_cross_entropy", {"key": "lambda_loss", "k": 5}]},
}
INPUTS = [{"name": "price", "type": "numeric"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_splits(tmp_path_factory.mktemp("data"))
    (folder / "c.yaml").write_text(yaml.safe_dump(raw_config(folder)))
    return folder


def raw_config(folder, **sections):
    return config(folder, **{"features": {"inputs": INPUTS}, "tune": TUNE, **sections})


@pytest.fixture(scope="module")
def tuned(folder, tmp_path_factory):
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield tune(raw_config(folder), tmp_path_factory.mktemp("runs") / "search", trials=3, progress=False)
    tf.config.run_functions_eagerly(False)


def test_best_config_is_trained_with_the_score_of_its_trial_and_tested(tuned, folder, tmp_path):
    assert tuned.best.score >= tuned.trials[0].score
    assert tuned.metrics["validation"]["ndcg_5"] == pytest.approx(tuned.best.score, abs=1e-6)
    again = train(tuned.path / "best.yaml", tmp_path / "again", progress=False)
    assert again.metrics == tuned.metrics == json.loads((tuned.run / "metrics.json").read_text())
    assert "tune" not in yaml.safe_load((tuned.path / "best.yaml").read_text())


def test_files_hold_all_trials(tuned):
    summary = json.loads((tuned.path / "tune.json").read_text())
    assert {name: summary[name] for name in ("version", "name", "monitor", "mode", "folds", "best")} == {
        "version": 1,
        "name": "small",
        "monitor": "val_ndcg_5",
        "mode": "max",
        "folds": None,
        "best": tuned.best.number,
    }
    assert summary["ranges"] == TUNE
    assert [trial["number"] for trial in summary["trials"]] == [0, 1, 2]
    assert summary["trials"][0]["values"] == {RATE: 0.02, LOSS: "softmax_cross_entropy"}
    with (tuned.path / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["trial", "state", "val_ndcg_5", "epochs", "seconds", RATE, LOSS, "error"]
    assert float(rows[0]["val_ndcg_5"]) == summary["trials"][0]["score"]
    assert "trial 2" in (tuned.path / "log.txt").read_text()


def test_same_call_trains_nothing_and_tests_nothing_again(tuned, folder, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in tuned.run.iterdir()}
    monkeypatch.setattr(Workbench, "train", None)
    again = tune(raw_config(folder), tuned.path, trials=3, progress=False)
    assert (again.metrics, again.best, again.run) == (tuned.metrics, tuned.best, tuned.run)
    assert {path: path.stat().st_mtime_ns for path in tuned.run.iterdir()} == before


def test_ctrl_c_keeps_the_best_so_far_and_does_not_test(folder, tmp_path, monkeypatch):
    real, calls = Workbench.train, []

    def interrupted(self, *args, **options):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *args, **options)

    monkeypatch.setattr(Workbench, "train", interrupted)
    raw = raw_config(folder, training={"epochs": 1})
    stopped = tune(raw, tmp_path / "search", trials=3, progress=False)
    assert (stopped.interrupted, stopped.run, stopped.metrics) == (True, None, {})
    assert [trial.state for trial in stopped.trials] == ["finished", "interrupted"]
    assert json.loads((tmp_path / "search" / "tune.json").read_text())["interrupted"] is True
    assert (tmp_path / "search" / "best.yaml").exists()
    done = tune(raw, tmp_path / "search", trials=2, progress=False)
    assert (done.interrupted, len(calls)) == (False, 3)
    assert done.trials[1].values == done.trials[2].values
    assert done.metrics["test"]


def test_folds_do_not_read_the_test_split_before_the_end(folder, tmp_path):
    raw = raw_config(folder, data={"folds": 3, "test": "none.csv"}, training={"epochs": 1})
    with pytest.raises(UserError, match=r"none\.csv"):
        tune(raw, tmp_path / "search", trials=1, progress=False)
    summary = tmp_path / "search" / "tune.json"
    assert json.loads(summary.read_text())["folds"] == 3  # the search was done


def test_train_trains_the_config_as_it_stands_and_says_so(folder, tmp_path):
    run = train(raw_config(folder, data={"folds": 3}, training={"epochs": 1}), tmp_path / "run", progress=False)
    assert yaml.safe_load((run.path / "config.yaml").read_text())["model"]["optimizer"]["learning_rate"] == 0.02


def test_command_prints_the_best_trials_and_the_test_metrics(run, folder, tmp_path):
    arguments = (
        "tune",
        folder / "c.yaml",
        "--trials",
        2,
        "--set",
        "training.epochs=1",
        "--run-dir",
        tmp_path / "search",
    )
    code, out, err = run(*arguments, "--tune", "model.architecture.dropout={uniform: [0.0, 0.5]}")
    assert code == 0
    for text in ("small: ", " finished", "0 (as it stands)", LOSS, "small: test metrics", "mrr", "best.yaml"):
        assert text in out
    assert "trial 1  val_ndcg_5" in err
    assert "model.architecture.dropout" in json.loads((tmp_path / "search" / "tune.json").read_text())["ranges"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Say how long to search: give `trials`, `minutes` or both."),
        (("--trials", 0), "`trials` must be None or a whole number of at least 1. Received: trials=0."),
        (("--minutes", 0), "`minutes` must be a number above 0. Received: minutes=0.0."),
        (("--trials", 2, "--set", "tune={}"), "tune: the config names no parameter to search."),
        (
            ("--trials", 2, "--tune", "training.epoch={int: [1, 5]}"),
            "tune.training.epoch: training.epoch: unknown 'epoch'.",
        ),
        (("--trials", 2, "--tune", "training.epochs"), "--tune 'training.epochs': write a.b.c=value."),
        (
            ("--trials", 2, "--tune", f"{RATE}={{log_uniform: [0.1, 0.01]}}"),
            f"tune.{RATE}: log_uniform is turned round",
        ),
        (("--trials", 2, "--tune", "model.loss={choice: [lamda_loss]}"), "tune.model.loss: model.loss: Unknown loss"),
        (("--trials", 2, "--set", "data.folds=1"), "data.folds.k: input should be greater than or equal to 2."),
        (("--trials", 2, "--set", "data.folds=60"), "60 folds need at least 60 queries (data.folds). There are 52."),
        (("--trials", 2, "--set", "data.validation=null"), "tune: compares trials on queries that are not trained on"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_no_folder(run, folder, tmp_path, arguments, message):
    code, _, err = run("tune", folder / "c.yaml", "--run-dir", tmp_path / "search", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "search").exists()


def test_missing_package_and_foreign_folder_give_one_line(folder, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"exists and holds no search\. Choose --run-dir\.$"):
        tune(raw_config(folder), tmp_path, trials=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r'^Tuning needs the package optuna: pip install "ml4ir-losses\[tune\]"$'):
        tune(raw_config(folder), tmp_path / "search", trials=1)
