"""What stands beside the losses without being trained: simple orders, and the values of an earlier run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.checksums import warn_of_change
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.experiments.comparing.plan import Outcome
from ml4ir_losses.experiments.run_tables import as_numbers, read_columns

_VALUES = "per_query.csv"


def simple_orders(bench: Any, configs: Sequence[Any], part: str) -> dict[str, Outcome]:
    """A random order, the order of the data and the best feature; with folds, of the queries of all folds."""
    found: dict[str, list[Outcome]] = {}
    for config in configs:
        for name, judged in bench.prepare(config).judge_baselines(part).items():
            # The best feature of one fold may be another than that of the next.
            name = name.partition(" (")[0] if len(configs) > 1 else name
            found.setdefault(name, []).append(Outcome(ids=judged.ids, values=judged.values, weights=judged.weights))
    return {name: _joined(folds) for name, folds in found.items() if len(folds) == len(configs)}


def _joined(folds: Sequence[Outcome]) -> Outcome:
    def join(arrays: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
        return {name: np.concatenate([array[name] for array in arrays]) for name in arrays[0]}

    ids = np.concatenate([fold.ids for fold in folds if fold.ids is not None])
    return Outcome(ids=ids, values=join([f.values for f in folds]), weights=join([f.weights for f in folds]))


def is_run(path: str) -> bool:
    """True for the folder of a run with values per query."""
    return Path(path, _VALUES).is_file()


def read_run(path: str, part: str, ids: Sequence[Any]) -> Outcome:
    """The values per query of an earlier run, in the order of the ids.

    Raises:
        ConfigError: for a file that cannot be read.
        DataError: if the run was evaluated on other queries.
    """
    folder = Path(path)
    try:
        columns = read_columns(folder, _VALUES)
        found = columns.pop("query_id")
        values = as_numbers(folder, _VALUES, columns)
        warn_of_change(folder, _VALUES)
    except (UserError, KeyError) as error:
        raise ConfigError(f"--baseline {path}: {_VALUES} cannot be read ({error}).") from None
    cells = {query: row for row, query in enumerate(found)}
    wanted = [str(i) for i in ids]
    known = set(wanted)
    for queries, others, where in ((wanted, cells, "the run"), (cells, known, part)):
        missing = next((query for query in queries if query not in others), None)
        if missing is not None:
            raise DataError(
                f"--baseline {path}: was evaluated on other queries than {part}: {where} lacks {missing!r}."
            )
    rows = np.array([cells[query] for query in wanted], int)
    return Outcome(
        ids=np.array(wanted),
        values={name: np.nan_to_num(column[rows]) for name, column in values.items()},
        weights={name: np.isfinite(column[rows]).astype("float32") for name, column in values.items()},
    )
