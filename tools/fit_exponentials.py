"""Fits the exponentials of `ops/pair_terms.py`: `python -m tools.fit_exponentials` prints rates and factors.

For a term f and x = e^-u, Σ_k c_k x^λ_k and Σ_k λ_k c_k x^λ_k approximate f and -df/du at once, with λ_1 = c_1 = 1. For
given rates the best factors are a linear least-squares problem; the rates are found by nonlinear least squares, and
errors weigh more where they were large, so that the largest of them becomes small. The search keeps factors small,
since large ones of either sign cost digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares

POINTS = 300
X = (1.0 - np.cos(np.pi * (np.arange(POINTS) + 0.5) / POINTS)) / 2.0  # Chebyshev nodes of 0 to 1
TERMS = {  # number of exponentials, largest Σ|c_k|, value / x, slope / x
    "Logistic": (8, 3.5, np.log1p(X) / X, 1.0 / (1.0 + X)),
    "SoftZeroOne": (9, 8.0, 1.0 / (1.0 + X), 1.0 / (1.0 + X) ** 2),
}


class Fit(NamedTuple):
    """Rates and factors, and the largest relative error of value and slope."""

    error: float
    rates: np.ndarray
    factors: np.ndarray


def best_factors(
    rates: np.ndarray, value: np.ndarray, slope: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The factors for these rates, and the weighted relative errors of value and slope."""
    powers = X[:, None] ** (rates - 1.0)
    rows = np.vstack([powers / value[:, None], powers * rates / slope[:, None]]) * weight[:, None]
    missing = weight - rows[:, 0]
    factors, *_ = np.linalg.lstsq(rows[:, 1:], missing, rcond=None)
    return np.concatenate([[1.0], factors]), rows[:, 1:] @ factors - missing


def fit(count: int, largest_sum: float, value: np.ndarray, slope: np.ndarray) -> Fit:
    """The best fit found from several starts."""

    def rates_of(logs: np.ndarray) -> np.ndarray:
        return np.concatenate([[1.0], 1.0 + np.cumsum(np.exp(logs))])

    best = Fit(np.inf, np.array([]), np.array([]))
    for spacing in (0.9, 1.0, 1.1, 1.15, 1.3):
        logs, weight = np.full(count - 1, np.log(spacing)), np.ones(2 * POINTS)
        for _ in range(25):
            logs = least_squares(
                lambda x, w=weight: best_factors(rates_of(x), value, slope, w)[1],
                logs, xtol=1e-15, ftol=1e-15, gtol=1e-15, max_nfev=6,
            ).x  # fmt: skip
            rates = rates_of(logs)
            factors, errors = best_factors(rates, value, slope, weight)
            errors = np.abs(errors / weight)
            if errors.max() < best.error and np.abs(factors).sum() < largest_sum:
                best = Fit(float(errors.max()), rates, factors)
            weight = weight * np.sqrt(0.1 + errors / errors.max())
            weight = weight / weight.mean()
    return best


if __name__ == "__main__":
    for name, (count, largest_sum, value, slope) in TERMS.items():
        found = fit(count, largest_sum, value, slope)
        print(f"{name}: relative error {found.error:.1e}, sum of |c| {np.abs(found.factors).sum():.1f}")
        print("    rates  ", ", ".join(f"{x:.9g}" for x in found.rates))
        print("    factors", ", ".join(f"{x:.12g}" for x in found.factors))
