"""Checks of a text config beyond its types: keys, parameters and consistency between sections."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.checks import check_architecture, check_encoder, check_reader, encoders_of, kind_of
from ml4ir_losses.config.distribution import reads_own_files
from ml4ir_losses.config.explain import with_path
from ml4ir_losses.config.list_checks import check_lists, check_pair_config
from ml4ir_losses.config.text_schema import DatasetConfig, TextConfig, TextDataConfig, TextModelConfig
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import ARCHITECTURES, BATCHINGS, ENCODERS, Entry, split_spec
from ml4ir_losses.losses.embedding.base import EmbeddingLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.metrics.retrieval import check_metrics


def loss_of(model: TextModelConfig, dataset: DatasetConfig) -> Any:
    """The loss of a data set.

    Raises:
        UserError: for an unknown loss, a wrong parameter, none at all, or one that does not fit the architecture.
    """
    spec = dataset.loss if dataset.loss is not None else model.loss
    if spec is None:
        raise UserError("is missing: give model.loss, or a loss for each of data.datasets.")
    loss = get_loss(spec)
    is_embedding = isinstance(loss, EmbeddingLossBase)
    if is_embedding != (kind_of(model.architecture) == "texts"):
        key, _ = split_spec(ARCHITECTURES.kind, model.architecture)
        kind, needs = ("an embedding", "a ranking") if is_embedding else ("a ranking", "an embedding")
        raise UserError(
            f"{loss.key!r} is {kind} loss, and {key!r} trains with {needs} loss. Give another loss, or "
            f"model.architecture {_fitting(loss)}."
        )
    return loss


def batching_of(dataset: DatasetConfig, loss: Any) -> Any:
    """The batching of a data set; the default of its loss if none is given."""
    return BATCHINGS.create(
        dataset.batching if dataset.batching is not None else loss.default_batching("label" in dataset.columns)
    )


def retrieval_metrics(specs: list[Spec]) -> list[tuple[str, int | None]]:
    """(key, topn) of each metric; `UserError` for an unknown metric or parameter."""
    metrics = []
    for spec in specs:
        key, params = split_spec("metric", spec)
        wrong = next((name for name in params if name != "topn"), None)
        if wrong is not None:
            raise UserError(f"metric {key!r} has no parameter {wrong!r}. It takes: topn.")
        metrics.append((key, params.get("topn")))
    check_metrics(metrics)
    return metrics


def supports_head(architecture: Entry, head: str) -> bool:
    """True if an architecture supports the head of a loss; without the trait `heads`, all heads but the decoder."""
    return head in architecture.trait("heads", ("", "cosine", "squared_distance", "pair", "projection"))


def _fitting(loss: Any) -> str:
    """The architectures for texts that train a loss."""
    kind, head = ("texts", loss.head) if isinstance(loss, EmbeddingLossBase) else ("pairs", "")
    fitting = [e.key for e in ARCHITECTURES.own() if e.trait("reads") == kind and supports_head(e, head)]
    return " or ".join(map(repr, fitting))


def _check_head(architecture: Spec, loss: Any) -> None:
    """Raises `UserError` for a loss that needs another architecture."""
    key, _ = split_spec("architecture", architecture)
    if not supports_head(ARCHITECTURES[key], loss.head):
        raise UserError(f"{loss.key!r} needs model.architecture {_fitting(loss)}. Received: {key!r}.")
    if loss.every_layer and not ARCHITECTURES[key].takes("every_layer"):
        raise UserError(f"{loss.key!r} reads the embeddings of every layer; the architecture {key!r} gives the last.")
    if loss.reconstructs and not _reconstructs(architecture):
        raise UserError(f"{loss.key!r} reads reconstructed embeddings: it needs model.architecture.encoder 'csr'.")


def _reconstructs(architecture: Spec) -> bool:
    key, _ = split_spec(ARCHITECTURES.kind, architecture)
    encoders = (split_spec(ENCODERS.kind, encoder)[0] for encoder in encoders_of(architecture))
    return ARCHITECTURES[key].takes("reconstructs") and any(ENCODERS[name].takes("reconstructs") for name in encoders)


def check_text_config(config: TextConfig) -> None:
    """Raises `ConfigError`, with the path, for inconsistent sections."""
    with_path("model.architecture", lambda: check_architecture(config.model.architecture, "texts", "pairs"))
    with_path("model.architecture.encoder", lambda: check_encoder(config.model.architecture))
    check_reader(config.data.format, config.data.options)
    if reads_own_files(config.training.distribution):
        raise ConfigError(
            "training.distribution.shard: files is for documents with features; every process reads all texts: batches."
        )
    has_datasets = bool(config.data.datasets)
    reads_pairs = kind_of(config.model.architecture) == "pairs"
    if reads_pairs:
        check_pair_config(config)
    for name, dataset in config.data.sets().items():
        where = f"data.datasets.{name}" if has_datasets else "data"
        path = f"{where}.loss" if dataset.loss is not None else "model.loss"
        loss = with_path(path, lambda dataset=dataset: loss_of(config.model, dataset))
        batching = with_path(f"{where}.batching", lambda dataset=dataset, loss=loss: batching_of(dataset, loss))
        if reads_pairs:
            check_lists(dataset, loss, batching, where)
            continue
        with_path(path, lambda loss=loss: _check_head(config.model.architecture, loss))
        _check_dataset(dataset, loss, batching, where)
        if loss.labels == "teacher":
            _check_teacher(dataset, loss, config.data.teacher_run, where)
    retrieval = config.data.retrieval
    if retrieval is not None:
        with_path("data.retrieval.metrics", lambda: retrieval_metrics(retrieval.metrics))
    for split in ("retrieval", "reranking"):
        if split in config.expected_metrics and getattr(config.data, split) is None:
            raise ConfigError(f"expected_metrics.{split}: data.{split} is not given.")
    for split in ("validation", "test"):
        if split in config.expected_metrics and not any(getattr(s, split) for s in config.data.sets().values()):
            raise ConfigError(f"expected_metrics.{split}: data.{split} is not given.")
    stop = config.training.early_stopping
    if stop and not evaluated_in_training(config.data):
        raise ConfigError(
            "training.early_stopping: needs data.validation, or data.retrieval or data.reranking with "
            "during_training: true."
        )


def evaluated_in_training(data: TextDataConfig) -> bool:
    """True if some data are evaluated after every epoch."""
    extra = any(part is not None and part.during_training for part in (data.retrieval, data.reranking))
    return extra or any(dataset.validation for dataset in data.sets().values())


def _check_dataset(dataset: DatasetConfig, loss: Any, batching: Any, where: str) -> None:
    """Raises `ConfigError` if the columns and batches of a data set do not fit its loss."""
    texts = dataset.texts
    if dataset.grouped:
        raise ConfigError(
            f"{where}.columns.document: is for cross-encoders; embedding losses take positive, negative_1, ..."
        )
    low, high = (1, 1) if batching.makes_pairs else loss.text_columns
    if len(texts) < low or (high is not None and len(texts) > high):
        count = f"{low}" if high == low else f"at least {low}" if high is None else f"{low} to {high}"
        raise ConfigError(
            f"{where}.columns: {loss.key!r} takes {count} column{'s' * (count != '1')} of texts. "
            f"Received: {', '.join(texts)}."
        )
    needs_label = loss.needs_labels(len(texts)) and not batching.makes_pairs
    if (needs_label or batching.needs_label) and "label" not in dataset.columns:
        raise ConfigError(f"{where}.columns.label: is missing; {loss.key!r} reads a label of each row.")
    size = dataset.batch_size or 1
    if size < 2 and loss.in_batch:
        raise ConfigError(
            f"{where}.batch_size: {loss.key!r} takes the other rows of a batch for negatives: at least 2. "
            f"Received: {size}."
        )
    with_path(f"{where}.batch_size", lambda: batching.check_batch_size(size))


def _check_teacher(dataset: DatasetConfig, loss: Any, run: str | None, where: str) -> None:
    """Raises `ConfigError` unless the teacher's values come from one place, and for every split that needs them."""
    if dataset.teacher and "teacher" in dataset.columns:
        raise ConfigError(f"{where}.teacher: {where}.columns.teacher gives the teacher's values too; give one of them.")
    missing = [split for split in ("train", "validation") if getattr(dataset, split) and split not in dataset.teacher]
    if dataset.teacher and missing:
        raise ConfigError(f"{where}.teacher: has no file for {missing[0]}. Received: {', '.join(dataset.teacher)}.")
    if dataset.teacher or "teacher" in dataset.columns:
        return
    if not loss.teacher_embeddings:
        raise ConfigError(f"{where}.columns.teacher: is missing; {loss.key!r} reads the teacher's scores.")
    if run is None:
        raise ConfigError(
            f"data.teacher: is missing; {loss.key!r} learns from the embeddings of a teacher: give a run folder, .npy "
            "files, or columns.teacher."
        )
