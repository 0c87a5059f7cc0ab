"""JSON schemas of the registry keys in a config and their parameters, for completion and checks in an editor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml4ir_losses.core.registry import ENCODERS, LAMBDA_WEIGHTS, WEIGHTING_SCHEMES, Entry, Registry

Schema = dict[str, Any]
NESTED = {"encoder": ENCODERS, "lambda_weight": LAMBDA_WEIGHTS, "weighting_scheme": WEIGHTING_SCHEMES}
"""Parameters whose value is itself a key with parameters."""


def names_of(entries: Iterable[Entry]) -> list[str]:
    """Keys and aliases, sorted."""
    return sorted(name for entry in entries for name in (entry.key, *entry.aliases))


def key_among(names: list[str]) -> Schema:
    """A spec whose key is one of the names, with any parameters."""
    keyed = {"type": "object", "properties": {"key": {"enum": names}}, "required": ["key"]}
    return {"anyOf": [{"enum": names}, keyed]}


def spec_schema(entries: Iterable[Entry], beside: Mapping[str, Schema] | None = None) -> list[Schema]:
    """The two forms of a spec: a key, or `{key: ..., <parameters>}`, with further properties beside the parameters."""
    known = list(entries)
    by_key = [
        {"if": {"properties": {"key": {"enum": names_of([entry])}}}, "then": _parameters(entry, beside or {})}
        for entry in known
    ]
    keyed = {"type": "object", "properties": {"key": {"enum": names_of(known)}}, "required": ["key"], "allOf": by_key}
    return [{"enum": names_of(entry for entry in known if not entry.required)}, keyed]


def _parameters(entry: Entry, beside: Mapping[str, Schema]) -> Schema:
    schema = entry.json_schema()
    properties: Schema = {"key": {}, **beside, **schema["properties"]}
    for name, registry in NESTED.items():
        if name in properties:
            null_form = [{"type": "null"}] if entry.parameters[name] is None else []
            properties[name] = {**properties[name], "anyOf": [*spec_schema(registry), *null_form]}
            properties[name].pop("type", None)
    return {**schema, "properties": properties, "additionalProperties": entry.open_ended}


def keys_of(
    registry: Registry,
    fits: Callable[[Entry], bool] = lambda entry: True,
    beside: Mapping[str, Schema] | None = None,
    more: Callable[[list[str]], list[Schema]] = lambda names: [],
) -> Callable[[Schema], None]:
    """Function that extends the JSON schema of a spec, or of a list of specs, by registry entries.

    Args:
        registry: the keys.
        fits: whether an entry is allowed.
        beside: further properties allowed beside the parameters.
        more: further schemas, given the names.
    """

    def extend(schema: Schema) -> None:
        spec = schema["items"] if schema.get("type") == "array" else schema
        null_form = [form for form in spec.get("anyOf", ()) if form == {"type": "null"}]
        entries = [entry for entry in registry if fits(entry)]
        for replaced in ("$ref", "type"):
            spec.pop(replaced, None)
        spec["anyOf"] = [*spec_schema(entries, beside), *more(names_of(entries)), *null_form]

    return extend


def weighted_sums(names: list[str]) -> list[Schema]:
    """`{loss: weight, ...}`, and the form stored in a saved model."""
    weight = {"type": "number", "minimum": 0}
    pairs = {"type": "array", "items": {"type": "array"}}
    return [
        {
            "type": "object",
            "propertyNames": {"enum": names},
            "additionalProperties": weight,
            "minProperties": 1,
        },
        {
            "type": "object",
            "properties": {"key": {"const": "weighted_sum"}, "losses": pairs},
            "required": ["key", "losses"],
        },
    ]
