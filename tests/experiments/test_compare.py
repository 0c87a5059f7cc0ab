"""`compare` from the config to the table: real trainings on a few generated queries."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import yaml

import small
from ml4ir_losses.core.errors import ConfigError, DataError, RunError
from ml4ir_losses.core.files import write_csv
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.experiments import compare as compare_module
from ml4ir_losses.experiments.compare import compare
from ml4ir_losses.experiments.trials import Workbench

pytestmark = pytest.mark.backend("tensorflow")
RATES = [0.01, 0.05]
PRICE = [{"name": "price", "type": "numeric", "query_rank": True}, {"name": "brand", "type": "categorical"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small.write_splits(tmp_path_factory.mktemp("data"))


def config_of(folder, **sections):
    base = {"training": {"epochs": 1}, "features": {"inputs": PRICE}}
    return small.config(folder, **{**base, **sections})


@pytest.fixture(scope="module")
def compared(folder, tmp_path_factory):
    """A comparison of losses and libraries, one of which cannot read the labels."""
    return compare(
        config_of(folder),
        "list_mle,binary_cross_entropy",
        seeds=2,
        learning_rates=RATES,
        baseline="lightgbm,catboost",
        run_dir=tmp_path_factory.mktemp("compared") / "folder",
        progress=False,
    )


def row(compared, name):
    return next(r for r in compared.rows if r["name"] == name)


def test_losses_and_libraries_are_rows_with_values(compared):
    for name, kind in (("softmax_cross_entropy", "loss"), ("list_mle", "loss"), ("lightgbm", "library")):
        found = row(compared, name)
        assert (found["kind"], found["trials"], found["runs"]) == (kind, 2, 3)
        assert 0.0 < found["mean"] <= 1.0
        assert set(found["metrics"]) == {"ndcg_5", "mrr"}
    baselines = {r["name"] for r in compared.rows if r["kind"] == "baseline"}
    assert {"random", "original order"} < baselines
    assert row(compared, "list_mle")["learning_rate"] in RATES
    assert row(compared, "catboost")["error"] is None
    assert compared.missing == {}
    assert compared.verdict


def test_a_loss_that_cannot_read_the_labels_is_a_row_that_says_why(compared):
    failed = row(compared, "binary_cross_entropy")
    assert failed["mean"] is None
    assert "takes labels from 0 to 1. Received: 2" in failed["error"]


def test_the_table_is_written_in_all_forms(compared):
    written = json.loads((compared.path / "compare.json").read_text())
    assert written["own"] == "softmax_cross_entropy"
    assert written["part"] == "test"
    assert written["searched"] == {"learning_rates": RATES, "trials_each": 2}
    assert [r["name"] for r in written["rows"]] == [r["name"] for r in compared.rows]
    assert {"compare.csv", "compare.tex", "report.html"} < {path.name for path in compared.path.iterdir()}


def test_the_mean_of_a_row_is_that_of_single_trainings(compared, folder):
    found = row(compared, "list_mle")
    bench = Workbench()
    means = []
    for seed in (3, 4):
        model = {"loss": "list_mle", "optimizer": {"learning_rate": found["learning_rate"]}}
        config = config_of(folder, model=model, training={"epochs": 1, "seed": seed})
        means.append(bench.train(compare_module.load_config(config)).judged["test"].means()["ndcg_5"])
    assert found["mean"] == pytest.approx(np.mean(means), abs=1e-6)


def test_a_finished_comparison_trains_nothing_and_gives_the_same_table(compared, folder, monkeypatch):
    monkeypatch.setattr(Workbench, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    options = {"seeds": 2, "learning_rates": RATES, "run_dir": compared.path, "progress": False}
    again = compare(config_of(folder), "list_mle", **options)
    assert row(again, "list_mle")["mean"] == row(compared, "list_mle")["mean"]


def test_another_config_or_other_data_in_the_folder_are_refused(compared, folder, tmp_path):
    options = {"seeds": 2, "learning_rates": RATES, "run_dir": compared.path, "progress": False}
    with pytest.raises(ConfigError, match=r"is another comparison: config.training.epochs was 1 and is 2"):
        compare(config_of(folder, training={"epochs": 2}), "list_mle", **options)


def values_of(ids, rng):
    values = {name: rng.random(len(ids)) for name in ("ndcg_5", "mrr")}
    return QueryMetrics(values, {name: np.ones(len(ids)) for name in values}, ids)


class Trials(Workbench):
    """Trainings that are not made: values by loss, learning rate and seed."""

    made: list

    def train(self, config, callbacks=(), parts=None):
        queries, rng = self.prepare(config).queries, np.random.default_rng(config.training.seed)
        judged = {part: values_of(queries[part].ids, rng) for part in parts}
        key = (config.model.loss, config.model.optimizer.learning_rate, config.training.seed)
        self.made.append(key)
        if key[0] == "list_mle" and key[1] == 0.05:
            raise RunError("The training loss became nan in epoch 1")
        if key == ("listnet", 0.01, 4):
            raise KeyboardInterrupt
        return type("Trial", (), {"score": 0.5, "mode": "max", "judged": judged, "seconds": 1.0, "epochs": 1})()


@pytest.fixture
def trials(monkeypatch):
    Trials.made = []
    monkeypatch.setattr(compare_module, "Workbench", Trials)
    return Trials.made


def test_after_ctrl_c_the_finished_losses_are_compared_and_the_same_call_goes_on(trials, folder, tmp_path):
    options = {"seeds": 2, "learning_rates": RATES, "run_dir": tmp_path / "folder", "progress": False}
    found = compare(config_of(folder), "list_mle,listnet", **options)
    assert found.interrupted
    assert found.missing == {"listnet": 1}
    trained = {r["name"] for r in found.rows if r["kind"] == "loss"}
    assert trained == {"softmax_cross_entropy", "list_mle"}
    assert any("Not finished" in note and "listnet (1)" in note for note in found.comparison.notes)
    assert row(found, "list_mle")["learning_rate"] == 0.01  # the other one failed
    before = len(trials)
    compare(config_of(folder), "list_mle,listnet", **options)
    assert trials[before:] == [("listnet", 0.01, 4)]


def test_with_folds_every_query_is_compared_once(trials, folder, tmp_path):
    options = {"seeds": 2, "learning_rates": [0.01], "run_dir": tmp_path / "f", "progress": False}
    found = compare(config_of(folder), "ranknet", folds=3, **options)
    assert found.comparison.queries == 40 + 12 + 12
    assert found.comparison.folds == 3
    assert row(found, "ranknet")["runs"] == 3 * 2
    assert "best feature" in {r["name"] for r in found.rows}


def test_budget_and_jobs_out_of_range_are_refused(folder):
    for option in ("budget", "jobs"):
        with pytest.raises(ConfigError, match=f"--{option}: must be a number above 0. Received: 0"):
            compare(config_of(folder), "list_mle", **{option: 0}, progress=False)


def test_an_earlier_run_is_a_row_and_one_on_other_queries_is_refused(trials, folder, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    ids = [f"q{q}" for q in range(200, 212)]
    for path, queries in ((run, ids[::-1]), (other, [*ids[:-1], "q9"])):
        path.mkdir()
        values = [(query, 0.25 if query == "q200" else 1.0, "" if query == "q200" else 0.5) for query in queries]
        write_csv(path / "per_query.csv", ["query_id", "ndcg_5", "mrr"], values)
    options = {"seeds": 1, "learning_rates": [0.01], "progress": False}
    found = row(compare(config_of(folder), baseline=[run], run_dir=tmp_path / "f", **options), str(run))
    assert (found["kind"], found["mean"], found["metrics"]["mrr"]) == ("baseline", 11.25 / 12, 0.5)
    with pytest.raises(DataError, match=r"was evaluated on other queries than test: the run lacks 'q211'"):
        compare(config_of(folder), baseline=[other], run_dir=tmp_path / "g", **options)
    assert not (tmp_path / "g").exists()


def test_fewer_than_two_queries_are_refused(folder, tmp_path):
    for split in ("train", "validation"):
        (tmp_path / f"{split}.csv").write_bytes((folder / f"{split}.csv").read_bytes())
    small.write_csv(tmp_path / "test.csv", queries=1)
    with pytest.raises(DataError, match=r"compare: test needs at least 2 queries. Received: 1"):
        compare(config_of(tmp_path), "list_mle", progress=False)


def test_the_report_says_that_rates_were_chosen_on_the_part_that_is_compared(trials, folder, tmp_path):
    config = config_of(folder, data={"test": None})
    found = compare(config, "listnet", seeds=1, learning_rates=RATES, run_dir=tmp_path / "f", progress=False)
    assert found.comparison.part == "validation, on which learning rates were chosen"


def test_command_prints_table_verdict_and_folder(trials, folder, tmp_path, run):
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config_of(folder)))
    options = ["--losses", "ranknet,listnet:{temperature: 2}", "--seeds", 1, "--learning-rates", "0.01,0.05"]
    code, out, err = run("compare", tmp_path / "c.yaml", *options, "--run-dir", tmp_path / "f", "--jobs", 1)
    assert code == 0
    assert "listnet:{temperature: 2.0}" in out or "listnet:{temperature: 2}" in out
    assert "cannot be told apart" in out
    assert f"comparison folder: {tmp_path / 'f'}" in out
    assert "1/6  softmax_cross_entropy, seed 3  learning_rate 0.01  score 0.5000" in err
    code, _, err = run("compare", tmp_path / "c.yaml", "--all", "--losses", "listnet")
    assert (code, "either --all or --losses" in err) == (2, True)
    code, _, err = run("compare", tmp_path / "c.yaml", "--losses", "listnet", "--learning-rates", "a")
    assert (code, "write numbers with commas" in err) == (2, True)


def _command(folder, run_dir, *options):
    (folder / "c.yaml").write_text(yaml.safe_dump(config_of(folder)))
    command = [sys.executable, "-m", "ml4ir_losses.cli", "compare", str(folder / "c.yaml"), "--losses", "list_mle"]
    command += ["--seeds", "2", "--learning-rates", "0.01,0.05", "--run-dir", str(run_dir), *options]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_killed_comparison_goes_on_and_equals_one_that_was_not(folder, tmp_path, jobs):
    killed = _command(folder, tmp_path / "killed", "--jobs", jobs)
    for line in killed.stderr:
        if line.startswith("2/6"):
            os.kill(killed.pid, signal.SIGKILL)
            break
    assert killed.wait() == -signal.SIGKILL
    rest = _command(folder, tmp_path / "killed", "--jobs", jobs)
    _, log = rest.communicate()
    assert rest.returncode == 0
    assert "runs were finished before" in log
    assert "1/6" not in log
    whole = _command(folder, tmp_path / "whole", "--jobs", "1")
    whole.communicate()
    rows = [json.loads((tmp_path / name / "compare.json").read_text())["rows"] for name in ("killed", "whole")]
    compared = [[(r["name"], r["mean"], r["interval"], r["learning_rate"]) for r in part] for part in rows]
    assert compared[0] == compared[1]
