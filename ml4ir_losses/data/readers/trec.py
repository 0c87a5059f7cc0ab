"""The reader `trec`: runs with relevance judgments (qrels) and texts, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.log import LOGGER
from ml4ir_losses.core.registry import register_reader
from ml4ir_losses.data.files import beside, relative_to
from ml4ir_losses.data.readers.trec_texts import TextsById
from ml4ir_losses.data.table import Source, Table, ranks_in_queries
from ml4ir_losses.data.text_files import open_text
from ml4ir_losses.data.trec import QRELS, RUN, TrecFile

_CHUNK_ROWS = 50_000


@register_reader("trec", endings=(".run", ".trec", ".qrels"))
def read_trec(
    path: str,
    *,
    qrels: str | None = None,
    queries: str | None = None,
    documents: str | None = None,
    unjudged: float | None = 0.0,
) -> Iterator[Table]:
    """A TREC run with judgments and texts: columns query_id, document_id, label, score, rank, query, document.

    A qrels file can be read too, without scores and ranks. The rank follows from the scores, as for trec_eval.

    Args:
        path: the run or qrels file.
        qrels: the judgments of a run, which become the column `label`; None: the `.qrels` file beside, if there is one.
            Queries without judgments are left out.
        queries: the texts of the queries: a TSV file of ids and texts, or a file with a column of ids and `text`, as
            in BEIR.
        documents: the texts of the documents, likewise; further columns, such as `title`, stay.
        unjudged: the label of a document of a run without a judgment; None: missing.

    Raises:
        DataError: for a malformed line, files without a common query, and texts without ids.
    """
    file = TrecFile(path, _kind(path))
    if qrels is None and file.kind is RUN:
        qrels = beside(path, ".qrels")
    qrels, queries, documents = (name and relative_to(path, name) for name in (qrels, queries, documents))
    judgments = TrecFile(qrels, QRELS) if qrels else None
    known = file.queries if judgments is None else [query for query in file.queries if query in judgments]
    if len(known) < len(file):
        LOGGER.info("%s: queries without judgments in %s, left out: %d", path, qrels, len(file) - len(known))
    if not known:
        raise DataError(f"{path} and {qrels} have no query in common.")
    texts = _Texts(file, known, queries, documents)
    for part in _parts(file, known):
        yield _table(file, judgments, part, unjudged, texts)


def _kind(path: str) -> Any:
    """What the first line of the file is of: a run or qrels."""
    with open_text(path) as stream:
        first = next((line for line in stream if line.strip()), b"")
    return QRELS if len(first.split()) == len(QRELS.fields) else RUN


def _parts(file: TrecFile, queries: Sequence[str]) -> Iterator[list[tuple[str, list[str], Any]]]:
    """The queries in parts of about `_CHUNK_ROWS` rows, with the documents and numbers of each."""
    part: list[tuple[str, list[str], Any]] = []
    rows = 0
    for query in queries:
        names, numbers = file.documents(query)
        part.append((query, names, numbers))
        rows += len(names)
        if rows >= _CHUNK_ROWS:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _table(
    file: TrecFile,
    judgments: TrecFile | None,
    part: list[tuple[str, list[str], Any]],
    unjudged: float | None,
    texts: _Texts,
) -> Table:
    sizes = [len(names) for _, names, _ in part]
    ids = np.repeat(np.array([query for query, _, _ in part], object), sizes)
    documents = [name for _, names, _ in part for name in names]
    numbers = np.concatenate([values for _, _, values in part])
    columns: dict[str, Any] = {"query_id": pa.array(ids, pa.string()), "document_id": pa.array(documents, pa.string())}
    if judgments is not None:
        labels: list[float | None] = []
        for query, names, _ in part:
            grades = dict(zip(*judgments.documents(query), strict=True))
            labels += [grades.get(name, unjudged) for name in names]
        columns["label"] = pa.array(labels, pa.float64())
    if file.kind is QRELS:
        columns["label"] = numbers
    else:
        columns |= {"score": numbers, "rank": ranks_in_queries(numbers, ids)}
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def line(row: int) -> int:
        at = int(np.searchsorted(starts, row, side="right")) - 1
        return file.line(part[at][0], row - int(starts[at]))

    columns |= texts.columns(columns["query_id"], columns["document_id"])
    return Table(columns, [Source(file.path, len(documents), line)])


class _Texts:
    """The texts of queries and documents, in memory: those of the run alone."""

    def __init__(self, file: TrecFile, known: Sequence[str], queries: str | None, documents: str | None) -> None:
        self.queries = TextsById(queries, "query", set(known)) if queries else None
        self.documents = None
        if documents:
            names = {name for query in known for name in file.documents(query)[0]}
            self.documents = TextsById(documents, "document", names)

    def columns(self, queries: pa.Array, documents: pa.Array) -> dict[str, Any]:
        """The columns of texts of the rows."""
        found = self.queries.of(queries) if self.queries else {}
        return found | (self.documents.of(documents) if self.documents else {})
