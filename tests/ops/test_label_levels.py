"""Levels of labels, and the weights of pairs made from them, against loops over the documents."""

import numpy as np
import pytest
from keras import ops

from losses.numeric import values
from ml4ir_losses.ops.label_levels import at_levels, label_levels
from ml4ir_losses.ops.separable import level_differences, weights_by_level, weights_by_level_and_discount

LABELS = np.array([[2.0, 0.5, 2.0, -1.0, 9.0], [1.0, 1.0, 1.0, 1.0, 1.0], [4.0, 3.0, 2.0, 1.0, 0.0]], "float32")
MASK = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], bool)


def levels_of(labels=LABELS, mask=MASK, most=3):
    return label_levels(*map(ops.convert_to_tensor, (labels, mask)), most)


def pairs_of(weights):
    """Λ of the pairs (i, j), i the better document, in the order of the list, [B, N, N]."""
    lower, upper, mix = (values(x) for x in weights)
    behind = np.tril(np.ones((lower.shape[1],) * 2, bool))
    return np.where(behind, lower @ mix @ upper.swapaxes(1, 2), upper @ mix @ lower.swapaxes(1, 2))


def test_levels_are_indicators_from_the_highest_label_down():
    expected = np.zeros((3, 5, 3))
    for row, document, level in [(0, 0, 0), (0, 2, 0), (0, 1, 1), (0, 3, 2), (2, 0, 0), (2, 1, 1)]:
        expected[row, document, level] = 1.0
    expected[1, :, 0] = 1.0
    levels = levels_of()
    np.testing.assert_array_equal(values(levels.indicators), expected)
    assert bool(levels.complete)


@pytest.mark.parametrize("most", [1, 2])
def test_too_many_labels_are_reported(most):
    levels = levels_of(most=most)
    assert not bool(levels.complete)
    assert values(levels.indicators).sum() == (8 if most == 1 else 10)


def test_padding_has_no_level():
    assert not values(levels_of().indicators)[~MASK].any()
    nothing = levels_of(mask=np.zeros_like(MASK))
    assert bool(nothing.complete)
    assert not values(nothing.indicators).any()


def test_at_levels_returns_the_number_of_each_level_and_zero_for_empty_ones():
    gains = ops.convert_to_tensor(np.where(MASK, -(LABELS**2), 77.0).astype("float32"))
    expected = [[-4.0, -0.25, -1.0], [-1.0, 0.0, 0.0], [-16.0, -9.0, 0.0]]
    np.testing.assert_allclose(values(at_levels(gains, levels_of())), expected)


def test_weights_by_level_multiply_a_number_of_the_levels_by_products_of_the_documents():
    rng = np.random.default_rng(0)
    by_level = np.triu(rng.uniform(size=(3, 3, 3)), 1).astype("float32")
    lower, upper = rng.normal(size=(2, 2, *LABELS.shape)).astype("float32")
    levels = levels_of()
    factors = (tuple(map(ops.convert_to_tensor, x)) for x in (lower, upper))
    plain = pairs_of(weights_by_level(levels.indicators, ops.convert_to_tensor(by_level)))
    found = pairs_of(weights_by_level(levels.indicators, ops.convert_to_tensor(by_level), *factors))
    level = np.argmax(values(levels.indicators), axis=2)
    for row, i, j in np.ndindex(3, 5, 5):
        valid = MASK[row, i] and MASK[row, j]
        expected = by_level[row, level[row, i], level[row, j]] if valid else 0.0
        np.testing.assert_allclose(plain[row, i, j], expected, rtol=1e-6)
        products = sum(lower[r, row, max(i, j)] * upper[r, row, min(i, j)] for r in range(2))
        np.testing.assert_allclose(found[row, i, j], expected * products, rtol=1e-5, atol=1e-6)


def test_weights_by_gain_and_discount_are_products_of_two_differences():
    gains = np.where(MASK, 2.0**LABELS - 1, 0.0).astype("float32")
    discounts = np.tile(1 / np.log2(2 + np.arange(5)), (3, 1)).astype("float32")
    levels = levels_of()
    by_level = level_differences(ops.convert_to_tensor(gains), levels)
    found = pairs_of(weights_by_level_and_discount(by_level, ops.convert_to_tensor(discounts), levels))
    for row, i, j in np.ndindex(3, 5, 5):
        is_pair = MASK[row, i] and MASK[row, j] and LABELS[row, i] > LABELS[row, j]
        expected = abs(gains[row, i] - gains[row, j]) * abs(discounts[row, i] - discounts[row, j])
        np.testing.assert_allclose(found[row, i, j], expected * is_pair, rtol=1e-5, atol=1e-6)
