"""Files with the number of rows of each query beside the data: `.query` of LightGBM, `.group` of XGBoost."""

from __future__ import annotations

from typing import Self

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import beside
from ml4ir_losses.data.text_files import open_text, short

ENDINGS = (".query", ".group")


class QuerySizes:
    """The number of rows of each query of a data file.

    Args:
        path: the file of the sizes, a line per query.
        data: the data file.

    Raises:
        DataError: for a line that is not a whole number of at least 0.
    """

    def __init__(self, path: str, data: str) -> None:
        self.path, self.data = path, data
        sizes = []
        with open_text(path) as stream:
            for number, line in enumerate(stream, 1):
                if not (text := line.strip()):
                    continue
                if not text.isdigit():
                    cell = short(text.decode("utf-8", "backslashreplace"))
                    raise DataError(f"{path}, line {number}: needs the number of rows of a query. Received: {cell}.")
                sizes.append(int(text))
        self.ends: Array = np.cumsum(sizes, dtype=np.int64)

    @classmethod
    def beside(cls, data: str) -> Self | None:
        """The sizes in the file `.query` or `.group` of this name; None if there is neither."""
        path = beside(data, *ENDINGS)
        return None if path is None else cls(path, data)

    def ids(self, start: int, count: int) -> pa.Array:
        """The queries of `count` rows from row `start`: `<data>:1`, `<data>:2`, ..., unique among files.

        Raises:
            DataError: when the sizes end before the rows.
        """
        queries = np.searchsorted(self.ends, np.arange(start, start + count), side="right") + 1
        if queries[-1] > len(self.ends):
            total = self.ends[-1] if len(self.ends) else 0
            raise DataError(f"{self.path}: its numbers add up to {total}; {self.data} has more rows.")
        return pa.array([f"{self.data}:{query}" for query in queries.tolist()])

    def check_total(self, rows: int) -> None:
        """Raises `DataError` unless the sizes add up to the number of rows of the data file."""
        if self.ends[-1] != rows:
            raise DataError(f"{self.path}: its numbers add up to {self.ends[-1]}; {self.data} has {rows} rows.")
