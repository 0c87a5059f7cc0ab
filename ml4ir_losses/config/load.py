"""The config: one YAML, checked by pydantic before anything slow is imported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from ml4ir_losses.config.explain import explain, path_of, unknown
from ml4ir_losses.config.schema import (
    DataConfig,
    FeatureConfig,
    ModelConfig,
    Spec,
    Strict,
    TrainingConfig,
    or_string,
    pop_propensity,
)
from ml4ir_losses.config.text_schema import TextConfig
from ml4ir_losses.config.yaml_io import apply_override, read_yaml
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import ARCHITECTURES, METRICS, READERS, split_spec


class Config(Strict):
    """One runnable experiment on documents with features."""

    name: str = Field("run", pattern=r"^[\w.-]+$")
    data: DataConfig
    features: FeatureConfig = Field(json_schema_extra=or_string)
    model: ModelConfig = Field(json_schema_extra=or_string)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    expected_metrics: dict[Literal["validation", "test"], dict[str, float]] = Field(default_factory=dict)


AnyConfig = Config | TextConfig


def load_config(
    source: str | Path | Mapping[str, Any] | AnyConfig, overrides: Iterable[str] = (), seed: int | None = None
) -> AnyConfig:
    """The checked config of a YAML file or a mapping: a `TextConfig` where it names columns of text, else a `Config`.

    Args:
        source: a path, or the config itself.
        overrides: `a.b.c=value` strings, the value in YAML.
        seed: stands in for `training.seed`.

    Raises:
        ConfigError: one line per wrong key, with its path, what is allowed and the nearest match.
    """
    if isinstance(source, (Config, TextConfig)):
        raw: Any = source.model_dump(mode="python")
    else:
        raw = deepcopy(dict(source)) if isinstance(source, Mapping) else read_yaml(Path(source))
    where = Path(source).parent if isinstance(source, (str, Path)) else Path()
    _include(raw, where)
    for override in overrides:
        apply_override(raw, override)
        _include(raw, Path())
    if seed is not None:
        raw["training"] = {**(raw.get("training") or {}), "seed": seed}
    kind = _kind(raw)
    try:
        config = kind.model_validate(raw)
    except ValidationError as error:
        errors = error.errors()
        if len(errors) > 1:  # a mapping that is no valid clip is not meant as one of the plain transforms
            errors = [e for e in errors if not (e["type"] == "literal_error" and isinstance(e["input"], dict))]
        lines = {path_of(e["loc"]): explain(e, kind) for e in reversed(errors)}  # of a union's errors, the first
        raise ConfigError("\n".join(reversed(lines.values()))) from None
    if isinstance(config, TextConfig):
        from ml4ir_losses.config.text_checks import check_text_config

        check_text_config(config)
    else:
        _check_keys(config)
    return config


def _kind(raw: Any) -> type[Config] | type[TextConfig]:
    data = raw.get("data") if isinstance(raw, Mapping) else None
    texts = isinstance(data, Mapping) and ("columns" in data or "datasets" in data)
    return TextConfig if texts and "features" not in raw else Config


def _include(raw: dict[str, Any], where: Path) -> None:
    """Puts the sections that are given as paths in place."""
    for section in ("features", "model"):
        if isinstance(raw.get(section), str):
            raw[section] = read_yaml(where / raw[section])


def dump_config(config: AnyConfig) -> str:
    """The config as YAML, every default written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def metric_name(spec: Spec) -> str:
    """`ndcg_10` for `{key: ndcg, topn: 10}`: the name in metrics.json and in `val_<name>`."""
    key, params = split_spec("metric", spec)
    key = METRICS[key].key
    return f"{key}_{params['topn']}" if params.get("topn") else key


def check(path: str, action: Any) -> Any:
    """What the action returns; `ConfigError` with the path of the section for what is wrong with it."""
    try:
        return action()
    except UserError as error:
        raise ConfigError(f"{path}: {error}") from None
    except (TypeError, AttributeError) as error:  # a value of a kind that nobody expects there
        raise ConfigError(f"{path}: cannot be used ({error}).") from None


def _check_keys(config: Config) -> None:
    from ml4ir_losses.losses.factory import get_loss
    from ml4ir_losses.losses.propensity import check_propensity

    model = config.model
    loss, propensity = model.loss_and_propensity()
    check("model.loss", lambda: get_loss(loss))
    specs = [("model.loss", propensity)]
    for i, aux in enumerate(model.aux_losses):
        spec, aux_propensity = pop_propensity(aux.spec)
        check(f"model.aux_losses.{i}", lambda spec=spec: get_loss(spec))
        specs.append((f"model.aux_losses.{i}", aux_propensity))
    for path, spec in specs:
        if spec is not None:
            check(f"{path}.propensity", lambda spec=spec: check_propensity(spec))
            if config.features.positions is None:
                raise ConfigError(f"{path}.propensity: needs features.positions, the column of the shown ranks.")
    for i, spec in enumerate(model.metrics):
        check(f"model.metrics.{i}", lambda spec=spec: check_metric(spec))
    check("model.architecture", lambda: check_architecture(model.architecture, "features"))
    if config.data.format is not None:
        check("data.format", lambda: READERS[config.data.format or ""])
    names = [metric_name(spec) for spec in model.metrics]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"model.metrics: two metrics are called {twice!r}; their key and topn must differ.")
    for split, expected in config.expected_metrics.items():
        if not config.data.paths(split):
            raise ConfigError(f"expected_metrics.{split}: data.{split} is not given.")
        for name in expected:
            if name not in names:
                raise ConfigError(f"expected_metrics.{split}.{name}: not among model.metrics: {', '.join(names)}.")
    stop = config.training.early_stopping
    if stop and stop.monitor and stop.monitor not in (allowed := ["val_loss", *(f"val_{n}" for n in names)]):
        raise ConfigError(f"training.early_stopping.monitor: {unknown(stop.monitor, allowed)}")
    if stop and not config.data.paths("validation"):
        raise ConfigError("training.early_stopping: needs data.validation.")


def check_metric(spec: Spec) -> None:
    """Raises `UserError` for an unknown metric or parameter, or a value that it does not allow."""
    from ml4ir_losses.metrics.functional import check_parameters

    key, params = split_spec("metric", spec)
    if isinstance(METRICS[key].target, type):
        raise UserError(f"The metric {key!r} is a Keras class, for model.compile; a config takes metric functions.")
    METRICS[key].check_parameters("metric", params)
    check_parameters(key, **params)


def check_architecture(spec: Spec, reads: str) -> None:
    """Raises `UserError` for an unknown architecture or parameter, or one that reads other data."""
    key, params = split_spec(ARCHITECTURES.kind, spec)
    entry = ARCHITECTURES[key]
    own = getattr(entry.target, "reads", "features")
    if own != reads:
        wanted = {"features": "a config with features", "texts": "data.columns, and no features"}
        raise UserError(f"{key!r} reads {own}: it needs {wanted[own]}.")
    entry.check_parameters(ARCHITECTURES.kind, params)
