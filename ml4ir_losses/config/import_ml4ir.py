"""A config from ml4ir's feature config, with a report of what became of each part; nothing in the file is run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.ml4ir_functions import LABELS, LAYERS, PREPROCESSING, Arguments, Draft, Finding
from ml4ir_losses.core.errors import ConfigError, did_you_mean

_CODE = re.compile(r"\blambda\b|__\w+__|\b(?:import|eval|exec)\b|\w\s*\(")
_SPLITS = ("train", "validation", "test")
_FLAGS = {
    "is_aux_label": "add model.aux_losses: [{{key: ..., label: {name}, weight: w}}] with w = a / (1 - a) of "
    "ml4ir's aux_loss_weight a",
    "is_secondary_label": "only the label is evaluated: evaluate with --set features.label={name} for the other",
    "is_group_metric_key": "give it to the evaluation: ml4ir-losses evaluate RUN --group-by {name}",
    "log_at_inference": "predictions hold ids, label, score and rank: join other columns by features.document_id",
}
_BY_HAND = "is not applied: store its value as a column of the data"
_UNUSED = ("shape", "name", "node_name", "dtype", "trainable", "tfrecord_type", "serving_info", "default_value")
_READ = (*_UNUSED, *_FLAGS, "feature_layer_info", "preprocessing_info")


class Imported(NamedTuple):
    """A config and what became of each part of the imported file."""

    config: dict[str, Any]
    findings: list[Finding]


def import_ml4ir(raw: Mapping[str, Any], source: str = "the file") -> Imported:
    """The config of ml4ir's feature config, as `yaml.safe_load` returns it.

    Raises:
        ConfigError: for anything but a feature config, or one without a feature that can be an input.
    """
    for section in ("label", "features"):
        if section not in raw:
            hint = did_you_mean(section, map(str, raw))
            raise ConfigError(f"{source}: no {section!r}, which every feature config of ml4ir has.{hint}")
    features = raw["features"]
    if not isinstance(features, list) or not features:
        raise ConfigError(f"{source}: features must be a list of features. Received: {type(features).__name__}.")
    findings: list[Finding] = []
    roles = _roles(raw, source, findings)
    inputs: list[dict[str, Any]] = []
    for i, feature in enumerate(features):
        described = _named(feature, f"{source}: features.{i}")
        draft = _input_of(described, findings)
        if draft is None:
            continue
        if any(other["name"] == draft["name"] for other in inputs):
            raise ConfigError(
                f"{source}: features.{i}: a second input is called {draft['name']!r}; give it a node_name."
            )
        inputs.append(draft)
    if not inputs:
        raise ConfigError(f"{source}: no feature can be an input: " + "; ".join(f.note for f in findings) + ".")
    findings += [
        Finding(where, text, "left out", "looks like code: nothing in the file is run")
        for where, text in _strings(raw)
        if _CODE.search(text)
    ]
    if unknown := [str(key) for key in raw if key not in ("query_key", "label", "rank", "mask", "features")]:
        findings.append(Finding("file", ", ".join(unknown), "left out", "ml4ir's feature configs have no such section"))
    config = {
        "name": "imported",
        "data": {"directory": "data", **{split: f"{split}/*" for split in _SPLITS}, "batch_size": 128},
        "features": {**roles, "inputs": inputs},
        "model": {"architecture": "dnn", "loss": "sigmoid_cross_entropy", "metrics": ["mrr"]},
    }
    findings += [
        Finding("data", "files", "assumed", "train/, validation/ and test/ below data/, and ml4ir's batch size"),
        Finding("model", "loss", "assumed", "ml4ir's defaults: its model is a file of its own, its loss an option"),
    ]
    load_config(config)
    return Imported(config, findings)


def as_yaml(imported: Imported, source: str) -> str:
    """The config as YAML; what was not mapped stands above it as comments."""
    lines = [f"# Imported from {source} by ml4ir-losses import-config."]
    for finding in imported.findings:
        if finding.status != "mapped":
            text = f"# {finding.status}: {finding.where}, {finding.what}: {finding.note}"
            lines.append(" ".join(text.split()))
    config = yaml.safe_dump(imported.config, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
    return "\n".join(lines) + "\n" + config


def _named(section: Any, where: str) -> Mapping[str, Any]:
    """A section that describes a column."""
    if not isinstance(section, Mapping) or not isinstance(section.get("name"), str):
        raise ConfigError(f"{where}: describes a column with a name. Received: {section!r:.60}.")
    return section


def _roles(raw: Mapping[str, Any], source: str, findings: list[Finding]) -> dict[str, Any]:
    """Query id, label and shown rank."""
    roles = {}
    for section, role in (("query_key", "query_id"), ("label", "label"), ("rank", "positions")):
        if raw.get(section) is None:
            if section == "query_key":
                findings.append(Finding(section, "missing", "assumed", "the query id is the column query_id"))
            continue
        column = _named(raw[section], f"{source}: {section}")
        roles[role] = name = column["name"]
        findings.append(Finding(section, name, "mapped", f"features.{role}: {name}"))
        findings += [Finding(name, fn, "left out", LABELS.get(fn, _BY_HAND)) for fn in _function_names(column)]
    if raw.get("mask") is not None:
        findings.append(Finding("mask", "section", "mapped", "the mask is made of the lengths of the lists"))
    return roles


def _function_names(column: Mapping[str, Any]) -> list[str]:
    """The functions that ml4ir applies to a column."""
    info, steps = column.get("feature_layer_info"), column.get("preprocessing_info")
    names = [info.get("fn")] if isinstance(info, Mapping) else []
    names += [step.get("fn") for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []
    return [str(name) for name in names if name is not None]


def _input_of(feature: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any] | None:
    """The input that a feature becomes; None for metadata and what cannot be one."""
    name = feature["name"]
    draft = Draft(name, {"type": "numeric"}, findings)
    for flag, by_hand in _FLAGS.items():
        if feature.get(flag):
            draft.note(flag, "left out", by_hand.format(name=name))
    for key in feature:
        if key not in _READ:
            draft.note(f"{key}: {feature[key]!r:.40}", "left out", "ml4ir does not read it, as far as is known")
    if not feature.get("trainable", True):
        draft.note("trainable: false", "mapped", "no input; any command reads the column where it is named")
        return None
    _functions(feature, draft)
    if draft.config is None:
        return None
    _missing(feature, draft)
    if draft.transforms:
        draft.config["transforms"] = draft.transforms
    query = feature.get("tfrecord_type") == "context"
    if query:
        draft.note("tfrecord_type: context", "mapped", "scope: query")
    kind = draft.config.pop("type")
    names = {"name": name}
    if (node := str(feature.get("node_name") or name)) != name:
        names = {"name": node, "column": name}
        draft.note(f"node_name: {node}", "mapped", f"name: {node}, column: {name}")
    return {**names, "type": kind, **({"scope": "query"} if query else {}), **draft.config}


def _functions(feature: Mapping[str, Any], draft: Draft) -> None:
    """Applies the feature function, which decides the type, then the functions of preprocessing, which run first."""
    info = feature.get("feature_layer_info")
    info = info if isinstance(info, Mapping) else {}
    fn, text = info.get("fn"), feature.get("dtype") == "string"
    if fn is not None:
        _apply(LAYERS, "feature_layer_info.fn", fn, info.get("args"), draft)
    elif text and draft.kind == "numeric":
        draft.becomes("categorical")
        draft.note("dtype: string", "changed", "a category: without fn, ml4ir's model cannot read text")
    elif draft.kind == "numeric":
        draft.note(f"dtype: {feature.get('dtype', 'float')}", "mapped", "a number")
    if fn is not None and fn not in LAYERS and text and draft.kind == "numeric":
        draft.becomes("categorical")
    after, draft.transforms = draft.transforms, []
    steps = feature.get("preprocessing_info")
    for step in steps if isinstance(steps, list) else []:
        step = step if isinstance(step, Mapping) else {"fn": step}
        _apply(PREPROCESSING, "preprocessing_info.fn", step.get("fn"), step.get("args"), draft)
    draft.transforms += after


def _apply(functions: Mapping[str, Any], key: str, fn: Any, values: Any, draft: Draft) -> None:
    name = f"{key}: {fn}"
    if fn not in functions:
        hint = did_you_mean(str(fn), functions)
        draft.note(name, "left out", f"a custom function: store its value as a column of the data.{hint}")
        return
    args = Arguments(values)
    functions[fn](name, draft, args)
    if unread := args.unread():
        draft.note(name, "left out", f"arguments that the function does not read: {', '.join(unread)}")


def _missing(feature: Mapping[str, Any], draft: Draft) -> None:
    """The value of an empty cell: the given default, or ml4ir's 0 and ""."""
    serving = feature.get("serving_info")
    serving = serving if isinstance(serving, Mapping) else {}
    default = feature.get("default_value", serving.get("default_value"))
    if draft.config is not None and draft.kind == "numeric":
        number = isinstance(default, (int, float)) and not isinstance(default, bool)
        draft.config["missing"] = default if number and default else "zero"
        draft.note(f"default_value: {default}", "mapped", f"missing: {draft.config['missing']}")
    elif default not in (None, "", 0):
        draft.note(f"default_value: {default!r}", "left out", "an empty cell keeps an embedding of its own")
    if (other := serving.get("name", draft.name)) != draft.name:
        draft.note(f"serving_info.name: {other}", "left out", "the model reads the column's name: rename when serving")


def _strings(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """All texts of the file with their paths."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _strings(part, f"{where}.{key}".lstrip("."))
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _strings(part, f"{where}.{i}".lstrip("."))
    elif isinstance(value, str):
        yield where, value
