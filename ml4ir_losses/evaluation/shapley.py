"""Shapley values: what each feature adds to a value, averaged over the orders in which features can be added."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import numpy as np

from ml4ir_losses.core.arrays import Array

ENUMERATED = 12  # features of which all subsets are evaluated, half of 2^12 for their symmetry

Game = Callable[[Array], Array]
"""The values v [S] of subsets of K features, given as a boolean array [S, K]."""


class Shapley(NamedTuple):
    """Shapley values of K features and their standard errors, both [K]."""

    values: Array
    errors: Array


def shapley_of_all(game: Game, features: int, whole: float) -> Shapley:
    """Shapley values from all subsets of features, without an error.

    $$\\phi_k = \\sum_{S \\not\\ni k} \\frac{|S|! (K - |S| - 1)!}{K!} (v(S \\cup k) - v(S))$$

    Args:
        game: an antisymmetric game: v of a subset and v of the other features add to 0. Half of them are evaluated.
        features: K.
        whole: v(all).

    Source: Shapley, "A value for n-person games" (1953).
    """
    subsets = np.arange(2**features)
    members = (subsets[:, None] >> np.arange(features)) & 1 > 0
    half = len(subsets) // 2  # those without the last feature; the others are their complements, in reverse order
    lower = np.asarray(game(members[1:half]), "float64")
    values = np.concatenate([[-whole], lower, -lower[::-1], [whole]])
    sizes = members.sum(axis=1)
    weight = np.array([factorial(s) * factorial(features - s - 1) / factorial(features) for s in range(features)])
    found = np.zeros(features)
    for k in range(features):
        without = subsets[~members[:, k]]
        found[k] = weight[sizes[without]] @ (values[without | 1 << k] - values[without])
    return Shapley(found, np.zeros(features))


def shapley_of_sample(
    game: Game, features: int, empty: float, whole: float, permutations: int, seed: int, *, antithetic: bool
) -> Shapley:
    """Shapley values as means over random orders in which the features are added, with their standard errors.

    In an order a feature adds v(those before it and itself) - v(those before it). For any orders the values sum to
    v(all) - v(none).

    Args:
        game: the values of subsets.
        features: K.
        empty: v(none).
        whole: v(all).
        permutations: number of orders, at least 2.
        seed: of the orders.
        antithetic: take each order also in reverse, which reduces the error. In an antisymmetric game (see
            `shapley_of_all`) the reverse gives the same, and need not be evaluated.

    Source: Castro et al., "Polynomial calculation of the Shapley value based on sampling" (2009); Mitchell et al.,
        "Sampling permutations for Shapley value estimation" (2022).
    """
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(features), (permutations, 1)), axis=1)
    taken = np.concatenate([orders, orders[:, ::-1]]) if antithetic else orders
    place = np.argsort(taken, axis=1)
    members = place[:, None, :] < np.arange(1, features)[None, :, None]  # the first 1, ..., K - 1 of each order
    between = np.asarray(game(members.reshape(-1, features)), "float64").reshape(len(taken), features - 1)
    values = np.pad(between, ((0, 0), (1, 1)), constant_values=((0, 0), (empty, whole)))
    added = np.take_along_axis(np.diff(values, axis=1), place, axis=1)
    added = added.reshape(-1, permutations, features).mean(axis=0)
    return Shapley(added.mean(axis=0), added.std(axis=0, ddof=1) / permutations**0.5)
