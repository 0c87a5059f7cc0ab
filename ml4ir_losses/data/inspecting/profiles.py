"""Statistics of one column over chunks of rows, in constant memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.cells import is_list, is_text

MAX_DISTINCT = 10_000
"""Up to how many distinct values are counted."""
_MAX_BYTES = 4 << 20  # of the distinct values of a column
_EXAMPLES = 3
_DATE = r"^\s*\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}\S*)?\s*$"
_BOOLEAN = r"^\s*(?i:true|false)\s*$"


class Moments:
    """Number, mean, minimum, maximum and skewness of numbers.

    Source: Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical
    moments" (2008).
    """

    def __init__(self) -> None:
        self.number, self.mean, self.min, self.max = 0, 0.0, math.inf, -math.inf
        self._m2 = self._m3 = 0.0  # sums of squared and cubed deviations from the mean

    def add(self, x: Array) -> None:
        """Adds float64 numbers; those that are not finite are left out."""
        x = x[np.isfinite(x)]
        if not len(x):
            return
        mean = float(x.mean())
        deviations = x - mean
        squares = deviations * deviations
        m2, m3 = float(squares.sum()), float((squares * deviations).sum())
        a, b = self.number, len(x)
        n, delta = a + b, mean - self.mean
        self._m3 += m3 + delta**3 * a * b * (a - b) / n**2 + 3 * delta * (a * m2 - b * self._m2) / n
        self._m2 += m2 + delta**2 * a * b / n
        self.mean += delta * b / n
        self.number = n
        self.min, self.max = min(self.min, float(x.min())), max(self.max, float(x.max()))

    @property
    def skewness(self) -> float:
        """The third standardised moment; 0 for a constant."""
        return math.sqrt(self.number) * self._m3 / self._m2**1.5 if self._m2 > 0 else 0.0


class ColumnProfile:
    """What is known of a column: its type, missing cells, distinct values, numbers, words.

    Attributes:
        rows: the number of cells.
        missing: the number of missing cells.
        distinct: the number of distinct values; 0 for lists.
        is_exact: False where there are more distinct values than were counted.
        examples: the first values.
        numbers: of integers and numbers.
        words: the number of words of all texts.
        lengths: the least and the greatest number of items of a list; None: there are no lists.
        varies: True if two adjacent rows of a query differ; None: no query has two rows.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = self.missing = self.words = self.distinct = 0
        self.is_exact = True
        self.examples: list[str] = []
        self.numbers = Moments()
        self.lengths: tuple[int, int] | None = None
        self.varies: bool | None = None
        self._kinds: set[str] = set()
        self._values: Any = pa.nulls(0)

    def add(self, column: Any, same_query: Array) -> None:
        """Adds the cells of a chunk; `same_query` [rows - 1] tells which rows have the query of the row before."""
        self.rows += len(column)
        self.missing += column.null_count
        self._compare(column, same_query)
        cells = column.drop_null()
        if not len(cells):
            return
        kind = kind_of(cells)
        self._kinds.add(kind)
        if is_list(cells.type):
            sizes = pc.min_max(pc.list_value_length(cells)).as_py()
            least, most = self.lengths or (sizes["min"], sizes["max"])
            self.lengths = min(least, sizes["min"]), max(most, sizes["max"])
            return
        if kind in ("integer", "number"):
            self.numbers.add(pc.cast(cells, pa.float64(), safe=False).to_numpy())
        elif is_text(cells.type):
            self.words += pc.sum(pc.count_substring_regex(cells, r"\S+")).as_py()
        self._count(cells)

    @property
    def kind(self) -> str:
        """The type of all cells."""
        kinds = self._kinds
        if kinds == {"integer", "number"}:
            return "number"
        if len(kinds) > 1:
            return "text"
        return next(iter(kinds), "empty")

    @property
    def scope(self) -> str:
        """`query` for a column with one value per query."""
        return "query" if self.varies is False else "document"

    def _count(self, cells: Any) -> None:
        """Adds to the distinct values."""
        if not self.is_exact:
            return
        values = pc.unique(cells)
        if not self.examples:
            self.examples = [str(value) for value in values[:_EXAMPLES].to_pylist()]
        if len(self._values):
            if values.type != self._values.type:  # an integer, then a number or a text
                common = pa.string() if is_text(values.type) or is_text(self._values.type) else pa.float64()
                values, self._values = (pc.cast(part, common, safe=False) for part in (values, self._values))
            values = pc.unique(pa.chunked_array([self._values, values]))
        self.distinct = min(len(values), MAX_DISTINCT)
        self.is_exact = len(values) <= MAX_DISTINCT and values.nbytes <= _MAX_BYTES
        self._values = values if self.is_exact else pa.nulls(0)

    def _compare(self, column: Any, same_query: Array) -> None:
        """Looks for two rows of a query that differ."""
        if self.varies or not same_query.any():
            return
        if is_list(column.type):
            self.varies = True
            return
        above, below = column.slice(0, len(column) - 1), column.slice(1)
        differs = pc.not_equal(above, below).fill_null(False).to_numpy()
        differs |= pc.is_null(above).to_numpy() != pc.is_null(below).to_numpy()
        self.varies = bool((differs & same_query).any())


def kind_of(cells: Any) -> str:
    """The type of a column's cells in plain words; none of them is missing."""
    kind = cells.type
    if is_list(kind):
        return f"list of {_word(kind.value_type).replace('integer', 'number')}s"
    if is_text(kind):
        for pattern, word in ((_BOOLEAN, "boolean"), (_DATE, "date")):
            if pc.all(pc.match_substring_regex(cells, pattern)).as_py():
                return word
    return _word(kind)


def _word(kind: Any) -> str:
    if is_text(kind):
        return "text"
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return "date"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "integer"
    return "number" if pa.types.is_floating(kind) or pa.types.is_decimal(kind) else str(kind)
