"""What the report of a run draws, read from the files of its folder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import Len
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.load import AnyConfig, flat_config, reads_texts
from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.checksums import run_file, warn_of_change
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.files import read_json
from ml4ir_losses.core.registry import split_spec
from ml4ir_losses.data.provenance import Source
from ml4ir_losses.evaluation.scoring import QueryMetrics, lower_is_better
from ml4ir_losses.evaluation.summary import estimates
from ml4ir_losses.experiments.feature_evaluation import probability_of
from ml4ir_losses.experiments.ranked_queries import RankedQueries
from ml4ir_losses.experiments.run_status import not_finished
from ml4ir_losses.experiments.run_tables import LARGEST, as_numbers, read_columns
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.report.charts import Estimate
from ml4ir_losses.report.run_page import Calibration, RunData

POOR_QUERIES = 5
FILES = (
    *("config.yaml", "metrics.json", "data.json", "history.csv", "baselines.json", "importance.json"),
    *("explanations.json", "per_query.csv", "predictions.csv", "times.csv", "log.txt"),
)
MAX_JSON, MAX_LOG = 64 << 20, 256 << 20  # bytes of a file


def _plausible(value: float) -> float:
    if math.isfinite(value) and abs(value) > LARGEST:
        raise ValueError("the number is too large")
    return value


Number = Annotated[float, AfterValidator(_plausible)]
Values = dict[str, Number]
Baselines = dict[str, Values]


class Metrics(BaseModel):
    """The content of `metrics.json`: values by part, and whether the run was interrupted."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Annotated[Values, Field(min_length=1)]]
    interrupted: bool = False


class Column(TypedDict):
    """A column of `importance.json`."""

    name: str
    drop: Number
    lowest: Number
    highest: Number


class Importance(TypedDict):
    """The content of `importance.json`."""

    metric: str
    value: Number
    queries: int
    documents: int
    repeats: int
    seconds: Number
    columns: list[Column]


class ExplainedDocument(TypedDict):
    """A document of `explanations.json`."""

    document: str
    rank: int
    label: Number
    logit: Number


class AddedByColumn(TypedDict):
    """What a column adds to the difference of two logits."""

    name: str
    cells: Annotated[list[str], Len(2, 2)]
    adds: Number
    error: Number | None


class ExplainedQuery(TypedDict):
    """A query of `explanations.json`."""

    query: str
    value: Number
    method: str
    documents: Annotated[list[ExplainedDocument], Len(2, 2)]
    columns: list[AddedByColumn]


class Explanations(TypedDict):
    """The content of `explanations.json`."""

    metric: str
    queries: list[ExplainedQuery]


Sources = dict[str, Source]


def collect(path: Path, config: AnyConfig) -> RunData:
    """What the report of a run folder draws; parts that its files do not give are named in `missing`.

    Raises:
        UserError: for a damaged file.
    """
    found = _json(path, "metrics.json", Metrics)
    run = RunData(config.name, str(path), _summary(config), flat_config(config), _splits(path))
    if found.interrupted:
        run.notes.append("The run was interrupted.")
    if (unfinished := not_finished(path)) and not found.interrupted:
        run.notes.append(f"{unfinished}.")
    run.notes += [f"{name} is not as the run wrote it." for name in FILES if warn_of_change(path, name)]
    if metrics := found.model_extra:
        run.part, values = list(metrics.items())[-1]
        run.other_parts = {part: values for part, values in metrics.items() if part != run.part}
        run.metric = next(iter(values))
        run.higher_is_better = not lower_is_better(run.metric)
        run.baselines = _json(path, "baselines.json", Baselines, {})
        run.importance = _json(path, "importance.json", Importance | None)
        run.explanations = _json(path, "explanations.json", Explanations | None)
        _read_per_query(run, path, values)
        _read_predictions(run, config, path)
    else:
        run.missing.append("Metrics: there were no data to evaluate the model on.")
    _read_history(run, config, path)
    return run


