"""The parameters of an estimator as the mapping of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from ml4ir_losses.config.load import AnyConfig
from ml4ir_losses.config.schema import Config
from ml4ir_losses.estimators.rows import Rows


def config_of(estimator: Any, rows: Rows) -> dict[str, Any]:
    """The config of a `Ranker` for its training rows; what is None is left to the defaults of the config."""
    p = estimator.get_params(deep=False)
    mapping: dict[str, Any] = plain(
        {
            "name": "ranker",
            "data": {name: p[name] for name in ("batch_size", "max_list_size", "truncation")},
            "features": {**rows.roles, "inputs": _inputs(p, rows) if p["inputs"] is None else p["inputs"]},
            "model": {
                "architecture": _spec(p["architecture"]) | _given(p, "hidden_units", "dropout"),
                "loss": p["loss"],
                "optimizer": {"learning_rate": p["learning_rate"]} | _spec(p["optimizer"]),
                "lr_schedule": p["lr_schedule"],
            }
            | _given(p, "metrics"),
            "training": {name: p[name] for name in ("epochs", "precision", "jit_compile")}
            | {"seed": _seed(p["random_state"]), "early_stopping": _stop(p["early_stopping"])},
        }
    )
    return mapping


def without_data(config: AnyConfig) -> Config:
    """The config with descriptions in the place of its data in memory."""
    return Config.model_validate(config.model_dump(mode="json"))


def plain(value: Any) -> Any:
    """The value in the types of JSON: NumPy scalars and arrays as numbers and lists, a loss as its config."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return plain(value.get_config()) if hasattr(value, "get_config") else value


def _inputs(p: Mapping[str, Any], rows: Rows) -> list[dict[str, Any]]:
    categories = [{"name": name, "type": "categorical"} for name in rows.categorical]
    numeric = {"name": "*", "type": "numeric", "transforms": p["transforms"], "query_rank": p["query_rank"]}
    return [*([numeric] if rows.numeric else []), *categories]


def _spec(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {"key": value}


def _given(p: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: p[name] for name in names if p[name] is not None}


def _seed(random_state: Any) -> int:
    if isinstance(random_state, (int, np.integer)):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _stop(early_stopping: Any) -> Any:
    """The section `early_stopping` for a patience or a mapping; True: with the defaults of the config."""
    if isinstance(early_stopping, bool):
        return {} if early_stopping else None
    return {"patience": early_stopping} if isinstance(early_stopping, (int, np.integer)) else early_stopping
