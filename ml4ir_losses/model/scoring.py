"""Scores of documents, one per row, from models that score lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batching import BatchPlan, make_inputs
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.table import Table, group_by_query
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.fitting import encode_rows


@dataclass
class Scored:
    """Logits and scores per document, in row order; `kept` is False for documents dropped by truncation."""

    logits: Array
    scores: Array
    kept: Array


def score_queries(model: Any, plan: BatchPlan) -> Scored:
    """Logits and activated scores of every document of an unshuffled plan."""
    rows = plan.data.rows
    scored = Scored(np.zeros(rows, "float32"), np.zeros(rows, "float32"), np.zeros(rows, bool))
    for batch in plan.batches():
        index, mask = plan.rows(batch)
        output = model.predict_on_batch(make_inputs(plan.data, batch, index, mask))
        chosen = index[mask]
        scored.logits[chosen] = np.asarray(output["logit"])[mask]
        scored.scores[chosen] = np.asarray(output["score"])[mask]
        scored.kept[chosen] = True
    return scored


def score_table(model: Any, inputs: Sequence[FittedInput], table: Table, query_id: str, batch_size: int) -> Scored:
    """Logits and activated scores in the order of the table's rows; the rows of a query need not be adjacent.

    Raises:
        DataError: for a missing column, or cells that cannot be read.
    """
    table.require(query_id, "query_id")
    encoded = encode_rows(inputs, table)
    ids = table.strings(query_id)
    order, offsets = group_by_query(ids)
    queries = Queries(
        ids=ids[order[offsets[:-1]]],
        offsets=offsets,
        features={name: values[order] for name, values in encoded.arrays.items()},
        labels={},
        document_ids=order,
        query_scope=encoded.query_scope,
        source=table.source,
    )
    scored = score_queries(model, BatchPlan(queries, batch_size, compiled_epochs=model.compiled_epochs()))
    in_table_order = np.argsort(order)
    return Scored(scored.logits[in_table_order], scored.scores[in_table_order], scored.kept[in_table_order])
