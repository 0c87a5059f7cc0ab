"""The OpenAPI page of a served run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from ml4ir_losses.serving.answers import ErrorAnswer, ModelAnswer
from ml4ir_losses.serving.operation import Operation

_REFERENCE = "#/components/schemas/{model}"
_REFUSALS = {
    "400": "The body is not JSON.",
    "413": "The body is too large.",
    "422": "The request does not fit the run: the line says what.",
    "503": "Too many requests wait, or the answer takes too long; try again.",
}


def describe_api(name: str, version: str, operations: Mapping[str, Operation]) -> dict[str, Any]:
    """The OpenAPI document of the operations of a run, with examples that it can answer."""
    schemas: dict[str, Any] = {}
    refused = {"application/json": {"schema": _schema(ErrorAnswer, schemas)}}
    refusals = {status: {"description": text, "content": refused} for status, text in _REFUSALS.items()}
    paths: dict[str, Any] = {
        f"/v1/{key}": {"post": _post(key, operation, schemas, refusals)} for key, operation in operations.items()
    }
    paths["/v1/model"] = {
        "get": {
            "operationId": "model",
            "summary": "What is served.",
            "responses": {"200": _content("The run.", _schema(ModelAnswer, schemas))},
        }
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"ml4ir-losses: {name}", "version": version},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _post(name: str, operation: Operation, schemas: dict[str, Any], refusals: dict[str, Any]) -> dict[str, Any]:
    bodies = [_schema(type_, schemas) for type_ in operation.requests]
    body = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
    content = {"application/json": {"schema": body, "example": operation.example}}
    answer = _content(operation.summary, _schema(operation.answer, schemas))
    return {
        "operationId": name,
        "summary": operation.summary,
        "requestBody": {"required": True, "content": content},
        "responses": {"200": answer, **refusals},
    }


def _content(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _schema(type_: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the schema of a type, which is added to the others with those that it needs."""
    made = TypeAdapter(type_).json_schema(ref_template=_REFERENCE)
    schemas.update(made.pop("$defs", {}))
    if "$ref" in made:
        return {"$ref": made["$ref"]}
    schemas[made["title"]] = made
    return {"$ref": _REFERENCE.format(model=made["title"])}
