"""Checks of a feature config beyond its types: keys, parameters and consistency between sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.distribution import reads_own_files
from ml4ir_losses.config.explain import unknown, with_path
from ml4ir_losses.config.inputs import Numbers
from ml4ir_losses.config.position_bias import check_position_bias
from ml4ir_losses.config.schema import Config, pop_propensity
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import ARCHITECTURES, ENCODERS, METRICS, READERS, TRANSFORMS, split_spec
from ml4ir_losses.losses.factory import get_loss


def metric_name(spec: Spec) -> str:
    """`ndcg_10` for `{key: ndcg, topn: 10}`: the name in metrics.json and in `val_<name>`."""
    key, params = split_spec("metric", spec)
    key = METRICS[key].key
    return f"{key}_{params['topn']}" if params.get("topn") else key


def check_config(config: Config) -> None:
    """Raises `ConfigError`, with the path, for an unknown key, a wrong parameter or inconsistent sections."""
    model = config.model
    with_path("model.loss", lambda: get_loss(model.loss_and_propensity()[0]))
    for i, aux in enumerate(model.aux_losses):
        with_path(f"model.aux_losses.{i}", lambda aux=aux: get_loss(pop_propensity(aux.spec)[0]))
    check_position_bias(config)
    if config.data.path is not None and reads_own_files(config.training.distribution):
        raise ConfigError(
            "training.distribution.shard: files shares out the files of data.train; give train in the place of path."
        )
    for i, inputs in enumerate(config.features.inputs):
        if isinstance(inputs, Numbers):
            check_transforms(inputs, f"features.inputs.{i}.transforms")
    if not model.metrics:
        raise ConfigError("model.metrics: names no metric; give at least one.")
    for i, spec in enumerate(model.metrics):
        with_path(f"model.metrics.{i}", lambda spec=spec: check_metric(spec))
    with_path("model.architecture", lambda: check_architecture(model.architecture, "features", "pairs"))
    with_path("model.architecture.encoder", lambda: check_encoder(model.architecture))
    check_reader(config.data.format, config.data.options)
    names = [metric_name(spec) for spec in model.metrics]
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise ConfigError(f"model.metrics: two metrics are called {duplicate!r}; their key and topn must differ.")
    for split, expected in config.expected_metrics.items():
        if not config.data.paths(split):
            given = f"data.split.{split}" if config.data.split else f"data.{split}"
            raise ConfigError(f"expected_metrics.{split}: {given} is not given.")
        for name in expected:
            if name not in names:
                raise ConfigError(f"expected_metrics.{split}.{name}: not among model.metrics: {', '.join(names)}.")
    stop = config.training.early_stopping
    if stop and stop.monitor and stop.monitor not in (allowed := ["val_loss", *(f"val_{n}" for n in names)]):
        raise ConfigError(f"training.early_stopping.monitor: {unknown(stop.monitor, allowed)}")
    if stop and not config.data.paths("validation"):
        raise ConfigError("training.early_stopping: needs data.validation.")


def check_transforms(inputs: Numbers, path: str) -> None:
    """Raises `ConfigError` for an unknown transform, a wrong parameter, or an order that cannot be fitted."""
    within_query: Spec | None = None
    for i, spec in enumerate(inputs.transforms):
        transform = with_path(f"{path}.{i}", lambda spec=spec: TRANSFORMS.create(spec))
        key, _ = split_spec(TRANSFORMS.kind, spec)
        if transform.within_query:
            within_query = key
            if inputs.scope == "query":
                raise ConfigError(f"{path}.{i}: {key} compares the documents of a query: it needs scope document.")
        elif within_query is not None and transform.needs != "nothing":
            raise ConfigError(
                f"{path}.{i}: {key} is fitted on the training rows: it must stand before {within_query}, which "
                "compares the documents of a query."
            )


def check_reader(format: str | None, options: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for an unknown format or option; without a format the options are checked with the files."""
    if format is not None:
        reader = with_path("data.format", lambda: READERS[format])
        with_path("data.options", lambda: reader.check_parameters(READERS.kind, options))


def check_metric(spec: Spec) -> None:
    """Raises `UserError` for an unknown metric or parameter, or an invalid value."""
    key, params = split_spec("metric", spec)
    if isinstance(METRICS[key].target, type):
        raise UserError(f"The metric {key!r} is a Keras class, for model.compile; a config takes metric functions.")
    if METRICS[key].trait("subtopics", False):
        raise UserError(
            f"The metric {key!r} takes labels per subtopic, [B, N, S]; a config has one label per document."
        )
    METRICS[key].check_parameters("metric", params)


def check_architecture(spec: Spec, *kinds: str) -> None:
    """Raises `UserError` for an unknown architecture or parameter, or one that reads none of the kinds of data."""
    key, params = split_spec(ARCHITECTURES.kind, spec)
    kind = kind_of(spec)
    if kind not in kinds:
        needs = {"features": "a config with features", "texts": "data.columns, and no features"}
        raise UserError(f"{key!r} reads {kind}: it needs {needs[kind]}.")
    ARCHITECTURES[key].check_parameters(ARCHITECTURES.kind, params)


def kind_of(architecture: Spec) -> str:
    """The kind of data that an architecture reads: `features`, `texts` or `pairs`."""
    key, _ = split_spec(ARCHITECTURES.kind, architecture)
    return str(ARCHITECTURES[key].trait("reads", "features"))


def encoders_of(architecture: Spec) -> Iterator[Spec]:
    """The encoder of a checked architecture, then the encoder within it, and so on."""
    key, params = split_spec(ARCHITECTURES.kind, architecture)
    entry = ARCHITECTURES[key]
    while (spec := {**entry.parameters, **params}.get("encoder")) is not None:
        yield spec
        key, params = split_spec(ENCODERS.kind, spec)
        entry = ENCODERS[key]


def check_encoder(architecture: Spec) -> None:
    """Raises `UserError` for an unknown encoder or encoder parameter."""
    for encoder in encoders_of(architecture):
        key, params = split_spec(ENCODERS.kind, encoder)
        ENCODERS[key].check_parameters(ENCODERS.kind, params)
