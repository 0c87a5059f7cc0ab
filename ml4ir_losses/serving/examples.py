"""Example requests, made of what a model was fitted on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.serving.columns import Column

_DOCUMENTS = 3


def rank_example(inputs: Sequence[FittedInput], columns: Mapping[str, Column]) -> dict[str, Any]:
    """A request to rank three documents."""
    cells = {name: fitted for fitted in reversed(inputs) for name in fitted.columns}
    documents = [
        {
            "id": f"d{i + 1}",
            **{name: _cell(cells[name], name, i) for name, c in columns.items() if c.scope == "document"},
        }
        for i in range(_DOCUMENTS)
    ]
    query = {name: _cell(cells[name], name, 0) for name, column in columns.items() if column.scope == "query"}
    return {"queries": [{"query_id": "q1", **({"query": query} if query else {}), "documents": documents}]}


def _cell(fitted: FittedInput, name: str, place: int) -> Any:
    """A cell of a column that an input reads, another one for each document."""
    read: Any = fitted
    if fitted.type == "numeric":
        return float(f"{read.fill[fitted.columns.index(name)] + place:.4g}")
    if fitted.type == "date":
        day = (read.reference or 1_767_225_600.0) - 86_400 * (place + (name != fitted.columns[-1]))
        return datetime.fromtimestamp(day, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if fitted.type == "vector":
        vector = [float(i == place % read.size) for i in range(read.size)]
        return vector if read.separator is None else read.separator.join(map(str, vector))
    words = list(getattr(fitted, "vocabulary", ()))[place : place + 3] or ["a"]
    if fitted.type in ("text", "text_pair"):
        return " ".join(words)
    if fitted.keeps_lists:
        return words[:2] if read.separator is None else read.separator.join(words[:2])
    return words[0]