def _json(path: Path, name: str, kind: Any, default: Any = None) -> Any:
    """What a JSON file of the run holds, which must be of a type; the default where there is no such file.

    Raises:
        UserError: for a file with anything else.
    """
    file = run_file(path, name, MAX_JSON)
    found = read_json(file, default)
    try:
        return TypeAdapter(kind).validate_python(found, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{file}: is damaged: {where + ': ' if where else ''}{first['msg']}.") from None


def _summary(config: AnyConfig) -> list[tuple[str, Any]]:
    model, training, data = config.model, config.training, config.data
    facts = [
        ("loss", _spec(model.loss) if model.loss else None),
        ("architecture", _spec(model.architecture)),
        ("optimizer", _spec(model.optimizer.model_dump(mode="json"))),
        ("schedule", _spec(model.lr_schedule.model_dump(mode="json")) if model.lr_schedule else None),
        ("batch size", data.batch_size),
        ("epochs at most", training.epochs),
        ("seed", str(training.seed)),
    ]
    return [(name, value) for name, value in facts if value is not None]


def _spec(spec: Spec) -> str:
    """`dnn (hidden_units [128, 64], dropout 0.1)`."""
    key, params = split_spec("", spec)
    texts = [
        f"{name} {_spec(value) if isinstance(value, dict) else value}"
        for name, value in params.items()
        if value is not None
    ]
    return f"{key} ({', '.join(texts)})" if texts else key


def _splits(path: Path) -> list[Sequence[Any]]:
    splits = _json(path, "data.json", Sources, {})
    return [[name, ", ".join(s["sources"]), s["rows"], s["columns"]] for name, s in splits.items()]


def _read_history(run: RunData, config: AnyConfig, path: Path) -> None:
    columns = as_numbers(path, "history.csv", read_columns(path, "history.csv"))
    run.history = {name: values.tolist() for name, values in columns.items()}
    if not run.history.get("epoch"):
        run.missing.append("Training curves: no epoch was finished.")
        return
    run.best_epoch = _best_epoch(path)
    seconds = as_numbers(path, "times.csv", read_columns(path, "times.csv")).get("seconds", np.zeros(0))
    run.summary += [("epochs", len(run.history["epoch"])), ("training", f"{np.nansum(seconds):.1f} s")]


def _best_epoch(path: Path) -> int | None:
    """The epoch whose weights the model has, from the log; of a run that went on the last one that it names."""
    file, best = run_file(path, "log.txt", MAX_LOG), None
    if not file.exists():
        return None
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := re.search(r", best epoch (\d{1,9})$", line):
                best = int(match[1])
    return best


def _read_per_query(run: RunData, path: Path, means: dict[str, float]) -> None:
    """The distribution of the metrics over queries, and their intervals."""
    cells = read_columns(path, "per_query.csv")
    columns = as_numbers(path, "per_query.csv", {name: cells[name] for name in means if name in cells})
    weights = {name: np.isfinite(values).astype(float) for name, values in columns.items()}
    values = {name: np.nan_to_num(column) for name, column in columns.items()}
    found = _estimates(QueryMetrics(values, weights, np.array(cells.get("query_id", ()))))
    run.metrics = {name: (mean, found[name][1] if name in found else None) for name, mean in means.items()}
    if run.metric in columns:
        run.values = columns[run.metric][weights[run.metric] > 0].tolist()
    if not run.values:
        run.missing.append("Intervals and the distribution over queries: the metrics are not of single queries.")


def _read_predictions(run: RunData, config: AnyConfig, path: Path) -> None:
    file = run_file(path, "predictions.csv")
    if reads_texts(config) or not file.exists():
        run.missing.append("Cut-offs, list lengths, scores by label, worst queries: there is no predictions.csv.")
        return
    if run.importance is None:
        run.missing.append("Importance of columns: there is no importance.json, which `train` writes.")
    ranked = RankedQueries.read(file, config.model.metrics, config.model.min_label)
    if len(ranked.data) < ranked.total:
        run.notes.append(f"Plots by cut-off, length and label are of {len(ranked.data):,} random queries.")
    show_original = not ranked.original_is_sorted
    model, original = _estimates(ranked.model), _estimates(ranked.original)
    for key in ranked.specs:
        run.cutoffs[key] = {cut: model[f"{key}_{cut}"] for cut in ranked.cutoffs}
    if show_original and ranked.specs:
        key = next(iter(ranked.specs))
        run.original = {cut: original[f"{key}_{cut}"] for cut in ranked.cutoffs}
    run.grades = ranked.by_grade()
    for name, model_values, original_values in ranked.by_length():
        group, other = (_estimates(part)[ranked.main] for part in (model_values, original_values))
        run.lengths.append((name, len(model_values.ids), group, other if show_original else None))
    run.poor = ranked.poor(POOR_QUERIES)
    _read_calibration(run, config, ranked)


def _read_calibration(run: RunData, config: Config, ranked: RankedQueries) -> None:
    of = probability_of(get_loss(config.model.loss_and_propensity()[0]))
    if of is None:
        return
    found = ranked.calibration(of)
    if isinstance(found, str):
        run.missing.append(f"Calibration: {found}.")
    else:
        curve = found.equal_mass
        run.calibration = Calibration(curve.predicted, curve.observed, curve.error, found.documents)


def _estimates(values: QueryMetrics) -> dict[str, Estimate]:
    """The mean of each metric with its 95% interval."""
    return {name: (found.mean, found.interval) for name, found in estimates(values).items()}
