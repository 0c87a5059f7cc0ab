"""JSON schemas of the registry keys in a config and their parameters, for completion and checks in an editor."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml4ir_losses.core.registry import ENCODERS, LAMBDA_WEIGHTS, READERS, WEIGHTING_SCHEMES, Entry, Registry

Schema = dict[str, Any]
_DEFINITION = re.compile(r"\w+\.\w+")
NESTED = {"encoder": ENCODERS, "lambda_weight": LAMBDA_WEIGHTS, "weighting_scheme": WEIGHTING_SCHEMES}
"""Parameters whose value is itself a key with parameters."""


def names_of(entries: Iterable[Entry]) -> list[str]:
    """Keys and aliases, sorted."""
    return sorted(name for entry in entries for name in (entry.key, *entry.aliases))


def key_among(names: list[str]) -> Schema:
    """A spec whose key is one of the names, with any parameters."""
    keyed = {"type": "object", "properties": {"key": {"enum": names}}, "required": ["key"]}
    return {"anyOf": [{"enum": names}, keyed]}


def spec_schema(entries: Iterable[Entry], kind: str, beside: Mapping[str, Schema] | None = None) -> list[Schema]:
    """The two forms of a spec: a key, or `{key: ..., <parameters>}`, with further properties beside the parameters."""
    known = list(entries)
    by_key = [
        {"if": {"properties": {"key": {"enum": names_of([entry])}}}, "then": _parameters(entry, kind, beside or {})}
        for entry in known
    ]
    keyed = {"type": "object", "properties": {"key": {"enum": names_of(known)}}, "required": ["key"], "allOf": by_key}
    return [{"enum": names_of(entry for entry in known if not entry.required)}, keyed]


def _parameters(entry: Entry, kind: str, beside: Mapping[str, Schema]) -> Schema:
    """What may stand beside the key. The parameters are a definition of their own, shared by all places of the key."""
    own = parameters_schema(entry, kind)
    allowed = {} if entry.open_ended else {"propertyNames": {"enum": ["key", *beside, *own["properties"]]}}
    return {"allOf": [own], **({"properties": dict(beside)} if beside else {}), **allowed}


def parameters_schema(entry: Entry, kind: str) -> Schema:
    """The parameters of an entry as an object, titled `<kind>.<key>`; parameters that are specs have their schema."""
    schema = entry.json_schema()
    for name in NESTED.keys() & schema["properties"].keys():
        known = list(NESTED[name])
        if entry in known:  # an encoder within an encoder: `share_definitions` replaces it by the whole definition
            known = [other for other in known if name not in other.parameters]
        spec: Schema = {"title": f"{name}.spec", "anyOf": spec_schema(known, NESTED[name].kind)}
        if entry.parameters[name] is None:
            spec = {"anyOf": [spec, {"type": "null"}]}
        described = {n: v for n, v in schema["properties"][name].items() if n in ("description", "default")}
        schema["properties"][name] = {**described, **spec}
    return {"title": f"{kind.replace(' ', '_')}.{entry.key}", **schema}


def reader_options(schema: Schema) -> None:
    """Extends the JSON schema of a data section by the readers: their keys as `format`, their parameters as `options`.

    Without a format the reader follows from the file ending, and the options are those of any reader.
    """
    properties = schema["properties"]
    properties["format"]["anyOf"] = [{"enum": names_of(READERS)}, {"type": "null"}]
    closed = {e.key: {**parameters_schema(e, "reader"), "additionalProperties": e.open_ended} for e in READERS}
    properties["options"]["anyOf"] = list(closed.values())
    schema["allOf"] = [
        {
            "if": {"properties": {"format": {"enum": names_of([entry])}}, "required": ["format"]},
            "then": {"properties": {"options": closed[entry.key]}},
        }
        for entry in READERS
    ]


def share_definitions(schema: Schema) -> Schema:
    """The schema with everything titled `<kind>.<key>` moved to `$defs`, where it stands once."""
    definitions: Schema = {}

    def shared(value: Any) -> Any:
        if isinstance(value, list):
            return [shared(item) for item in value]
        if not isinstance(value, dict):
            return value
        title = value.get("title")
        if not (isinstance(title, str) and _DEFINITION.fullmatch(title)):
            return {name: shared(item) for name, item in value.items()}
        if title not in definitions:
            definitions[title] = {}  # also the place in the order
            definitions[title] = {name: shared(item) for name, item in value.items() if name != "title"}
        return {"$ref": f"#/$defs/{title}"}

    root = shared(schema)
    return {**root, "$defs": {**root.get("$defs", {}), **definitions}}


def keys_of(
    registry: Registry,
    fits: Callable[[Entry], bool] = lambda entry: True,
    beside: Mapping[str, Schema] | None = None,
    more: Callable[[list[str]], list[Schema]] = lambda names: [],
    title: str | None = None,
) -> Callable[[Schema], None]:
    """Function that extends the JSON schema of a spec, or of a list of specs, by registry entries.

    Args:
        registry: the keys.
        fits: whether an entry is allowed.
        beside: further properties allowed beside the parameters.
        more: further schemas, given the names.
        title: `<kind>.<name>` of a schema that several places share, see `share_definitions`.
    """

    def extend(schema: Schema) -> None:
        spec = schema["items"] if schema.get("type") == "array" else schema
        null_form = [form for form in spec.get("anyOf", ()) if form == {"type": "null"}]
        entries = [entry for entry in registry if fits(entry)]
        for replaced in ("$ref", "type"):
            spec.pop(replaced, None)
        forms = [*spec_schema(entries, registry.kind, beside), *more(names_of(entries))]
        spec["anyOf"] = [*([{"title": title, "anyOf": forms}] if title else forms), *null_form]

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
