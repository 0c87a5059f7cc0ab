"""The format `opensearch`: a feature set and a linear model of the learning-to-rank plugin."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.formats.linear_engine import LinearEngine, Weighted, weighted_sum
from ml4ir_losses.export.formats.search_engine import NAME, Columns, is_missing
from ml4ir_losses.export.native.additive import Additive, CategoryTerm, NumberTerm
from ml4ir_losses.export.native.dialects import Lucene
from ml4ir_losses.export.native.expressions import evaluate

FEATURES, MODEL, SEARCH = "featureset.json", "model.json", "search.json"


class OpenSearch(LinearEngine):
    """Features are queries, whose scores are at least 0; expressions of them compute the terms.

    A column of the mapping is the name of a field, `{"field": name, "negative": false}` for a field without numbers
    below 0, or `{"query": {...}}`, a query whose score it is.
    """

    key = "opensearch"

    def always_given(self, mapped: Any) -> bool:
        return "query" in _entry(mapped)

    def files(self, model: Additive, mapping: Mapping[str, Any]) -> Mapping[str, str]:
        out = self.weighted(model, mapping)
        definition = {"type": "model/linear", "definition": json.dumps(out.weights, ensure_ascii=False)}
        parameters = sorted({name for feature in out.features for name in feature["params"]})
        rescore = {"sltr": {"model": NAME, "params": {name: f"the {name}" for name in parameters}}}
        files = {
            FEATURES: {"featureset": {"features": out.features}},
            MODEL: {"model": {"name": NAME, "model": definition}},
            SEARCH: {
                "query": {"match_all": {}},
                "rescore": {"window_size": 1000, "query": {"query_weight": 0, "rescore_query": rescore}},
            },
        }
        return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in files.items()}

    def add_number(self, out: Weighted, term: NumberTerm, mapped: Any) -> None:
        entry, missing, x = _entry(mapped), "", out.names(term.column)
        if self.always_given(mapped):
            out.add(_feature(x, entry["query"], _parameters(entry["query"])))
        else:
            missing = out.names(f"{term.column}_is_missing")
            out.add(_feature(x, _number(entry["field"], "gte", 1)))
            if entry.get("negative", True):
                below = out.names(f"{term.column}_below_0")
                out.add(_feature(below, _number(entry["field"], "lt", -1)))
                whole = out.names(f"{term.column}_number")
                out.add(_expression(whole, f"{x} - {below}"))
                x = whole
            out.add(_feature(missing, _filter({"bool": {"must_not": [{"exists": {"field": entry["field"]}}]}})))

        def define(expression: str) -> str:
            if expression == x:
                return x
            name = out.names(f"{term.column}_part")
            out.add(_expression(name, expression))
            return name

        formula = Lucene().curve(term.curve, x, define)
        if missing:
            formula = f"({missing} > 0.0 ? {term.missing:.12g} : {formula})"
        out.add(_expression(out.names(f"{term.column}_adds"), formula), 1.0)

    def add_category(self, out: Weighted, term: CategoryTerm, mapped: Any) -> None:
        if self.always_given(mapped):
            raise UserError(f"mapping: {term.column!r} is a category; it must be the name of a field.")
        super().add_category(out, term, _entry(mapped)["field"])

    def constant(self, name: str) -> Mapping[str, Any]:
        return _feature(name, {"match_all": {}})

    def is_present(self, name: str, mapped: Any) -> Mapping[str, Any]:
        return _feature(name, _filter({"exists": {"field": mapped}}))

    def is_category(self, name: str, mapped: Any, category: str) -> Mapping[str, Any]:
        return _feature(name, _filter({"term": {mapped: category}}))

    def logits(self, folder: Path, mapping: Mapping[str, Any], columns: Columns) -> Array:
        read = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in (FEATURES, MODEL)}
        fields = {_entry(mapped).get("field"): columns[column] for column, mapped in mapping.items()}
        queries = [(_entry(mapped).get("query"), columns[column]) for column, mapped in mapping.items()]
        rows = len(next(iter(columns.values())))
        values: dict[str, Any] = {}
        for feature in read[FEATURES]["featureset"]["features"]:
            template = feature["template"]
            if feature["template_language"] == "derived_expression":
                value = evaluate(template, values)
            else:
                value = next((cells for query, cells in queries if query == template), None)
                value = _score(template, fields, rows) if value is None else value
            values[feature["name"]] = np.asarray(value, "float32").astype("float64")
        return np.asarray(weighted_sum(values, json.loads(read[MODEL]["model"]["model"]["definition"])))


def _entry(mapped: Any) -> Mapping[str, Any]:
    entry = {"field": mapped} if isinstance(mapped, str) else mapped
    if not isinstance(entry, dict) or len({"field", "query"} & entry.keys()) != 1:
        raise UserError(
            f'mapping: takes the name of a field, {{"field": ...}} or {{"query": ...}}. Received: {mapped!r}.'
        )
    return entry


def _feature(name: str, template: Mapping[str, Any], parameters: list[str] | None = None) -> dict[str, Any]:
    return {"name": name, "params": parameters or [], "template_language": "mustache", "template": template}


def _expression(name: str, expression: str) -> dict[str, Any]:
    return {"name": name, "params": [], "template_language": "derived_expression", "template": expression}


def _filter(query: Mapping[str, Any]) -> dict[str, Any]:
    """1 for the documents of the query, 0 for the others."""
    return {"constant_score": {"filter": query, "boost": 1.0}}


def _number(name: str, side: str, factor: int) -> dict[str, Any]:
    """factor · field for numbers on one side of 0, else 0: a score must not be negative."""
    value = {"field": name, "factor": factor}
    query = {"range": {name: {side: 0}}}
    return {"function_score": {"query": query, "functions": [{"field_value_factor": value}], "boost_mode": "replace"}}


def _parameters(template: Any) -> list[str]:
    """The names in {{...}}."""
    return sorted(set(re.findall(r"{{\s*(\w+)\s*}}", json.dumps(template))))


def _score(query: Mapping[str, Any], fields: Mapping[Any, Array], rows: int) -> Array:
    """The score of a query that this module writes; 0 for documents that do not match."""
    ((kind, body),) = query.items()
    if kind == "match_all":
        return np.ones(rows)
    if kind == "constant_score":
        return np.asarray(_matches(body["filter"], fields) * body["boost"])
    factor = body["functions"][0]["field_value_factor"]
    cells = fields[factor["field"]]
    return np.asarray(np.where(_matches(body["query"], fields), factor["factor"] * cells, 0.0))


def _matches(query: Mapping[str, Any], fields: Mapping[Any, Array]) -> Array:
    """The documents that match."""
    ((kind, body),) = query.items()
    if kind == "bool":
        return ~_matches(body["must_not"][0], fields)
    if kind == "exists":
        return ~is_missing(fields[body["field"]])
    ((name, condition),) = body.items()
    if kind == "term":
        return np.asarray(fields[name] == condition)
    return np.asarray(fields[name] >= 0 if "gte" in condition else fields[name] < 0)
