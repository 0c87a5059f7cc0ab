"""Propensities from an ordinary log by regression-EM: relevance is a regression on the documents' features."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.propensities.click_rows import ClickRows, LogColumns, hashes, poisson_weights
from ml4ir_losses.data.table import Table

_CATEGORIES = 254  # of a column, which scikit-learn's trees tell apart; the others share one
_STARTS, _TOLERANCE, _LEAST = 4, 2e-3, 1e-6
_HIGHEST = np.float64(2**64)


class EmSample:
    """A uniform sample of the sessions of a log, with the features of their documents.

    Sessions are kept by the hash of their id: those below a limit, which falls if the sample grows beyond `max_rows`.

    Args:
        features: names or globs of columns; text that is not a number is a category.
        columns: the names of the log's columns, which are no features.
        max_rows: the largest number of rows of the sample.
    """

    def __init__(self, features: Sequence[str], columns: LogColumns, max_rows: int) -> None:
        self.features, self.columns, self.max_rows = features, columns, max_rows
        self.limit = _HIGHEST
        self.names: list[str] = []
        self.is_text: list[bool] = []
        self.parts: list[tuple[Array, ...]] = []

    def add(self, rows: ClickRows) -> None:
        """Takes rows."""
        if not self.names:
            self.names = _matching(rows.table, self.features, self.columns)
            self.is_text = [_is_text(rows.table, name) for name in self.names]
        kept = np.flatnonzero(rows.session.astype(float) < self.limit)
        table = rows.table.take(kept)
        values = [
            hashes(table.strings(n)) if t else table.numeric(n) for n, t in zip(self.names, self.is_text, strict=True)
        ]
        # A category is the first 52 bits of its hash, which a float holds.
        x = np.stack([(v >> np.uint64(12)).astype(float) if v.dtype == np.uint64 else v for v in values], axis=1)
        self.parts.append((rows.session[kept], rows.rank[kept], rows.click[kept], x))
        while sum(len(part[0]) for part in self.parts) > self.max_rows:
            self.limit /= 2
            self.parts = [tuple(v[part[0].astype(float) < self.limit] for v in part) for part in self.parts]

    def rows(self) -> tuple[Array, ...]:
        """Sessions, ranks, clicks and features of the sample; categories are numbered by their frequency."""
        session, rank, click, x = (np.concatenate(values) for values in zip(*self.parts, strict=True))
        for i in np.flatnonzero(self.is_text):
            _, codes, counts = np.unique(x[:, i], return_inverse=True, return_counts=True)
            place = np.empty(len(counts))
            place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
            x[:, i] = np.minimum(place, _CATEGORIES)[codes]
        return session, rank, click, x


def regression_em(
    sample: EmSample,
    max_position: int,
    rounds: int,
    resamples: int,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Array:
    r"""θ of ranks 1, 2, ... relative to rank 1, of the sample and of each bootstrap resample of its sessions.

    $$P(c) = \theta_r \gamma(x)$$
    by EM. The E step is $P(R = 1 | c = 0) = \gamma (1 - \theta) / (1 - \theta\gamma)$, 1 after a click. The M step fits
    gradient-boosted trees γ to it, and θ solves Σ (c - θγ) = 0 at each rank. It is divided by θ₁, since only ratios are
    identified; the mean of P(E = 1), the M step of the paper, would keep θ₁ at 1 and give the error of trees that are
    smoother than relevance at the first rank to the others.

    EM moves slowly where few documents are clicked. It starts from the estimates of a model of the same mean with
    Poisson likelihood, which needs no EM: γ is a regression of c/θ with weights θ, and θ follows from it as above.
    Resamples take one round of the latter from the estimates of the sample, and tell nothing about errors of the model.

    Source: Wang, Golbandi, Bendersky, Metzler, Najork, "Position bias estimation for unbiased learning to rank in
    personal search" (2018).
    """
    session, rank, click, x = sample.rows()
    regression = _Regression(x, np.asarray(sample.is_text), seed)
    place = np.minimum(rank, max_position) - 1
    size = int(place.max()) + 1
    total, done = _STARTS + rounds + resamples, 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    def at_ranks(values: Array) -> Array:
        return np.bincount(place, values, size)

    def from_poisson(theta: Array, weight: Array, number: int) -> tuple[Array, Array]:
        for _ in range(number):
            gamma = regression.fit(click / theta[place], weight * theta[place], "poisson")
            theta = _relative(at_ranks(weight * click), at_ranks(weight * gamma))
            step()
        return theta, np.clip(gamma, _LEAST, 1.0 - _LEAST)

    ones = np.ones(len(click))
    theta, gamma = from_poisson(_relative(at_ranks(click), at_ranks(ones)), ones, _STARTS)
    for _ in range(rounds):
        before = theta
        relevant = np.where(click, 1.0, gamma * (1.0 - theta[place]) / (1.0 - theta[place] * gamma))
        gamma = np.clip(regression.fit(relevant, ones, "squared_error"), _LEAST, 1.0 - _LEAST)
        theta = _relative(at_ranks(click), at_ranks(gamma))
        step()
        if np.abs(np.log(theta / before)).max() < _TOLERANCE:
            break
    found = [theta]
    for resample in range(1, resamples + 1):
        found.append(from_poisson(theta, poisson_weights(session, resample, seed), 1)[0])
    return np.where(at_ranks(click) > 0, np.stack(found), np.nan)


class _Regression:
    """Gradient-boosted trees on the features of the rows, fitted to any target."""

    def __init__(self, x: Array, categorical: Array, seed: int) -> None:
        self.x, self.categorical, self.seed = x, categorical, seed

    def fit(self, target: Array, weight: Array, loss: str) -> Array:
        """What trees fitted to the target predict, [rows]."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        leaf = max(20, len(target) // 1000)
        trees = HistGradientBoostingRegressor(
            loss=loss,
            max_iter=40,
            learning_rate=0.15,
            max_leaf_nodes=15,
            min_samples_leaf=leaf,
            early_stopping=False,
            categorical_features=self.categorical,
            random_state=self.seed,
        )
        used = weight > 0
        predicted: Array = trees.fit(self.x[used], target[used], weight[used]).predict(self.x)
        return predicted


def _relative(clicks: Array, expected: Array) -> Array:
    """Clicks in relation to expected ones, as ratios to rank 1, from `_LEAST` to 1."""
    rates = clicks / np.maximum(expected, _LEAST)
    return np.asarray(np.clip(rates / max(rates[0], _LEAST), _LEAST, 1.0))


def _matching(table: Table, features: Sequence[str], columns: LogColumns) -> list[str]:
    roles, names = set(vars(columns).values()), table.names
    found = dict.fromkeys(
        n for pattern in features for n in names if fnmatch.fnmatchcase(n, pattern) and n not in roles
    )
    for pattern in features:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in found):
            table.require(pattern, "features")
            raise DataError(f"{table.source}: {pattern!r} (features) is a column of the log, not of its documents.")
    return list(found)


def _is_text(table: Table, name: str) -> bool:
    try:
        table.numeric(name)
    except DataError:
        return True
    return False
