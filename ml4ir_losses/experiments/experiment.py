"""The interface of a task, with features or texts, to training, evaluation and prediction."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from ml4ir_losses.config.checks import kind_of
from ml4ir_losses.config.load import AnyConfig, reads_texts
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.findings import Finding, check_findings
from ml4ir_losses.data.sharding import START, WHOLE, Position, Shard
from ml4ir_losses.evaluation.scoring import QueryMetrics
from ml4ir_losses.experiments.run_folder import RunFolder


class Experiment(Protocol):
    """A config and its model; it also holds the data if it was made by `prepare`.

    Attributes:
        config: the validated config.
        model: the compiled model, a `model_class`.
        steps: batches per epoch; an estimate if unknown.
        evaluated: the parts on which the trained model is evaluated, the most important one last.
        sources: where the rows of each split came from, with a fingerprint.
        feeding: tells the datasets the epoch, and keeps their errors.
        untrained: the metrics of the untrained model by part, where a baseline needs them.
    """

    model_class: ClassVar[type[Any]]
    config: Any
    model: Any
    sources: dict[str, dict[str, Any]]
    feeding: Feeding
    untrained: dict[str, dict[str, float]]

    @classmethod
    def read(cls, config: Any) -> Any:
        """The data of a config: every split, with what is fitted on the training split.

        Raises:
            ConfigError, DataError: one line for what is wrong.
        """

    @classmethod
    def reads(cls, config: Any) -> tuple[Any, ...]:
        """The parts of a config that `read` uses: configs with equal parts share their data."""

    @classmethod
    def prepare(cls, config: Any, data: Any = None) -> Self:
        """Reads the data and builds the compiled model.

        Args:
            config: the config.
            data: what `read` gives for this config; None: it is read.

        Raises:
            ConfigError, DataError: one line for what is wrong; nothing was written.
        """

    @classmethod
    def of_run(cls, config: Any, model: Any) -> Self:
        """The experiment of a finished run, without its training data."""

    @property
    def findings(self) -> Sequence[Finding]:
        """What is wrong with the data, without what the config accepts."""

    @property
    def steps(self) -> int: ...

    @property
    def window_bytes(self) -> int | None:
        """The size of the windows in which queries on disk are trained on; None: all data are in memory together."""

    def keep_windows(self, window_bytes: int | None) -> None:
        """Trains on windows of the size that a checkpoint names: the order of the queries depends on it.

        Raises:
            ConfigError: where `data.memory` does not allow it.
        """

    @property
    def evaluated(self) -> Sequence[str]: ...

    def begin(self) -> None:
        """Logs the sizes of the data, and evaluates the untrained model where a baseline needs it and none is known."""

    def monitored(self) -> tuple[str, str]:
        """(name of the value that selects the best weights, `max` or `min`)."""

    def dataset(self, split: str, start: Position = START, shard: Shard = WHOLE) -> Any:
        """The batches of `train` or `validation` for `fit`; None if the config has no such split.

        The epoch is that of `feeding`; the epochs after that of `start` are whole.

        Args:
            split: the split.
            start: the first batch that is given.
            shard: the part of each batch that is given.
        """

    def describe_batch(self, position: Position) -> str:
        """What a training batch holds, as an end of a message: ` (queries a, b and 30 more)`."""

    def callbacks(self) -> list[Any]:
        """Callbacks that add values to the logs of an epoch."""

    def judge(self, part: str) -> QueryMetrics:
        """The values per query on a part of `evaluated`.

        Raises:
            UserError: if the part has no queries.
        """

    def evaluate_part(self, part: str, folder: RunFolder) -> dict[str, float]:
        """The metrics of a part of `evaluated`; its predictions and values per query are written into the folder."""

    def baselines(self, part: str) -> dict[str, dict[str, float]]:
        """Metrics of each baseline on the part, by baseline name."""

    def summary(self) -> dict[str, Any]:
        """The sizes that `ml4ir-losses check` prints."""

    def evaluate(self, data: Any) -> dict[str, float]:
        """The metrics on a file with labels, or on such data in memory.

        Raises:
            UserError, DataError: for data that cannot be used.
        """

    def predict(self, data: Any, output: str | Path) -> int:
        """Writes the scores of the rows of a file or of data in memory as CSV, and returns how many rows there are.

        Raises:
            UserError, DataError: for data that cannot be used.
        """

    def predict_rows(self, data: Any) -> Array:
        """The score of each row of a file or of data in memory, in their order.

        Raises:
            UserError, DataError: for data that cannot be used.
        """


def experiment_class(config: AnyConfig) -> type[Experiment]:
    """The experiment of a config's task: documents with features, texts, or pairs of a query and a document."""
    if reads_texts(config) and kind_of(config.model.architecture) == "pairs":
        from ml4ir_losses.experiments.pair_experiment import PairExperiment

        return PairExperiment
    if reads_texts(config):
        from ml4ir_losses.experiments.text_experiment import TextExperiment

        return TextExperiment
    from ml4ir_losses.experiments.feature_experiment import FeatureExperiment

    return FeatureExperiment


def prepare(config: AnyConfig, strict: bool = False, data: Any = None) -> Experiment:
    """The experiment of a config, ready for training: see `Experiment.prepare`.

    Raises:
        DataError: in addition, for findings with `strict`.
    """
    experiment = experiment_class(config).prepare(config, data)
    if strict:
        check_findings(experiment.findings)
    return experiment
