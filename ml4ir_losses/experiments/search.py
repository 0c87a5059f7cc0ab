"""The trials of `tune`: an Optuna study over the section `tune` of a config."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ml4ir_losses.config.load import AnyConfig
from ml4ir_losses.config.ranges import label
from ml4ir_losses.config.search_space import check_monitor, check_search_space, given_values, with_values
from ml4ir_losses.core.errors import ConfigError, RunError, UserError
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.core.log import LOGGER, hidden_log
from ml4ir_losses.experiments.folding import fold_configs, without_test
from ml4ir_losses.experiments.held_folder import make_folder
from ml4ir_losses.experiments.search_results import Tried, short
from ml4ir_losses.experiments.trials import Workbench
from ml4ir_losses.model.optimizers import make_optimizer

VERSION = 1
REPEATS = 10  # a search ends after as many trials in a row that were trained before


class Search:
    """A search over the section `tune` of a config, in a study that goes on where it was left.

    Args:
        config: a config with the section `tune`.
        bench: trains the trials.
        storage: the SQLite file of the study; None: in memory.
        sampler: an Optuna sampler for a seed; None: TPE.
        pruning: whether trials that are worse than others at the same epoch are ended early.

    Raises:
        ConfigError: for a config that cannot be tuned, or a study of another config.
        DataError: for data that cannot be used.
    """

    def __init__(
        self,
        config: AnyConfig,
        bench: Workbench,
        storage: Path | None = None,
        sampler: Callable[[int], Any] | None = None,
        pruning: bool = True,
    ) -> None:
        self.optuna = optuna = import_extra("optuna", "tune", "Tuning")
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        check_search_space(config, lambda candidate: make_optimizer(candidate.model, 1))
        self.config, self.bench = config, bench
        given = getattr(config.data, "folds", None)
        self.parts = [without_test(part) for part in ([config] if given is None else fold_configs(config, given))]
        experiment = bench.prepare(with_values(self.parts[0], {}))
        self.monitor, self.mode = experiment.monitored()
        check_monitor(config, self.monitor)
        # Trials are compared after a ninth and a third of the epochs, not after one alone, or after 2 and 4 folds.
        self.reduction = 3 if len(self.parts) == 1 else 2
        first = 2 if len(self.parts) > 1 else max(2, self._epochs() // self.reduction**2)
        self.steps = [first * self.reduction**i for i in range(10)]
        self.sampler = sampler or (lambda seed: optuna.samplers.TPESampler(seed=seed))
        subject = {"config": config.model_dump(mode="json"), "rows": experiment.sources, "version": VERSION}
        self.study = self._open(storage, pruning, json.loads(json.dumps(subject)))

    def _open(self, storage: Path | None, pruning: bool, subject: Mapping[str, Any]) -> Any:
        """The study: a new one begins with the config as it stands, an old one with the trials that were killed."""
        optuna, states = self.optuna, self.optuna.trial.TrialState
        halving = optuna.pruners.SuccessiveHalvingPruner(min_resource=self.steps[0], reduction_factor=self.reduction)
        if storage is not None:
            make_folder(storage.parent)
        url = None if storage is None else f"sqlite:///{storage}"
        study = optuna.create_study(
            storage=url,
            study_name="tune",
            direction="maximize" if self.mode == "max" else "minimize",
            pruner=halving if pruning else optuna.pruners.NopPruner(),
            load_if_exists=True,
        )
        known = study.user_attrs.get("subject", subject)
        if known != subject and not self._finished(study):  # the config was corrected after the first trial failed
            optuna.delete_study(study_name=study.study_name, storage=url)
            return self._open(storage, pruning, subject)
        if known != subject:
            before, now = ({**s, **s.get("config", {}), "config": None} for s in (known, subject))
            other = ", ".join(name for name in now if before.get(name) != now[name])
            place = storage and storage.parent
            raise ConfigError(f"{place}: holds the trials of another config; it differs in {other}. Choose --run-dir.")
        study.set_user_attr("subject", subject)
        if not study.trials:
            given = given_values(self.config)
            choices = {path: label(value) for path, value in given.items() if "choice" in self.config.tune[path]}
            study.enqueue_trial(given | choices, {"as_given": True})
        for trial in study.get_trials(states=[states.RUNNING]):
            study.tell(trial.number, state=states.FAIL)
            study.enqueue_trial(trial.params, {**trial.user_attrs, "repeats": trial.number})
        return study

    def _epochs(self) -> int:
        """The most epochs that a trial can have."""
        tried = (value for values in self.config.tune.get("training.epochs", {}).values() for value in values)
        return max(self.config.training.epochs, *map(int, tried), 1)

    def run(
        self, trials: int | None = None, minutes: float | None = None, show: Callable[[str], None] | None = None
    ) -> None:
        """Trains until the study has so many trials, or its trials have taken so many minutes.

        Raises:
            UserError: if the config as it stands cannot be trained.
            RunError: if no trial has a score.
            KeyboardInterrupt: by Ctrl-C; the trial that it ends is trained again when the search goes on.
        """
        repeats = 0
        while repeats < REPEATS:
            done = self._finished()
            spent = sum((t.duration for t in done), timedelta()).total_seconds()
            if (trials is not None and len(done) >= trials) or (minutes is not None and spent >= 60 * minutes):
                break
            repeats = 0 if self._run_one(show or (lambda text: None)) else repeats + 1
        else:
            LOGGER.info("the search ends: the last %d trials had been tried before", REPEATS)
        if self.best is None:
            raise RunError(f"No trial has a score. The first one failed: {self.tried()[0].error}")

    def _finished(self, study: Any = None) -> list[Any]:
        """The trials that are done; killed ones, which are repeated, do not count."""
        states = self.optuna.trial.TrialState
        done = (study or self.study).get_trials(deepcopy=False, states=[states.COMPLETE, states.PRUNED, states.FAIL])
        return [trial for trial in done if trial.state != states.FAIL or "error" in trial.user_attrs]

    def _run_one(self, show: Callable[[str], None]) -> bool:
        """Trains a trial; False if the same one had been trained before."""
        states = self.optuna.trial.TrialState
        # Seeded by trial, so that a search that goes on tries what it would have tried without the break.
        asked = len({t.user_attrs.get("repeats", t.number) for t in self.study.get_trials(deepcopy=False)})
        self.study.sampler = self.sampler((self.config.training.seed * 100_003 + asked) % 2**32)
        trial = self.study.ask()
        values = self._suggest(trial)
        if not trial.user_attrs and any(done.params == trial.params for done in self._finished()):
            trial.set_user_attr("known", True)
            self.study.tell(trial, state=states.FAIL)
            return False
        show(f"trial {trial.number}")
        try:
            with hidden_log():
                score, pruned = self._score(trial, values, show)
        except Exception as error:
            if trial.user_attrs.get("as_given") and isinstance(error, UserError):
                raise  # the config itself is wrong
            reason = str(error) if isinstance(error, (UserError, RunError)) else f"{type(error).__name__}: {error}"
            trial.set_user_attr("error", next(iter(reason.splitlines()), "no reason given"))
            self.study.tell(trial, state=states.FAIL)
        else:
            self.study.tell(trial, None if pruned else score, states.PRUNED if pruned else states.COMPLETE)
        self._log(next(tried for tried in self.tried() if tried.number == trial.number))
        return True

    def _suggest(self, trial: Any) -> dict[str, Any]:
        """The value at each path; for the config as it stands those of its values that are in range."""
        paths = given_values(self.config) if trial.user_attrs.get("as_given") else self.config.tune
        found = {}
        for path in paths:
            spec = self.config.tune[path]
            ((kind, values),) = spec.items()
            if kind == "choice":
                labels = {label(value): value for value in values}
                found[path] = labels[trial.suggest_categorical(path, list(labels))]
            elif "int" in kind:
                found[path] = trial.suggest_int(path, *values, log=kind.startswith("log"))
            else:
                found[path] = trial.suggest_float(path, *values, log=kind.startswith("log"))
        return found

    def _score(self, trial: Any, values: Mapping[str, Any], show: Callable[[str], None]) -> tuple[float, bool]:
        """The score of a trial, and whether it was ended early."""
        scores: list[float] = []
        history: list[float] = []
        seconds, stopped, folds = 0.0, False, len(self.parts)

        def after_epoch(epoch: int, value: float) -> bool:
            show(f"trial {trial.number}{f', fold {len(scores) + 1}' if folds > 1 else ''}, epoch {epoch}")
            if folds > 1:
                return False  # trials are compared fold by fold
            history.append(value)
            return epoch in self.steps and self._is_worse(trial, epoch, value)

        for number, part in enumerate(self.parts, 1):
            report = _Report(self.monitor, self.mode, after_epoch)
            done = self.bench.train(with_values(part, values), [report], parts=())
            if done.score is None:
                raise RunError(f"no epoch had a {self.monitor} that is a number")
            seconds += done.seconds
            scores.append(done.score)
            stopped = report.stopped
            if folds > 1:
                history.append(float(np.mean(scores)))
                stopped = number in self.steps and number < folds and self._is_worse(trial, number, history[-1])
            if stopped:
                break
        trial.set_user_attr("training", {"history": history, "seconds": round(seconds, 3)})
        return float(np.mean(scores)), stopped

    def _is_worse(self, trial: Any, step: int, value: float) -> bool:
        """True if successive halving ends the trial at this step."""
        trial.report(value, step)
        return bool(trial.should_prune())

    def _log(self, tried: Tried) -> None:
        value = tried.history[-1] if tried.score is None and tried.history else tried.score
        score = f"failed: {tried.error}" if tried.error else f"{self.monitor} {value:.4f}"
        pruned = f", pruned after {len(tried.history)}" if tried.state == "pruned" else ""
        star = "  *" if self.best is not None and self.best.number == tried.number else ""
        values = "  ".join(f"{path.rpartition('.')[2]} {short(value)}" for path, value in tried.values.items())
        LOGGER.info("trial %d  %s%s  %.1f s%s  %s", tried.number, score, pruned, tried.seconds, star, values)

    @property
    def best(self) -> Tried | None:
        """The finished trial with the best score, the first of equal ones; None if there is none."""
        return next(iter(self.ranked()), None)

    def ranked(self) -> list[Tried]:
        """The finished trials, the best one first."""
        finished = [(tried.score, tried) for tried in self.tried() if tried.score is not None]
        sign = -1.0 if self.mode == "max" else 1.0
        return [tried for _, tried in sorted(finished, key=lambda scored: (sign * scored[0], scored[1].number))]

    def config_of(self, tried: Tried) -> AnyConfig:
        """The config of a trial, with the splits of the searched config and without the section `tune`."""
        return with_values(self.config, tried.values)

    def tried(self) -> list[Tried]:
        """All trials that were begun."""
        states = self.optuna.trial.TrialState
        names = {states.COMPLETE: "finished", states.PRUNED: "pruned", states.FAIL: "failed"}
        found = []
        for trial in self.study.get_trials(deepcopy=False):
            if trial.state == states.WAITING or "known" in trial.user_attrs:
                continue
            killed = trial.state == states.FAIL and "error" not in trial.user_attrs
            training = trial.user_attrs.get("training", {})
            found.append(
                Tried(
                    trial.number,
                    "interrupted" if killed else names.get(trial.state, "interrupted"),
                    trial.value if trial.state == states.COMPLETE else None,
                    {path: self._value(path, given) for path, given in trial.params.items()},
                    training.get("history", []),
                    training.get("seconds", 0.0),
                    trial.user_attrs.get("error"),
                )
            )
        return found

    def _value(self, path: str, given: Any) -> Any:
        spec = self.config.tune[path]
        return next(v for v in spec["choice"] if label(v) == given) if "choice" in spec else given

    def importances(self) -> dict[str, float]:
        """The share of each path in the variance of the scores, highest first; empty with fewer than 4 finished trials.

        Source: Hutter, Hoos, Leyton-Brown, "An efficient approach for assessing hyperparameter importance" (2014).
        """
        finished = self.study.get_trials(deepcopy=False, states=[self.optuna.trial.TrialState.COMPLETE])
        complete = [trial for trial in finished if len(trial.params) == len(self.config.tune)]
        if len(complete) < 4 or len({trial.value for trial in complete}) < 2:
            return {}
        importance = self.optuna.importance
        evaluator = importance.FanovaImportanceEvaluator(seed=self.config.training.seed)
        shares = importance.get_param_importances(self.study, evaluator=evaluator, params=list(self.config.tune))
        return {path: float(share) for path, share in shares.items()}


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports the best monitored value so far after each epoch, and ends the training where the answer is true."""

    def __init__(self, monitor: str, mode: str, report: Callable[[int, float], bool]) -> None:
        super().__init__()
        self.monitor, self.report = monitor, report
        self.better = max if mode == "max" else min
        self.best: float | None = None
        self.stopped = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        value = (logs or {}).get(self.monitor)
        if value is None or not math.isfinite(value):
            return
        self.best = float(value) if self.best is None else self.better(self.best, float(value))
        if self.report(epoch + 1, self.best) and epoch + 1 < self.params["epochs"]:
            self.stopped = self.model.stop_training = True
