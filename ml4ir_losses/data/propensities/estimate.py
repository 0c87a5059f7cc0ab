"""Estimated propensities, with what they rest on."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.files import write_text

_FEWEST = 10  # resamples from which an interval follows


@dataclass(frozen=True)
class Propensities:
    """How probably each rank is examined, relative to the rank that is examined most.

    Attributes:
        method: `em` or `swaps`.
        propensities: of ranks 1, 2, ...; the last holds for all later ranks.
        intervals: 95% intervals, [low, high] of each rank; None where there is none.
        shown: number of documents shown at each rank; the last counts later ranks, too.
        clicks: number of clicks on them.
        interpolated: ranks without data of their own, between their neighbours.
        sessions: number of sessions in the log.
        rows: number of rows that were used.
    """

    method: str
    propensities: list[float]
    intervals: list[list[float] | None]
    shown: list[int]
    clicks: list[int]
    interpolated: list[int]
    sessions: int
    rows: int

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a JSON file that `model.position_bias` and a loss's `propensity` take, atomically."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


def summarised(found: Array) -> tuple[list[float], list[list[float] | None], list[int]]:
    """Propensities, intervals and interpolated ranks.

    Args:
        found: θ of all sessions, then of each resample, [1 + resamples, ranks]; NaN where a rank has no data.
    """
    known = np.isfinite(found[0]) & (found[0] > 0)
    ranks = np.arange(1, known.nonzero()[0].max() + 2)
    known, found = known[: len(ranks)], found[:, : len(ranks)]
    # A straight line between the logarithms: the power law is one.
    theta = np.exp(np.interp(np.log(ranks), np.log(ranks[known]), np.log(found[0, known])))
    highest = int(theta.argmax())
    relative = theta / theta[highest]
    intervals: list[list[float] | None] = [None] * len(ranks)
    if len(found) > _FEWEST:
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(found[1:] / found[1:, highest : highest + 1])
        for i in np.flatnonzero(known):
            values = logs[np.isfinite(logs[:, i]), i]
            spread = 1.96 * float(values.std(ddof=1)) if len(values) > 1 else np.inf
            if np.isfinite(spread):
                intervals[i] = [float(relative[i] * np.exp(-spread)), float(relative[i] * np.exp(spread))]
    return relative.tolist(), intervals, (ranks[~known]).tolist()
