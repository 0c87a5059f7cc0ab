"""The main job: from a config to a run folder."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from ml4ir_losses.config import SPLITS, Config, dump_config, load_config, metric_name
from ml4ir_losses.data.batching import BatchPlan, Truncation, to_dataset
from ml4ir_losses.data.queries import Queries, check_gains, make_queries, read_split
from ml4ir_losses.errors import ConfigError, DataError, UserError
from ml4ir_losses.evaluation.baselines import best_feature_baseline, random_baseline
from ml4ir_losses.evaluation.scoring import (
    PREDICTION_HEADER,
    less_is_better,
    missed,
    prediction_rows,
    query_metrics,
    score_queries,
)
from ml4ir_losses.features.fitting import FittedInput, fit_inputs
from ml4ir_losses.model.optimizers import plateau_callback
from ml4ir_losses.model.relevance_model import RelevanceModel, load_model
from ml4ir_losses.training.callbacks import BatchProgress, BestWeights, EpochLog
from ml4ir_losses.training.run_folder import LOGGER, RunFolder


@dataclass
class Run:
    """What a training run left.

    Attributes:
        path: the run folder.
        model: the trained model, with the weights of its best epoch.
        metrics: `{"validation": {...}, "test": {...}}`.
        baselines: `{"random": {...}, "best feature (...)": {...}}` on the last split.
        missed: one line per expected metric that was missed.
        interrupted: true if Ctrl-C ended the training early.
    """

    path: Path
    model: RelevanceModel
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    interrupted: bool = False


@dataclass
class Prepared:
    """A config with its data read and its model built: all that can be wrong was checked."""

    config: Config
    inputs: list[FittedInput]
    queries: dict[str, Queries]
    model: RelevanceModel

    def plan(self, split: str) -> BatchPlan:
        """The batches in which a split is trained on (train) or judged (the others)."""
        data, training = self.config.data, split == "train"
        return BatchPlan(
            self.queries[split],
            data.batch_size,
            truncation=Truncation(data.max_list_size, data.truncation if training else "first"),
            shuffle=training and data.shuffle,
            bucketing=training and data.bucketing,
            seed=self.config.training.seed,
            width_multiple=16 if self.config.training.jit_compile is True or keras.backend.backend() == "jax" else 1,
        )


def prepare(config: Config) -> Prepared:
    """Reads every split, fits the features on the training split and builds the compiled model.

    Raises:
        ConfigError, DataError: one line for what is wrong; nothing was written.
    """
    splits = [split for split in SPLITS if config.data.paths(split)]
    tables = {split: read_split(config, split) for split in splits}
    start = _initial_model(config)
    inputs = fit_inputs(config.features, tables["train"]) if start is None else start.fitted
    queries = {
        split: make_queries(table, config, inputs, training=split == "train", losses=split != "test")
        for split, table in tables.items()
    }
    check_gains(queries, config)
    steps = -(-len(queries["train"]) // config.data.batch_size)
    model = RelevanceModel.from_inputs(config, inputs, steps)
    _check_labels(model, queries)
    if start is not None:
        _warm_start(model, start, config)
        LOGGER.info("inputs, transforms and vocabularies are those of %s", config.training.initial_model)
    return Prepared(config, inputs, queries, model)


def _check_labels(model: RelevanceModel, queries: Mapping[str, Queries]) -> None:
    """Raises `DataError` for labels that a loss does not take: inside `fit` their values are not seen."""
    logits = model(model.example())
    width = logits["outputs"].shape[2:] if "outputs" in logits else ()
    for loss, label, *_ in model.tasks.values():
        for split, data in queries.items():
            if split != "test":
                try:
                    loss.check_labels(data.labels[label], (None, None, *width))
                except UserError as error:
                    raise DataError(f"{data.source} ({split}), column {label!r}: {error}") from None


def _initial_model(config: Config) -> RelevanceModel | None:
    if config.training.initial_model is None:
        return None
    try:
        start = load_model(config.training.initial_model)
    except UserError as error:
        raise ConfigError(f"training.initial_model: {error}") from None
    if not isinstance(start, RelevanceModel):
        raise ConfigError(f"training.initial_model: {config.training.initial_model} is not a RelevanceModel.")
    return start


def _warm_start(model: RelevanceModel, start: RelevanceModel, config: Config) -> None:
    names = {i.name for i in config.features.inputs}
    shapes = [w.shape for w in model.weights] == [w.shape for w in start.weights]
    if names != {i.name for i in start.fitted} or not shapes:
        raise ConfigError(
            f"training.initial_model: {config.training.initial_model} has other inputs or layers than this config; "
            "give model.architecture and features.inputs of that run."
        )
    model.set_weights(start.get_weights())


def train(
    config: str | Path | Mapping[str, Any] | Config,
    run_dir: str | Path | None = None,
    *,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    progress: Any = None,
) -> Run:
    """Trains, judges and saves a model; the log goes to the logger `ml4ir_losses` and to `log.txt`.

    Ctrl-C ends the training, keeps the best weights so far and marks `metrics.json` as interrupted.

    Args:
        config: a YAML file, a mapping or a `Config`.
        run_dir: the run folder; `runs/<name>-<time>` when left out. A folder that holds something is an error.
        overrides: `a.b.c=value` strings.
        seed: stands in for `training.seed`.
        progress: a `rich.progress.Progress` for the batches.

    Raises:
        ConfigError, DataError: one line for what is wrong; no run folder is left.
        RunError: the loss is no longer a number; the run folder holds the log.
    """
    config = load_config(config, overrides, seed)
    folder = RunFolder.named(config.name, run_dir)
    prepared = prepare(config)
    with folder.logging():
        folder.write_text("config.yaml", dump_config(config))
        interrupted = _fit(prepared, folder, progress)
        return _finish(prepared, folder, interrupted)


def _log_data(prepared: Prepared) -> None:
    for split, data in prepared.queries.items():
        LOGGER.info("%s: %s queries, %s documents", split, f"{len(data):,}", f"{data.rows:,}")
        if report := prepared.plan(split).truncation.report(data.sizes):
            LOGGER.warning("%s: %s", split, report)
    LOGGER.info("model: %s, %s parameters", prepared.model.relevance_loss.key, f"{prepared.model.count_params():,}")


def monitored(config: Config) -> tuple[str, str]:
    """The value that decides about the best weights, and whether `max` or `min` of it is best."""
    stop = config.training.early_stopping
    if not config.data.paths("validation"):
        return "loss", "min"
    monitor = (stop and stop.monitor) or f"val_{metric_name(config.model.metrics[0])}"
    return monitor, "min" if less_is_better(monitor) else "max"


def _fit(prepared: Prepared, folder: RunFolder, progress: Any) -> bool:
    """Trains with the best weights restored; true if interrupted."""
    config, model = prepared.config, prepared.model
    monitor, mode = monitored(config)
    stop = config.training.early_stopping
    rules = {} if stop is None else stop.model_dump(exclude={"monitor"})
    best = BestWeights(monitor, mode, **rules)
    plan = prepared.plan("train")
    callbacks = [best, EpochLog(folder, config.training.epochs, best)]
    if plateau := plateau_callback(config.model, monitor, mode):
        callbacks.append(plateau)
    if progress is not None:
        callbacks.append(BatchProgress(progress, len(plan)))
    validation = to_dataset(prepared.plan("validation")) if "validation" in prepared.queries else None
    interrupted = False
    started = time.perf_counter()
    try:
        _log_data(prepared)
        with progress or nullcontext():
            model.fit(
                to_dataset(plan),
                validation_data=validation,
                epochs=config.training.epochs,
                callbacks=callbacks,
                verbose=0,
                shuffle=False,  # the plan shuffles
            )
    except KeyboardInterrupt:
        interrupted = True
        LOGGER.warning("Interrupted: the best weights so far are kept.")
    best.restore(model)
    epoch = "none finished" if best.best_epoch is None else f"best epoch {best.best_epoch + 1}"
    LOGGER.info("trained %.1f s, %s", time.perf_counter() - started, epoch)
    return interrupted


def _finish(prepared: Prepared, folder: RunFolder, interrupted: bool) -> Run:
    """Saves the model, then judges it; a second Ctrl-C cuts the judging short."""
    config, model = prepared.config, prepared.model
    run = Run(folder.path, model, {}, interrupted=interrupted)
    try:
        with uninterrupted():
            folder.save_model(model)
        for split in ("validation", "test"):
            if split in prepared.queries:
                run.metrics[split] = _judge(prepared, folder, split)
        _write_metrics(folder, run)
        if run.metrics:
            run.baselines = _baselines(prepared, prepared.plan("test" if "test" in run.metrics else "validation"))
            folder.write_json("baselines.json", run.baselines)
    except KeyboardInterrupt:
        run.interrupted = True
        LOGGER.warning("Interrupted while the model was judged.")
        _write_metrics(folder, run)
    for split, values in run.metrics.items():
        LOGGER.info("%s: %s", split, "  ".join(f"{name} {value:.4f}" for name, value in values.items()))
    for split, expected in config.expected_metrics.items():
        run.missed += [f"{split}: {line}" for line in missed(expected, run.metrics.get(split, expected))]
    for line in run.missed:
        LOGGER.error("expected_metrics.%s", line)
    return run


def _judge(prepared: Prepared, folder: RunFolder, split: str) -> dict[str, float]:
    """The metrics of a split; predictions and metrics per query are written for the last one."""
    plan = prepared.plan(split)
    scored = score_queries(prepared.model, plan)
    values = query_metrics(prepared.config, plan, scored.logits)
    if split == "test" or "test" not in prepared.queries:
        rows = prediction_rows(plan.data, scored, prepared.config.features.label)
        folder.write_csv("predictions.csv", PREDICTION_HEADER, rows)
        folder.write_csv("per_query.csv", ["query_id", *values.values], values.rows(plan.data.ids))
    return values.means()


def _write_metrics(folder: RunFolder, run: Run) -> None:
    folder.write_json("metrics.json", {**run.metrics, **({"interrupted": True} if run.interrupted else {})})


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts Ctrl-C off until the block is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pending:
        raise KeyboardInterrupt


def _baselines(prepared: Prepared, plan: BatchPlan) -> dict[str, dict[str, float]]:
    config = prepared.config
    baselines = {"random": random_baseline(config, plan)}
    best = best_feature_baseline(config, prepared.inputs, prepared.queries["train"], plan)
    if best is not None:
        baselines[f"best feature ({best[0]})"] = best[1]
    return baselines
