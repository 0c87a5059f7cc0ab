"""Shapley values: what each feature adds to a value, averaged over the orders in which features can be added."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import numpy as np

from ml4ir_losses.core.arrays import Array

ENUMERATED = 12  # features of which all subsets are evaluated, half of 2^12 for their symmetry

Game = Callable[[Array], Array]
"""The values v [S] of subsets of K features, given as a boolean array [S, K]; v of a subset and of the others add to 0.
"""


class Shapley(NamedTuple):
    """Shapley values of K features and their standard errors, both [K]."""

    values: Array
    errors: Array


def shapley_of_all(game: Game, features: int, whole: float) -> Shapley:
    """Shapley values from all subsets of features, without an error; `whole` is v(all).

    $$\\phi_k = \\sum_{S \\not\\ni k} \\frac{|S|! (K - |S| - 1)!}{K!} (v(S \\cup k) - v(S))$$

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


def shapley_of_sample(game: Game, features: int, whole: float, permutations: int, seed: int) -> Shapley:
    """Shapley values as means over random orders in which the features are added, with their standard errors.

    In an order a feature adds v(those before it and itself) - v(those before it). The values sum to 2 v(all) for any
    orders. A reversed order gives the same (its subsets are the complements), so each counts as an antithetic pair.

    Args:
        game: see `Game`.
        features: K.
        whole: v(all).
        permutations: number of orders, at least 2.
        seed: of the orders.

    Source: Castro et al., "Polynomial calculation of the Shapley value based on sampling" (2009).
    """
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(features), (permutations, 1)), axis=1)
    place = np.argsort(orders, axis=1)
    members = place[:, None, :] < np.arange(1, features)[None, :, None]  # the first 1, ..., K - 1 of each order
    between = np.asarray(game(members.reshape(-1, features)), "float64").reshape(permutations, features - 1)
    values = np.pad(between, ((0, 0), (1, 1)), constant_values=((0, 0), (-whole, whole)))
    added = np.take_along_axis(np.diff(values, axis=1), place, axis=1)
    return Shapley(added.mean(axis=0), added.std(axis=0, ddof=1) / permutations**0.5)
