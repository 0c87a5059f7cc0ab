"""Data given as Python objects, in the places where a config names files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, GetCoreSchemaHandler
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import CoreSchema, core_schema

from ml4ir_losses.config.explain import unknown
from ml4ir_losses.core.errors import ConfigError

SPLITS = ("train", "validation", "test")
_EVALUATED = ("retrieval", "reranking")
_PREFIX = "in memory: "


class InMemory:
    """The data of a split as a Python object: a dict of columns, a data frame, an Arrow table, NumPy arrays.

    A saved config describes the object instead of holding it.

    Args:
        data: the object.
        name: what messages call it.
    """

    def __init__(self, data: Any, name: str = "data") -> None:
        self.data, self.name = data, name

    def __str__(self) -> str:
        kind = type(self.data)
        module = kind.__module__.partition(".")[0]
        return _PREFIX + (kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}")

    def __deepcopy__(self, memo: Any) -> Self:
        """Itself: copies of a config share the data."""
        return self

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(
            cls, serialization=core_schema.plain_serializer_function_ser_schema(str, when_used="json")
        )


def _not_empty(value: Any) -> Any:
    if not isinstance(value, InMemory) and not value:
        raise ValueError("names no file")
    return value


Paths = Annotated[
    str | list[str] | SkipJsonSchema[InMemory],
    AfterValidator(_not_empty),
    Field(json_schema_extra={"minLength": 1, "minItems": 1}),
]
"""A path, a glob or a list of them; or data in memory."""


def listed_paths(value: str | list[str] | InMemory | None, directory: str | None = None) -> list[str | InMemory]:
    """The paths, below `directory` if given, or the data in memory, as a list; empty for None."""
    if isinstance(value, InMemory):
        return [value]
    paths = [] if value is None else [value] if isinstance(value, str) else value
    return [path if not directory or "://" in path else _below(directory, path) for path in paths]


def _below(directory: str, path: str) -> str:
    """A path below a folder, which may be a URL."""
    return f"{directory.rstrip('/')}/{path}" if "://" in directory else str(Path(directory, path))


def is_description(path: str) -> bool:
    """True for what a saved config says in the place of data that were in memory."""
    return path.startswith(_PREFIX)


def place_data(raw: dict[str, Any], data: Any) -> None:
    """Puts data in memory into the `data` section of a raw config, in the place of all its files.

    Args:
        raw: the config as a mapping, changed in place.
        data: a mapping of splits (`train`, `validation`, `test`; `retrieval` and `reranking` for texts), or the
            training data alone, or all queries where the section has `split`. A config with `data.datasets` takes such
            data for each data set by name. A split may still be a path.

    Raises:
        ConfigError: for an unknown split or data set.
    """
    section = dict(raw.get("data") or {})
    if datasets := section.get("datasets"):
        if not isinstance(data, Mapping):
            raise ConfigError(f"data: give the data of each data set by name: {', '.join(datasets)}.")
        for name in data:
            if name not in datasets:
                raise ConfigError(f"data: {unknown(str(name), list(datasets))}")
        section["datasets"] = {
            name: _without(dataset, SPLITS) | _splits(data.get(name), f"data[{name!r}]", SPLITS)
            for name, dataset in datasets.items()
        }
    elif section.get("split") and not _is_by_split(data, SPLITS):
        section = _without(section, SPLITS) | {"path": _wrapped(data, "data")}
    else:
        splits = _splits(data, "data", (*SPLITS, *_EVALUATED))
        section = _without(section, (*SPLITS, "path", "split")) | _placed(section, splits)
    raw["data"] = section


def _without(section: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if key not in names}


def _splits(data: Any, name: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    """The data by split, each wrapped."""
    if data is None:
        return {}
    if not _is_by_split(data, allowed):
        return {"train": _wrapped(data, name)}
    for split in data:
        if split not in allowed:
            raise ConfigError(f"{name}: {unknown(str(split), list(allowed))}")
    return {
        split: value if split in _EVALUATED else _wrapped(value, f"{name}[{split!r}]")
        for split, value in data.items()
        if value is not None
    }


def _is_by_split(data: Any, allowed: tuple[str, ...]) -> bool:
    """True for a mapping of splits, False for the rows of one."""
    return isinstance(data, Mapping) and ("train" in data or set(data) <= set(allowed))


def _placed(section: Mapping[str, Any], splits: dict[str, Any]) -> dict[str, Any]:
    """The splits, with the tables of `retrieval` and `reranking` placed into the settings of these sections."""
    tables = {}
    if "retrieval" in splits:
        if not isinstance(splits["retrieval"], Mapping):
            raise ConfigError("data['retrieval']: give its tables by name: corpus, queries, qrels.")
        tables["retrieval"] = {
            part: _wrapped(table, f"data['retrieval'][{part!r}]") for part, table in splits["retrieval"].items()
        }
    if "reranking" in splits:
        tables["reranking"] = {"files": _wrapped(splits["reranking"], "data['reranking']")}
    return splits | {part: dict(section.get(part) or {}) | placed for part, placed in tables.items()}


def _wrapped(value: Any, name: str) -> Any:
    paths = isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))
    return value if paths or isinstance(value, InMemory) else InMemory(value, name)
