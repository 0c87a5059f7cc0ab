"""YAML for configs: `safe_load` with plain numbers, no double keys, and overrides by path."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ml4ir_losses.core.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """`safe_load` that reads 1e-3 as a number and refuses a key given twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be plain text", key_node.start_mark)
            if key in seen and key != "<<":
                problem = f"the key {key!r} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return dict(super().construct_mapping(node, deep))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `ConfigError` with file, line and column when there is none."""
    try:
        value = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a UTF-8 text file.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {getattr(error, 'problem', None) or error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys. Received: {type(value).__name__}.")
    return value


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets the value of an `a.b.c=value` string; list items go by number, name or key."""
    path, equals, text = override.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"--set {override!r}: write a.b.c=value.")
    try:
        value = _parse(text)
    except yaml.YAMLError:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML.") from None
    *parents, last = path.strip().split(".")
    node: Any = raw
    for part in parents:
        node = _step(node, part, path)
    if isinstance(node, list):
        node[_index(node, last, path)] = value
    else:
        node[last] = value


def _step(node: Any, part: str, path: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, path)]
    child = node.get(part)
    if child is None:
        child = node[part] = {}
    elif isinstance(child, str):  # "list_mle" is short for {key: list_mle}
        child = node[part] = {"key": child}
    if not isinstance(child, (dict, list)):
        raise ConfigError(f"--set {path}: {part!r} holds {child!r}, which has no keys.")
    return child


def _index(node: list[Any], part: str, path: str) -> int:
    names = [str(item.get("name", item.get("key", ""))) if isinstance(item, dict) else str(item) for item in node]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(node):
        return int(part)
    raise ConfigError(f"--set {path}: no item {part!r}; there are 0 to {len(node) - 1}: {', '.join(names)}.")
