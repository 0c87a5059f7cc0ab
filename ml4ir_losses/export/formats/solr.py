"""The format `solr`: features and a linear model of its learning-to-rank module."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.export.formats.linear_engine import LinearEngine, Weighted, weighted_sum
from ml4ir_losses.export.formats.search_engine import NAME, Columns, is_missing, with_columns
from ml4ir_losses.export.native import dialects
from ml4ir_losses.export.native.additive import Additive, NumberTerm
from ml4ir_losses.export.native.expressions import evaluate

FEATURES, MODEL = "features.json", "model.json"
CLASS = "org.apache.solr.ltr"


class Solr(LinearEngine):
    """Features are function queries, whose scores are at least 0: one for what a term adds, one for what it takes.

    A column of the mapping is the name of a field or, for numbers, any function query.
    """

    key = "solr"

    def always_given(self, mapped: Any) -> bool:
        return str(mapped).startswith("query(")

    def files(self, model: Additive, mapping: Mapping[str, Any]) -> Mapping[str, str]:
        out = self.weighted(model, mapping)
        content = {
            "store": NAME,
            "name": NAME,
            "class": f"{CLASS}.model.LinearModel",
            "features": [{"name": feature["name"]} for feature in out.features],
            "params": {"weights": out.weights},
        }
        files = {FEATURES: out.features, MODEL: content}
        return {name: json.dumps(content, indent=1, ensure_ascii=False) + "\n" for name, content in files.items()}

    def add_number(self, out: Weighted, term: NumberTerm, mapped: Any) -> None:
        formula = dialects.Solr().curve(term.curve, mapped, lambda expression: expression)
        if not self.always_given(mapped):
            formula = f"if(exists({mapped}),{formula},{term.missing:.12g})"
        for name, sign, part in (("adds", 1.0, formula), ("takes", -1.0, f"sub(0.0,{formula})")):
            out.add(_feature(out.names(f"{term.column}_{name}"), {"q": f"{{!func}}max(0.0,{part})"}), sign)

    def constant(self, name: str) -> Mapping[str, Any]:
        return {**_feature(name, {"value": 1.0}), "class": f"{CLASS}.feature.ValueFeature"}

    def is_present(self, name: str, mapped: Any) -> Mapping[str, Any]:
        return _feature(name, {"fq": [f"{mapped}:[* TO *]"]})

    def is_category(self, name: str, mapped: Any, category: str) -> Mapping[str, Any]:
        return _feature(name, {"fq": [f"{{!term f={mapped}}}{category}"]})

    def logits(self, folder: Path, mapping: Mapping[str, Any], columns: Columns) -> Array:
        features, model = (json.loads((folder / name).read_text(encoding="utf-8")) for name in (FEATURES, MODEL))
        values: dict[str, Any] = {}
        for i, column in enumerate(mapping):
            missing = is_missing(columns[column])
            values[f"column({i})"] = np.where(missing, 0.0, columns[column])
            values[f"exists(column({i}))"] = ~missing
        scores = {feature["name"]: _score(feature["params"], mapping, columns, values) for feature in features}
        return np.asarray(weighted_sum(scores, model["params"]["weights"]))


def _feature(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"store": NAME, "name": name, "class": f"{CLASS}.feature.SolrFeature", "params": params}


def _score(params: Mapping[str, Any], mapping: Mapping[str, Any], columns: Columns, values: Mapping[str, Any]) -> Array:
    """The value of a feature that this module writes."""
    rows = len(next(iter(columns.values())))
    if "value" in params:
        return np.full(rows, params["value"])
    if "q" in params:
        expression = with_columns(params["q"].removeprefix("{!func}"), mapping)
        score = np.asarray(evaluate(expression, values), "float32").astype("float64")
        return np.broadcast_to(np.where(score >= 0, score, 0.0), rows)  # Lucene's scores are not negative
    (query,) = params["fq"]
    by_field = {mapped: columns[column] for column, mapped in mapping.items()}
    term = re.fullmatch(r"\{!term f=(.*?)\}(.*)", query, re.S)
    if term:
        return np.asarray(by_field[term[1]] == term[2], "float64")
    return np.asarray(~is_missing(by_field[query.removesuffix(":[* TO *]")]), "float64")
