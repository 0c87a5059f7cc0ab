"""Losses made from metrics: limits, noise and user-defined metrics."""

import inspect
from functools import partial

import keras
import numpy as np
import pytest
from keras import ops

from losses.cases import make_batch
from losses.numeric import DOUBLE, assert_close, gradient, values
from ml4ir_losses.functional import arp, dcg, mrr, ndcg
from ml4ir_losses.losses.base import ListwiseLossBase
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.listwise.surrogates import approx, bound, gumbel, neural_sort
from ml4ir_losses.ops.neural_sort import neural_sort_matrix
from ml4ir_losses.ops.samples import mean_over_samples
from ml4ir_losses.ops.sampling import gumbel_noise, perturb
from ml4ir_losses.ops.sinkhorn import sinkhorn

METRICS = {
    "ndcg": ndcg,
    "ndcg@3": partial(ndcg, topn=3),
    "dcg": partial(dcg, gain="identity"),
    "mrr": mrr,
    "mrr@2": partial(mrr, topn=2),
    "arp": arp,
    "arp@2": partial(arp, topn=2),
}


def apart(seed=3):
    return make_batch("approx_ndcg", seed, ties=False)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("name", METRICS)
def test_bound_is_never_below_the_metric_as_a_loss(name, temperature):
    batch, metric = make_batch("approx_ndcg", 4), METRICS[name]
    exact = values(metric(batch.labels, batch.scores, batch.mask)[0]) * (1 if name.startswith("arp") else -1)
    bounded = values(bound(metric, temperature)(batch.labels, batch.scores, batch.mask))
    assert (bounded >= exact - 1e-6).all()
    assert (bounded > exact + 1e-3).any()


def test_bound_of_a_metric_by_key():
    labels, scores = np.array([[0.0, 2.0, 1.0]]), np.array([[3.0, 2.5, -1.0]])
    # ranks: 1 + 0.5, 1 + 1.5 and 1 + 5 + 4.5
    assert values(bound("arp")(labels, scores))[0] == pytest.approx((2 * 2.5 + 10.5) / 3)
    assert values(bound("mrr")(labels, scores))[0] == pytest.approx(-1 / 2.5)


@pytest.mark.parametrize("transformation", [approx, neural_sort])
@pytest.mark.parametrize("name", METRICS)
def test_surrogates_tend_to_their_metric(transformation, name):
    batch, metric = apart(), METRICS[name]
    exact, _ = metric(batch.labels, batch.scores, batch.mask)
    smooth = transformation(metric, temperature=0.001)(batch.labels, batch.scores, batch.mask)
    assert_close(values(smooth), values(exact) * (1 if name.startswith("arp") else -1))


@pytest.mark.parametrize("key", ["approx_ndcg", "neural_sort_ndcg", "neural_ndcg", "neural_ndcg_transposed"])
@pytest.mark.parametrize("seed", range(3))
def test_ndcg_losses_tend_to_ndcg(key, seed):
    batch = apart(seed)
    exact, _ = ndcg(batch.labels, batch.scores, batch.mask)
    assert_close(
        values(get_loss(key, temperature=0.001).per_query(batch.labels, batch.scores, mask=batch.mask)), -values(exact)
    )


def test_approx_mrr_tends_to_mrr_with_one_relevant_document():
    batch = apart()
    labels = np.zeros_like(batch.labels)
    labels[np.arange(7), np.argmax(batch.mask, axis=1)] = 2.0
    exact, _ = mrr(labels, batch.scores, batch.mask)
    smooth = get_loss("approx_mrr", temperature=0.001).per_query(labels, batch.scores, mask=batch.mask)
    assert_close(values(smooth), -values(exact))


def test_cutoff_of_smooth_ranks_lies_between_two_ranks():
    """A rank of 3.02 is still among the top 3."""
    scores, labels = np.array([[3.0, 2.0, 1.0, 0.0]]), np.array([[0.0, 0.0, 1.0, 0.0]])
    assert values(approx(partial(mrr, topn=3), 0.25)(labels, scores))[0] == pytest.approx(-1 / 3, abs=0.01)


