"""The columns of a request, with the JSON types that their cells may have, as the inputs of a model need them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Required

import numpy as np
from pydantic import ConfigDict, FailFast, Field, GetPydanticSchema
from pydantic_core import core_schema
from typing_extensions import TypedDict

from ml4ir_losses.config.input_base import Scope
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.serving.settings import Limits

Kind = Literal["number", "date", "category", "categories", "vector", "text"]
STRICT = ConfigDict(strict=True, extra="forbid")
_LARGEST = float(np.finfo(np.float32).max)


def _or(type_: Any, expected: str) -> Any:
    """The type, with one message for all that is wrong with a value."""

    def schema(source: Any, handler: Any) -> Any:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="cell", custom_error_message=f"must be {expected}"
        )

    return Annotated[type_, GetPydanticSchema(schema)]


Integer = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Ordered = Field(union_mode="left_to_right")
Id = _or(Annotated[str | Integer, Ordered], "a text or a whole number of 64 bits")
Scalar = Annotated[str | Integer | Finite | bool, Ordered]
_PLAIN = "a text, a finite number, true, false or null"

CELLS: Mapping[Kind, Any] = {
    "number": _or(
        Annotated[Number | str | bool | None, Ordered],
        "a finite number of float32, a text that holds one, true, false or null",
    ),
    "date": _or(Annotated[Finite | str | None, Ordered], "an ISO 8601 text, a number of seconds since 1970, or null"),
    "category": _or(Annotated[Scalar | None, Ordered], _PLAIN),
    "text": _or(Annotated[Scalar | None, Ordered], _PLAIN),
    "categories": _or(list[Scalar] | None, "a list of texts or numbers, or null"),
    "vector": _or(list[Number] | None, "a list of finite numbers of float32, or null"),
}
"""The type of a cell by what its column holds."""
_SEPARATED = {kind: _or(Annotated[CELLS[kind] | str, Ordered], "a list, a text, or null") for kind in CELLS}


@dataclass(frozen=True)
class Column:
    """A column of a request.

    Attributes:
        name: its name.
        kind: what its cells are.
        scope: `query` for one that an input of the query reads: it may not stand in a document.
        size: the length of a vector.
        separator: what separates the values of a cell that is a text.
    """

    name: str
    kind: Kind
    scope: Scope
    size: int | None = None
    separator: str | None = None

    @property
    def cell(self) -> Any:
        """The type of its cells."""
        return CELLS[self.kind] if self.separator is None else _SEPARATED[self.kind]


def columns_of(inputs: Sequence[FittedInput]) -> dict[str, Column]:
    """The columns that inputs read, by name; one that is read in several ways has cells that suit all of them."""
    found: dict[str, Column] = {}
    for fitted in inputs:
        for column in _columns(fitted):
            known = found.setdefault(column.name, column)
            if known != column:
                found[column.name] = _both(known, column)
    return found


def _columns(fitted: FittedInput) -> Iterator[Column]:
    for place, name in enumerate(fitted.columns):
        kind: Any = {"numeric": "number", "cross": "category", "text_pair": "text"}.get(fitted.type, fitted.type)
        if kind == "categorical":
            kind = "categories" if fitted.keeps_lists else "category"
        is_query = fitted.scope == "query" or (fitted.type == "text_pair" and place == 0)
        separator = getattr(fitted, "separator", None)
        yield Column(name, kind, "query" if is_query else "document", getattr(fitted, "size", None), separator)


def _both(a: Column, b: Column) -> Column:
    scope: Scope = "query" if "query" in (a.scope, b.scope) else "document"
    lists = next((c for c in (a, b) if c.kind in ("categories", "vector")), None)
    if lists is not None:
        return Column(a.name, lists.kind, scope, lists.size, a.separator or b.separator)
    return Column(a.name, a.kind if a.kind == b.kind else "category", scope)


def query_members(columns: Mapping[str, Column], limits: Limits, least: int = 1) -> dict[str, Any]:
    """The types of a query's members, with at least so many documents.

    The part `query` may hold columns of documents, too: such a value is that of all documents which lack it.
    """
    cells = {name: NotRequired[c.cell] for name, c in columns.items()}
    own = {name: cells[name] for name, c in columns.items() if c.scope == "document"}
    documents = _listed(typed("Document", {"id": NotRequired[Id], **own}), limits.documents, least)
    shared = typed("QueryColumns", cells)
    return {"query_id": NotRequired[Id], "query": NotRequired[shared], "documents": Required[documents]}


def rank_types(columns: Mapping[str, Column], limits: Limits) -> tuple[Any, Any]:
    """The types of a request of several queries, and of one query alone."""
    query = query_members(columns, limits)
    queries = _listed(typed("RankQuery", query), limits.queries)
    top = {"top": NotRequired[Annotated[int, Field(ge=1, le=limits.documents)]]}
    return typed("RankRequest", {"queries": Required[queries], **top}), typed("RankOneRequest", {**query, **top})


def _listed(type_: Any, most: int, least: int = 1) -> Any:
    return Annotated[list[type_], FailFast(), Field(min_length=least, max_length=most)]


def typed(name: str, members: Mapping[str, Any]) -> Any:
    """The type of an object with these members and no others."""
    make: Any = TypedDict  # mypy knows TypedDicts of literal names alone
    made = make(name, dict(members))
    made.__pydantic_config__ = STRICT
    return made
