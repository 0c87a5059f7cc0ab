"""The writer `svmlight`: `label qid:7 1:0.5 3:2 #docid = X`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import register_writer
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.writers.adjacent import AdjacentQueries, Queries
from ml4ir_losses.data.writers.base import Writer, WriterRoles
from ml4ir_losses.data.writers.cells import joined, texts, write_lines

_FEATURE = re.compile(r"f(0|[1-9]\d*)")
_SHOWN = 20


@register_writer("svmlight", aliases=("letor", "libsvm"), endings=(".svmlight", ".libsvm", ".svm", ".letor", ".txt"))
class SvmlightWriter(Writer):
    """svmlight/LETOR: the columns besides label, query and document id are numbers, float32; 0 is left out.

    A column `f<i>` has the index i. If any column has another name, all are numbered from 1 in their order.

    Args:
        groups: where the queries are: `qid` on each line, or the number of rows of each in a file `OUT.query`, as
            LightGBM reads it, or `OUT.group`, as XGBoost does. Such a file leaves no place for the ids of queries and
            documents.
        missing: the number that is written for a missing cell; None: it is an error.

    Raises:
        DataError: for a column of anything but numbers, a missing cell, an id with a space; for group files, rows of a
            query that are not adjacent.
    """

    def __init__(
        self,
        path: str,
        *,
        roles: WriterRoles,
        groups: Literal["qid", "query", "group"] = "qid",
        missing: float | None = None,
    ) -> None:
        super().__init__(path, roles=roles)
        self.query_id, self.label = roles.need("query_id", "svmlight"), roles.need("label", "svmlight")
        self.group_file = None if groups == "qid" else f"{path}.{groups}"
        self.missing = missing
        self.queries = AdjacentQueries(self.query_id, f"a .{groups} file")
        self.features: dict[str, int] | None = None
        self.stream: Any = None
        self.groups: Any = None

    @property
    def paths(self) -> list[str]:
        return [self.path, *([self.group_file] if self.group_file else [])]

    def write(self, table: Table) -> None:
        if self.stream is None:
            self.stream = self.create(self.path)
        if self.group_file is None:
            ids = joined(["qid:", self.ids(table, self.query_id)], "")
            write_lines(
                self.stream, joined([self._labels(table), ids, *self._values(table), *self._comments(table)], " ")
            )
        else:
            self._write_queries(self.queries.add(table))

    def close(self) -> None:
        if self.group_file is not None:
            self._write_queries(self.queries.rest())

    def _write_queries(self, queries: Iterator[Queries]) -> None:
        """Writes whole queries and their numbers of rows."""
        if self.groups is None:
            self.groups = self.create(str(self.group_file))
        for table, offsets in queries:
            write_lines(self.stream, joined([self._labels(table), *self._values(table)], " "))
            write_lines(self.groups, texts(pa.array(np.diff(offsets))))

    def _labels(self, table: Table) -> Any:
        return texts(pa.array(table.numeric(self.label, missing=False)))

    def _comments(self, table: Table) -> list[Any]:
        """The comment with the document id, if there is one."""
        name = self.roles.document_id
        return [] if name is None else [joined(["#docid = ", self.ids(table, name)], "")]

    def _values(self, table: Table) -> Iterator[Any]:
        """The text `index:value` of each feature; None for 0."""
        for name, index in self._indices(table).items():
            values = self._numbers(table, name)
            text = joined([f"{index}:", texts(values)], "")
            yield pc.if_else(pc.equal(values, 0), None, text)

    def _numbers(self, table: Table, name: str) -> Any:
        """A feature as float32."""
        try:
            values = table.matrix([name])[:, 0]
        except DataError as error:
            raise DataError(f"{error}. svmlight holds numbers; leave the column out: --exclude {name}") from None
        empty = np.isnan(values)
        if empty.any():
            if self.missing is None:
                raise DataError(
                    f"{table.locate(int(empty.argmax()))}, column {name!r}: the cell is empty, and svmlight holds no "
                    "missing cells; write a number in their place, for instance --option missing=0"
                )
            values[empty] = self.missing
        return pa.array(values)

    def _indices(self, table: Table) -> dict[str, int]:
        """The indices of the features by column."""
        if self.features is None:
            roles = (self.query_id, self.label, self.roles.document_id)
            names = [name for name in table.names if name not in roles]
            matches = [_FEATURE.fullmatch(name) for name in names]
            if all(matches):
                indices = {name: int(match[1]) for name, match in zip(names, matches, strict=True) if match}
                self.features = dict(sorted(indices.items(), key=lambda item: item[1]))
            else:
                self.features = {name: index for index, name in enumerate(names, 1)}
                shown = ", ".join(f"{index} {name}" for name, index in list(self.features.items())[:_SHOWN])
                LOGGER.info("features: %s%s", shown, ", ..." if len(names) > _SHOWN else "")
        return self.features
