"""Numbers of sentence-transformers 6.2.0's sparse losses, by `parity/golden_sparse.py`, and what they refuse."""

import numpy as np
import pytest

from compat.golden import load, near
from losses.numeric import value_and_gradient, values
from ml4ir_losses.compat.sentence_transformers import losses
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss

CASES = load("st_sparse.json")["losses"]


def make(name, params):
    inner = dict(params.get("loss", {}))
    if inner:
        params = {**params, "loss": make(inner.pop("loss"), inner)}
    return getattr(losses, name)(**params)


def name_of(case):
    return f"{getattr(losses, case['loss']).key}-{case['params']}"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_values_and_gradients_of_sentence_transformers(case):
    y_pred, loss_fn = np.array(case["inputs"]["y_pred"], "float32"), make(case["loss"], case["params"])
    y_true = np.array(case["inputs"].get("labels", np.zeros(len(y_pred))), "float32")
    value, slopes = value_and_gradient(lambda x: loss_fn(y_true, x), y_pred)
    near(float(value), case["expected_loss"])
    near(slopes, case["expected_grad"])


def test_cached_splade_is_splade():
    y_pred = np.maximum(np.random.default_rng(0).normal(size=(5, 3, 6)), 0.0).astype("float32")
    params = {"document_regularizer_weight": 0.2, "query_regularizer_weight": 0.3, "query_regularizer": "l1"}
    whole, cached = (
        values(get_loss(key, **params).per_query(np.zeros(5), y_pred)) for key in ("splade", "cached_splade")
    )
    np.testing.assert_array_equal(cached, whole)


def test_l1_regularizer_has_the_same_slope_for_every_active_entry():
    y_pred = np.maximum(np.random.default_rng(0).normal(size=(5, 3, 6)), 0.0).astype("float32")
    inner = {"key": "multiple_negatives_ranking", "scale": 1e-6, "similarity": "dot"}
    loss = get_loss("splade", loss=inner, document_regularizer_weight=0.2, document_regularizer="l1").get_loss_fn()
    _, slopes = value_and_gradient(lambda x: loss(np.zeros(5), x), y_pred)
    np.testing.assert_allclose(slopes[:, 1:], np.where(y_pred[:, 1:] > 0, 0.2 / 10, 0.0), atol=1e-5)


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        ("csr", (4, 2, 6), "'csr' takes y_pred [B, C, P, D] with P of at least 6, the outputs of the encoder 'csr'"),
        ("csr", (4, 2, 5, 3), "with P of at least 6"),
        ("csr_reconstruction", (4, 2, 4, 3), "'csr_reconstruction' takes y_pred [B, C, P, D] with P of at least 5"),
        ("csr", (4, 1, 6, 3), "'multiple_negatives_ranking' takes y_pred [B, C, D] with C of at least 2"),
    ],
)
def test_wrong_shapes_are_refused(key, shape, message):
    with pytest.raises(UserError) as caught:
        get_loss(key).get_loss_fn()(np.zeros(4), np.zeros(shape))
    assert message in str(caught.value)


def test_cached_loss_of_codes_is_refused():
    with pytest.raises(UserError, match=r"`loss` of 'csr' must not be a cached one. Received: 'cached_splade'"):
        get_loss("csr", loss={"key": "cached_splade", "document_regularizer_weight": 0.1})
