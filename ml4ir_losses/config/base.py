"""The base class and the types that all sections of a config share."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

Spec = str | dict[str, Any]


def or_string(schema: dict[str, Any]) -> None:
    """Extends the JSON schema of a section by its short form, a key or the path of a file."""
    section = dict(schema)
    schema.clear()
    schema["anyOf"] = [section, {"type": "string"}]


null_is_empty = BeforeValidator(lambda value: {} if value is None else value)
"""Allows `--set key=null` to clear a mapping."""


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
