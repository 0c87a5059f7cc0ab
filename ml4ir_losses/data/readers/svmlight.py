"""The reader `svmlight`: LETOR files, streamed; Arrow parses the numbers of many lines at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.files import CHUNK_BYTES
from ml4ir_losses.data.parallel import parallel
from ml4ir_losses.data.query_sizes import QuerySizes
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.text_files import blocks_of_lines, is_number, lines_source, open_text, short

MAX_FEATURE = 100_000
_BLOCK_BYTES = 4 << 20  # of lines that are parsed at once; they stay in the processor's cache
_DOCUMENT_ID = re.compile(rb"\bdoc_?id\s*=\s*(\S+)", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_SPACES_TO_LINES = bytes.maketrans(b" \t\r\v\f", b"\n" * 5)
_PARSE = pacsv.ParseOptions(delimiter=":", quote_char=False)
_CONVERT = pacsv.ConvertOptions(
    column_types={"index": pa.int32(), "value": pa.float64()}, null_values=[], check_utf8=False
)


@register_reader(
    "svmlight", aliases=("letor", "libsvm"), endings=(".svmlight", ".libsvm", ".svm", ".letor", ".txt"), untyped=True
)
def read_svmlight(path: str) -> Iterator[Table]:
    """svmlight/LETOR lines `label qid:7 1:0.5 3:2 #docid = X`: columns label, qid, document_id, f1, f2, ...

    An absent feature is 0; `f<i>` is the index i of the file. The column `document_id` exists if every row names one.
    Rows without `qid:` need a file beside it, `<path>.query` or `<path>.group`, whose lines are the number of rows of
    each query.

    Raises:
        DataError: a malformed line, a row without a query, a label or feature that is not a finite number.
    """
    sizes: QuerySizes | None = None
    width, first, count = 1, 1, 0
    with open_text(path) as stream:
        for rows, features in parallel(_parse, blocks_of_lines(stream, _BLOCK_BYTES)):
            if not count and rows.queries[:1] == [b""]:
                sizes = QuerySizes.beside(path)
            if b"" in rows.queries and sizes is None:
                at = rows.queries.index(b"")
                raise DataError(f"{path}, line {rows.numbers[at]}: {_without_query(path, rows, at)}")
            if sizes is not None and any(rows.queries):
                number = next(number for number, query in zip(rows.numbers, rows.queries, strict=True) if query)
                raise DataError(f"{path}, line {number}: has 'qid:', the rows before it have not")
            if features is None:
                features = _features_by_line(path, rows)
            if len(features.indices):
                width = max(width, int(features.indices.max()) + 1)
                first = min(first, int(features.indices.min()))
            queries = _texts(rows.queries) if sizes is None else sizes.ids(count, len(rows.numbers))
            count += len(rows.numbers)
            yield from _chunks(path, rows, queries, features, width, first)
    if not count:
        raise DataError(f"{path} has no data rows.")
    if sizes is not None:
        sizes.check_total(count)


class _Rows(NamedTuple):
    """The rows of a block, as in the file: line number, label, query, document, and all features as one text.

    The query of a row without `qid:` and the document of a row without a name are b"".
    """

    numbers: list[int]
    labels: list[bytes]
    queries: list[bytes]
    documents: list[bytes]
    features: list[bytes]


def _parse(block: tuple[int, list[bytes]]) -> tuple[_Rows, _Features | None]:
    """The rows of a block of lines, and their features if they are as usual."""
    first, lines = block
    rows = numbers, labels, queries, documents, features = _Rows([], [], [], [], [])
    for number, line in enumerate(lines, first):
        body, comment = line.removeprefix(_BOM), b""
        if b"#" in body:
            body, _, comment = body.partition(b"#")
        parts = body.split(None, 2)
        if not parts:
            continue
        query = parts[1] if len(parts) > 1 else b""
        if len(query) < 5 or not query.startswith(b"qid:"):
            parts[1:] = [b"qid:", *body.split(None, 1)[1:]]
        document = _DOCUMENT_ID.search(comment) if comment else None
        numbers.append(number)
        labels.append(parts[0])
        queries.append(parts[1][4:])
        documents.append(document[1] if document else b"")
        features.append(parts[2] if len(parts) > 2 else b"")
    return rows, _features(rows)


class _Features(NamedTuple):
    """The features of rows: the number of features of each row [rows], their indices and values [sum of counts]."""

    counts: Array
    indices: Array
    values: Array


def _features(rows: _Rows) -> _Features | None:
    """The features of the rows, parsed as a table of index and value; None if anything in them is unusual."""
    text = b"\n".join(rows.features).translate(_SPACES_TO_LINES)
    if b"x" in text or b"X" in text:  # Arrow reads 0x1F as an integer
        return None
    try:
        labels = pc.cast(pa.array(rows.labels, pa.string()), pa.float64())
        options = pacsv.ReadOptions(column_names=["index", "value"], use_threads=False, block_size=len(text) + 1)
        cells = pacsv.read_csv(pa.BufferReader(text), options, _PARSE, _CONVERT)
    except pa.ArrowInvalid:
        return None
    if not cells.num_rows:
        return None
    indices = cells["index"].to_numpy()
    with np.errstate(over="ignore"):
        values = cells["value"].to_numpy().astype(np.float32) + np.float32(0)  # -0 becomes 0
    if indices.min() < 0 or indices.max() > MAX_FEATURE or not (_finite(labels.to_numpy()) and _finite(values)):
        return None
    counts = _equal_counts(rows, indices)
    if counts is None:
        counts = np.array([features.count(b":") for features in rows.features])
        ascending = np.diff(indices, prepend=-1) > 0
        starts = np.cumsum(counts[:-1])
        ascending[starts[starts < len(indices)]] = True
        if not ascending.all():
            return None
    return _Features(counts, indices, values)


def _equal_counts(rows: _Rows, indices: Array) -> Array | None:
    """The number of features of each row where all rows have the same indices, in ascending order; else None.

    The indices then repeat with a period that ascends. A row that starts with the first index starts with a period, so
    that no row has more than one where there are as many rows as periods.
    """
    count, rest = divmod(len(indices), len(rows.features))
    period = indices[:count]
    if rest or not count or (np.diff(period) <= 0).any() or (indices.reshape(-1, count) != period).any():
        return None
    start = b"%d:" % period[0]
    return np.full(len(rows.features), count) if all(row.startswith(start) for row in rows.features) else None


def _finite(values: Array) -> bool:
    return bool(np.isfinite(values).all())


def _features_by_line(path: str, rows: _Rows) -> _Features:
    """The features of the rows, parsed line by line with everything that Python takes for a number.

    Raises:
        DataError: for the first malformed line.
    """
    counts: list[int] = []
    indices: list[int] = []
    values: list[float] = []
    for number, label, text in zip(rows.numbers, rows.labels, rows.features, strict=True):
        before = len(indices)
        try:
            _check_label(label.decode("utf-8", "backslashreplace"))
            for cell in text.decode("utf-8", "backslashreplace").split():
                index, value = _index_and_value(cell, indices[-1] if len(indices) > before else -1)
                indices.append(index)
                values.append(value)
        except DataError as error:
            raise DataError(f"{path}, line {number}: {error}") from None
        counts.append(len(indices) - before)
    return _Features(np.array(counts), np.array(indices, np.int32), np.array(values, np.float32) + np.float32(0))


def _check_label(label: str) -> None:
    if not is_number(label):
        raise DataError(f"the label {short(label)} is not a number")
    if not np.isfinite(float(label)):
        raise DataError(f"the label {short(label)} is not finite")


def _index_and_value(cell: str, last: int) -> tuple[int, float]:
    """The index and the value of `3:0.5`; `last` is the index before it."""
    name, colon, text = cell.partition(":")
    try:
        index = int(name) if colon else -1
    except ValueError:
        index = -1
    if index < 0:
        raise DataError(f"{short(cell)} is not '<feature index>:<value>'")
    if index <= last:
        raise DataError(f"feature {index} comes after feature {last}; the indices of a line must ascend")
    if index > MAX_FEATURE:
        raise DataError(f"feature {name:.60}: the index is above {MAX_FEATURE}")
    if not is_number(text):
        raise DataError(f"feature {index}: {short(text)} is not a number")
    with np.errstate(over="ignore"):
        value = float(np.float32(float(text)))
    if not np.isfinite(value):
        raise DataError(f"feature {index}: {value} is not finite in float32; leave out a feature that is 0 or missing")
    return index, value


def _without_query(path: str, rows: _Rows, at: int) -> str:
    """What is wrong with a row that has no query."""
    label, features = (cells[at].decode("utf-8", "backslashreplace") for cells in (rows.labels, rows.features))
    if not is_number(label):
        return f"the label {short(label)} is not a number"
    received = short(" ".join([label, *features.split()]))
    return f"no 'qid:<id>' comes right after the label, and there is no file {path}.query. Received: {received}"


def _chunks(path: str, rows: _Rows, queries: pa.Array, features: _Features, width: int, first: int) -> Iterator[Table]:
    """The tables of the rows, each of about `CHUNK_BYTES`."""
    count = len(rows.numbers)
    labels, numbers = _texts(rows.labels), np.array(rows.numbers)
    offsets = np.concatenate([[0], np.cumsum(features.counts)])
    step = max(1, CHUNK_BYTES // (4 * width))
    for start in range(0, count, step):
        end = min(start + step, count)
        columns = {"label": labels[start:end], "qid": queries[start:end]}
        if all(rows.documents[start:end]):
            columns["document_id"] = _texts(rows.documents[start:end])
        cells = slice(offsets[start], offsets[end])
        dense = _dense(_Features(features.counts[start:end], features.indices[cells], features.values[cells]), width)
        yield Table(columns, [lines_source(path, numbers[start:end])], dense, first)


def _dense(features: _Features, width: int) -> Array:
    """The features as a matrix [rows, width]."""
    counts, indices, values = features
    dense = np.zeros((len(counts), width), np.float32)
    per_row = int(counts[0])
    if per_row and (counts == per_row).all() and (indices.reshape(-1, per_row) == indices[:per_row]).all():
        dense[:, indices[:per_row]] = values.reshape(-1, per_row)  # all rows have the same features
    else:
        dense[np.repeat(np.arange(len(counts)), counts), indices] = values
    return dense


def _texts(cells: list[bytes]) -> pa.Array:
    """The cells as text; bytes that are not UTF-8 are escaped."""
    try:
        return pa.array(cells, pa.string())
    except pa.ArrowInvalid:
        return pa.array([cell.decode("utf-8", "backslashreplace") for cell in cells])
