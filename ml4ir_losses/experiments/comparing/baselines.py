"""What stands beside the losses without being trained: the values of an earlier run."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.experiments.comparing.plan import Outcome

_VALUES = "per_query.csv"


def is_run(path: str) -> bool:
    """True for the folder of a run with values per query."""
    return Path(path, _VALUES).is_file()


def read_run(path: str, part: str, ids: Sequence[Any]) -> Outcome:
    """The values per query of an earlier run, in the order of the ids.

    Raises:
        ConfigError: for a file that cannot be read.
        DataError: if the run was evaluated on other queries.
    """
    try:
        with Path(path, _VALUES).open(encoding="utf-8", newline="") as file:
            (_, *metrics), *lines = csv.reader(file)
        cells = {query: [float(cell) if cell else np.nan for cell in row] for query, *row in lines}
    except (OSError, ValueError) as error:
        raise ConfigError(f"--baseline {path}: {_VALUES} cannot be read ({error}).") from None
    wanted = [str(i) for i in ids]
    known = set(wanted)
    for queries, others, where in ((wanted, cells, "the run"), (cells, known, part)):
        missing = next((query for query in queries if query not in others), None)
        if missing is not None:
            raise DataError(
                f"--baseline {path}: was evaluated on other queries than {part}: {where} lacks {missing!r}."
            )
    values = np.array([cells[query] for query in wanted])
    return Outcome(
        ids=np.array(wanted),
        values={name: np.nan_to_num(column) for name, column in zip(metrics, values.T, strict=True)},
        weights={name: np.isfinite(column).astype("float32") for name, column in zip(metrics, values.T, strict=True)},
    )
