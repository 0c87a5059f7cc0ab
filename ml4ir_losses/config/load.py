"""Loads a config from YAML and checks it before anything slow is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypeIs

from ml4ir_losses.config.checks import check_config
from ml4ir_losses.config.explain import explain, path_of
from ml4ir_losses.config.in_memory import place_data
from ml4ir_losses.config.position_bias import place_propensities, read_propensities
from ml4ir_losses.config.schema import Config
from ml4ir_losses.config.spec_schema import share_definitions
from ml4ir_losses.config.text_checks import check_text_config
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.config.yaml_io import apply_override, read_yaml
from ml4ir_losses.core.checksums import naming_version, run_file, warn_of_change
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.core.log import LOGGER

AnyConfig = Config | TextConfig
DATA_SOURCES = (
    "format",
    "directory",
    "options",
    "train",
    "validation",
    "test",
    "path",
    "split",
    "columns",
    "datasets",
    "retrieval",
    "reranking",
)
"""The keys of the data section that select which data are read."""


CHECKS: dict[type[Any], Callable[[Any], None]] = {Config: check_config, TextConfig: check_text_config}
"""What each kind of config is checked by, beyond the types of its values."""


def reads_texts(config: AnyConfig) -> TypeIs[TextConfig]:
    """True for the config of a text model: the one place that distinguishes the two tasks."""
    return isinstance(config, TextConfig)


def load_config(
    source: str | Path | Mapping[str, Any] | AnyConfig,
    overrides: Iterable[str] = (),
    seed: int | None = None,
    data: Any = None,
    *,
    alone: bool = False,
) -> AnyConfig:
    """The checked config of a YAML file or a mapping: a `TextConfig` if it names text columns, else a `Config`.

    Args:
        source: a path, or the config itself.
        overrides: `a.b.c=value` strings, the value in YAML.
        seed: overrides `training.seed`.
        data: data in memory in the place of the config's files, see `place_data`.
        alone: refuses a config of which parts are in other files.

    Raises:
        ConfigError: one line per wrong key, with its path, what is allowed and the nearest match.
    """
    if isinstance(source, (Config, TextConfig)):
        raw: Any = source.model_dump(mode="python")
    else:
        raw = deepcopy(dict(source)) if isinstance(source, Mapping) else read_yaml(Path(source))
    overrides = list(overrides)
    where = Path(source).parent if isinstance(source, (str, Path)) else Path()
    read = _refuse if alone else read_yaml
    _include(raw, where, read)
    for override in overrides:
        apply_override(raw, override)
        _include(raw, Path(), read)
    if data is not None:
        place_data(raw, data)
    if raw.get("expected_metrics") and (data is not None or _replace_data(overrides)):
        LOGGER.info("expected_metrics: left out, since the data that they were measured on are replaced")
        raw["expected_metrics"] = {}
    if seed is not None:
        raw["training"] = {**(raw.get("training") or {}), "seed": seed}
    place_propensities(raw, _refuse if alone else read_propensities)
    kind = _kind(raw)
    try:
        config = kind.model_validate(raw)
    except ValidationError as error:
        lines = {path_of(e["loc"]): explain(e, kind) for e in reversed(error.errors())}  # the first error of a union
        raise ConfigError("\n".join(reversed(lines.values()))) from None
    CHECKS[kind](config)
    return config


def load_run_config(folder: Path) -> AnyConfig:
    """The config of a run folder, which is in one file; a warning is logged if it is not as the run wrote it.

    Raises:
        UserError: for a file that cannot be used.
    """
    path = run_file(folder, "config.yaml")
    with naming_version(folder):
        config = load_config(path, alone=True)
    warn_of_change(folder, path.name)
    return config


def _replace_data(overrides: Sequence[str]) -> bool:
    """True if the overrides replace the data but not `expected_metrics`."""
    paths = [override.partition("=")[0].strip().split(".") for override in overrides]
    replaced = any(path[0] == "data" and (len(path) == 1 or path[1] in DATA_SOURCES) for path in paths)
    return replaced and all(path[0] != "expected_metrics" for path in paths)


def _kind(raw: Any) -> type[Config] | type[TextConfig]:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    texts = isinstance(data, Mapping) and ("columns" in data or "datasets" in data)
    return TextConfig if texts and "features" not in raw else Config


def _include(raw: dict[str, Any], where: Path, read: Callable[[Path], Any]) -> None:
    """Replaces sections given as paths by the content of these files."""
    for section in ("features", "model"):
        if isinstance(raw.get(section), str):
            raw[section] = read(where / raw[section])


def _refuse(path: str | Path) -> Any:
    raise DataError(f"{path}: is another file; the config of a run folder is complete in itself.")


def json_schema() -> dict[str, Any]:
    """The JSON schema of a config of either kind."""
    return share_definitions(TypeAdapter(AnyConfig).json_schema())


def dump_config(config: AnyConfig, without: Iterable[str] = ()) -> str:
    """The config as YAML, including all defaults, without some sections."""
    sections = config.model_dump(mode="json", exclude=set(without))
    return yaml.safe_dump(sections, sort_keys=False, allow_unicode=True)


def flat_config(config: AnyConfig) -> dict[str, Any]:
    """The values of a config by their paths: see `flat_values`."""
    return flat_values(config.model_dump(mode="json"))


def flat_values(values: Any) -> dict[str, Any]:
    """The values of nested sections by their paths, `model.loss.key`; a list of plain values is one value."""

    def flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        nested = isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value)
        if not (nested or isinstance(value, dict)) or not value:
            yield path, value
            return
        for name, item in enumerate(value) if nested else value.items():
            yield from flat(item, f"{path}.{name}" if path else str(name))

    return dict(flat(values, ""))
