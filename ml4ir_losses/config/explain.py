"""Pydantic errors as one line with the path of the key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from ml4ir_losses.config.distribution import STRATEGIES
from ml4ir_losses.config.inputs import INPUT_TYPES
from ml4ir_losses.core.errors import ConfigError, UserError, did_you_mean

_TAGS = {*INPUT_TYPES, *STRATEGIES, "constant", "exponential", "cosine", "plateau", "cyclic"}


def path_of(location: Sequence[Any]) -> str:
    """The path of a key, without the union members that pydantic inserts."""
    parts = [part for i, part in enumerate(location) if not (i and part in _TAGS)]
    parts = [p for p in parts if not (isinstance(p, str) and ("[" in p or p in ("str", "float", "bool", "int")))]
    return ".".join(str(part) for part in parts) or "config"


def explain(error: Any, root: type[BaseModel]) -> str:
    """A pydantic error as one line."""
    path, kind, received = path_of(error["loc"]), error["type"], error.get("input")
    if kind == "extra_forbidden":
        return f"{path}: " + unknown(str(error["loc"][-1]), _section(error["loc"][:-1], root))
    if kind == "missing":
        return f"{path}: is missing."
    context = error.get("ctx", {})
    if kind == "union_tag_invalid":
        tags = [tag.strip("'") for tag in context["expected_tags"].split(", ")]
        return f"{path}.{context['discriminator'].strip(chr(39))}: {unknown(context['tag'], tags)}"
    if kind == "union_tag_not_found":
        return f"{path}.{context['discriminator'].strip(chr(39))}: is missing."
    if kind == "literal_error" and isinstance(received, str):
        allowed = [part.strip("' ") for part in context["expected"].replace(" or ", ", ").split(",")]
        return f"{path}: {unknown(received, allowed)}"
    message = error["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = "" if isinstance(received, (dict, list, BaseModel)) else f" Received: {received!r}."
    return f"{path}: {message}.{shown}"


def _section(location: Sequence[Any], root: type[BaseModel]) -> list[str]:
    """The keys of the section at a location in the config."""
    kinds: list[type[BaseModel]] = [root]
    for part in location:
        step: list[type[BaseModel]] = []
        for kind in kinds:
            if isinstance(part, int):
                step.append(kind)
            elif part in kind.model_fields:
                step += _models(kind.model_fields[part].annotation)
            elif part == kind.__name__ or any(
                part in getattr(f.annotation, "__args__", ()) for f in kind.model_fields.values()
            ):
                step.append(kind)
        kinds = step or kinds
    return list(dict.fromkeys(name for kind in kinds for name in kind.model_fields))


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for arg in getattr(annotation, "__args__", ()) for model in _models(arg)]


def unknown(name: str, allowed: Sequence[str]) -> str:
    """`unknown 'epoch'. Did you mean 'epochs'? Allowed: ...`."""
    return f"unknown {name!r}.{did_you_mean(name, allowed)} Allowed: {', '.join(allowed)}."


def with_path(path: str, action: Any) -> Any:
    """The result of the action; its errors become a `ConfigError` with the path of the section."""
    try:
        return action()
    except UserError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (TypeError, AttributeError) as error:  # a value of an unexpected type
        raise ConfigError(f"{path}: cannot be used ({error}).") from None