@pytest.mark.parametrize("key", ["gumbel_approx_ndcg", "gumbel_neural_sort_cross_entropy", "gumbel_neural_sort_ndcg"])
def test_gumbel_loss_is_the_mean_over_its_samples(key):
    batch = make_batch(key)
    loss = get_loss(key, seed=5, sample_size=3, gumbel_temperature=0.7)
    plain = get_loss(key.removeprefix("gumbel_"))
    scores = ops.convert_to_tensor(batch.scores)
    samples = [perturb(scores, batch.mask, noise, 0.7) for noise in gumbel_noise(scores, 3, 5)]
    means = np.mean([values(plain.per_query(batch.labels, s, batch.weight, batch.mask)) for s in samples], axis=0)
    assert_close(values(loss.per_query(batch.labels, scores, batch.weight, batch.mask)), means)


def test_equal_seeds_give_equal_sequences():
    batch = make_batch("gumbel_approx_ndcg")
    first, second, other = (get_loss("gumbel_approx_ndcg", seed=s).get_loss_fn() for s in (1, 1, 2))
    draws = [float(first(batch.labels, batch.scores)) for _ in range(3)]
    assert draws == [float(second(batch.labels, batch.scores)) for _ in range(3)]
    assert len(set(draws)) == 3
    assert draws[0] != float(other(batch.labels, batch.scores))


def test_neural_ndcg_draws_only_if_stochastic():
    batch = make_batch("neural_ndcg")
    for stochastic in (True, False):
        loss = get_loss("neural_ndcg", stochastic=stochastic, seed=1, n_samples=2, beta=1.0, max_iter=3)
        assert loss.samples is stochastic
        fn = loss.get_loss_fn()
        draws = {float(fn(batch.labels, batch.scores)) for _ in range(3)}
        assert len(draws) == (3 if stochastic else 1)


def success_at_half(labels, scores, mask=None, *, item_weight=None, rank_fn=None):
    """A user-defined metric: the share of the relevance above rank 2.5, with a smooth edge."""
    from ml4ir_losses.ops.soft_ranks import exact_ranks

    relevant = ops.where(mask, ops.cast(labels, scores.dtype), 0.0)
    share = (rank_fn or exact_ranks)(scores, mask)(lambda rank: ops.clip(3.0 - rank, 0.0, 1.0))
    total = ops.sum(relevant, axis=-1)
    return ops.sum(relevant * share, axis=-1) / ops.where(total > 0, total, 1.0), ops.sign(total)


class SuccessLoss(ListwiseLossBase):
    """A sampled loss of a user-defined metric."""

    key = "success"
    function = staticmethod(gumbel(approx(success_at_half, temperature=0.5), sample_size=4))
    stochastic = True


def test_custom_metric_becomes_a_loss():
    assert set(SuccessLoss().params) >= {"temperature", "sample_size", "gumbel_temperature", "seed", "min_label"}
    with pytest.raises(ValueError, match="sample_size"):
        SuccessLoss(sample_size=0)

    inputs = keras.Input((6, 3))
    scores = keras.layers.Reshape((6,))(keras.layers.Dense(1, kernel_initializer=keras.initializers.Zeros())(inputs))
    model = keras.Model(inputs, scores)
    model.compile(keras.optimizers.Adam(0.1), loss=SuccessLoss(seed=3).get_loss_fn())
    x = np.random.default_rng(0).normal(size=(30, 6, 3)).astype("float32")
    best = np.argmax(x[:, :, 0], axis=1)
    labels = np.eye(6, dtype="float32")[best]
    model.fit(x, labels, batch_size=30, epochs=30, verbose=0)
    exact, _ = success_at_half(labels, ops.convert_to_tensor(model(x)), np.ones((30, 6), dtype=bool))
    assert values(exact).mean() > 0.8


def test_transformed_loss_has_the_parameters_of_both():
    parameters = inspect.signature(gumbel(approx("mrr", temperature=0.2), sample_size=3, seed=1)).parameters
    shown = {name: p.default for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY and name != "item_weight"}
    assert shown == {"temperature": 0.2, "sample_size": 3, "gumbel_temperature": 1.0, "seed": 1}


