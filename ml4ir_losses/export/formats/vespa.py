"""The format `vespa`: a rank profile."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.formats.search_engine import NAME, Columns, Names, SearchEngine, with_columns
from ml4ir_losses.export.native import dialects
from ml4ir_losses.export.native.additive import Additive, CategoryTerm, NumberTerm
from ml4ir_losses.export.native.expressions import evaluate

PROFILE = f"{NAME}.profile"


class Vespa(SearchEngine):
    """A rank profile whose second phase is the model; a column of the mapping is any rank feature."""

    key = "vespa"

    def default(self, column: str) -> Any:
        return f"attribute({column})"

    def always_given(self, mapped: Any) -> bool:
        return not str(mapped).startswith("attribute(")

    def files(self, model: Additive, mapping: Mapping[str, Any]) -> Mapping[str, str]:
        return {PROFILE: "\n".join(_profile(model, mapping)) + "\n"}

    def logits(self, folder: Path, mapping: Mapping[str, Any], columns: Columns) -> Array:
        text = (folder / PROFILE).read_text(encoding="utf-8")
        values: dict[str, Any] = {}
        for i, column in enumerate(mapping):
            values[f"column({i})"] = cells = _as_double(columns[column])
            values[f"tensorFromLabels(column({i}),category)"] = _Labels(cells)
        for name, cells in re.findall(r"^ +(\w+) tensor<double>\(category\{\}\):\{(.*)\}$", text, re.M):
            values[f"constant({name})"] = {label: float(value) for _, label, value in _CELL.findall(cells)}
        for name, expression in re.findall(r"function (\w+)\(\) \{\s*expression: (.*)", text):
            values[f"{name}()"] = evaluate(with_columns(expression, mapping), values)
        total = evaluate(_SECOND_PHASE.findall(text)[0], values)
        return np.broadcast_to(np.asarray(total, "float64"), next(iter(columns.values())).shape)


_CELL = re.compile(r"""(['"])(.*?)\1:([-+.e\d]+)""")
_SECOND_PHASE = re.compile(r"second-phase \{\s*rerank-count: \d+\s*expression: (.*)")


def _as_double(cells: Array) -> Array:
    return cells if cells.dtype == object else cells.astype("float64")


class _Labels:
    """A tensor with a cell of value 1 for each document."""

    def __init__(self, labels: Array) -> None:
        self.labels = labels

    def __mul__(self, table: Mapping[str, float]) -> Array:
        return np.array([table.get(label, 0.0) for label in self.labels])


def _profile(model: Additive, mapping: Mapping[str, str]) -> Iterator[str]:
    names = Names([NAME])
    functions: list[tuple[str, str]] = []
    constants: list[str] = []
    parts = []
    for term in model.terms:
        feature = mapping[term.column]
        name = names(term.column)
        if isinstance(term, NumberTerm):
            expression = _number(term, feature, name, names, functions)
        else:
            expression = _category(term, feature, names(f"{name}_values"), constants)
        functions.append((name, expression))
        parts.append(f"{name}()")
    yield f"rank-profile {NAME} {{"
    if constants:
        yield "    constants {"
        yield from constants
        yield "    }"
    for name, expression in functions:
        yield f"    function {name}() {{"
        yield f"        expression: {expression}"
        yield "    }"
    yield "    second-phase {"
    yield "        rerank-count: 1000"
    yield f"        expression: {' + '.join([f'{model.bias:.12g}', *parts])}"
    yield "    }"
    yield "}"


def _number(term: NumberTerm, feature: str, name: str, names: Names, functions: list[tuple[str, str]]) -> str:
    def define(expression: str) -> str:
        if expression == feature:
            return expression
        functions.append((names(f"{name}_part"), expression))
        return f"{functions[-1][0]}()"

    return f"if (isNan({feature}), {term.missing:.12g}, {dialects.Vespa().curve(term.curve, feature, define)})"


def _category(term: CategoryTerm, feature: str, name: str, constants: list[str]) -> str:
    cells = ", ".join(f"{_quoted(label)}:{value - term.unknown:.12g}" for label, value in term.values.items())
    constants.append(f"        {name} tensor<double>(category{{}}):{{{cells}}}")
    known = f"sum(tensorFromLabels({feature}, category) * constant({name}))"
    return f'if ({feature} == "", {term.missing:.12g}, {term.unknown:.12g} + {known})'


def _quoted(label: str) -> str:
    """A label of a tensor; Vespa documents no escapes."""
    quote = next((quote for quote in "'\"" if quote not in label), None)
    if quote is None or "\\" in label or "\n" in label:
        raise UserError(f"the category {label!r} cannot be written as a label of Vespa; give it another name.")
    return f"{quote}{label}{quote}"
