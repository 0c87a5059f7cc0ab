"""The search of `tune`, on a bench whose scores follow a formula instead of training."""

import math
from types import SimpleNamespace

import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, RunError, UserError
from ml4ir_losses.experiments.search import Search
from small import config, write_splits

RATE, UNITS = "model.optimizer.learning_rate", "model.architecture.hidden_units"
RANGES = {RATE: {"log_uniform": [1e-4, 1.0]}, UNITS: {"choice": [[8], [16], [32]]}}
EPOCHS = 18


def formula(config):
    """Best at a learning rate of 0.01; more units are a little better."""
    return (
        1.0
        - (math.log10(config.model.optimizer.learning_rate) + 2) ** 2 / 10
        + sum(config.model.architecture["hidden_units"]) / 1e4
    )


class Bench:
    """Gives the scores of a formula, growing over the epochs; counts what it trains."""

    def __init__(self, score=formula, monitor="val_ndcg_5", mode="max", rows="a"):
        self.score, self.monitor, self.mode, self.rows = score, monitor, mode, rows
        self.trained = []

    def prepare(self, config):
        return SimpleNamespace(monitored=lambda: (self.monitor, self.mode), sources={"train": {"sha256": self.rows}})

    def train(self, config, callbacks=(), parts=None):
        assert parts == ()
        assert not config.tune
        assert not config.data.test
        final = self.score(config)
        model = SimpleNamespace(stop_training=False)
        self.trained.append(config)
        for callback in callbacks:
            callback.set_params({"epochs": config.training.epochs})
            callback.set_model(model)
        for epoch in range(config.training.epochs):
            value = final * (epoch + 1) / config.training.epochs
            for callback in callbacks:
                callback.on_epoch_end(epoch, {self.monitor: value})
            if model.stop_training:
                break
        return SimpleNamespace(score=value, seconds=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture
def searched(folder):
    def searched(tune=RANGES, rate=0.5, **sections):
        raw = config(folder, tune=tune, **{"training": {"epochs": EPOCHS}, **sections})
        return load_config(raw, [f"{RATE}={rate}"])

    return searched


def outline(search):
    return [(tried.state, tried.score, tried.values) for tried in search.tried() if tried.state != "interrupted"]


def test_first_trial_is_the_config_as_it_stands(searched):
    bench = Bench()
    search = Search(searched({RATE: {"log_uniform": [0.1, 1.0]}, UNITS: {"choice": [[8]]}}, rate=0.03), bench)
    search.run(3)
    assert bench.trained[0].model == searched(rate=0.03).model
    assert search.tried()[0].values == {}  # both values are outside of the ranges
    assert search.best.number == 0  # 0.03 is better than all in the range
    assert search.config_of(search.best).model == searched(rate=0.03).model


def test_search_finds_a_better_config_and_says_which_parameter_matters(searched):
    search = Search(searched(), Bench(), pruning=False)
    search.run(25)
    assert len(search.tried()) == 25
    assert search.tried()[0].values == {RATE: 0.5, UNITS: [16]}
    assert search.best.score > 0.99 > search.tried()[0].score
    assert abs(math.log10(search.best.values[RATE]) + 2) < 0.3
    assert search.config_of(search.best).model.optimizer.learning_rate == search.best.values[RATE]
    shares = search.importances()
    assert list(shares) == [RATE, UNITS]
    assert shares[RATE] > 0.9


def test_lower_scores_are_better_where_the_monitor_is_a_loss(searched):
    search = Search(searched(), Bench(lambda c: 2 - formula(c), "val_loss", "min"))
    search.run(15)
    assert search.best.score < 1.1 < search.tried()[0].score


def test_worse_trials_are_pruned_at_a_ninth_and_a_third_of_the_epochs(searched):
    search = Search(searched(), Bench())
    search.run(30)
    lengths = {
        tried.state: {len(t.history) for t in search.tried() if t.state == tried.state} for tried in search.tried()
    }
    assert lengths["finished"] == {EPOCHS}
    assert lengths["pruned"] <= {2, 6}
    assert sum(tried.state == "pruned" for tried in search.tried()) > 10
    assert search.best.score == max(tried.score for tried in search.tried() if tried.score)


def test_same_seed_tries_the_same(searched):
    outlines = []
    for seed in (1, 1, 2):
        search = Search(searched(training={"epochs": EPOCHS, "seed": seed}), Bench())
        search.run(12)
        outlines.append(outline(search))
    assert outlines[0] == outlines[1] != outlines[2]


def test_killed_search_goes_on_and_repeats_no_finished_trial(searched, tmp_path, monkeypatch):
    def killed_at(number):
        def score(config):
            if len(bench.trained) == number:
                raise KeyboardInterrupt
            return formula(config)

        bench = Bench(score)
        return bench

    monkeypatch.setitem(globals(), "EPOCHS", 1)  # a file is slow
    undisturbed = Search(searched(), Bench(), pruning=False)
    undisturbed.run(14)
    trained = 0
    for number in (0, 4, 7):
        search = Search(searched(), bench := killed_at(number), tmp_path / "study.db", pruning=False)
        with pytest.raises(KeyboardInterrupt):
            search.run(14)
        assert search.tried()[-1].state == "interrupted"
        trained += len(bench.trained)
    search = Search(searched(), bench := Bench(), tmp_path / "study.db", pruning=False)
    search.run(14)
    assert trained + len(bench.trained) == 14
    assert outline(search) == outline(undisturbed)
    search.run(14)
    assert trained + len(bench.trained) == 14


def test_folder_of_another_config_or_of_other_rows_is_refused(searched, tmp_path):
    Search(searched(), Bench(), tmp_path / "study.db").run(2)
    with pytest.raises(ConfigError) as error:
        Search(searched(rate=0.4), Bench(), tmp_path / "study.db")
    assert str(error.value) == f"{tmp_path}: holds the trials of another config; it differs in model. Choose --run-dir."
    with pytest.raises(ConfigError, match=r"it differs in rows\."):
        Search(searched(), Bench(rows="b"), tmp_path / "study.db")


def test_failing_trials_are_recorded_and_the_search_goes_on(searched):
    def score(config):
        if config.model.optimizer.learning_rate > 0.1:
            raise RunError("The training loss became nan in epoch 1: lower it.")
        if config.model.architecture["hidden_units"] == [8]:
            raise MemoryError("too large\nby far")
        return formula(config)

    search = Search(searched(), Bench(score))
    search.run(20)
    tried = search.tried()
    assert tried[0].error == "The training loss became nan in epoch 1: lower it."
    assert {t.error for t in tried if t.state == "failed"} == {tried[0].error, "MemoryError: too large"}
    assert search.best.score > 0.9
    assert len(tried) == 20


def test_no_trial_with_a_score_is_one_line(searched):
    def score(config):
        raise RunError("The loss became nan.")

    with pytest.raises(RunError, match=r"^No trial has a score\. The first one failed: The loss became nan\.$"):
        Search(searched(), Bench(score)).run(3)


def test_config_that_cannot_be_trained_ends_the_search_and_can_be_corrected(searched, tmp_path):
    def score(config):
        raise DataError("train.csv: every label is 0.")

    with pytest.raises(UserError, match=r"^train\.csv: every label is 0\.$"):
        Search(searched(), Bench(score), tmp_path / "study.db").run(3)
    search = Search(searched(rate=0.4), Bench(), tmp_path / "study.db")
    search.run(3)
    assert search.tried()[0].values[RATE] == 0.4


def test_search_ends_when_all_combinations_are_tried(searched):
    bench = Bench()
    search = Search(searched({UNITS: {"choice": [[8], [16], [32]]}}), bench)
    search.run(50)
    assert len(bench.trained) == len(search.tried()) == 3


def test_no_trial_starts_after_the_minutes(searched):
    search = Search(searched(), bench := Bench())
    search.run(minutes=1e-9)
    assert len(bench.trained) == 1


def test_wrong_optimizer_or_parameter_gives_one_line(searched):
    for path, spec, message in [
        (
            "model.optimizer.bta_1",
            {"uniform": [0.1, 0.9]},
            "model.optimizer.bta_1: 'adam' has no such parameter. Did you",
        ),
        ("model.optimizer.key", {"choice": ["adam", "sdg"]}, "model.optimizer.key: Unknown optimizer 'sdg'. Did you"),
    ]:
        with pytest.raises(ConfigError) as error:
            Search(searched({path: spec}), Bench())
        assert str(error.value).startswith(f"tune.{path}: {message}")


def test_score_with_folds_is_their_mean_and_pruning_is_between_folds(searched):
    def score(config):
        names = config.data.validation.name
        return formula(config) + int(names.split(" ")[3]) / 100

    search = Search(searched(data={"folds": 4}, expected_metrics={"test": {"mrr": 0.1}}), bench := Bench(score))
    search.run(12)
    first = search.tried()[0]
    assert first.score == pytest.approx(formula(bench.trained[0]) + 2.5 / 100)
    assert len(first.history) == 4
    assert {len(t.history) for t in search.tried() if t.state == "pruned"} == {2}
    assert search.config_of(search.best).data.train == "train.csv"


def test_a_fold_without_a_score_fails_the_trial(searched):
    class NoScore(Bench):
        def train(self, config, callbacks=(), parts=None):
            return SimpleNamespace(score=None, seconds=0.0)

    with pytest.raises(RunError, match="no epoch had a val_ndcg_5 that is a number"):
        Search(searched(), NoScore()).run(1)
