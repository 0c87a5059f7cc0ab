"""Shapley values: from all subsets and from sampled orders, against a loop over all orders."""

from itertools import permutations

import numpy as np
import pytest

from ml4ir_losses.evaluation.shapley import shapley_of_all, shapley_of_sample

FEATURES = 5


def antisymmetric_game(features, seed=0):
    """A random game whose values of a subset and of the other features add to 0, with any interactions."""
    half = np.random.default_rng(seed).normal(size=2 ** (features - 1))
    values = np.concatenate([half, -half[::-1]])

    def game(members):
        return values[members @ (1 << np.arange(features))]

    return game, float(values[-1])


def mean_over_all_orders(game, features):
    """What each feature adds, averaged over all orders, by plain loops."""
    total = np.zeros(features)
    orders = list(permutations(range(features)))
    for order in orders:
        members = np.zeros(features, bool)
        before = game(members[None])[0]
        for feature in order:
            members[feature] = True
            after = game(members[None])[0]
            total[feature] += after - before
            before = after
    return total / len(orders)


@pytest.mark.parametrize("features", [1, 2, FEATURES])
def test_values_from_all_subsets_equal_the_mean_over_all_orders(features):
    game, whole = antisymmetric_game(features)
    found = shapley_of_all(game, features, whole)
    np.testing.assert_allclose(found.values, mean_over_all_orders(game, features), rtol=1e-12, atol=1e-12)
    assert (found.errors == 0).all()


def test_values_sum_to_twice_the_value_of_all_features():
    game, whole = antisymmetric_game(FEATURES)
    for found in (shapley_of_all(game, FEATURES, whole), shapley_of_sample(game, FEATURES, whole, 3, 0)):
        assert np.isclose(found.values.sum(), 2 * whole, rtol=1e-12)


def test_sampled_values_lie_within_their_standard_errors():
    game, whole = antisymmetric_game(FEATURES)
    exact = shapley_of_all(game, FEATURES, whole).values
    found = [shapley_of_sample(game, FEATURES, whole, 100, seed) for seed in range(200)]
    away = np.array([(one.values - exact) / one.errors for one in found])
    assert abs(away.mean()) < 0.1
    assert 0.85 < away.std() < 1.15  # a normal deviation has 1


def test_a_sample_of_a_sum_is_exact():
    weights = np.array([0.5, -2.0, 0.25])
    found = shapley_of_sample(lambda members: (members - 0.5) @ weights, 3, weights.sum() / 2, 4, 0)
    np.testing.assert_allclose(found.values, weights, rtol=1e-12)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)


def test_a_sample_is_reproducible_by_its_seed():
    game, whole = antisymmetric_game(FEATURES)
    one, same, other = (shapley_of_sample(game, FEATURES, whole, 8, seed).values for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