def test_neural_sort_gradient_at_ties_is_the_mean_of_both_sides():
    if not DOUBLE:
        pytest.skip("JAX computes in float32")
    labels, scores = np.array([[0.0, 2.0, 1.0, 3.0]]), np.array([[1.0, 1.0, 0.5, 1.0]])
    fn = neural_sort(ndcg)
    slopes = gradient(lambda s: fn(labels, s), scores)
    for i, step in enumerate(np.eye(4)[:, None, :] * 1e-7):
        up, down = (values(fn(labels, scores + sign * step))[0] for sign in (1, -1))
        assert slopes[0, i] == pytest.approx((up - down) / 2e-7, abs=1e-6)


def test_neural_sort_of_long_lists_is_exact():
    """NeuralSort's terms are 1e7 here and cancel: float32 must resolve gaps of 0.1 between distant scores."""
    rng = np.random.default_rng(0)
    scores = np.repeat(np.round(rng.uniform(-1e4, 1e4, (1, 500))), 2, axis=1)
    scores[:, 1::2] += 0.125
    mask = np.ones((1, 1000), dtype=bool)
    single = values(neural_sort_matrix(ops.convert_to_tensor(scores, "float32"), mask))
    order = np.sort(scores[0])[::-1]
    own = order * 0.0
    for r, v in enumerate(order):
        near = np.abs(order[:, None] - order)
        exponent = (1000 + 1 - 2 * (r + 1)) * order - near.sum(axis=1)
        own[r] = (
            np.exp(exponent - exponent.max())[np.argmin(np.abs(order - v))] / np.exp(exponent - exponent.max()).sum()
        )
    index = np.argsort(-scores[0], kind="stable")
    np.testing.assert_allclose(single[0, np.arange(1000), index], own, atol=1e-3)


def test_sinkhorn_sums_and_gradient():
    rng = np.random.default_rng(0)
    matrix = rng.dirichlet(np.ones(5), (2, 5))
    matrix[1, 3:], matrix[1, :, 3:] = 0.0, 0.0
    balanced = values(sinkhorn(ops.convert_to_tensor(matrix), 100))
    assert_close(balanced.sum(axis=1), [[1] * 5, [1, 1, 1, 0, 0]], double=1e-6)
    assert_close(balanced.sum(axis=2), [[1] * 5, [1, 1, 1, 0, 0]])

    def plain(x):
        for _ in range(7):
            columns, x = x.sum(axis=1, keepdims=True), x
            x = x / np.where(columns > 0, columns, 1)
            rows = x.sum(axis=2, keepdims=True)
            x = x / np.where(rows > 0, rows, 1)
        return x

    probe = rng.normal(size=matrix.shape)
    assert_close(values(sinkhorn(ops.convert_to_tensor(matrix), 7)), plain(matrix))
    slopes = gradient(lambda x: sinkhorn(x, 7) * ops.convert_to_tensor(probe), matrix)
    for place in [(0, 0, 0), (0, 4, 2), (1, 0, 1), (1, 2, 2)]:
        nudge = np.zeros_like(matrix)
        nudge[place] = 1e-6
        slope = ((plain(matrix + nudge) - plain(matrix - nudge)) * probe).sum() / 2e-6
        assert slopes[place] == pytest.approx(slope, abs=1e-4 if not DOUBLE else 1e-7)


def test_mean_over_samples_multiplies_the_gradient_from_above():
    x, samples = np.random.default_rng(0).normal(size=(3, 4)), np.arange(1.0, 4.0)
    above = np.array([1.0, -2.0, 0.5])

    def function(x, sample):
        return ops.sum(x * x, axis=-1) * sample

    actual = gradient(
        lambda x: mean_over_samples(function, x, ops.convert_to_tensor(samples)) * ops.convert_to_tensor(above), x
    )
    assert_close(actual, 2 * x * 2 * above[:, None])
