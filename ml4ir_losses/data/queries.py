"""Documents grouped by query, checked, ready for batching."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.config.schema import ModelConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import METRICS, split_spec
from ml4ir_losses.data.table import Table, group_by_query, places
from ml4ir_losses.ops.gains import check_labels_fit_gain


class EncodedRows(NamedTuple):
    """The model's inputs for the rows of a table, [rows, ...] each, and the names of those with the scope `query`."""

    arrays: Mapping[str, Array]
    query_scope: frozenset[str] = frozenset()


@dataclass
class Queries:
    """The documents of all queries in one array per column; query q holds rows offsets[q] to offsets[q + 1].

    Attributes:
        ids: query ids, [Q].
        offsets: [Q + 1].
        features: arrays of the model's inputs, [rows, ...]; query inputs are read from the first row of their query.
        labels: label columns, [rows]; empty when the data have no labels.
        document_ids: [rows]; the document's 1-based position in its query where the data have no id.
        weight: document weights [rows], or None.
        query_weight: query weights [Q], or None.
        positions: 1-based shown ranks [rows], or None.
        confidence: confidence of each label [rows], or None.
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
        return len(self.sizes)

    @property
    def rows(self) -> int:
        """The number of documents."""
        return int(self.offsets[-1])

    def label_values(self, label: str) -> Iterator[Array]:
        """The values of a label column, some rows at a time; none where the data have no such column."""
        if label in self.labels:
            yield self.labels[label]

    def take(self, queries: Array) -> Queries:
        """The given queries, by index, with their documents."""
        rows = np.concatenate([np.arange(self.offsets[q], self.offsets[q + 1]) for q in queries])

        def taken(values: Array | None, index: Array) -> Array | None:
            return None if values is None else values[index]

        return Queries(
            ids=self.ids[queries],
            offsets=np.concatenate([[0], np.cumsum(self.sizes[queries])]),
            features={name: values[rows] for name, values in self.features.items()},
            labels={name: values[rows] for name, values in self.labels.items()},
            document_ids=self.document_ids[rows],
            query_scope=self.query_scope,
            weight=taken(self.weight, rows),
            query_weight=taken(self.query_weight, queries),
            positions=taken(self.positions, rows),
            confidence=taken(self.confidence, rows),
            source=self.source,
        )


@dataclass(frozen=True)
class Roles:
    """Which columns of a table are ids, labels, weights, shown ranks and confidences; None: there is no such column.

    Attributes:
        query_id: the rows with one id are the documents of one query.
        label: the main label.
        min_label: a document whose main label is below it is padding.
        aux_labels: further label columns, by the path of the config that names them.
    """

    query_id: str
    label: str
    min_label: float = 0.0
    document_id: str | None = None
    weight: str | None = None
    query_weight: str | None = None
    positions: str | None = None
    confidence: str | None = None
    aux_labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, features: FeatureConfig, model: ModelConfig) -> Roles:
        """The roles that a config gives to columns."""
        names = ("query_id", "label", "document_id", "weight", "query_weight", "positions", "confidence")
        aux = {f"model.aux_losses.{i}.label": a.label for i, a in enumerate(model.aux_losses) if a.label}
        return cls(**{name: getattr(features, name) for name in names}, min_label=model.min_label, aux_labels=aux)

    def for_metrics(self) -> Roles:
        """The roles that metrics read: without auxiliary labels, weights, shown ranks and confidences."""
        return Roles(self.query_id, self.label, self.min_label, self.document_id)

    @property
    def labels(self) -> list[str]:
        """The main label, then the others, each once."""
        return list(dict.fromkeys((self.label, *self.aux_labels.values())))

    def check_columns(self, table: Table, labels_required: bool = True) -> None:
        """Raises `DataError` unless the table has every column that has a role."""
        names = ["query_id", "document_id", *["label"][: int(labels_required)]]
        names += ["weight", "query_weight", "positions", "confidence"]
        columns = {f"features.{name}": getattr(self, name) for name in names} | dict(self.aux_labels)
        for path, column in columns.items():
            if column is not None:
                table.require(column, path)


def make_queries(
    table: Table,
    roles: Roles,
    encoded: EncodedRows,
    *,
    labels_required: bool = True,
    training: bool = False,
) -> Queries:
    """Group the encoded rows of a table by query, and check labels and weights.

    With `labels_required=False`, label columns and cells may be missing.

    Raises:
        DataError: for a missing column, a label that is not a number, a query without documents, weights,
            positions or confidences out of range, and for training labels that are all equal.
    """
    roles.check_columns(table, labels_required)
    names = [name for name in roles.labels if name in table]
    if not labels_required and roles.label not in names:
        names = []
    labels = {name: _fits_float32(table, name, table.numeric(name, missing=not labels_required)) for name in names}
    ids = table.strings(roles.query_id)
    _check_ids(ids, table)
    order, offsets = group_by_query(ids)
    if labels_required:
        _check_documents(labels[roles.label], roles.min_label, table, ids, order, offsets)
    weight = _role_values(table, roles.weight, 0.0, "a weight")
    query_weight = _role_values(table, roles.query_weight, 0.0, "a weight")
    positions = _role_values(table, roles.positions, 1.0, "a shown rank")
    confidence = _role_values(table, roles.confidence, 0.0, "a confidence")
    if roles.document_id is None:
        document_ids = places(offsets).astype(str)
    else:
        document_ids = np.asarray(table.strings(roles.document_id))[order]
    queries = Queries(
        ids=np.asarray(ids)[order[offsets[:-1]]],
        offsets=offsets,
        features={name: values[order] for name, values in encoded.arrays.items()},
        labels={name: values[order].astype("float32") for name, values in labels.items()},
        document_ids=document_ids,
        query_scope=encoded.query_scope,
        weight=None if weight is None else weight[order],
        query_weight=None if query_weight is None else query_weight[order[offsets[:-1]]],
        positions=None if positions is None else positions[order],
        confidence=None if confidence is None else confidence[order],
        source=table.source,
    )
    if training:
        labels_of_split = LabelRange(roles)
        labels_of_split.add(queries)
        labels_of_split.check(table.source)
    return queries


def _check_ids(ids: Array, table: Table) -> None:
    empty = np.flatnonzero(np.asarray(ids) == "")
    if len(empty):
        raise DataError(f"{table.locate(int(empty[0]))}: the query id is empty.")


class EmptyQueryError(DataError):
    """A query whose labels all mark padding, in the rows that were read."""


def _check_documents(y: Array, min_label: float, table: Table, ids: Array, order: Array, offsets: Array) -> None:
    empty = ~np.logical_or.reduceat((y >= min_label)[order], offsets[:-1])
    if empty.any():
        row = int(order[offsets[:-1][int(np.argmax(empty))]])
        raise EmptyQueryError(
            f"{table.locate(row)}: query {ids[row]!r} has no documents: every label is below {min_label:g}, which "
            "marks padding."
        )


class LabelRange:
    """The main labels of a training split, some queries at a time: they must differ."""

    def __init__(self, roles: Roles) -> None:
        self._label, self._min_label = roles.label, roles.min_label
        self._low, self._high, self._longest = np.inf, -np.inf, 0

    def add(self, queries: Queries) -> None:
        """Adds queries."""
        y = queries.labels[self._label]
        valid = y >= self._min_label
        self._low, self._high = min(self._low, float(y[valid].min())), max(self._high, float(y[valid].max()))
        self._longest = max(self._longest, int(np.add.reduceat(valid.astype(int), queries.offsets[:-1]).max()))

    def check(self, source: str) -> None:
        """Raises `DataError` if all labels are equal."""
        if self._low == self._high:
            advice = " For pairs of texts give data.columns: the other rows of a batch are then negatives."
            raise DataError(
                f"{source}: every label of the training split is {self._low:g}; a ranking loss learns from labels "
                f"that differ.{advice * (self._longest == 1)}"
            )


def _fits_float32(table: Table, column: str, values: Array) -> Array:
    """The values, after a check that float32 can hold them."""
    invalid = np.flatnonzero(np.abs(values) > np.finfo("float32").max)
    if len(invalid):
        row = int(invalid[0])
        raise DataError(f"{table.locate(row)}, column {column!r}: {values[row]:g} is beyond float32.")
    return values


def _role_values(table: Table, column: str | None, lowest: float, name: str) -> Array | None:
    """The numbers of a column, at least `lowest`; None if there is no column."""
    if column is None:
        return None
    values = _fits_float32(table, column, table.numeric(column, missing=False))
    invalid = np.flatnonzero(values < lowest)
    if len(invalid):
        row = int(invalid[0])
        raise DataError(
            f"{table.locate(row)}, column {column!r}: {name} must be at least {lowest:g}. Received: {values[row]:g}."
        )
    return values.astype("float32")


class HasLabels(Protocol):
    """Queries, in memory or not, whose labels can be read."""

    source: str

    def label_values(self, label: str) -> Iterator[Array]: ...


def check_gains(queries: Mapping[str, HasLabels], label: str, metrics: Sequence[Spec]) -> None:
    """Raises `DataError` for labels that are too large for the gain of a metric."""
    for spec in metrics:
        key, params = split_spec("metric", spec)
        defaults = METRICS[key].parameters
        if "gain" not in defaults:
            continue
        for split, data in queries.items():
            highest = max((float(values.max()) for values in data.label_values(label)), default=None)
            if highest is not None:
                try:
                    check_labels_fit_gain(highest, params.get("gain", defaults["gain"]))
                except ValueError as error:
                    raise DataError(f"{data.source} ({split}), metric {key!r}: {error}") from None
