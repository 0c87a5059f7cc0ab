"""What repeats the names of the registries: public names, constants of keys, tables of README and guide."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ml4ir_losses import functional as pure
from ml4ir_losses.core.registry import LAMBDA_WEIGHTS, LOSSES, METRICS, WEIGHTING_SCHEMES, Entry

FAMILIES = ("pointwise", "pairwise", "listwise", "classification", "embedding")
MARK = "# Generated from the registries by `make generate`; do not edit below.\n"
GUIDE_MARK = "\n## Not named above\n"
KEYS = '''"""Keys as constants; generated from the registries by `make generate`."""

from enum import StrEnum
'''


def by_family() -> dict[str, list[Entry]]:
    """The losses of this package by their type."""
    losses = LOSSES.own()
    return {family: found for family in FAMILIES if (found := [e for e in losses if e.loss_type == family])}


def stub(text: str) -> str:
    """`__init__.pyi` with the classes of losses and weights below the names that stand in it."""
    homes: dict[str, set[str]] = {}
    for entry in (*LOSSES.own(), *LAMBDA_WEIGHTS.own(), *WEIGHTING_SCHEMES.own()):
        home = entry.target.__module__.removeprefix("ml4ir_losses")
        homes.setdefault(home, set()).add(entry.target.__name__)
    return text.partition(MARK)[0] + MARK + _imports(homes)


def functional(_: str = "") -> str:
    """`functional.pyi`: every pure function, from the module of the first loss or metric that has it."""
    homes: dict[str, set[str]] = {}
    owners: dict[int, str] = {}
    for entry in (*LOSSES.own(), *METRICS.own()):
        owners.setdefault(id(getattr(entry.target, "function", entry.target)), entry.target.__module__)
    for name, function in pure.functions().items():
        home = owners.get(id(function), function.__module__).removeprefix("ml4ir_losses")
        homes.setdefault(home, set()).add(name)
    return MARK + _imports(homes)


def _imports(homes: Mapping[str, Iterable[str]]) -> str:
    """Lines that import the names of every module, for a stub."""
    lines = []
    for home in sorted(homes):
        names = [f"{name} as {name}" for name in sorted(homes[home])]
        line = f"from {home} import {', '.join(names)}"
        lines.append(
            line if len(line) <= 120 else "\n".join([f"from {home} import (", *(f"    {n}," for n in names), ")"])
        )
    return "\n".join(lines) + "\n"


def keys(_: str = "") -> str:
    """`keys.py`."""
    text = KEYS
    for name, registry in (("LossKey", LOSSES), ("MetricKey", METRICS)):
        text += f'\n\nclass {name}(StrEnum):\n    """The keys of the {registry.plural}."""\n\n'
        text += "".join(f'    {entry.key.upper()} = "{entry.key}"\n' for entry in registry.own())
    return text


def readme(text: str) -> str:
    """The text with the keys of every type in its table of losses."""
    rows = [f"| {family} | {', '.join(f'`{e.key}`' for e in entries)} |" for family, entries in by_family().items()]
    table = "\n".join(["| type | keys |", "|---|---|", *rows, ""])
    return re.sub(r"\| type \| keys \|\n(?:\|.*\n)+", lambda _: table, text)


def guide(text: str) -> str:
    """docs/which-loss.md with a list of the losses that its text does not name."""
    written = text.partition(GUIDE_MARK)[0]
    prefixes = tuple(re.findall(r"`(\w+)\.\.\.`", written))
    rest = [e for e in LOSSES.own() if f"`{e.key}`" not in written and not e.key.startswith(prefixes)]
    lines = [f"* `{entry.key}`: {entry.summary}" for entry in rest]
    return written + ("\n".join([GUIDE_MARK, *lines, ""]) if rest else "")
