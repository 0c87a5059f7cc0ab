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
    for found in (
        shapley_of_all(game, FEATURES, whole),
        shapley_of_sample(game, FEATURES, -whole, whole, 3, 0, antithetic=False),
    ):
        assert np.isclose(found.values.sum(), 2 * whole, rtol=1e-12)


def test_sampled_values_lie_within_their_standard_errors():
    game, whole = antisymmetric_game(FEATURES)
    exact = shapley_of_all(game, FEATURES, whole).values
    found = [shapley_of_sample(game, FEATURES, -whole, whole, 100, seed, antithetic=False) for seed in range(200)]
    away = np.array([(one.values - exact) / one.errors for one in found])
    assert abs(away.mean()) < 0.1
    assert 0.85 < away.std() < 1.15  # a normal deviation has 1


def test_a_sample_of_a_sum_is_exact():
    weights = np.array([0.5, -2.0, 0.25])
    found = shapley_of_sample(
        lambda members: (members - 0.5) @ weights, 3, -weights.sum() / 2, weights.sum() / 2, 4, 0, antithetic=False
    )
    np.testing.assert_allclose(found.values, weights, rtol=1e-12)
    np.testing.assert_allclose(found.errors, 0.0, atol=1e-12)


def test_a_sample_is_reproducible_by_its_seed():
    game, whole = antisymmetric_game(FEATURES)
    one, same, other = (
        shapley_of_sample(game, FEATURES, -whole, whole, 8, seed, antithetic=False).values for seed in (1, 1, 2)
    )
    assert (one == same).all()
    assert (one != other).any()


def test_antithetic_orders_are_exact_where_at_most_pairs_of_features_interact():
    weights, interactions = np.array([1.0, -2.0, 0.5, 3.0]), np.random.default_rng(2).normal(size=(4, 4))

    def game(members):
        return members @ weights + np.einsum("si,ij,sj->s", members, interactions, members) + 7.0

    expected = mean_over_all_orders(game, 4)
    whole = float(game(np.ones((1, 4), bool))[0])
    found = [shapley_of_sample(game, 4, 7.0, whole, 50, seed, antithetic=True) for seed in range(100)]
    np.testing.assert_allclose([one.values.sum() for one in found], whole - 7.0, rtol=1e-12)
    # Pairs of a feature with one before it: an order and its reverse have each pair once, so nothing is left to chance.
    np.testing.assert_allclose(found[0].values, expected, rtol=1e-10)
    np.testing.assert_allclose(found[0].errors, 0.0, atol=1e-10)
    alone = shapley_of_sample(game, 4, 7.0, whole, 100, 0, antithetic=False)
    assert (alone.errors > 0.01).all()
