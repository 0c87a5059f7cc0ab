"""Explains a ranking: why a run ranks one document of a query above another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError, UserError, check_choice, check_whole, did_you_mean
from ml4ir_losses.core.names import MASK
from ml4ir_losses.data.table import Table
from ml4ir_losses.evaluation.explanation import Explanation, check_compared, ranks_of
from ml4ir_losses.evaluation.shapley import ENUMERATED
from ml4ir_losses.experiments.explaining_texts import explain_texts
from ml4ir_losses.experiments.feature_data import with_data
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.importance import Column, document_columns
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.swaps import DOCUMENTS, Swaps, kernel_shap, shapley
from ml4ir_losses.experiments.text_commands import read_documents
from ml4ir_losses.features.fitting import encode_rows
from ml4ir_losses.model.relevance_model import RelevanceModel

METHODS = ("auto", "exact", "permutation", "shap")
_LONGEST = 40  # characters of a cell


def explain(
    run: str | Path,
    data: Any,
    query: str,
    documents: Sequence[str] | None = None,
    *,
    method: str = "auto",
    columns: Sequence[str] = (),
    document_id: str | None = None,
    seed: int = 0,
) -> Explanation:
    """Why a run ranks a document of a query above another one.

    Args:
        run: the run folder.
        data: a file, or data in memory, with the query; for a run on texts with the documents.
        query: the id of the query; for a run on texts its text.
        documents: ids of documents, each of which is compared with the last; None: the two that are ranked first.
        method: see `explain_inputs`; texts are explained as `explain_texts` says.
        columns: text columns of a run on texts, joined by a space; empty: the only one.
        document_id: the column of ids of a run on texts; None: row numbers, from 1.
        seed: of the permutations.

    Raises:
        UserError, DataError: for a folder that is not a run, a query or document that the data lack, or options that
            cannot be used.
    """
    check_choice(METHODS, method=method)
    experiment = open_run(run)
    if not isinstance(experiment, FeatureExperiment):
        return _explain_text_run(experiment.model, data, query, documents, columns, document_id, method, seed)
    if columns or document_id is not None:
        raise UserError(f"--column and --document-id are for runs on texts; the config of {run} names its columns.")
    config = experiment.config.features
    table: Table = with_data(experiment.config, data, partial(_rows_of, config.query_id, str(query)))
    ids = [str(place) for place in range(1, len(table) + 1)]
    if config.document_id is not None:
        table.require(config.document_id, "features.document_id")
        ids = list(table.strings(config.document_id))
    rows = None if documents is None else [_row_of(str(document), ids) for document in documents]
    return explain_rows(experiment.model, table, rows, query=str(query), ids=ids, method=method, seed=seed)


def _explain_text_run(
    model: Any,
    data: Any,
    query: str,
    documents: Sequence[str] | None,
    columns: Sequence[str],
    document_id: str | None,
    method: str,
    seed: int,
) -> Explanation:
    """Why a run on texts ranks a document of a file above another one for a query."""
    if method not in ("auto", "permutation"):
        raise UserError(f"a run on texts is explained by the method permutation. Received: method={method!r}.")
    texts = read_documents(data, columns, document_id)
    ids = [str(name) for name in texts]
    rows = None if documents is None else [_row_of(str(document), ids) for document in documents]
    return explain_texts(model, query, list(texts.values()), rows, ids=ids, seed=seed)


def _rows_of(query_id: str, query: str, blocks: Any) -> Table:
    """The rows of a query."""
    known: dict[str, None] = {}
    source = ""
    for table in blocks:
        table.require(query_id, "features.query_id")
        ids, source = table.strings(query_id), source or table.source
        rows = np.flatnonzero(ids == query)
        if len(rows):
            found: Table = table.take(rows)
            return found
        known |= dict.fromkeys(ids)
    raise DataError(f"{source}: no query {query!r}.{did_you_mean(query, known)} It has {len(known):,} queries.")


def _row_of(document: str, ids: Sequence[str]) -> int:
    rows = [row for row, name in enumerate(ids) if name == document]
    if not rows:
        raise DataError(f"there is no document {document!r} to rank.{did_you_mean(document, ids)}")
    if len(rows) > 1:
        raise DataError(f"there are {len(rows)} documents {document!r} to rank.")
    return rows[0]


def explain_rows(
    model: RelevanceModel,
    table: Table,
    documents: Sequence[int] | None = None,
    *,
    query: str = "",
    ids: Sequence[str] | None = None,
    method: str = "auto",
    seed: int = 0,
) -> Explanation:
    """Why a model ranks a row of a table above another one; all rows are documents of one query.

    Args:
        model: the model.
        table: raw columns.
        documents: row numbers, each of which is compared with the last; None: the two rows that are ranked first.
        query: the id of the query.
        ids: the id of each row; None: numbers from 1.
        method: see `explain_inputs`.
        seed: of the permutations.

    Raises:
        UserError, DataError: for columns, rows or a method that cannot be used.
    """
    encoded = encode_rows(model.fitted, table)
    x = {name: values[:1] if name in encoded.query_scope else values[None] for name, values in encoded.arrays.items()}
    x[MASK] = np.ones((1, len(table)), "float32")
    return explain_inputs(model, x, documents, query=query, ids=ids, method=method, seed=seed, table=table)


def explain_inputs(
    model: RelevanceModel,
    x: Mapping[str, Array],
    documents: Sequence[int] | None = None,
    *,
    query: str = "",
    ids: Sequence[str] | None = None,
    method: str = "auto",
    seed: int = 0,
    table: Table | None = None,
    budget: int = DOCUMENTS,
) -> Explanation:
    """Why a model ranks a document above another one, from its inputs.

    Two documents A and B are compared by swaps. If A and B swap their values of some columns, and all other documents
    and the query stay as they are, their logits become a and b. For a set S of columns that are not swapped let
    v(S) = (a - b) / 2. With all columns v is half the difference of the logits of A and B, without any minus that: the
    Shapley values of v sum to the difference. In a model that scores each document by itself they are the Shapley
    values of the logit of a document that has the values of A in S and those of B else. What the list has of a column
    stays the same, so ranks within the query and attention see the same values.

    * `exact`: the parts of a sum over features (`linear`, `gam`); else the Shapley values from all subsets of the
      columns in which A and B differ, 12 at most.
    * `permutation`: Shapley values from random orders of the columns, with standard errors.
    * `shap`: KernelSHAP of the package `shap`, which averages the swaps with each of the query's documents (20 random
      ones of more) in the place of B; the difference is that of two documents compared with the same average.
    * `auto`: `exact` where it is possible within the budget, else `permutation`.

    Args:
        model: the model.
        x: the inputs of one query, [1, N, ...] or of the query [1, ...], with the mask; no document is padding.
        documents: numbers of documents, each of which is compared with the last; None: the two that are ranked first.
        query: the id of the query.
        ids: the ids of the N documents; None: numbers from 1.
        method: see above.
        seed: of the permutations.
        table: the raw columns of the documents, whose cells the explanation shows; None: the numbers of x.
        budget: documents scored for a comparison, which set the number of permutations.

    Raises:
        UserError: for documents or a method that cannot be used.
    """
    check_choice(METHODS, method=method)
    check_whole(0, seed=seed)
    logits = np.asarray(model.predict_on_batch(dict(x))["logit"], "float64")[0]
    ranks = ranks_of(logits)
    chosen = [int(row) for row in (np.argsort(ranks)[:2] if documents is None else documents)]
    check_compared(chosen, len(logits))
    columns = document_columns(model.fitted)
    if model.is_additive and method in ("auto", "exact"):
        parts = _exact_parts(model, x, columns)[chosen]
        found, errors, used = parts - parts[-1], np.zeros(parts.shape), "exact"
    else:
        found, errors, used = _by_swaps(Swaps(model, x, columns, logits, budget), chosen, method, seed)
    names = [str(place) for place in range(1, len(logits) + 1)] if ids is None else ids
    return Explanation(
        query=query,
        documents=[str(names[row]) for row in chosen],
        logits=logits[chosen],
        ranks=ranks[chosen],
        features=[column.name for column in columns],
        contributions=found,
        errors=errors,
        method=used,
        cells=_numbers(x, chosen, columns) if table is None else _cells(model, table.take(chosen), columns),
    )


def _exact_parts(model: RelevanceModel, x: Mapping[str, Array], columns: Sequence[Column]) -> Array:
    """What each column adds to the logits, [N, columns], up to a constant."""
    parts = model.explain(x)
    names = {}  # of the columns by feature
    for fitted in model.fitted:
        for column in columns:
            for name, index in column.places:
                if name == fitted.name:
                    names[fitted.features[index or 0]] = column.name
    return np.stack(
        [sum(part[0] for feature, part in parts.items() if names.get(feature) == column.name) for column in columns],
        axis=-1,
    ).astype("float64")


def _by_swaps(swaps: Swaps, chosen: Sequence[int], method: str, seed: int) -> tuple[Array, Array, str]:
    """Contributions and their standard errors [documents, columns], and the method that was used."""
    shape = len(chosen), len(swaps.columns)
    found, errors = np.zeros(shape), np.zeros(shape)
    if method == "shap":
        return np.stack([kernel_shap(swaps, row, seed) for row in chosen]), np.full(shape, np.nan), method
    pairs = [swaps.differing(row, chosen[-1]) for row in chosen[:-1]]
    most = max(map(len, pairs))
    if method == "exact" and most > ENUMERATED:
        raise UserError(
            f"method 'exact' takes a linear model, a gam, or documents that differ in at most {ENUMERATED} columns; "
            f"these differ in {most}. Use 'permutation'."
        )
    few = most <= ENUMERATED and (method == "exact" or 2**most // 2 * swaps.width <= swaps.budget)
    used = "exact" if few and method != "permutation" else "permutation"
    for i, (row, columns) in enumerate(zip(chosen[:-1], pairs, strict=True)):
        if len(columns):
            values = shapley(swaps, row, chosen[-1], columns, used, seed)
            found[i, columns], errors[i, columns] = values
    return found, errors, used


def _cells(model: RelevanceModel, table: Table, columns: Sequence[Column]) -> list[list[str]]:
    """What each row has in the columns of each feature."""
    inputs = {fitted.name: fitted for fitted in model.fitted}
    read = []
    for column in columns:
        name, index = column.places[0]
        read.append(inputs[name].columns if index is None else [column.name])
    names = {name: None for group in read for name in group}
    cells = {name: [_text(cell) for cell in _raw(table, name)] for name in names}
    return [[" | ".join(cells[name][row] for name in group) for group in read] for row in range(len(table))]


def _numbers(x: Mapping[str, Array], rows: Sequence[int], columns: Sequence[Column]) -> list[list[str]]:
    """The numbers of documents in columns of numbers, else empty texts."""
    places = [column.places[0] for column in columns]
    return [["" if index is None else _text(float(x[name][0, row, index])) for name, index in places] for row in rows]


def _raw(table: Table, name: str) -> Sequence[Any]:
    return table.columns[name].to_pylist() if name in table.columns else list(table.strings(name))


def _text(cell: Any) -> str:
    if cell is None or cell != cell:
        return ""
    text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
