"""Evaluation sets of an estimator, as LightGBM and XGBoost take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ml4ir_losses.core.errors import UserError


def pairs_of(eval_set: Any, eval_qid: Any, eval_group: Any) -> list[tuple[Any, Any, Any]]:
    """((X, y), qid, group) of each evaluation set; all three are lists, or all belong to a single set.

    Raises:
        UserError: lists of different lengths.
    """
    if eval_set is None:
        return []
    if not isinstance(eval_set, list):
        return [(eval_set, eval_qid, eval_group)]
    sets = []
    for name, values in (("eval_qid", eval_qid), ("eval_group", eval_group)):
        values = [None] * len(eval_set) if values is None else values
        if not isinstance(values, list) or len(values) != len(eval_set):
            raise UserError(f"{name}: give a list with an entry for each of the {len(eval_set)} sets of eval_set.")
        sets.append(values)
    return list(zip(eval_set, *sets, strict=True))


class EvalSets(keras.callbacks.Callback):  # type: ignore[misc]
    """Computes the metrics of evaluation sets after every epoch.

    Args:
        experiment: the experiment that is trained.
        sets: the columns of each set.
    """

    def __init__(self, experiment: Any, sets: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.experiment, self.sets = experiment, sets
        self.values: list[dict[str, list[float]]] = [{} for _ in sets]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for values, columns in zip(self.values, self.sets, strict=True):
            _append(values, self.experiment.evaluate(columns))

    def evals_result(self, epochs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, list[float]]]:
        """`{"training": ..., "validation_0": ...}`; the last set is the one that Keras evaluated in `epochs`."""
        training: dict[str, list[float]] = {}
        last: dict[str, list[float]] = {}
        for row in epochs:
            logs = {name: value for name, value in row.items() if name != "epoch"}
            _append(training, {name: value for name, value in logs.items() if not name.startswith("val_")})
            _append(last, {name[4:]: value for name, value in logs.items() if name.startswith("val_")})
        sets = [*self.values, last] if last else self.values
        return {"training": training, **{f"validation_{i}": values for i, values in enumerate(sets)}}


def _append(values: dict[str, list[float]], epoch: Mapping[str, float]) -> None:
    for name, value in epoch.items():
        values.setdefault(name, []).append(value)
