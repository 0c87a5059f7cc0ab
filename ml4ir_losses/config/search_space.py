"""The configs among which `tune` searches: a config with other values at the paths of its section `tune`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from ml4ir_losses.config.load import AnyConfig, load_config
from ml4ir_losses.config.ranges import Range, label
from ml4ir_losses.config.yaml_io import set_value
from ml4ir_losses.core.errors import ConfigError

_FREE_DATA = ("batch_size", "truncation", "shuffle", "bucketing", "batching", "sampling")
_FREE = ("model", "training", "features", "data", "mining")


def with_values(config: AnyConfig, values: Mapping[str, Any]) -> AnyConfig:
    """The checked config with other values at some paths, and without the section `tune`.

    Raises:
        ConfigError: for a path that no such config has, or a value that it cannot have there.
    """
    raw = config.model_dump(mode="python") | {"tune": {}}
    for path in sorted(values, key=lambda path: path.count(".")):  # model.loss before model.loss.temperature
        set_value(raw, path, deepcopy(values[path]), f"tune.{path}")
    return load_config(raw)


def given_values(config: AnyConfig) -> dict[str, Any]:
    """The values that a config has at the paths of its section `tune`, where it gives one and it is in the range."""
    raw = config.model_dump(mode="python")
    found = {path: _at(raw, path) for path in config.tune}
    for path, value in found.items():
        if isinstance(value, dict):  # without what is searched by a path of its own, such as model.loss.temperature
            found[path] = {name: v for name, v in value.items() if f"{path}.{name}" not in config.tune}
    known = {path: _in_range(value, config.tune[path]) for path, value in found.items()}
    return {path: value for path, value in known.items() if value is not None}


def check_search_space(config: AnyConfig, *checks: Callable[[AnyConfig], Any]) -> None:
    """Checks that every value of the section `tune` gives a valid config, whose score is measured in the same way.

    Args:
        config: a config with the section `tune`.
        *checks: further checks of a config; each raises `ConfigError`.

    Raises:
        ConfigError: one line with the path in the section.
    """
    measured = _measured(config)
    for path, values in _combinations(config):
        try:
            candidate = with_values(config, values)
            for check in checks:
                check(candidate)
        except ConfigError as error:
            raise ConfigError(f"tune.{path}: {str(error).removeprefix(f'tune.{path}: ')}") from None
        if _measured(candidate) != measured:
            raise ConfigError(f"tune.{path}: trials could not be compared, since it changes what is measured.")


def check_monitor(config: AnyConfig, monitor: str) -> None:
    """Raises `ConfigError` unless the monitored value can be compared between the configs."""
    if monitor == "loss":
        raise ConfigError(
            "tune: compares trials on queries that are not trained on: give data.validation or data.folds."
        )
    path = next((path for path in config.tune if path.startswith(("model.loss", "model.aux_losses"))), None)
    if monitor == "val_loss" and path is not None:
        raise ConfigError(
            f"tune.{path}: values of {monitor} under different losses cannot be compared; set "
            "training.early_stopping.monitor to a metric."
        )


def _combinations(config: AnyConfig) -> list[tuple[str, dict[str, Any]]]:
    """Values that can be wrong, each with its path: every choice and end of a range, beside every choice above it."""
    found = []
    for path, spec in config.tune.items():
        for value in _values(spec):
            found.append((path, {path: value}))
            for above in config.tune:
                if path.startswith(f"{above}."):
                    found += [(path, {above: other, path: value}) for other in _values(config.tune[above])]
    return found


def _values(spec: Range) -> list[Any]:
    """The values of a choice, or both ends of a range; of real numbers also one between them."""
    ((kind, values),) = spec.items()
    return values if kind == "choice" or "int" in kind else [*values, values[0] + (values[1] - values[0]) / math.pi]


def _measured(config: AnyConfig) -> dict[str, Any]:
    """What two configs must share for their scores to be comparable: data, roles of columns, metrics, monitor."""
    raw = config.model_dump(mode="python") | {"tune": {}}
    stop = raw["training"]["early_stopping"]
    return {
        **{name: section for name, section in raw.items() if name not in _FREE},
        "data": {name: value for name, value in raw["data"].items() if name not in _FREE_DATA},
        "features": {name: value for name, value in raw.get("features", {}).items() if name != "inputs"},
        "metrics": raw["model"].get("metrics"),
        "monitor": stop and stop["monitor"],
    }


def _at(raw: Any, path: str) -> Any:
    """The value at a path; None if the config does not give it."""
    for part in path.split("."):
        if isinstance(raw, list):
            named = [item for item in raw if isinstance(item, dict) and part in (item.get("name"), item.get("key"))]
            raw = named[0] if named else raw[int(part)] if part.isdigit() and int(part) < len(raw) else None
        else:
            raw = raw.get(part) if isinstance(raw, dict) else {"key": raw}.get(part)
    return raw


def _in_range(value: Any, spec: Range) -> Any:
    """The value as the range has it; None if it is outside."""
    ((kind, values),) = spec.items()
    if kind == "choice":
        return next((choice for choice in values if label(_short(choice)) == label(_short(value))), None)
    inside = isinstance(value, (int, float)) and values[0] <= value <= values[1]
    return value if inside and (isinstance(value, int) or "int" not in kind) else None


def _short(value: Any) -> Any:
    """`list_mle` for `{key: list_mle}`, which is the same."""
    return value["key"] if isinstance(value, dict) and set(value) == {"key"} else value
