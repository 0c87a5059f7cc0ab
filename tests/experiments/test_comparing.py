"""The pieces of `compare` without training: which losses, which runs, their folder, the order in which they start."""

import json
from dataclasses import replace

import numpy as np
import pytest

import small
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.comparing.choices import (
    chosen_losses,
    fitting_losses,
    name_of,
    named_loss,
    split_names,
    unfit_labels,
    with_loss,
)
from ml4ir_losses.experiments.comparing.folder import ComparisonFolder
from ml4ir_losses.experiments.comparing.libraries import library_settings
from ml4ir_losses.experiments.comparing.plan import Candidate, Outcome, Plan, Task, own_rate, with_rate
from ml4ir_losses.experiments.comparing.progress import RunProgress, readable_time
from ml4ir_losses.experiments.comparing.rows import per_query
from ml4ir_losses.experiments.comparing.schedule import load_finished, train_open_runs
from ml4ir_losses.experiments.comparing.selection import Selection

RATES = (0.3, 1.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return load_config(small.config(tmp_path_factory.mktemp("data")))


def outcome(score, **options):
    values = {"ndcg_5": np.array([score, score / 2]), "mrr": np.array([1.0, 0.5])}
    weights = {name: np.ones(2) for name in values}
    return Outcome(score, "max", np.array(["a", "b"]), values, weights, seconds=1.0, epochs=2, **options)


class Workers:
    """Workers whose runs give `score(task)`; a score that is an exception is raised, a text is why the run failed."""

    def __init__(self, score, count=1):
        self.score, self.running, self.started = score, [None] * count, []

    def free(self):
        return [i for i, task in enumerate(self.running) if task is None]

    def start(self, worker, task):
        self.running[worker] = task
        self.started.append((worker, task))

    def finished(self):
        worker = next(i for i, task in enumerate(self.running) if task is not None)
        task, self.running[worker] = self.running[worker], None
        score = self.score(task)
        if isinstance(score, BaseException):
            raise score
        return worker, task, Outcome(error=score) if isinstance(score, str) else outcome(score)


def plan_of(config, names="ab", seeds=(1, 2, 3), folds=1, **options):
    candidates = [Candidate(name, "loss", {"key": "list_mle", "seed": ord(name)}, RATES) for name in names]
    return Plan([config] * folds, candidates, seeds, "test", **options)


def train(plan, tmp_path, workers, budget=None):
    folder = ComparisonFolder(tmp_path / "folder", {"config": 1})
    done = {}
    load_finished(plan, folder, done)
    before = len(done)
    interrupted = train_open_runs(plan, folder, workers, done, RunProgress(None, 1), budget)
    return done, before, interrupted


def test_commas_in_braces_and_brackets_do_not_separate_losses():
    text = "list_mle, lambda_loss:{k: 10, temperature: 2} ,{a: 1, b: [1, 2]},,"
    assert split_names(text) == ["list_mle", "lambda_loss:{k: 10, temperature: 2}", "{a: 1, b: [1, 2]}"]


@pytest.mark.parametrize(
    "spec", ["list_mle", {"key": "lambda_loss", "k": 10, "sigma": 1e-3}, {"list_mle": 0.9, "listnet": 0.1}]
)
def test_name_of_a_loss_reads_back_as_the_loss(spec):
    assert named_loss(name_of(spec)).spec == spec


def test_the_loss_of_the_config_is_compared_under_its_given_name(config):
    assert [c.name for c in chosen_losses(config, ["list_mle"])] == ["softmax_cross_entropy", "list_mle"]
    same = chosen_losses(config, ["list_mle", {"key": "softmax_cross_entropy", "temperature": 1.0}])
    assert [c.name for c in same] == ["list_mle", "softmax_cross_entropy:{temperature: 1.0}"]


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (
            "list_mle,lamda_loss,ranknet",
            r"--losses 'lamda_loss': Unknown loss 'lamda_loss'. Did you mean 'lambda_loss'\?",
        ),
        ("listnet,list_mle,listnet:{temperature: 1}", "'listnet' and 'listnet:{temperature: 1}' are the same loss"),
        ("lambda_loss:{kk: 3}", "has no parameter 'kk'"),
        ("lambda_loss:k", r"write a key, or key:\{parameter: value\}"),
        ("lambda_loss:{k: [}", "write a key"),
        ("lambda_loss:{key: ranknet}", "write a key"),
        ("cosent", "is an embedding loss, and this config reads features"),
        ("", "there is nothing to compare 'softmax_cross_entropy' with"),
        ("softmax_cross_entropy", "there is nothing to compare"),
    ],
)
def test_losses_that_cannot_be_compared_are_refused_before_training(config, losses, message):
    with pytest.raises(ConfigError, match=message):
        Selection.checked(config, losses)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "--seeds: must be a whole number of at least 1. Received: 0"),
        ({"folds": 2}, "--folds: must be a whole number of at least 3. Received: 2"),
        ({"baseline": "lightgmb"}, "Unknown baseline 'lightgmb'. Did you mean 'lightgbm'"),
        ({"baseline": "catboost,catboost"}, "'catboost' is given twice"),
        ({"learning_rates": [0.1, 0.1]}, "a number is given twice"),
        ({"learning_rates": [0.1, -1]}, "must be numbers above 0. Received: -1"),
        ({"learning_rates": []}, "must be numbers above 0. Received: none"),
    ],
)
def test_options_out_of_range_are_refused(config, options, message):
    with pytest.raises(ConfigError, match=message):
        Selection.checked(config, "list_mle", **options)


