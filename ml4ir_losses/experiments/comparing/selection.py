"""What a comparison compares, checked before any data are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.config.load import AnyConfig, reads_texts
from ml4ir_losses.config.text_checks import evaluated_in_training
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.experiments.comparing.baselines import is_run
from ml4ir_losses.experiments.comparing.choices import Choice, chosen_losses, fitting_losses, is_own, split_names
from ml4ir_losses.experiments.comparing.libraries import check_libraries, library_settings
from ml4ir_losses.experiments.comparing.plan import FACTORS, Candidate, own_rate

Losses = str | Iterable[str | Mapping[str, Any]]


@dataclass(frozen=True)
class Selection:
    """The losses and libraries of a comparison.

    Attributes:
        choices: the losses.
        own: the name of the config's loss among them.
        libraries: the names of the libraries.
        runs: the folders of earlier runs.
        rates: the learning rates that each loss tries.
        seeds: the seeds of training.
        left_out: why a loss is not among them, by key, if all that fit were asked for.
        folds: number of folds; None: the splits of the config.
        fitting: true if all that fit were asked for: a loss that cannot read the labels is then left out.
    """

    choices: Sequence[Choice]
    own: str
    libraries: Sequence[str]
    runs: Sequence[str]
    rates: Sequence[float]
    seeds: Sequence[int]
    left_out: Mapping[str, str]
    fitting: bool
    folds: int | None = None

    @classmethod
    def checked(
        cls,
        config: AnyConfig,
        losses: Losses = (),
        *,
        seeds: int = 5,
        folds: int | None = None,
        baseline: str | Iterable[str] = (),
        learning_rates: Sequence[float] | None = None,
    ) -> Selection:
        """The selection that the arguments of `compare` ask for.

        Raises:
            ConfigError: one line for what cannot be compared.
        """
        _check_whole("--seeds", seeds, 1)
        if folds is None and not reads_texts(config) and config.data.folds is not None:
            folds = config.data.folds.k
        if folds is not None:
            _check_whole("--folds", folds, 3)
        rates = _rates(config, learning_rates)
        baselines = split_names(baseline) if isinstance(baseline, str) else [str(name) for name in baseline]
        twice = next((name for name in baselines if baselines.count(name) > 1), None)
        if twice is not None:
            raise ConfigError(f"--baseline: {twice!r} is given twice.")
        runs = [name for name in baselines if is_run(name)]
        libraries = [name for name in baselines if name not in runs]
        check_libraries(config, libraries)
        if folds is None and (len(rates) > 1 or libraries):
            _check_validation(config)
        fitting = losses == "all"
        left_out: dict[str, str] = {}
        if fitting:
            choices, left_out = fitting_losses(config)
        else:
            choices = chosen_losses(config, split_names(losses) if isinstance(losses, str) else losses)
        if len(choices) + len(baselines) < 2:
            raise ConfigError(f"compare: there is nothing to compare {choices[0].name!r} with: name other losses.")
        own = next(choice.name for choice in choices if is_own(config, choice))
        numbers = [config.training.seed + i for i in range(seeds)]
        return cls(choices, own, libraries, runs, rates, numbers, left_out, fitting, folds)

    def candidates(self, errors: Mapping[str, str]) -> list[Candidate]:
        """What is trained, and what is not for the reason in `errors`, by name."""
        rates = tuple(self.rates)
        losses = [Candidate(name, "loss", spec, rates, errors.get(name, "")) for name, spec in self.choices]
        return losses + [
            Candidate(name, "library", name, library_settings(name, len(rates))) for name in self.libraries
        ]


def _check_validation(config: AnyConfig) -> None:
    """Raises `ConfigError` for a config without data on which settings can be chosen."""
    why = "compare: the learning rate of each loss is chosen on a validation split: give"
    if reads_texts(config):
        if not evaluated_in_training(config.data):
            raise ConfigError(f"{why} data.validation, or one rate by --learning-rates.")
    elif not config.data.paths("validation"):
        raise ConfigError(f"{why} data.validation, or --folds 5.")


def _rates(config: AnyConfig, given: Sequence[float] | None) -> list[float]:
    if given is None:
        return [float(f"{factor * own_rate(config):.3g}") for factor in FACTORS]
    rates = [float(rate) for rate in given]
    wrong = next((rate for rate in rates if not 0 < rate < math.inf), None)
    if wrong is not None or not rates:
        raise ConfigError(f"--learning-rates: must be numbers above 0. Received: {wrong if rates else 'none'}.")
    if len(set(rates)) < len(rates):
        raise ConfigError(f"--learning-rates: a number is given twice. Received: {', '.join(map(str, rates))}.")
    return rates


def _check_whole(option: str, value: Any, minimum: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ConfigError(f"{option}: must be a whole number of at least {minimum}. Received: {value!r}.")
