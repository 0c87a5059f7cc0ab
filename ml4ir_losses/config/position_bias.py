"""`model.position_bias` and the propensities of losses: files of propensities, and checks beyond types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.explain import unknown, with_path
from ml4ir_losses.config.schema import Config, pop_propensity
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.core.files import read_json
from ml4ir_losses.core.registry import POSITION_BIASES, split_spec
from ml4ir_losses.losses.propensity import check_propensity

_PATH = "model.position_bias"


def read_propensities(path: str) -> list[float]:
    """The propensities of ranks 1, 2, ... in a file that `ml4ir-losses propensities` wrote, or in a JSON list.

    Raises:
        DataError: for a file that is missing or holds something else.
    """
    held = read_json(Path(path))
    values = held.get("propensities") if isinstance(held, Mapping) else held
    if held is None:
        raise DataError(f"{path}: there is no such file of propensities.")
    if not isinstance(values, list):
        raise DataError(f'{path}: holds neither a list of propensities nor {{"propensities": [...]}}.')
    return values


def place_propensities(raw: Any, read: Callable[[str], list[float]] = read_propensities) -> None:
    """Replaces files of propensities in the model section of a config by what they hold, so that a run holds them.

    Args:
        raw: the config.
        read: reads such a file; raises `DataError`.

    Raises:
        ConfigError: for a file that cannot be read.
    """
    model = raw.get("model") if isinstance(raw, Mapping) else None
    if not isinstance(model, Mapping):
        return
    aux = model.get("aux_losses")
    losses = {
        "loss": model.get("loss"),
        **{f"aux_losses.{i}": a for i, a in enumerate(aux if isinstance(aux, list) else ())},
    }
    for path, loss in losses.items():
        if isinstance(loss, dict) and "propensity" in loss:
            if isinstance(loss["propensity"], str) and loss["propensity"].endswith(".json"):
                loss["propensity"] = {"key": "table", "values": loss["propensity"]}
            _place_values(loss["propensity"], f"model.{path}.propensity", read)
    _place_values(model.get("position_bias"), _PATH, read)


def _place_values(spec: Any, path: str, read: Callable[[str], list[float]]) -> None:
    if isinstance(spec, dict) and isinstance(spec.get("values"), str):
        try:
            spec["values"] = read(spec["values"])
        except DataError as error:
            raise ConfigError(f"{path}.values: {error}") from None


def check_position_bias(config: Config) -> None:
    """Raises `ConfigError` for a position bias, or a propensity of a loss, that cannot be used."""
    model, bias = config.model, config.model.position_bias
    if bias is not None:
        with_path(_PATH, lambda: _check_parameters(bias))
        _check_columns(config)
    losses = {"model.loss": model.loss, **{f"model.aux_losses.{i}": aux.spec for i, aux in enumerate(model.aux_losses)}}
    for path, loss in losses.items():
        _, propensity = pop_propensity(loss)
        if propensity is None:
            continue
        with_path(f"{path}.propensity", lambda propensity=propensity: check_propensity(propensity))
        if config.features.positions is None:
            raise ConfigError(f"{path}.propensity: needs features.positions, the column of the shown ranks.")
        if bias is not None and (key := split_spec(POSITION_BIASES.kind, bias)[0]) != "propensity":
            raise ConfigError(f"{path}.propensity: model.position_bias {key!r} corrects the same bias; leave one out.")


def _check_columns(config: Config) -> None:
    """Raises `ConfigError` unless the columns exist that a position bias reads."""
    features, model = config.features, config.model
    if features.positions is None:
        raise ConfigError(f"{_PATH}: needs features.positions, the column of the shown ranks.")
    known = {i.name: i for i in features.inputs}
    for name in model.bias_inputs:
        if name not in known:
            raise ConfigError(f"{_PATH}.inputs: {unknown(name, list(known))}")
        if known[name].type == "text_pair":
            raise ConfigError(f"{_PATH}.inputs: {name!r} is of type text_pair, which only a cross-encoder reads.")
    if all(i.scope == "query" for name, i in known.items() if name not in model.bias_inputs):
        raise ConfigError(f"{_PATH}.inputs: leaves relevance no input of scope document.")
    labels = [features.label, *(aux.label for aux in model.aux_losses if aux.label)]
    for name in model.bias_parameters.get("labels") or ():
        if name not in labels:
            raise ConfigError(f"{_PATH}.labels: {unknown(name, labels)}")


def _check_parameters(bias: Spec) -> None:
    key, params = split_spec(POSITION_BIASES.kind, bias)
    entry = POSITION_BIASES[key]
    entry.check_parameters(POSITION_BIASES.kind, params)
    if key == "propensity":
        entry.target(**params)
