"""Checks of the data set of a cross-encoder: which columns are the documents of a query, and what labels them."""

from __future__ import annotations

from typing import Any

from ml4ir_losses.config.text_schema import DatasetConfig, TextConfig, listed
from ml4ir_losses.core.errors import ConfigError


def check_pair_config(config: TextConfig) -> None:
    """Raises `ConfigError` for sections of a text config that a cross-encoder does not read."""
    if config.data.datasets:
        raise ConfigError("data.datasets: a cross-encoder trains on one data set: give data.train and data.columns.")
    for section, instead in (("retrieval", "give data.reranking"), ("teacher", "give data.columns.teacher")):
        if getattr(config.data, section) is not None:
            raise ConfigError(
                f"data.{section}: needs embeddings of single texts, which a cross-encoder does not give; {instead}."
            )


def check_lists(dataset: DatasetConfig, loss: Any, batching: Any, where: str) -> None:
    """Raises `ConfigError` if the columns and batches of a data set do not fit a ranking loss."""
    path, documents = f"{where}.columns", dataset.texts[1:]
    if not documents:
        raise ConfigError(f"{path}: a cross-encoder reads pairs: give anchor and positive, or anchor and document.")
    if batching.makes_pairs or batching.needs_label:
        raise ConfigError(f"{where}.batching: {batching.key!r} is for embedding losses; a cross-encoder takes another.")
    if {"label", "teacher"} <= set(dataset.columns):
        raise ConfigError(f"{path}: give label or teacher, not both.")
    if len(listed(dataset.columns.get("label"))) > 1:
        raise ConfigError(f"{path}.label: is one column; numbers of several documents are the columns of teacher.")
    if dataset.labelled:
        _check_labels(dataset, loss, path)
    elif dataset.grouped:
        raise ConfigError(f"{path}.label: is missing; {loss.key!r} reads a label of each document.")
    elif len(documents) == 1 and not loss.in_batch:
        raise ConfigError(f"{path}.label: is missing; without negative_1, ... {loss.key!r} reads a label of each row.")
    size = dataset.batch_size or 1
    if size < 2 and dataset.draws_negatives(loss):
        raise ConfigError(
            f"{where}.batch_size: {loss.key!r} takes the other rows of a batch for negatives: at least 2. "
            f"Received: {size}."
        )


def _check_labels(dataset: DatasetConfig, loss: Any, path: str) -> None:
    documents, role = dataset.texts[1:], "label" if "label" in dataset.columns else "teacher"
    received = len(listed(dataset.columns[role]))
    if dataset.grouped:
        if received > 1:
            raise ConfigError(f"{path}.{role}: is one column, the label of each document. Received: {received}.")
        return
    if loss.in_batch:
        raise ConfigError(
            f"{path}.{role}: {loss.key!r} draws its negatives from the other rows and reads no label; leave it out, or "
            "name the column of texts document instead of positive."
        )
    if len(documents) == 1 and loss.loss_type in ("pairwise", "listwise"):
        raise ConfigError(
            f"{path}: {loss.key!r} compares the documents of a query. Name the column of texts document instead of "
            "positive: rows of equal anchor then form a list."
        )
    allowed = label_counts(loss, len(documents))
    if received not in allowed and (role == "label" or received > 1):  # a column of teacher may hold lists
        raise ConfigError(
            f"{path}.{role}: {loss.key!r} reads {' or '.join(map(str, allowed))} columns of numbers for the documents "
            f"{', '.join(documents)}. Received: {received}."
        )


def label_counts(loss: Any, documents: int) -> list[int]:
    """How many numbers may label the documents of a row: one each, or for some losses the margins to the first."""
    return [documents, documents - 1] if loss.takes_margins and documents > 1 else [documents]
