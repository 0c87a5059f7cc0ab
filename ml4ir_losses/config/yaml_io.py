"""YAML for configs: `safe_load` with 1e-3 as a number, no duplicate keys, and overrides by path."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.files import how_to_convert, wide_encoding
from ml4ir_losses.core.memory import readable_size

MAX_BYTES = 4 << 20  # of a file
MAX_NODES = 100_000  # values of a config, aliases expanded


class _Loader(yaml.SafeLoader):
    """`safe_load` that reads 1e-3 as a number, and rejects duplicate keys and aliases that expand beyond a limit."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.sizes: dict[int, int] = {}  # values in each finished node, by the node's id

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        node: Any = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            parts = [] if isinstance(node, yaml.ScalarNode) else node.value
            if isinstance(node, yaml.MappingNode):
                parts = [part for pair in parts for part in pair]
            self.sizes[id(node)] = 1 + sum(self.sizes[id(part)] for part in parts)
        if id(node) not in self.sizes:  # the node is still being composed
            problem = "an alias (*name) stands inside of what it names"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        if self.sizes[id(node)] > MAX_NODES:
            problem = f"it holds more than {MAX_NODES:,} values, aliases (*name) expanded"
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return node

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


def parse_yaml(text: str) -> Any:
    """The value of a YAML text; `yaml.YAMLError` if it is invalid."""
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a number or date that Python does not convert
        raise yaml.YAMLError(f"a value cannot be read: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `ConfigError` with file, line and column if it is invalid."""
    try:
        value = parse_yaml(_read(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {getattr(error, 'problem', None) or error}.") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: a config is a mapping of keys. Received: {type(value).__name__}.")
    return value


def _read(path: Path) -> str:
    """The text of a file; `ConfigError` for anything but a readable text file of a sensible size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path}: is a pipe or a device, not a file.")  # reading it might never end
        if status.st_size > MAX_BYTES:
            raise ConfigError(
                f"{path}: is too large for a config: {readable_size(status.st_size)}, at most "
                f"{readable_size(MAX_BYTES)} are read."
            )
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if (encoding := wide_encoding(content)) is not None:
        raise ConfigError(f"{path}: {how_to_convert(encoding)}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not a UTF-8 text file.") from None
    if "\0" in text:
        raise ConfigError(f"{path}: is a binary file, not text.")
    return text


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Sets the value of an `a.b.c=value` string; list items are addressed by index, name or key."""
    path, value = _assignment(override, "--set")
    set_value(raw, path, value, f"--set {path}")


def assignments(texts: Iterable[str], option: str) -> dict[str, Any]:
    """`{path: value}` of `a.b.c=value` strings, the values in YAML; `option` begins the message of a `ConfigError`."""
    return dict(_assignment(text, option) for text in texts)


def _assignment(text: str, option: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise ConfigError(f"{option} {text!r}: write a.b.c=value.")
    try:
        return path.strip(), parse_yaml(value)
    except yaml.YAMLError as error:
        reason = getattr(error, "problem", None) or error
        raise ConfigError(f"{option} {text[:100]!r}: the value is not valid YAML ({reason}).") from None


def set_value(raw: dict[str, Any], path: str, value: Any, name: str) -> None:
    """Sets the value at the path `a.b.c` of a raw config; `name` begins the message of a `ConfigError`."""
    *parents, last = path.split(".")
    node: Any = raw
    for part in parents:
        node = _step(node, part, name)
    if isinstance(node, list):
        node[_index(node, last, name)] = value
    else:
        node[last] = value


def _step(node: Any, part: str, name: str) -> Any:
    if isinstance(node, list):
        return node[_index(node, part, name)]
    child = node.get(part)
    if child is None:
        child = node[part] = {}
    elif isinstance(child, str):  # "list_mle" is short for {key: list_mle}
        child = node[part] = {"key": child}
    if not isinstance(child, (dict, list)):
        raise ConfigError(f"{name}: {part!r} holds {child!r}, which has no keys.")
    return child


def _index(node: list[Any], part: str, name: str) -> int:
    names = [str(item.get("name", item.get("key", ""))) if isinstance(item, dict) else str(item) for item in node]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(node):
        return int(part)
    raise ConfigError(f"{name}: no item {part!r}; there are 0 to {len(node) - 1}: {', '.join(names)}.")
