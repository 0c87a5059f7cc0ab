"""Documents grouped by query, checked, ready for batching."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ml4ir_losses.config.schema import Config
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table, group_by_query
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.fitting import encode_rows


@dataclass
class Queries:
    """The documents of all queries in one array per column; query q holds rows offsets[q] to offsets[q + 1].

    Attributes:
        ids: query ids, [Q].
        offsets: [Q + 1].
        features: arrays of the model's inputs, [rows, ...]; inputs of the query are read from its first row.
        labels: label columns, [rows]; empty when the data have no labels.
        document_ids: [rows]; the document's 1-based position in its query where the data have no id.
        weight: document weights [rows], or None.
        query_weight: query weights [Q], or None.
        positions: 1-based shown ranks [rows], or None.
        confidence: how sure each label is [rows], or None.
    """

    ids: Array
    offsets: Array
    features: dict[str, Array]
    labels: dict[str, Array]
    document_ids: Array
    query_scope: frozenset[str] = frozenset()
    weight: Array | None = None
    query_weight: Array | None = None
    positions: Array | None = None
    confidence: Array | None = None
    source: str = ""
    sizes: Array = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def rows(self) -> int:
        """The number of documents."""
        return int(self.offsets[-1])


def label_columns(config: Config) -> list[str]:
    """The main label, then those of the auxiliary losses."""
    names = [config.features.label, *(aux.label for aux in config.model.aux_losses if aux.label)]
    return list(dict.fromkeys(names))


def read_split(config: Config, split: str) -> Table:
    """The table of a split of the config, read whole."""
    try:
        return read_table(config.data.paths(split), config.data.format, **config.data.options)
    except DataError:
        raise
    except (UserError, TypeError) as error:
        raise ConfigError(f"data.options: {error}") from None


def make_queries(
    table: Table,
    config: Config,
    inputs: Sequence[FittedInput],
    *,
    labels_required: bool = True,
    training: bool = False,
    losses: bool = True,
) -> Queries:
    """Groups, checks and encodes a table.

    `labels_required=False` takes whatever labels there are; `losses=False` reads only what metrics need: no
    auxiliary labels, weights, positions or confidences.

    Raises:
        DataError: for a missing column, a label that is not a number, a query without documents, weights,
            positions or confidences that cannot be, and for training labels that are all equal.
    """
    features = config.features
    check_columns(table, config, labels_required=labels_required, losses=losses)
    names = [n for n in (label_columns(config) if losses else [features.label]) if n in table]
    if not labels_required and features.label not in names:
        names = []
    labels = {name: _finite(table, name, table.numeric(name, missing=not labels_required)) for name in names}
    ids = table.strings(features.query_id)
    _check_ids(ids, table)
    order, offsets = group_by_query(ids)
    if labels_required:
        _check_labels(labels[features.label], config.model.min_label, table, ids, order, offsets, training)
    weight = query_weight = positions = confidence = None
    if losses:
        weight = _role(table, features.weight, 0.0, "a weight")
        query_weight = _role(table, features.query_weight, 0.0, "a weight")
        positions = _role(table, features.positions, 1.0, "a shown rank")
        confidence = _role(table, features.confidence, 0.0, "a confidence")
    if features.document_id is None:
        document_ids = (np.arange(len(order)) - np.repeat(offsets[:-1], np.diff(offsets)) + 1).astype(str)
    else:
        document_ids = np.asarray(table.strings(features.document_id))[order]
    encoded = encode_rows(inputs, table)
    return Queries(
        ids=np.asarray(ids)[order[offsets[:-1]]],
        offsets=offsets,
        features={name: values[order] for name, values in encoded.items()},
        labels={name: values[order].astype("float32") for name, values in labels.items()},
        document_ids=document_ids,
        query_scope=frozenset(i.name for i in inputs if i.scope == "query"),
        weight=None if weight is None else weight[order],
        query_weight=None if query_weight is None else query_weight[order[offsets[:-1]]],
        positions=None if positions is None else positions[order],
        confidence=None if confidence is None else confidence[order],
        source=table.source,
    )


def check_columns(table: Table, config: Config, *, labels_required: bool = True, losses: bool = True) -> None:
    """Raises `DataError` unless the table has every column that the config names."""
    features = config.features
    needed = {"query_id": features.query_id, "document_id": features.document_id}
    if labels_required:
        needed["label"] = features.label
    if losses:
        needed |= {n: getattr(features, n) for n in ("weight", "query_weight", "positions", "confidence")}
    named = [(f"features.{role}", name) for role, name in needed.items() if name is not None]
    if losses:
        named += [(f"model.aux_losses.{i}.label", a.label) for i, a in enumerate(config.model.aux_losses) if a.label]
    for path, name in named:
        table.require(name, path)


def _check_ids(ids: Array, table: Table) -> None:
    empty = np.flatnonzero(np.asarray(ids) == "")
    if len(empty):
        raise DataError(f"{table.locate(int(empty[0]))}: the query id is empty.")


def _check_labels(
    y: Array, min_label: float, table: Table, ids: Array, order: Array, offsets: Array, training: bool
) -> None:
    real = y >= min_label
    documents = np.add.reduceat(real[order].astype(int), offsets[:-1])
    if (documents == 0).any():
        row = int(order[offsets[:-1][int(np.argmax(documents == 0))]])
        raise DataError(
            f"{table.locate(row)}: query {ids[row]!r} has no documents: every label is below {min_label:g}, which "
            "marks padding."
        )
    if training and (y[real] == y[real][0]).all():
        raise DataError(
            f"{table.source}: every label of the training split is {y[real][0]:g}; a ranking loss learns from "
            "labels that differ."
        )


def _finite(table: Table, column: str, values: Array) -> Array:
    """The values themselves, if float32 holds them."""
    wrong = np.flatnonzero(np.abs(values) > np.finfo("float32").max)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(f"{table.locate(row)}, column {column!r}: {values[row]:g} is beyond float32.")
    return values


def _role(table: Table, column: str | None, lowest: float, what: str) -> Array | None:
    """The numbers of a column with a role; None when no column has it."""
    if column is None:
        return None
    values = _finite(table, column, table.numeric(column, missing=False))
    wrong = np.flatnonzero(values < lowest)
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{table.locate(row)}, column {column!r}: {what} must be at least {lowest:g}. Received: {values[row]:g}."
        )
    return values.astype("float32")


def check_gains(queries: Mapping[str, Queries], config: Config) -> None:
    """Raises `DataError` for labels beyond what a metric's gain can take."""
    from ml4ir_losses.core.registry import METRICS, split_spec
    from ml4ir_losses.ops.gains import check_labels_fit_gain

    for spec in config.model.metrics:
        key, params = split_spec("metric", spec)
        defaults = METRICS[key].parameters
        if "gain" not in defaults:
            continue
        for split, data in queries.items():
            if data.labels:
                highest = float(data.labels[config.features.label].max())
                try:
                    check_labels_fit_gain(highest, params.get("gain", defaults["gain"]))
                except ValueError as error:
                    raise DataError(f"{data.source} ({split}), metric {key!r}: {error}") from None
