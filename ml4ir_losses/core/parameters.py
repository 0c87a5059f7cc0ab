"""Validation of parameters by their annotations, `temperature: Annotated[float, Gt(0)] = 1.0`.

The rules hold for functions and classes alike. A parameter without an annotation is not checked.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, wraps
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from ml4ir_losses.core.errors import UserError, did_you_mean

Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Fraction = Annotated[float, Ge(0), Le(1)]
PositiveInt = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)] | None

REQUIRED = inspect.Parameter.empty
_CONFIG = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
_NAMES = {type(None): "None", bool: "true or false", int: "a whole number", float: "a number", str: "a string"}

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True)
class Allowed:
    """The allowed values in the words of a message, "a list of numbers", in the annotation of a parameter."""

    text: str


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter that can be passed by name: default (`REQUIRED` without one) and annotation."""

    name: str
    default: Any
    annotation: Any

    @property
    def adapter(self) -> TypeAdapter[Any] | None:
        """The pydantic adapter of the annotation; None: every value is allowed."""
        try:
            return _adapter(self.annotation)
        except TypeError:  # an annotation that has no hash
            return _adapter.__wrapped__(self.annotation)

    def check(self, value: Any) -> None:
        """Raises `UserError` for a value that the annotation does not allow."""
        adapter = self.adapter
        if adapter is None:
            return
        if isinstance(value, np.generic):
            value = value.item()
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            if isinstance(value, (list, tuple)) and _fits(
                adapter, tuple(value) if isinstance(value, list) else list(value)
            ):
                return  # YAML has lists, no tuples
            raise UserError(self._message(value, error)) from None

    def _message(self, value: Any, error: ValidationError) -> str:
        causes = [detail["ctx"]["error"] for detail in error.errors() if detail["type"] == "value_error"]
        message = next((str(cause) for cause in causes if isinstance(cause, UserError)), None)
        if message is not None:  # a message of this package is clearer than pydantic's
            return message
        hint = did_you_mean(value, choices(self.annotation)) if isinstance(value, str) else ""
        rule = f"must be {describe(self.annotation)}" + "".join(f" ({cause})" for cause in causes)
        return f"`{self.name}` {rule}. Received: {self.name}={value!r}.{hint}"

    def json_schema(self) -> dict[str, Any]:
        """The JSON schema of the value, with the default."""
        schema: dict[str, Any] = {}
        if self.adapter is not None:
            try:
                schema = self.adapter.json_schema()
            except PydanticUserError:  # Python functions and objects have none
                schema = {}
        default = list(self.default) if isinstance(self.default, tuple) else self.default
        if isinstance(default, (str, int, float, bool, list, dict, type(None))):
            schema["default"] = default
        return schema


def signature_of(target: Callable[..., Any]) -> inspect.Signature:
    """The signature with its annotations evaluated; they stay strings if one cannot be resolved."""
    try:
        if not dataclasses.is_dataclass(target):
            return inspect.signature(target, eval_str=True)
        hints = get_type_hints(target, include_extras=True)  # of the fields, which may come from several modules
    except NameError:
        return inspect.signature(target)
    signature = inspect.signature(target)
    known = [p.replace(annotation=hints.get(name, p.annotation)) for name, p in signature.parameters.items()]
    return signature.replace(parameters=known)


