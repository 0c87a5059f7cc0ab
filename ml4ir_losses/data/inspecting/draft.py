"""A config to start from, drawn from what `inspect` found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import yaml

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.files import without_compression
from ml4ir_losses.data.inspecting.inspect import Inspection
from ml4ir_losses.data.inspecting.profiles import ColumnProfile

_KINDS = ("integer", "number", "boolean", "text", "date", "list of numbers", "list of texts")
_SKEWED = 2.0  # skewness of a heavy tail; that of the exponential distribution
_LEAST_RANGE = 10.0  # below it a logarithm changes little
_LEAST_QUERIES = 20  # that are split into training, validation and test
_FAMILY = 4  # so many columns f1, f2, ... become one input f*
_FEEDBACK = re.compile("click|purchase|booking|booked|dwell|conversion", re.IGNORECASE)
_WORDS = 2.0  # texts have at least so many words on average, categories have fewer


def draft_config(
    inspection: Inspection, sources: Sequence[str], format: str | None = None, options: Mapping[str, Any] | None = None
) -> str:
    """The text of a config that `ml4ir-losses check` accepts, with the reasons as comments.

    Args:
        inspection: of the files.
        sources: the files.
        format: the format, if their ending does not tell it.
        options: parameters of the reader.

    Raises:
        DataError: if query id, label or inputs are not known.
    """
    for role in ("query_id", "label"):
        if role not in inspection.roles:
            option = f"--{role.replace('_', '-')}"
            raise DataError(f"No column seems to be the {role.replace('_', ' ')}; name it: {option} COLUMN.")
    inputs, left_out = _inputs(inspection)
    if not any(values.get("scope") != "query" for values, _ in inputs):
        raise DataError("No column can be an input that differs between the documents of a query.")
    lines = [f"name: {_name(inspection.source)}", "data:"]
    lines += [f"  format: {format}"] if format else []
    files = _flow(sources[0] if len(sources) == 1 else list(sources))
    if inspection.queries is not None and len(inspection.queries.sizes()) >= _LEAST_QUERIES:
        lines += [f"  path: {files}", "  split: {validation: 0.15, test: 0.15}"]
    else:
        lines += [f"  train: {files}  # too few queries for validation and test"]
    lines += [f"  options: {_flow(dict(options))}"] if options else []
    lines += ["features:"]
    for role, key in (
        ("query_id",) * 2,
        ("label",) * 2,
        ("document_id",) * 2,
        ("weight",) * 2,
        ("position", "positions"),
    ):
        if role in inspection.roles:
            guess = inspection.roles[role]
            lines.append(_commented(f"  {key}: {_flow(guess.column)}", "" if guess.certain else guess.reason))
    lines += ["  inputs:", *(_commented(f"    - {_flow(values)}", reason) for values, reason in inputs)]
    lines += [f"  # left out: {', '.join(names)} ({reason})" for reason, names in left_out.items()]
    lines += ["model:", "  architecture: dnn", f"  loss: {_loss(inspection)}"]
    return "\n".join(lines) + "\n"


def _inputs(inspection: Inspection) -> tuple[list[tuple[dict[str, Any], str]], dict[str, list[str]]]:
    """The inputs with a remark each, and the columns that are left out by reason."""
    taken = {guess.column for role, guess in inspection.roles.items() if role != "date"}
    others = [profile for profile in inspection.columns if profile.name not in taken]
    reasons = {profile.name: _unfit(profile) for profile in others}
    inputs, done = [], set()
    for glob, family in _families(others):
        members = {profile.name for profile in family}
        unfit = [name for name, reason in reasons.items() if reason and name not in members]
        if not any(fnmatchcase(name, glob) for name in unfit):  # a glob leaves out only the names of other inputs
            inputs.append(_numeric(glob, family))
            done |= members
    inputs += [_input(profile) for profile in others if profile.name not in done and not reasons[profile.name]]
    left_out: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason and name not in done:
            left_out.setdefault(reason, []).append(name)
    return inputs, left_out


def _families(profiles: Sequence[ColumnProfile]) -> Iterator[tuple[str, list[ColumnProfile]]]:
    """Numeric columns of documents whose names differ in a number at the end, and a glob for them."""
    families: dict[str, list[ColumnProfile]] = {}
    for profile in profiles:
        prefix = re.sub(r"\d+$", "", profile.name)
        numeric = profile.kind in ("integer", "number")
        if prefix not in ("", profile.name) and numeric and (profile.scope == "document" or profile.distinct == 1):
            families.setdefault(prefix, []).append(profile)
    for prefix, family in families.items():
        if len(family) >= _FAMILY:
            yield f"{prefix}[0-9]*", family


def _unfit(profile: ColumnProfile) -> str:
    """Why a column is no input; "" if it can be one."""
    present = profile.rows - profile.missing
    if not present:
        return "all cells are missing"
    if _FEEDBACK.search(profile.name):
        return "by the name not known before the documents are shown"
    if profile.distinct == 1 and not profile.missing:
        return "all cells are equal"
    if profile.kind not in _KINDS:
        return f"cells of {profile.kind} are not read as they are"
    if profile.kind == "list of numbers" and (profile.missing or len(set(profile.lengths or ())) > 1):
        return "the lists of numbers are not all of one length"
    many = not profile.is_exact or profile.distinct > present / 2
    if profile.kind == "text" and many and profile.words < _WORDS * present:
        return "most rows have a value of their own"
    return ""


def _input(profile: ColumnProfile) -> tuple[dict[str, Any], str]:
    """The input of a column, and a remark."""
    present = profile.rows - profile.missing
    least, most = profile.lengths or (0, 0)
    values: dict[str, Any]
    number = f"{profile.distinct:,} values" if profile.is_exact else f"more than {profile.distinct:,} values"
    if profile.kind == "date":
        values, remark = {"type": "date", "transforms": ["standardise"]}, "days before the newest"
    elif profile.kind == "list of numbers":
        values, remark = {"type": "vector"}, f"{most} numbers each"
    elif profile.kind == "list of texts":
        values, remark = {"type": "categorical", "pooling": "mean"}, f"{least} to {most} values each"
    elif profile.kind != "text":
        return _numeric(profile.name, [profile])
    elif profile.words >= _WORDS * present:
        values, remark = {"type": "text"}, f"{profile.words / present:.3g} words each"
    else:
        size = 4 if profile.distinct < 20 else 8 if profile.distinct < 1000 else 16
        values, remark = {"type": "categorical", "embedding_dim": size}, number
    return _scoped({"name": profile.name, **values}, profile), remark


def _numeric(name: str, profiles: Sequence[ColumnProfile]) -> tuple[dict[str, Any], str]:
    """The input of numeric columns, and a remark."""
    values: dict[str, Any] = {"name": name, "type": "numeric"}
    if any(profile.missing for profile in profiles):
        values["missing_indicator"] = True
    numbers = [profile.numbers for profile in profiles]
    skewed = [abs(n.skewness) > _SKEWED and n.max - n.min > _LEAST_RANGE for n in numbers]
    flags = all(profile.distinct <= 2 for profile in profiles)
    if profiles[0].kind == "boolean":
        return _scoped(values, profiles[0]), ""
    remark = f"{min(n.min for n in numbers):.4g} to {max(n.max for n in numbers):.4g}"
    if 2 * sum(skewed) > len(skewed):
        values["transforms"] = ["log1p", "standardise"]
        remark += ", skewed"
    elif not flags:
        values["transforms"] = ["standardise"]
    return _scoped(values, profiles[0]), remark


def _scoped(values: dict[str, Any], profile: ColumnProfile) -> dict[str, Any]:
    return {**values, "scope": "query"} if profile.scope == "query" else values


def _loss(inspection: Inspection) -> str:
    """The key of a loss for the labels."""
    label = next(p for p in inspection.columns if p.name == inspection.roles["label"].column)
    return "softmax_cross_entropy" if label.numbers.min >= 0 else "pairwise_logistic"


def _name(source: str) -> str:
    """A name for the run, from that of the file."""
    stem = os.path.splitext(os.path.basename(without_compression(source.rstrip("/"))))[0]
    return re.sub(r"[^\w.-]+", "_", stem) or "run"


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**9, allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _commented(line: str, remark: str) -> str:
    return f"{line}  # {remark}" if remark else line
