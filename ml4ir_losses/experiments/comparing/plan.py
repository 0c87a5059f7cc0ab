"""Which runs a comparison consists of, and which of them can start."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.load import AnyConfig
from ml4ir_losses.config.schedules import CyclicSchedule
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.experiments.comparing.choices import with_loss

FACTORS = (0.3, 1.0, 3.0)
"""The learning rates that are tried, times the config's."""


class Task(NamedTuple):
    """One training: a candidate with one of its settings, a fold and a seed."""

    name: str
    fold: int
    setting: int
    seed: int


@dataclass(frozen=True)
class Candidate:
    """What is compared: a loss, or another library.

    Attributes:
        settings: what is tried on the validation split: learning rates of a loss, parameters of a library.
        error: why it cannot be trained; empty if it can.
    """

    name: str
    kind: Literal["loss", "library"]
    spec: Spec
    settings: tuple[Any, ...]
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a run gave.

    Attributes:
        score: the value on the validation split by which a setting is chosen; None if there is none.
        mode: `max` or `min`: which score is better.
        ids: the evaluated queries, [Q].
        values: the value of each query by metric, [Q].
        weights: the weight of each query by metric, [Q].
        memory: MiB that the run added to its process at most; None if unknown.
        error: why it failed; None if it did not.
        crashed: its process was killed; another try may succeed.
    """

    score: float | None = None
    mode: str = "max"
    ids: Array | None = None
    values: Mapping[str, Array] = field(default_factory=dict)
    weights: Mapping[str, Array] = field(default_factory=dict)
    seconds: float = 0.0
    epochs: int = 0
    memory: float | None = None
    error: str | None = None
    crashed: bool = False


Outcomes = Mapping[Task, Outcome]


@dataclass(frozen=True)
class Plan:
    """The runs of a comparison.

    Each candidate first tries its settings with the first seed, then trains with the other seeds and the setting that
    had the best score on the validation split; with folds, for each fold by itself.

    Attributes:
        configs: the config of each fold; one without folds.
        part: the part on which the candidates are compared.
        rounds: every candidate gets its next seed before any gets the one after; else one candidate after the other.
    """

    configs: Sequence[AnyConfig]
    candidates: Sequence[Candidate]
    seeds: Sequence[int]
    part: str
    rounds: bool = False

    def candidate(self, name: str) -> Candidate:
        """The candidate of a name."""
        return next(candidate for candidate in self.candidates if candidate.name == name)

    def config(self, task: Task) -> Any:
        """The config that a run of a loss trains; of a library, the config whose data it reads."""
        candidate, config = self.candidate(task.name), self.configs[task.fold]
        if candidate.kind == "loss":
            config = with_rate(with_loss(config, candidate.spec), candidate.settings[task.setting])
        return config.model_copy(update={"training": config.training.model_copy(update={"seed": task.seed})})

    def setting(self, task: Task) -> str:
        """The setting of a run as a text."""
        setting = self.candidate(task.name).settings[task.setting]
        named = setting if isinstance(setting, Mapping) else {"learning_rate": setting}
        return ", ".join(f"{name} {value:g}" for name, value in named.items())

    def turn(self, task: Task) -> int:
        """Runs of an earlier turn start first."""
        return self.seeds.index(task.seed) if self.rounds else 0

    def key(self, task: Task) -> str:
        """The name of a run's file, equal for runs that are the same within one comparison folder."""
        candidate = self.candidate(task.name)
        what = [candidate.kind, candidate.spec, candidate.settings[task.setting], task.fold, task.seed]
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:12]
        return f"{re.sub(r'[^a-z0-9]+', '-', task.name.lower())[:60].strip('-')}-{digest}"

    def search(self, candidate: Candidate, fold: int) -> list[Task]:
        """The runs that choose a candidate's setting."""
        return [Task(candidate.name, fold, i, self.seeds[0]) for i in range(len(candidate.settings))]

    def chosen(self, candidate: Candidate, fold: int, done: Outcomes) -> int | None:
        """The setting with the best score; None if the search is not finished, or every setting failed."""
        search = self.search(candidate, fold)
        if any(task not in done for task in search):
            return None
        scores = {task.setting: done[task].score for task in search if done[task].error is None}
        if len(search) == 1:
            return next(iter(scores), None)
        signs = {done[task].mode: 1.0 if done[task].mode == "max" else -1.0 for task in search}
        sign = next(iter(signs.values()))
        known = {setting: sign * score for setting, score in scores.items() if score is not None}
        return max(known, key=known.__getitem__) if known else None

    def repeats(self, candidate: Candidate, fold: int, done: Outcomes) -> list[Task]:
        """The runs of all seeds with the chosen setting; empty until it is known."""
        setting = self.chosen(candidate, fold, done)
        return [] if setting is None else [Task(candidate.name, fold, setting, seed) for seed in self.seeds]

    def failure(self, candidate: Candidate, done: Outcomes) -> str | None:
        """Why a candidate failed: its labels do not fit, every setting failed, or a seed did."""
        if candidate.error:
            return candidate.error
        for fold in range(len(self.configs)):
            search = self.search(candidate, fold)
            if all(task in done for task in search) and self.chosen(candidate, fold, done) is None:
                return next((e for task in search if (e := done[task].error)), "no setting has a validation score")
            for task in self.repeats(candidate, fold, done):
                if task in done and (error := done[task].error) is not None:
                    return f"seed {task.seed}: {error}"
        return None

    def open(self, done: Outcomes) -> list[Task]:
        """The runs that are left and can start, in the order in which they should."""
        found: list[tuple[tuple[int, ...], Task]] = []
        for number, candidate in enumerate(self.candidates):
            if self.failure(candidate, done) is not None:
                continue
            for fold in range(len(self.configs)):
                tasks = [*self.search(candidate, fold), *self.repeats(candidate, fold, done)]
                for task in dict.fromkeys(tasks):
                    if task not in done:
                        found.append(((self.turn(task), fold, number), task))
        return [task for _, task in sorted(found, key=lambda item: item[0])]

    def left(self, done: Outcomes) -> Iterator[tuple[str, int]]:
        """(name, number of its runs that are left) of each candidate that has not failed."""
        for candidate in self.candidates:
            if self.failure(candidate, done) is None:
                each = len(candidate.settings) + len(self.seeds) - 1
                finished = 0
                for fold in range(len(self.configs)):
                    tasks = {*self.search(candidate, fold), *self.repeats(candidate, fold, done)}
                    finished += sum(task in done for task in tasks)
                yield candidate.name, each * len(self.configs) - finished


def own_rate(config: AnyConfig) -> float:
    """The learning rate of a config; of a cyclic schedule, the highest."""
    schedule = config.model.lr_schedule
    if isinstance(schedule, CyclicSchedule):
        return schedule.maximal_learning_rate
    return config.model.optimizer.learning_rate


def with_rate(config: AnyConfig, rate: float) -> Any:
    """The config with another learning rate; both bounds of a cyclic schedule change by the same factor."""
    model, schedule = config.model, config.model.lr_schedule
    if isinstance(schedule, CyclicSchedule):
        factor = rate / schedule.maximal_learning_rate
        bounds = {"maximal_learning_rate": rate, "initial_learning_rate": factor * schedule.initial_learning_rate}
        update: dict[str, Any] = {"lr_schedule": schedule.model_copy(update=bounds)}
    else:
        update = {"optimizer": model.optimizer.model_copy(update={"learning_rate": rate})}
    return config.model_copy(update={"model": model.model_copy(update=update)})