@cache
def parameters_of(target: Callable[..., Any]) -> dict[str, Parameter]:
    """The parameters of a function or class that can be given by name, by their names."""
    return {
        name: Parameter(name, parameter.default, parameter.annotation)
        for name, parameter in signature_of(target).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def check_values(target: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Raises `UserError` for the first value that the parameter of its name does not allow.

    A Keras object in its serialised form is not checked: its target does so when it has restored the object.
    """
    known = parameters_of(target)
    for name, value in values.items():
        if name in known and not (isinstance(value, Mapping) and "class_name" in value):
            known[name].check(value)


def checked(function: F) -> F:
    """Decorator that validates keyword arguments against the annotations at every call."""

    @wraps(function)
    def wrapper(*args: Any, **params: Any) -> Any:
        check_values(function, params)
        return function(*args, **params)

    return wrapper  # type: ignore[return-value]


def json_schema(target: Callable[..., Any], hidden: Collection[str] = ()) -> dict[str, Any]:
    """The JSON schema of the parameters as an object; descriptions come from the docstring's `Args`."""
    descriptions = argument_descriptions(inspect.getdoc(target) or "")
    known = {name: p for name, p in parameters_of(target).items() if name not in hidden}
    properties = {
        name: p.json_schema() | ({"description": descriptions[name]} if name in descriptions else {})
        for name, p in known.items()
    }
    required = [name for name, p in known.items() if p.default is REQUIRED]
    return {"type": "object", "properties": properties, **({"required": required} if required else {})}


def argument_descriptions(doc: str) -> dict[str, str]:
    """The texts of a docstring's `Args`, by name; `topn, gain: ...` describes both."""
    found: dict[str, str] = {}
    _, _, section = doc.partition("\nArgs:\n")
    names: Sequence[str] = ()
    for line in section.splitlines():
        if line and not line.startswith("    "):
            break
        if line.startswith("     ") and names:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
        elif ": " in line:
            head, _, text = line.strip().partition(": ")
            names = [name.strip() for name in head.split(",")]
            found.update(dict.fromkeys(names, text))
    return found


def describe(annotation: Any) -> str:
    """What an annotation allows, in words: "None or a whole number of at least 1"."""
    kind, marks = _parts(annotation)
    message = next((mark.text for mark in marks if isinstance(mark, Allowed)), None)
    if message is not None:
        return message
    if get_origin(kind) in (Union, types.UnionType):
        options = sorted(get_args(kind), key=lambda option: option is not type(None))
        return " or ".join(describe(option) for option in options)
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    origin = get_origin(kind) or kind
    if origin is Callable:
        return "a function"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str:
        items = [item for item in get_args(kind) if item not in (Ellipsis, Any)]
        return f"a list, each entry {describe(items[0])}" if items else "a list"
    return _NAMES.get(origin, f"a {getattr(origin, '__name__', origin)}") + _limits(marks)


def choices(annotation: Any) -> tuple[str, ...]:
    """The strings that a `Literal` annotation allows."""
    kind, _ = _parts(annotation)
    if get_origin(kind) is Literal:
        return tuple(value for value in get_args(kind) if isinstance(value, str))
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(choice for option in get_args(kind) for choice in choices(option))
    return ()


def _limits(marks: Sequence[Any]) -> str:
    """`" from 0 to 1"` of the limits among the marks."""
    limits: dict[type, Any] = {}
    for mark in marks:
        for limit in mark if isinstance(mark, Interval) else (mark,):
            if isinstance(limit, (Gt, Ge, Lt, Le)):
                limits[type(limit)] = dataclasses.astuple(limit)[0]
    low = f"above {limits[Gt]:g}" if Gt in limits else f"from {limits[Ge]:g}" if Ge in limits else ""
    high = f"below {limits[Lt]:g}" if Lt in limits else f"{limits[Le]:g}" if Le in limits else ""
    if low and high:
        return f" {low} to {high}" if Ge in limits else f" {low} and {'' if Lt in limits else 'at most '}{high}"
    if high:
        return f" {high}" if Lt in limits else f" of at most {high}"
    return f" of at least {limits[Ge]:g}" if Ge in limits else f" {low}" if low else ""


def _parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The type of an annotation and the marks beside it."""
    if get_origin(annotation) is Annotated:
        kind, *marks = get_args(annotation)
        return kind, tuple(marks)
    return annotation, ()


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    if annotation in (inspect.Parameter.empty, Any) or isinstance(annotation, str):
        return None
    try:
        return TypeAdapter(annotation, config=_CONFIG)
    except PydanticSchemaGenerationError:  # a type that cannot be checked
        return None
    except PydanticUserError:  # a model with its own configuration
        return TypeAdapter(annotation)
