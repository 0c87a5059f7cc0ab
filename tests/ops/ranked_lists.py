"""Rankings with separable weights, and the sums over their pairs in float64 NumPy, one document after another."""

from functools import cache
from typing import NamedTuple

import numpy as np
from keras import ops

from losses.numeric import compiled_on_jax, values
from ml4ir_losses.ops.separable import SeparableWeights

SPREADS = (0.01, 1.0, 100.0, 1e4)
ORDERS = ("random", "perfect", "ties")
KINDS = ("levels", "binary", "all", "discounts", "gains")


class RankedLists(NamedTuple):
    lower: np.ndarray
    upper: np.ndarray
    mix: np.ndarray
    scores: np.ndarray
    mask: np.ndarray
    weight: np.ndarray


def ranked_lists(kind, rows, size, spread=1.0, order="random", seed=0):
    """Lists in descending order of float32 scores, between half full and full.

    Args:
        kind: the weights: by label level, for two levels, 1 for all pairs, by level times |d_i - d_j| or d of the
            document behind, for discounts d of the ranks.
        order: of the labels: "random"; "perfect", with few wrong or close pairs; random with "ties" of the scores.
    """
    rng = np.random.default_rng(seed)
    count = 2 if kind == "binary" else 5
    levels, scores = rng.integers(0, count, (rows, size)), rng.normal(size=(rows, size)) * spread
    if order == "perfect":
        scores = rng.uniform(-1, 1, (rows, size)) * spread - 2 * spread * levels
    if order == "ties":
        scores = np.round(2 * scores / spread) * spread / 2
    ranking = np.argsort(-scores, axis=1, kind="stable")
    scores, levels = (np.take_along_axis(x, ranking, axis=1) for x in (scores, levels))
    mask = np.arange(size) < rng.integers((size + 1) // 2, size + 1, (rows, 1))
    hot = np.eye(count)[levels] * mask[:, :, None]
    discount = 1 / np.log2(2 + np.arange(size))[:, None]
    lead = discount - discount[-1]  # with the same differences
    better = np.triu(np.ones((count, count)), 1)
    lower, upper, mix = {
        "levels": (hot, hot, better),
        "binary": (hot, hot, better),
        "all": (mask[:, :, None], mask[:, :, None], np.ones((1, 1))),
        "discounts": (
            np.concatenate([-lead * hot, hot], axis=2),
            np.concatenate([hot, lead * hot], axis=2),
            np.kron(np.eye(2), better),
        ),
        "gains": (discount * hot, hot, better),
    }[kind]
    scores = np.where(mask, scores, 7.0)
    weight = rng.uniform(0.1, 2.0, (rows, size))
    lists = RankedLists(lower, upper, mix[None], scores, mask, weight)
    return RankedLists(*(x if x is mask else x.astype("float32") for x in lists))


def pair_sums_of(term, lists, weight=None, rows=500):
    """Total [B], values and slopes [B, N] of a NumPy term, from the pairs of `rows` documents with all others."""
    lower, upper, mix, scores, weight = (
        x.astype("float64") for x in (*lists[:4], np.ones_like(lists.scores) if weight is None else weight)
    )
    scores = np.where(lists.mask, scores, 0.0)
    size = scores.shape[1]
    found, slopes = np.zeros(scores.shape), np.zeros(scores.shape)
    for start in range(0, size, rows):
        some = slice(start, start + rows)
        behind = np.arange(size)[some, None] >= np.arange(size)
        pairs = np.where(
            behind, lower[:, some] @ mix @ upper.swapaxes(1, 2), upper[:, some] @ mix @ lower.swapaxes(1, 2)
        )
        value, slope = term(scores[:, some, None] - scores[:, None, :])
        found[:, some] = np.sum(pairs * value, axis=2)
        slope = weight[:, some, None] * pairs * slope
        slopes[:, some] += np.sum(slope, axis=2)
        slopes -= np.sum(slope, axis=1)
    return found.sum(axis=1), found, slopes


@cache
def engine_sums(engine, term, is_symmetric):
    """A function of lists as tensors that returns total, values, and slopes without and with weight."""

    def function(lower, upper, mix, scores, mask, weight):
        sums = engine(term, SeparableWeights(lower, lower if is_symmetric else upper, mix), scores, mask)
        return sums.total(), sums.values(), sums.slopes(), sums.slopes(weight)

    return compiled_on_jax(function)


def graph_of_sums(engine, term, kind, jit):
    """`engine_sums` as a TensorFlow graph with unknown shapes."""
    import tensorflow as tf

    lists = ranked_lists(kind, 1, 1)
    function = engine_sums(engine, term, np.array_equal(lists.lower, lists.upper))
    shapes = [(None, None, x.shape[-1]) if x.ndim == 3 else (None, None) for x in lists]
    shapes[2] = lists.mix.shape
    signature = [tf.TensorSpec(shape, x.dtype) for shape, x in zip(shapes, lists, strict=True)]
    return tf.function(function, input_signature=signature, jit_compile=jit, autograph=False)


def assert_sums_match(engine, term, numpy_term, lists, found=None, slope_tolerance=2e-6):
    """Within 1e-6 of the total and of the largest value of the list, and the tolerance times its largest slope."""
    if found is None:
        function = engine_sums(engine, term, np.array_equal(lists.lower, lists.upper))
        found = function(*map(ops.convert_to_tensor, lists))
    total, each, slopes, weighted_slopes = map(values, found)
    expected_total, expected_each, expected_slopes = pair_sums_of(numpy_term, lists)
    expected_weighted = pair_sums_of(numpy_term, lists, lists.weight)[2]
    pairs = (
        (total[:, None], expected_total[:, None], 1e-6),
        (each, expected_each, 1e-6),
        (weighted_slopes, expected_weighted, slope_tolerance),
        (slopes, expected_slopes, slope_tolerance),
    )
    if lists.mix.shape[-1] == 1:  # a document is as often the better one as the worse, and its slope nearly nothing
        pairs = pairs[:-1]
    for actual, expected, tolerance in pairs:
        errors = np.abs(actual - expected)
        assert (errors <= tolerance * np.abs(expected).max(axis=1, keepdims=True)).all(), errors.max()
    return expected_each
