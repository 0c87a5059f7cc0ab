"""The reader `svmlight`: LETOR files, parsed by scikit-learn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.text_files import is_number, open_text, short

MAX_FEATURE = 100_000
_DOCUMENT_ID = re.compile(rb"\bdoc_?id\s*=\s*(\S+)", re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"


@register_reader("svmlight", aliases=("letor", "libsvm"), endings=(".svmlight", ".libsvm", ".svm", ".letor", ".txt"))
def read_svmlight(path: str) -> Table:
    """svmlight/LETOR lines `label qid:7 1:0.5 3:2 #docid = X`: columns label, qid, document_id, f1, f2, ...

    An absent feature is 0; `f<i>` is the index i of the file. the column `document_id` exists if every row names one.

    Raises:
        DataError: a malformed line, a row without `qid:`, a label or feature that is not a finite number.
    """
    from sklearn.datasets import load_svmlight_file

    lines = _SvmlightLines(path)
    with open_text(path) as stream:
        lines.stream = stream
        try:
            # without query_id=True, which reads only integers, and copies the array of all ids once per row
            sparse, labels = load_svmlight_file(lines, dtype=np.float32, zero_based=True)
        except DataError:
            raise
        except (ValueError, OverflowError) as error:
            reason = _line_error(lines.body) or f"it cannot be parsed: {error}"
            raise DataError(f"{path}, line {lines.number}: {reason}") from None
    if not lines.numbers:
        raise DataError(f"{path} has no data rows.")
    _check_values(path, lines, sparse, labels)
    columns: dict[str, Any] = {"label": lines.labels, "qid": lines.queries}
    if len(lines.documents) == len(lines.numbers):
        columns["document_id"] = lines.documents
    columns = {name: [cell.decode("utf-8", "backslashreplace") for cell in cells] for name, cells in columns.items()}
    numbers = np.array(lines.numbers)
    first = 0 if len(sparse.indices) and sparse.indices.min() == 0 else 1
    source = Source(path, len(numbers), lambda row: int(numbers[row]))
    return Table(columns, [source], sparse.toarray(), first)


class _SvmlightLines:
    """The data lines of a file for scikit-learn's parser, with the line numbers and ids that the parser drops."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.stream: Any = ()
        self.number = 0
        self.body = b""
        self.numbers: list[int] = []
        self.labels: list[bytes] = []
        self.queries: list[bytes] = []
        self.documents: list[bytes] = []

    def read(self) -> bytes:
        """All lines; scikit-learn requires this method, but iterates over the object."""
        return b"".join(self)

    def __iter__(self) -> Iterator[bytes]:
        for line in self.stream:
            self.number += 1
            body, _, comment = line.removeprefix(_BOM).partition(b"#")
            parts = body.split(None, 2)
            if not parts:
                continue
            self.body = body
            query = parts[1] if len(parts) > 1 else b""
            if len(query) < 5 or not query.startswith(b"qid:"):
                raise DataError(f"{self.path}, line {self.number}: {_line_error(body)}")
            self.numbers.append(self.number)
            self.labels.append(parts[0])
            self.queries.append(query[4:])
            document = _DOCUMENT_ID.search(comment) if comment else None
            if document:
                self.documents.append(document[1])
            yield body


def _line_error(body: bytes) -> str:
    """The first error of a line; "" if there is none."""
    label, *cells = body.decode("utf-8", "backslashreplace").split()
    if not is_number(label):
        return f"the label {short(label)} is not a number"
    if not cells or not cells[0].startswith("qid:") or cells[0] == "qid:":
        return f"no 'qid:<id>' comes right after the label. Received: {short(' '.join([label, *cells]))}"
    last = -1
    for cell in cells[1:]:
        index, colon, value = cell.partition(":")
        if not colon or not index.isdecimal():
            return f"{short(cell)} is not '<feature index>:<value>'"
        if int(index) <= last:
            return f"feature {int(index)} comes after feature {last}; the indices of a line must ascend"
        if int(index) > MAX_FEATURE:
            return f"feature index {short(index)} is above {MAX_FEATURE}"
        if not is_number(value):
            return f"feature {index}: {short(value)} is not a number"
        last = int(index)
    return ""


def _check_values(path: str, lines: _SvmlightLines, sparse: Any, labels: Any) -> None:
    """Raises `DataError` for what scikit-learn accepts: non-finite values, and indices too high for a dense matrix."""
    invalid = ~np.isfinite(labels)
    if invalid.any():
        row = int(invalid.argmax())
        label = short(lines.labels[row].decode())
        raise DataError(f"{path}, line {lines.numbers[row]}: the label {label} is not finite")
    invalid = ~np.isfinite(sparse.data) | (sparse.indices > MAX_FEATURE)
    if invalid.any():
        at = int(invalid.argmax())
        row = int(np.searchsorted(sparse.indptr, at, side="right")) - 1
        index, value = int(sparse.indices[at]), float(sparse.data[at])
        reason = f"{value} is not finite in float32; leave out a feature that is 0 or missing"
        if np.isfinite(value):
            reason = f"the index is above {MAX_FEATURE}"
        raise DataError(f"{path}, line {lines.numbers[row]}: feature {index}: {reason}")
