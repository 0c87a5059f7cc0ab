"""Propensities from sessions that swap the document at rank 1 with that at another rank, at random."""

from __future__ import annotations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.propensities.click_rows import ClickRows, LogColumns, poisson_weights, whole


class SwapCounts:
    r"""Sums over the rows of a log from which the ratios of propensities follow, in memory that does not grow.

    A session of the experiment on rank k has `swap_rank` k, and by chance `swapped` 0 or 1. The documents at the ranks
    1 and k are the same in both arms, so that with click rates $c$
    $$\theta_k / \theta_1 = (c_k^{swapped} + c_k^{kept}) / (c_1^{swapped} + c_1^{kept})$$

    Args:
        columns: the names of the log's columns.
        max_position: experiments on later ranks are left out.
        resamples: number of bootstrap resamples of sessions.
        seed: of the resamples.

    Source: Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback" (2017), section 5.1.
    """

    def __init__(self, columns: LogColumns, max_position: int, resamples: int, seed: int) -> None:
        self.columns, self.max_position, self.seed = columns, max_position, seed
        # rank of the experiment, swapped or not, at rank 1 or k; the rows shown there, and their clicks
        self.sums = np.zeros((resamples + 1, 2, (max_position + 1) * 4))

    def add(self, rows: ClickRows) -> None:
        """Takes rows."""
        table, columns = rows.table, self.columns
        for name in ("swap_rank", "swapped"):
            table.require(getattr(columns, name), name)
        k = whole(table, columns.swap_rank, 0, np.inf, "the swapped rank is a whole number, 0 without an experiment")
        swapped = whole(table, columns.swapped, 0, 1, "swapped is 0 or 1")
        used = (k > 1) & (k <= self.max_position) & ((rows.rank == 1) | (rows.rank == k))
        cell = (k * 4 + swapped * 2 + (rows.rank == k))[used]
        session, click = rows.session[used], rows.click[used]
        for resample, sums in enumerate(self.sums):
            weight = poisson_weights(session, resample, self.seed)
            sums[0] += np.bincount(cell, weight, sums.shape[1])
            sums[1] += np.bincount(cell, weight * click, sums.shape[1])

    def result(self) -> Array:
        """θ of ranks 1, 2, ... relative to rank 1, of all sessions and of each resample; NaN without an experiment.

        Raises:
            DataError: no session is part of an experiment.
        """
        if not self.sums[0, 0].any():
            raise DataError(
                f"No session swaps documents: {self.columns.swap_rank!r} is 0 everywhere. "
                "Without such an experiment use the method em."
            )
        shown, clicks = self.sums.reshape(len(self.sums), 2, -1, 2, 2).swapaxes(0, 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            at_first, at_other = np.moveaxis((clicks / shown).sum(axis=2), -1, 0)
            ratios: Array = (at_other / at_first)[:, 1:]
        ratios[:, 0] = 1.0
        return np.where(np.isfinite(ratios), ratios, np.nan)
