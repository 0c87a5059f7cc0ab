"""What OpenSearch, Elasticsearch and Solr have in common: features that are queries, and a linear model of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.formats.search_engine import Names, SearchEngine
from ml4ir_losses.export.native.additive import Additive, CategoryTerm, NumberTerm

MOST_CATEGORIES = 1_000
"""Every category is a feature: a query that is run for each document."""


@dataclass
class Weighted:
    """The features of an engine, and the weights of those that the model adds."""

    features: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    names: Names = field(default_factory=Names)

    def add(self, feature: Mapping[str, Any], weight: float | None = None) -> None:
        """Adds a feature, whose name is `feature["name"]`."""
        self.features.append(dict(feature))
        if weight is not None:
            self.weights[feature["name"]] = weight


class LinearEngine(SearchEngine):
    """An engine whose models are weighted sums of features."""

    def weighted(self, model: Additive, mapping: Mapping[str, Any]) -> Weighted:
        """The features of the model."""
        out, bias = Weighted(), model.bias
        for term in model.terms:
            if isinstance(term, NumberTerm):
                self.add_number(out, term, mapping[term.column])
            else:
                self.add_category(out, term, mapping[term.column])
                bias += term.missing
        out.add(self.constant(out.names("bias")), bias)
        return out

    def add_number(self, out: Weighted, term: NumberTerm, mapped: Any) -> None:
        """Adds the features of a column of numbers."""
        raise NotImplementedError

    def add_category(self, out: Weighted, term: CategoryTerm, mapped: Any) -> None:
        """Adds a feature of 0 or 1 for each category."""
        if len(term.values) > MOST_CATEGORIES:
            raise UserError(
                f"column {term.column!r} has {len(term.values):,} categories; each is a feature of the engine, which "
                f"takes {MOST_CATEGORIES:,}. Use --format vespa or onnx, or `ml4ir-losses serve`."
            )
        out.add(self.is_present(out.names(f"{term.column}_is_given"), mapped), term.unknown - term.missing)
        for i, (category, value) in enumerate(term.values.items(), 1):
            out.add(self.is_category(out.names(f"{term.column}_{i}"), mapped, category), value - term.unknown)

    def constant(self, name: str) -> Mapping[str, Any]:
        """A feature that is 1."""
        raise NotImplementedError

    def is_present(self, name: str, mapped: Any) -> Mapping[str, Any]:
        """A feature that is 1 where the field has a value, else 0."""
        raise NotImplementedError

    def is_category(self, name: str, mapped: Any, category: str) -> Mapping[str, Any]:
        """A feature that is 1 where the field has this value, else 0."""
        raise NotImplementedError


def weighted_sum(values: Mapping[str, Any], weights: Mapping[str, float]) -> Any:
    """The sum of the features times their weights."""
    return sum(weight * values[name] for name, weight in weights.items())
