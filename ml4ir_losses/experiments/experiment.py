"""What a training run needs to know of its data and model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ml4ir_losses.experiments.run_folder import RunFolder


class Experiment(Protocol):
    """A config with its data read and its model built: all that can be wrong was checked.

    Attributes:
        config: the checked config.
        model: the compiled model.
        steps: batches of an epoch, as far as they are known.
        evaluated: the parts on which the trained model is evaluated, the most telling one last.
    """

    config: Any
    model: Any

    @property
    def steps(self) -> int: ...

    @property
    def evaluated(self) -> Sequence[str]: ...

    def begin(self) -> None:
        """Says what the data are, and evaluates what the baselines need of the untrained model."""

    def monitored(self) -> tuple[str, str]:
        """The value that decides about the best weights, and whether `max` or `min` of it is best."""

    def dataset(self, split: str) -> Any:
        """The batches of `train` or `validation` for `fit`; None: there are none."""

    def callbacks(self) -> list[Any]:
        """Callbacks that put values into the logs of an epoch."""

    def evaluate(self, split: str, folder: RunFolder) -> dict[str, float]:
        """The metrics of a part; what belongs to it is written into the folder."""

    def baselines(self, split: str) -> dict[str, dict[str, float]]:
        """What is reached without the trained model."""

    def summary(self) -> dict[str, Any]:
        """What `ml4ir-losses check` tells."""
