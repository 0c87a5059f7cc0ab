"""Corpus, queries and judgments from the files of a config."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.config.text_schema import TextDataConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import Table
from ml4ir_losses.data.texts.rows import column_texts, read_texts


@dataclass
class Collection:
    """Texts by id, and the grade of each judged document by query."""

    corpus: dict[Hashable, str]
    queries: dict[Hashable, str]
    judgments: dict[Hashable, dict[Hashable, float]]


@dataclass
class Lists:
    """Queries with their own candidate documents, one row per pair."""

    query_ids: list[str]
    queries: list[str]
    documents: list[str]
    grades: Array


def read_collection(data: TextDataConfig) -> Collection:
    """The collection of `data.retrieval`.

    Raises:
        DataError: for a missing file or column, a duplicate id, and a grade that is not a number.
    """
    retrieval = data.retrieval
    if retrieval is None:
        raise DataError("data.retrieval is not given.")
    path = "data.retrieval"
    documents, queries, qrels = (
        read_texts(data, part) for part in (retrieval.corpus, retrieval.queries, retrieval.qrels)
    )
    judgments: dict[Hashable, dict[Hashable, float]] = {}
    qrels.require(retrieval.grade, f"{path}.grade")
    rows = zip(
        column_texts(qrels, retrieval.query_id, f"{path}.query_id"),
        column_texts(qrels, retrieval.document_id, f"{path}.document_id"),
        qrels.numeric(retrieval.grade, missing=False),
        strict=True,
    )
    for query, document, grade in rows:
        gain = grade if retrieval.gain == "identity" or grade <= 0 else 2.0**grade - 1.0
        judgments.setdefault(query, {})[document] = float(gain)
    return Collection(
        by_id(documents, retrieval.document_id, retrieval.document, f"{path}.document"),
        by_id(queries, retrieval.query_id, retrieval.query, f"{path}.query"),
        judgments,
    )


def by_id(table: Table, identity: str, column: Any, path: str) -> dict[Hashable, str]:
    """Text by id.

    Raises:
        DataError: for a missing column, and a duplicate id, with its line.
    """
    ids = column_texts(table, identity, f"{path}_id")
    texts: dict[Hashable, str] = {}
    for row, (name, text) in enumerate(zip(ids, column_texts(table, column, path), strict=True)):
        if name in texts:
            raise DataError(f"{table.locate(row)}, column {identity!r}: the id {name!r} occurs twice.")
        texts[name] = text
    return texts


def read_lists(data: TextDataConfig) -> Lists:
    """The rows of `data.reranking`.

    Raises:
        DataError: for a missing file or column, and a grade that is not a number.
    """
    reranking = data.reranking
    if reranking is None:
        raise DataError("data.reranking is not given.")
    path, table = "data.reranking", read_texts(data, reranking.files)
    queries = column_texts(table, reranking.query, f"{path}.query")
    table.require(reranking.grade, f"{path}.grade")
    return Lists(
        queries if reranking.query_id is None else column_texts(table, reranking.query_id, f"{path}.query_id"),
        queries,
        column_texts(table, reranking.document, f"{path}.document"),
        table.numeric(reranking.grade, missing=False),
    )
