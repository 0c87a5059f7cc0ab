"""Categorical cross entropy: all forms of the target, and lists whose documents have classes."""

import numpy as np
import pytest

from losses.cases import Batch, get_loss, make_batch, oracle
from losses.numeric import assert_close, value_and_gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.classification.categorical_cross_entropy import categorical_cross_entropy

KEY = "categorical_cross_entropy"


def rows():
    return make_batch(KEY, padded=False)


@pytest.mark.parametrize("params", [{}, {"label_smoothing": 0.3}, {"class_weight": [1, 2, 3, 4, 5, 6]}], ids=str)
def test_one_hot_equals_class_numbers(params):
    batch = rows()
    one_hot = np.eye(6)[batch.labels.astype(int)]
    as_numbers = categorical_cross_entropy(batch.labels, batch.scores, **params)
    assert_close(values(categorical_cross_entropy(one_hot, batch.scores, **params)), values(as_numbers))
    column = categorical_cross_entropy(batch.labels[:, None], batch.scores, **params)
    assert_close(values(column), values(as_numbers))


def test_soft_targets_match_the_oracle():
    batch = rows()
    target = np.random.default_rng(0).dirichlet(np.ones(6), len(batch.scores))
    log_p = batch.scores - np.log(np.exp(batch.scores).sum(-1, keepdims=True))
    assert_close(values(categorical_cross_entropy(target, batch.scores)), -(target * log_p).sum(-1))


def test_rows_with_nan_or_negative_class_numbers_are_ignored():
    batch = rows()
    for missing in (-1.0, -100.0, np.nan):
        labels = np.where(np.arange(7) == 2, missing, batch.labels)
        actual = values(get_loss(KEY).per_query(labels, batch.scores))
        without_row = Batch(labels, batch.scores, np.arange(7) != 2, None)
        assert_close(actual, oracle(KEY, without_row, weighted=False))


def lists():
    """Lists of documents with four classes: labels, logits [B, N, 4], mask and weights."""
    rng = np.random.default_rng(3)
    mask = rng.random((7, 5)) < 0.7
    mask[1] = False
    labels = np.where(mask, rng.integers(0, 4, (7, 5)), -1.0)
    return Batch(labels, rng.normal(size=(7, 5, 4)), mask, rng.uniform(0.2, 3.0, (7, 5)))


PARAMS = [{}, {"label_smoothing": 0.3}, {"class_weight": [1, 0.5, 2, 3], "ignore_index": 2}]


@pytest.mark.parametrize("params", PARAMS, ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_documents_of_lists_equal_rows(params, weighted):
    batch = lists()
    weight = batch.weight if weighted else None
    actual = values(get_loss(KEY, **params).per_query(batch.labels, batch.scores, weight, batch.mask))
    rows = Batch(batch.labels.ravel(), batch.scores.reshape(-1, 4), batch.mask.ravel(), batch.weight.ravel())
    expected = oracle(KEY, rows, weighted=weighted, **params)
    if weighted:  # document weights are in the divisor too
        share = np.array(params.get("class_weight", [1] * 4))[rows.labels.astype(int)] * rows.mask
        share[rows.labels == params.get("ignore_index", -1)] = 0
        expected *= share.sum() / (share * rows.weight).sum()
    assert_close(actual, expected.reshape(7, 5).mean(1))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -1e30])
def test_list_padding_is_ignored(garbage):
    batch = lists()
    fn = get_loss(KEY).get_loss_fn()
    labels, scores, weight = (x.astype("float32") for x in (batch.labels, batch.scores, batch.weight))
    dirty = np.where(batch.mask[..., None], scores, np.float32(garbage))
    value, slopes = value_and_gradient(lambda s: fn(labels, s, weight), scores)
    dirty_value, dirty_slopes = value_and_gradient(lambda s: fn(labels, s, weight), dirty)
    np.testing.assert_allclose(dirty_value, value, rtol=1e-6)
    np.testing.assert_allclose(dirty_slopes, slopes, rtol=1e-6)
    assert (dirty_slopes[~batch.mask] == 0).all()
    longer = np.pad(labels, ((0, 0), (0, 9)), constant_values=-1), np.pad(scores, ((0, 0), (0, 9), (0, 0)))
    np.testing.assert_allclose(values(fn(*longer, np.pad(weight, ((0, 0), (0, 9))))), value, rtol=1e-6)


def test_documents_are_ranked_by_expected_class():
    loss, logits = get_loss(KEY), lists().scores.astype("float32") * 3
    share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = share @ np.arange(4)
    np.testing.assert_allclose(values(loss.get_final_activation_op("score")(logits)), expected, rtol=1e-5)
    ranks = values(loss.rank_scores(logits))
    np.testing.assert_allclose(3 / (1 + np.exp(-ranks)), expected, rtol=1e-5)
    confident = np.stack([np.arange(5.0) * 1e3 * (k == 3) for k in range(4)], axis=-1)[None]
    assert (np.diff(values(loss.rank_scores(confident))) > 0).all()


def test_class_numbers_of_lists_are_checked():
    fn, scores = get_loss(KEY).get_loss_fn(), np.zeros((2, 3, 3))
    assert np.isfinite(values(fn(np.array([[0, 1, 2], [2, -1, -1.0]]), scores)))
    for wrong in (3.0, 0.5):
        with pytest.raises(UserError, match=f"class numbers from 0 to 2, .*Received: {wrong:g}"):
            fn(np.array([[0, 1, wrong], [2, -1, -1]]), scores)
    for shape in ((2,), (2, 4), (2, 3, 3)):
        with pytest.raises(UserError, match=r"or y_pred \[B, N, K\] and y_true \[B, N\] class numbers"):
            fn(np.zeros(shape), scores)