def test_a_missing_library_is_refused_with_the_command_that_installs_it(config, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.experiments.comparing.libraries.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lightgbm: is not installed: pip install 'ml4ir-losses\[baselines\]'"):
        Selection.checked(config, "list_mle", baseline="lightgbm")


def test_without_a_validation_split_learning_rates_cannot_be_chosen(tmp_path):
    config = load_config(small.config(tmp_path, data={"validation": None}))
    with pytest.raises(ConfigError, match=r"give data.validation, or --folds 5"):
        Selection.checked(config, "list_mle")
    assert Selection.checked(config, "list_mle", folds=3).folds == 3


def test_all_leaves_out_losses_of_other_models_with_a_reason(config):
    choices, left_out = fitting_losses(config)
    names = [choice.name for choice in choices]
    assert names[0] == "softmax_cross_entropy"
    assert {"list_mle", "lambda_loss", "sigmoid_cross_entropy", "mean_squared_error"} < set(names)
    assert left_out["ordinal"] == "needs the parameter 'ordinal_size'"
    assert left_out["click_em"] == "takes 2 logits per document, the config's loss 1"
    assert "texts of other rows" in left_out["cross_encoder_multiple_negatives_ranking"]
    assert "cosent" not in names
    assert "cosent" not in left_out


def test_labels_that_a_loss_does_not_take_are_a_reason():
    graded, binary = {"train": np.array([0.0, 2.0])}, {"train": np.array([0.0, 1.0])}
    assert unfit_labels(named_loss("binary_cross_entropy"), graded).startswith("train: 'binary_cross_entropy' takes")
    assert unfit_labels(named_loss("binary_cross_entropy"), binary) == ""


def test_other_losses_see_the_documents_and_clicks_of_the_configs_loss(tmp_path):
    loss = {"key": "list_mle", "propensity": "power", "min_label": 1.0}
    config = load_config(small.config(tmp_path, model={"loss": loss}, features={"positions": "shown"}))
    changed = with_loss(config, "mean_squared_error").model.loss
    assert changed == {"key": "mean_squared_error", "propensity": "power", "min_label": 1.0}
    own = {"key": "mean_squared_error", "propensity": {"key": "power", "eta": 0.5}, "min_label": 2.0}
    assert with_loss(config, own).model.loss == own


def test_a_cyclic_schedule_keeps_the_ratio_of_its_bounds(tmp_path):
    schedule = {"key": "cyclic", "initial_learning_rate": 0.01, "maximal_learning_rate": 0.1}
    config = load_config(small.config(tmp_path, model={"lr_schedule": schedule}))
    changed = with_rate(config, 0.2)
    assert (own_rate(config), own_rate(changed)) == (0.1, 0.2)
    assert changed.model.lr_schedule.initial_learning_rate == pytest.approx(0.02)


def test_each_library_tries_distinct_settings_the_middle_first():
    for name, size in (("lightgbm", "num_leaves"), ("catboost", "depth")):
        settings = library_settings(name, 9)
        assert len({tuple(s.items()) for s in settings}) == 9
        assert library_settings(name, 1)[0]["learning_rate"] == 0.1
        assert set(settings[0]) == {"learning_rate", size}


def test_every_loss_tries_every_rate_and_its_best_one_gets_all_seeds(config, tmp_path):
    plan = plan_of(config)
    best = {"a": 1, "b": 0}
    done, _, _ = train(plan, tmp_path, Workers(lambda task: 0.5 + 0.1 * (task.setting == best[task.name])))
    expected = {Task(n, 0, i, 1) for n in "ab" for i in (0, 1)} | {Task(n, 0, best[n], s) for n in "ab" for s in (2, 3)}
    assert set(done) == expected
    assert plan.repeats(plan.candidates[0], 0, done) == [Task("a", 0, 1, seed) for seed in (1, 2, 3)]


def test_lower_scores_win_where_the_monitored_value_is_a_loss(config):
    plan = plan_of(config, "a")
    done = {Task("a", 0, i, 1): replace(outcome(score), mode="min") for i, score in enumerate((0.3, 0.2))}
    assert plan.chosen(plan.candidates[0], 0, done) == 1


def test_a_rate_that_fails_is_not_chosen_and_a_loss_whose_seed_fails_is_not_trained_further(config, tmp_path):
    def score(task):
        if task.name == "a":
            return "no number" if task.setting == 1 else 0.5
        return "diverged" if task.seed == 2 else 0.5

    plan = plan_of(config)
    done, _, _ = train(plan, tmp_path, Workers(score))
    assert plan.failure(plan.candidates[0], done) is None
    assert plan.failure(plan.candidates[1], done) == "seed 2: diverged"
    assert Task("b", 0, 0, 3) not in done
    assert dict(plan.left(done)) == {"a": 0}


def test_a_loss_whose_every_rate_fails_says_why(config, tmp_path):
    plan = plan_of(config, "a")
    done, _, _ = train(plan, tmp_path, Workers(lambda task: f"setting {task.setting} diverged"))
    assert plan.failure(plan.candidates[0], done) == "setting 0 diverged"
    assert len(done) == 2


def test_folds_choose_their_rates_by_themselves(config, tmp_path):
    plan = plan_of(config, "a", seeds=(1, 2), folds=2)
    done, _, _ = train(plan, tmp_path, Workers(lambda task: 0.5 + 0.1 * (task.setting == task.fold)))
    assert [plan.chosen(plan.candidates[0], fold, done) for fold in (0, 1)] == [0, 1]
    assert len(done) == 2 * 3


@pytest.mark.parametrize("rounds", [False, True])
def test_with_a_budget_the_losses_take_turns(config, tmp_path, rounds):
    workers = Workers(lambda task: 0.5)
    train(plan_of(config, rounds=rounds), tmp_path, workers)
    names, seeds = [task.name for _, task in workers.started], [task.seed for _, task in workers.started]
    in_turns, one_by_one = seeds == sorted(seeds), names == sorted(names)
    assert (in_turns, one_by_one) == (rounds, not rounds)


def test_a_used_up_budget_starts_no_run_and_loses_none(config, tmp_path):
    plan = plan_of(config, rounds=True)
    done, _, _ = train(plan, tmp_path, Workers(lambda task: 0.5), budget=1e-9)
    assert done == {}
    assert dict(plan.left(done)) == {"a": 4, "b": 4}


def test_the_runs_of_a_loss_go_to_one_worker_while_there_are_others_to_train(config, tmp_path):
    workers = Workers(lambda task: 0.5, count=2)
    done, _, _ = train(plan_of(config), tmp_path, workers)
    assert len(done) == 8
    assert {worker for worker, task in workers.started[:4] if task.name == "a"} == {0}
    assert {worker for worker, task in workers.started[:4] if task.name == "b"} == {1}


def test_finished_runs_are_not_repeated_after_an_interruption(config, tmp_path):
    plan = plan_of(config)
    stop = Workers(lambda task: KeyboardInterrupt() if task.name == "b" else 0.5)
    done, _, interrupted = train(plan, tmp_path, stop)
    assert interrupted
    assert len(done) == 4
    workers = Workers(lambda task: 0.5)
    done, before, interrupted = train(plan, tmp_path, workers)
    assert (before, len(workers.started), len(done), interrupted) == (4, 4, 8, False)


def test_an_outcome_reads_back_as_it_was_written(tmp_path):
    folder = ComparisonFolder(tmp_path / "folder", {})
    written = outcome(0.5, memory=1.5)
    folder.save("run", written)
    read = folder.load("run")
    assert replace(read, ids=None, values={}, weights={}) == replace(written, ids=None, values={}, weights={})
    assert list(read.values) == list(written.values)
    for part in ("values", "weights"):
        np.testing.assert_equal(getattr(read, part), getattr(written, part))
    assert read.ids.tolist() == ["a", "b"]
    folder.save("failed", Outcome(error="no number"))
    assert folder.load("failed") == Outcome(error="no number")


def test_an_interrupted_run_among_the_finished_ones_is_trained_again(config, tmp_path):
    plan = plan_of(config)
    train(plan, tmp_path, Workers(lambda task: 0.5))
    files = sorted((tmp_path / "folder" / "runs").iterdir())
    files[0].write_bytes(files[0].read_bytes()[:100])
    done, _, _ = train(plan, tmp_path, workers := Workers(lambda task: 0.5))
    assert len(workers.started) == 1
    assert len(done) == 8


def test_a_run_is_known_by_its_loss_setting_seed_and_fold(config):
    plan = plan_of(config, seeds=(1, 2), folds=2)
    tasks = [Task(name, fold, i, seed) for name in "ab" for fold in (0, 1) for i in (0, 1) for seed in (1, 2)]
    assert len({plan.key(task) for task in tasks}) == len(tasks)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"version": 1, "config": {"epochs": 3}}, "is another comparison: config.epochs was 3 and is 2"),
        ({"version": 7}, "is a comparison of version 7 of the format, and this one writes version 1"),
        ("no JSON", "exists and is not the folder of a comparison"),
        (None, "exists and is not the folder of a comparison"),
    ],
)
def test_a_folder_of_something_else_is_refused(tmp_path, content, message):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    if content is not None:
        (folder / "comparison.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigError, match=message):
        ComparisonFolder(folder, {"config": {"epochs": 2}})


def test_the_plain_mean_of_values_per_query_is_their_weighted_mean():
    rng = np.random.default_rng(0)
    folds = [Outcome(values={"m": rng.random(4)}, weights={"m": np.array([0.0, 1.0, 2.0, 5.0])}) for _ in range(2)]
    values = per_query(folds, "m")
    flat = np.concatenate([f.values["m"] for f in folds]), np.concatenate([f.weights["m"] for f in folds])
    assert np.isnan(values).tolist() == [True, False, False, False] * 2
    assert np.nanmean(values) == pytest.approx(np.average(flat[0], weights=flat[1]))


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59 s"), (60, "1 min"), (3599, "1 h 00 min"), (3900, "1 h 05 min")]
)
def test_durations_read_well(seconds, text):
    assert readable_time(seconds) == text
