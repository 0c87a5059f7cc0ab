"""What an estimator is given (X, y, qid or group, weights) as columns in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.memory import is_pandas, memory_table, query_numbers
from ml4ir_losses.data.table import group_by_query

QID = "qid"
"""The column of a data frame that is taken for `qid` if that is not given."""


@dataclass(frozen=True)
class Rows:
    """Columns in memory, and what they are.

    Attributes:
        columns: cells by column name; arrays without column names are one entry `features`, with the columns `f0`, ...
        roles: the `features` section of a config without its inputs.
        queries: the query of each row; None if neither qid nor group is given.
        categorical: the names of the columns of strings or categories.
        numeric: True if a column holds numbers.
    """

    columns: dict[str, Any]
    roles: dict[str, str]
    queries: Array | None
    categorical: list[str]
    numeric: bool

    @property
    def size(self) -> int:
        """The number of rows."""
        return len(next(iter(self.columns.values())))


def rows_of(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    qid: Any = None,
    group: Any = None,
    sample_weight: Any = None,
    fitting: bool = False,
    labelled: bool = True,
    name: str = "X",
) -> Rows:
    """The rows of X, after scikit-learn's checks.

    Args:
        estimator: its `n_features_in_` and `feature_names_in_` are set or compared.
        X, y, qid, group, sample_weight: as `Ranker.fit` takes them.
        fitting: set these attributes.
        labelled: y, and qid or group, are needed.
        name: what messages call X.

    Raises:
        DataError: both qid and group, or neither where one is needed; a group that does not add up.
        ValueError: scikit-learn's: wrong lengths, shapes or types, and columns other than those of `fit`.
    """
    features = dict(memory_table(X, name).columns) if _has_names(X) else None
    if features is not None:
        ids = features.pop(QID, None)
        qid = ids if qid is None and group is None else qid
    columns, names = _checked(estimator, X, features, fitting)
    rows = len(next(iter(columns.values())))
    queries: Array | None = None if qid is None else column_or_1d(np.asarray(qid))
    if group is not None:
        queries = query_numbers(group, rows, name, qid is not None)
    free = {role: _free_name(role, names) for role in (QID, "label", "weight")}
    roles = {"query_id": free[QID], "label": free["label"]}
    if labelled:
        labels = column_or_1d(y, dtype=np.float64, warn=True)
        assert_all_finite(labels, input_name="y")
        if queries is None:
            raise DataError(f"{name}: give qid, the query of each row, or group, the number of rows of each query.")
        columns[free["label"]] = labels
    if queries is not None:
        columns[free[QID]] = queries
    if sample_weight is not None:
        role, columns[free["weight"]] = _weights(sample_weight, queries, rows)
        roles[role] = free["weight"]
    check_consistent_length(*columns.values())
    categorical = [] if features is None else [n for n in names if _is_category(columns[n])]
    return Rows(columns, roles, queries, categorical, len(categorical) < len(names))


def _has_names(X: Any) -> bool:
    """True for a table whose columns have names; pandas names that are no strings do not count."""
    if is_pandas(X):
        return all(isinstance(name, str) for name in X.columns)
    table = hasattr(X, "__arrow_c_stream__") or hasattr(X, "column_names")
    return table or (isinstance(X, Mapping) and not hasattr(X, "shape"))  # a sparse matrix of keys is a mapping


def _checked(
    estimator: Any, X: Any, features: dict[str, Any] | None, fitting: bool
) -> tuple[dict[str, Any], list[str]]:
    """The columns of X by the names of `fit`, and these names."""
    if features is not None:
        validate_data(estimator, pa.table(features), reset=fitting, skip_check_array=True)
    else:
        X = validate_data(
            estimator,
            X,
            reset=fitting,
            accept_sparse=True,
            ensure_all_finite="allow-nan",
            ensure_min_samples=1 + fitting,
        )
        X = X.toarray() if hasattr(X, "toarray") else X
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if features is None and not names:
        return {"features": X}, [f"f{i}" for i in range(X.shape[1])]
    names = names or [f"f{i}" for i in range(estimator.n_features_in_)]
    cells = list(X.T) if features is None else list(features.values())
    return dict(zip(names, cells, strict=True)), names


def _free_name(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _weights(sample_weight: Any, queries: Array | None, rows: int) -> tuple[str, Array]:
    """The role of the weights, and the weight of each row."""
    weights = column_or_1d(np.asarray(sample_weight, np.float64))
    if not weights.any():
        raise DataError("sample_weight: every weight is zero.")
    if queries is None or len(weights) == rows:
        return "weight", weights
    order, offsets = group_by_query(queries)
    if len(weights) != len(offsets) - 1:
        raise DataError(
            f"sample_weight: give a weight of each of the {rows} rows, or of each of the {len(offsets) - 1} queries. "
            f"Received: {len(weights)} weights."
        )
    by_row = np.empty(rows)
    by_row[order] = np.repeat(weights, np.diff(offsets))
    return "query_weight", by_row


def _is_category(cells: Any) -> bool:
    return bool(pa.types.is_string(cells.type) or pa.types.is_large_string(cells.type))
