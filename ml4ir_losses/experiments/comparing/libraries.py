"""Rankers of other libraries beside the losses: LightGBM's LambdaMART and CatBoost's YetiRank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from ml4ir_losses.config.load import AnyConfig, reads_texts
from ml4ir_losses.core.errors import ConfigError, unknown_name

_RATES = (0.03, 0.1, 0.3)
_SIZES: Mapping[str, tuple[str, Sequence[int]]] = {
    "lightgbm": ("num_leaves", (15, 31, 63)),
    "catboost": ("depth", (4, 6, 8)),
}
LIBRARIES = tuple(_SIZES)
"""The names of `--baseline`, which are those of the packages, too."""


def check_libraries(config: AnyConfig, names: Sequence[str]) -> None:
    """Raises `ConfigError` for an unknown library, one that is not installed, or a config without features."""
    for name in names:
        if Path(name).is_dir():
            raise ConfigError(f"--baseline {name}: is not the folder of a run with values per query (per_query.csv).")
        if name not in LIBRARIES:
            raise ConfigError(f"--baseline: {unknown_name('baseline', name, LIBRARIES)} Or give the folder of a run.")
        if reads_texts(config):
            raise ConfigError(f"--baseline {name}: reads features, and this config reads texts.")
        if find_spec(name) is None:
            raise ConfigError(f"--baseline {name}: is not installed: pip install 'ml4ir-losses[baselines]'")


def library_settings(name: str, count: int) -> tuple[dict[str, Any], ...]:
    """The first `count` pairs of a learning rate and a size of trees: the middle of both, then its neighbours."""
    size, sizes = _SIZES[name]
    pairs = sorted(product(range(len(_RATES)), range(len(sizes))), key=lambda p: (abs(p[0] - 1) + abs(p[1] - 1), p))
    return tuple({"learning_rate": _RATES[i], size: sizes[k]} for i, k in pairs[:count])
