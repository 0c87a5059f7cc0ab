"""Which losses are compared: names with parameters, or every loss that fits a config and its labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import yaml

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.load import CHECKS, AnyConfig, reads_texts
from ml4ir_losses.config.schema import Config, pop_propensity
from ml4ir_losses.config.yaml_io import parse_yaml
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.losses.factory import get_loss

_BRACKETS = {"{": 1, "[": 1, "}": -1, "]": -1}


class Choice(NamedTuple):
    """A loss to compare: its name as it was given, and what `get_loss` takes."""

    name: str
    spec: Spec


def split_names(text: str) -> list[str]:
    """The items of a list with commas; a comma inside of braces or brackets does not separate.

    >>> split_names("list_mle, lambda_loss:{k: 10, lambda_weight: {key: ndcg_v2}}")
    ['list_mle', 'lambda_loss:{k: 10, lambda_weight: {key: ndcg_v2}}']
    """
    items, depth = [""], 0
    for letter in text:
        depth += _BRACKETS.get(letter, 0)
        if letter == "," and depth <= 0:
            items.append("")
        else:
            items[-1] += letter
    return [item.strip() for item in items if item.strip()]


def named_loss(text: str) -> Choice:
    """The loss of `key`, `key:{parameter: value}` or `{key: weight, key: weight}`.

    Raises:
        ConfigError: for parameters that are not a YAML mapping.
    """
    name = text.strip()
    key, colon, params = ("", ":", name) if name.startswith("{") else name.partition(":")
    if not colon:
        return Choice(name, name)
    try:
        value = parse_yaml(params)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict) or "key" in (value if key else {}):
        raise ConfigError(f"--losses {name!r}: write a key, or key:{{parameter: value}}.")
    return Choice(name, {"key": key.strip(), **value} if key else value)


def name_of(spec: Spec) -> str:
    """The name that `named_loss` reads as the loss.

    >>> name_of({"key": "lambda_loss", "k": 10})
    'lambda_loss:{k: 10}'
    """
    if isinstance(spec, str):
        return spec
    params = {name: value for name, value in spec.items() if name != "key"}
    flow = yaml.safe_dump(params, default_flow_style=True, sort_keys=False, width=10**6).strip() if params else ""
    return f"{spec['key']}:{flow}" if "key" in spec and params else spec.get("key", flow)


def own_loss(config: AnyConfig) -> Choice:
    """The loss of a config.

    Raises:
        ConfigError: if data sets name losses of their own.
    """
    if reads_texts(config) and any(dataset.loss is not None for dataset in config.data.datasets.values()):
        raise ConfigError("data.datasets: losses are compared as model.loss, and a data set here has its own loss.")
    spec = config.model.loss if reads_texts(config) else config.model.loss_and_propensity()[0]
    if spec is None:
        raise ConfigError("model.loss: is missing.")
    return Choice(name_of(spec), spec)


def with_loss(config: AnyConfig, spec: Spec) -> Any:
    """The config with another loss, which sees the same documents and clicks as the config's loss.

    It follows the `min_label` and the `propensity` of that loss unless it has its own.

    Raises:
        ConfigError: if the loss does not fit the config.
    """
    if not reads_texts(config):
        spec = _followed(config, spec)
    changed = config.model_copy(update={"model": config.model.model_copy(update={"loss": spec})})
    CHECKS[type(config)](changed)
    return changed


def _followed(config: Config, spec: Spec) -> Spec:
    own, propensity = config.model.loss_and_propensity()
    loss, min_label = get_loss(pop_propensity(spec)[0]), get_loss(own).min_label
    added: dict[str, Any] = {}
    if (
        min_label is not None
        and loss.min_label is None
        and "key" in (named := _mapping(spec))
        and "min_label" not in named
    ):
        added["min_label"] = min_label
    if propensity is not None and "propensity" not in _mapping(spec):
        added["propensity"] = propensity
    return {**_mapping(spec), **added} if added else spec


def _mapping(spec: Spec) -> dict[str, Any]:
    return {"key": spec} if isinstance(spec, str) else dict(spec)


def chosen_losses(config: AnyConfig, losses: Iterable[str | Mapping[str, Any]]) -> list[Choice]:
    """The config's loss and the named ones, each checked.

    Raises:
        ConfigError: for an unknown loss, a wrong parameter, one that does not fit the config, or one named twice.
    """
    own = own_loss(config)
    choices = [
        named_loss(loss) if isinstance(loss, str) else Choice(name_of(dict(loss)), dict(loss)) for loss in losses
    ]
    known: list[Choice] = []
    for choice in choices:
        try:
            _check_kind(config, choice)
            with_loss(config, choice.spec)
        except UserError as error:
            raise ConfigError(f"--losses {choice.name!r}: {str(error).removeprefix('model.loss: ')}") from None
        if (same := next((other for other in known if _same(other, choice)), None)) is not None:
            raise ConfigError(f"--losses: {same.name!r} and {choice.name!r} are the same loss; name it once.")
        known.append(choice)
    return choices if any(_same(own, choice) for choice in choices) else [own, *choices]


def _check_kind(config: AnyConfig, choice: Choice) -> None:
    if get_loss(choice.spec).loss_type == "embedding" and not reads_texts(config):
        raise ConfigError("is an embedding loss, and this config reads features.")


def is_own(config: AnyConfig, choice: Choice) -> bool:
    """True for the loss of the config, under whatever name."""
    return _same(choice, own_loss(config))


def fitting_losses(config: AnyConfig) -> tuple[list[Choice], dict[str, str]]:
    """The config's loss and every other that its model and columns can train; and why each of the rest cannot.

    Labels are checked elsewhere: see `unfit_labels`.
    """
    own = own_loss(config)
    choices, left_out = [own], {}
    for entry in LOSSES:
        choice = Choice(entry.key, entry.key)
        if (entry.loss_type == "embedding") != (get_loss(own.spec).loss_type == "embedding"):
            continue
        if entry.required:
            left_out[entry.key] = f"needs the parameter {entry.required[0]!r}"
            continue
        reason = _misfit(config, own, choice)
        if reason:
            left_out[entry.key] = reason
        elif not is_own(config, choice):
            choices.append(choice)
    return choices, left_out


def _misfit(config: AnyConfig, own: Choice, choice: Choice) -> str:
    """Why a config cannot train a loss; empty if it can."""
    loss, mine = get_loss(choice.spec), get_loss(own.spec)
    if not reads_texts(config) and loss.in_batch:
        return "takes the texts of other rows for negatives"
    if not reads_texts(config) and loss.outputs != mine.outputs:
        return f"takes {loss.outputs or 'several'} logits per document, the config's loss {mine.outputs or 'several'}"
    try:
        with_loss(config, choice.spec)
    except ConfigError as error:
        return str(error)
    return ""


def unfit_labels(choice: Choice, labels: Mapping[str, Any]) -> str:
    """Why a ranking loss cannot read the labels of the splits; empty if it can."""
    loss = get_loss(choice.spec)
    if loss.outputs is None:  # the model says how many logits there are
        return ""
    shape = (None, None) if loss.outputs == 1 else (None, None, loss.outputs)
    for split, values in labels.items():
        try:
            loss.check_labels(values, shape)
        except UserError as error:
            return f"{split}: {error}"
    return ""


def _same(a: Choice, b: Choice) -> bool:
    """True for losses with the same parameters, defaults included."""
    return get_loss(a.spec).get_config() == get_loss(b.spec).get_config()
