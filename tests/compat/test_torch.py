"""What torch does in sentence-transformers' losses: `reduction`, and scores of one row each. Numbers of torch 2."""

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.compat.sentence_transformers import cross_encoder
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.pointwise.single_logit import binary_cross_entropy, mean_squared_error

LABELS, SCORES = np.array([1.0, 0.0, 0.25]), np.array([0.5, 2.0, -1.0], dtype="float32")
NUMBERS = {  # mean, sum, none
    "MSELoss": ({}, 1.9375, 5.8125, [0.25, 4.0, 1.5625]),
    "BinaryCrossEntropyLoss": ({"pos_weight": 2.0}, 1.3222197, 3.966659, [0.948154, 2.126928, 0.891577]),
}
ROWS = {"MSELoss": "mean_squared_error", "BinaryCrossEntropyLoss": "binary_cross_entropy"}
FUNCTIONS = {"MSELoss": mean_squared_error, "BinaryCrossEntropyLoss": binary_cross_entropy}


class TestReduction:
    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    @pytest.mark.parametrize("name", NUMBERS)
    def test_pointwise_losses_equal_torch(self, name, shape):
        params, *numbers = NUMBERS[name]
        for reduction, expected in zip(("mean", "sum", "none"), numbers, strict=True):
            loss_fn = getattr(cross_encoder, name)(reduction=reduction, **params)
            np.testing.assert_allclose(values(loss_fn(LABELS, SCORES.reshape(shape))), expected, rtol=1e-5)
        of_one_list = getattr(cross_encoder, name)(reduction="sum", **params)(LABELS[None], SCORES[None])
        assert values(of_one_list) == pytest.approx(numbers[1], rel=1e-5)

    def test_margin_mse_equals_torch(self):
        labels, scores = np.array([[1.0, 0.0, 2.0]]), np.array([[1.0, 3.0, 2.0]])
        assert values(cross_encoder.MarginMSELoss(reduction="sum")(labels, scores)) == pytest.approx(9.0)
        assert values(cross_encoder.MarginMSELoss(reduction="mean")(labels, scores)) == pytest.approx(4.5)
        assert values(cross_encoder.MarginMSELoss()(labels, scores)) == pytest.approx(4.5)

    @pytest.mark.parametrize(
        ("name", "reduction", "allowed"),
        [
            ("MarginMSELoss", "none", "'mean' or 'sum'"),
            ("MarginMSELoss", None, "'mean' or 'sum'"),
            ("CrossEntropyLoss", "average", "'mean' or 'sum' or 'none'"),
            ("MSELoss", "average", "'mean' or 'sum' or 'none'"),
        ],
    )
    def test_unsupported_reduction_raises(self, name, reduction, allowed):
        with pytest.raises(UserError, match=f"`reduction` of .* must be {allowed}: torch's number"):
            getattr(cross_encoder, name)(reduction=reduction)

    def test_given_normalization_is_kept(self):
        assert cross_encoder.MSELoss().loss.params["normalization"] == "batch"
        assert cross_encoder.MSELoss(reduction="sum").loss.params["normalization"] == "sum"
        assert cross_encoder.MSELoss(reduction="sum", normalization="query").loss.params["normalization"] == "query"


class TestFlatLabels:
    @pytest.mark.parametrize("name", ROWS)
    def test_label_vector_with_scores_of_a_dense_layer(self, name):
        for make in (getattr(cross_encoder, name), lambda **kw: get_loss(ROWS[name]).get_loss_fn(**kw)):
            loss_fn = make(reduction="none")
            flat = values(loss_fn(LABELS, SCORES))
            assert flat.shape == (3,)
            np.testing.assert_allclose(values(loss_fn(LABELS, SCORES[:, None])), flat)
            np.testing.assert_allclose(values(loss_fn(LABELS[:, None], SCORES[:, None])), flat)
            weight = np.array([2.0, 0.0, 1.0])
            for weights in (weight, weight[:, None]):
                np.testing.assert_allclose(values(loss_fn(LABELS, SCORES[:, None], weights)), flat * weight)

    @pytest.mark.parametrize("name", ROWS)
    def test_padding(self, name):
        loss_fn = get_loss(ROWS[name]).get_loss_fn(reduction="none")
        padding = np.nan if loss_fn.loss.negative_labels else -1.0
        actual = values(loss_fn(np.array([1.0, padding]), np.array([[0.5], [np.nan]])))
        assert actual[0] != 0
        assert actual[1] == 0
        masked = get_loss(ROWS[name]).get_loss_fn(reduction="none", mask=np.array([1, 0]))
        np.testing.assert_allclose(values(masked(np.array([1.0, 0.0]), np.array([[0.5], [np.nan]]))), actual)

    @pytest.mark.parametrize("name", ROWS)
    def test_function_takes_flat_arguments(self, name):
        weight, mask = np.array([2.0, 1.0, 3.0]), np.array([True, True, False])
        flat = values(FUNCTIONS[name](LABELS, SCORES, mask, item_weight=weight, normalization="sum"))
        lists = (LABELS[:, None], SCORES[:, None], mask[:, None])
        whole = values(FUNCTIONS[name](*lists, item_weight=weight[:, None], normalization="sum"))
        np.testing.assert_allclose(flat, whole)

    @pytest.mark.parametrize("name", ROWS)
    @pytest.mark.parametrize(
        ("y_true", "y_pred"), [((4,), (3,)), ((4,), (3, 1)), ((4,), (4, 2)), ((4, 1), (4,)), ((4, 2), (4, 3)), ((), ())]
    )
    def test_other_shapes_raise(self, name, y_true, y_pred):
        with pytest.raises(UserError, match=r"\[B, N\] .* or \[B\], or y_true \[B\] with y_pred \[B, 1\]"):
            get_loss(ROWS[name]).get_loss_fn()(np.ones(y_true), np.ones(y_pred))

    @pytest.mark.parametrize("weighted", [False, True])
    @pytest.mark.parametrize("name", ROWS)
    def test_fit_with_a_dense_head(self, name, weighted):
        rng = np.random.default_rng(1)
        inputs = rng.normal(size=(64, 3)).astype("float32")
        labels = (inputs[:, 0] > 0).astype("float32")
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.Adam(0.1), loss=getattr(cross_encoder, name)())
        weight = np.ones(64, dtype="float32") if weighted else None
        losses = model.fit(inputs, labels, sample_weight=weight, epochs=5, batch_size=16, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
