"""TF-Ranking's ways in and out: ragged tensors, arguments of its v1 API, and Keras' serialization."""

import json
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest

from compat.golden import load, near
from losses.numeric import values
from ml4ir_losses.compat import tf_ranking as tfr
from ml4ir_losses.compat.tf_ranking import inputs
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import register_lambda_weight
from ml4ir_losses.losses.lambda_weights import LambdaWeight

GOLDEN = load("tfr_compat.json")
FUNCTIONS = ("identity", "inverse", "pow_minus_1", "log2_inverse", "is_greater_equal_1", "symmetric_log1p")
on_tensorflow = pytest.mark.backend("tensorflow")


@keras.saving.register_keras_serializable("test_tf_ranking")
def at_least_2(label):
    return label >= 2


@register_lambda_weight("test_tf_ranking_twice")
class TwiceLabelDiff(LambdaWeight):
    symmetric = True

    def pair_facts(self, labels, ranks, mask):
        return (2 * labels,)

    def between(self, row, column, step):
        return keras.ops.abs(row[0] - column[0])


LAMBDA_WEIGHTS = (
    tfr.LabelDiffLambdaWeight(),
    tfr.DCGLambdaWeight(3, normalized=True),
    tfr.DCGLambdaWeightV2(2),
    tfr.NDCGLambdaWeight(3, tfr.identity, tfr.inverse, smooth_fraction=0.5),
    tfr.NDCGLambdaWeightV2(3),
    tfr.YetiDCGLambdaWeight(normalized=True),
    tfr.PrecisionLambdaWeight(2),
    tfr.PrecisionLambdaWeight(2, at_least_2),
    tfr.ListMLELambdaWeight(tfr.log2_inverse),
    tfr.create_p_list_mle_lambda_weight(4),
)


def through_json(obj):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(obj)))
    return keras.saving.deserialize_keras_object(config)


class TestSerialization:
    @pytest.mark.parametrize("weight", LAMBDA_WEIGHTS, ids=lambda weight: type(weight).__name__)
    def test_lambda_weight_survives(self, weight):
        again = through_json(weight)
        assert type(again) is type(weight)
        assert again == weight

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_function_survives(self, name):
        function = getattr(tfr.keras.utils, name)
        assert through_json(function) is function is getattr(tfr.utils, name)

    @pytest.mark.parametrize("weight", LAMBDA_WEIGHTS[:8], ids=lambda weight: type(weight).__name__)
    def test_lambda_weight_of_a_loaded_loss_keeps_its_class(self, weight):
        again = through_json(tfr.PairwiseLogisticLoss(lambda_weight=weight))
        assert type(again.loss.params["lambda_weight"]) is type(weight)
        assert again.loss.params["lambda_weight"] == weight

    def test_user_defined_lambda_weight_of_a_loaded_loss_keeps_its_class(self):
        again = through_json(tfr.PairwiseLogisticLoss(lambda_weight=TwiceLabelDiff()))
        assert isinstance(again.loss.params["lambda_weight"], TwiceLabelDiff)

    def test_config_by_the_peers_names_is_read(self):
        weight = tfr.NDCGLambdaWeight.from_config({"topn": 3, "gain_fn": tfr.identity, "rank_discount_fn": None})
        assert weight == tfr.NDCGLambdaWeight(3, tfr.identity)


class TestPositiveFunction:
    @pytest.mark.parametrize(("lowest", "positive_fn"), [("1.0", None), ("2.0", at_least_2), ("2.0", 2.0)])
    def test_value_equals_the_peers(self, lowest, positive_fn):
        batch = GOLDEN["batches"]["padded"]
        loss_fn = tfr.PairwiseLogisticLoss("sum", lambda_weight=tfr.PrecisionLambdaWeight(2, positive_fn))
        actual = loss_fn(np.array(batch["labels"]), np.array(batch["scores"], dtype="float32"))
        near(values(actual), GOLDEN["positive"][lowest])

    @pytest.mark.parametrize("positive_fn", ["at_least_2", True, float("nan")])
    def test_other_values_raise(self, positive_fn):
        with pytest.raises(UserError, match="`positive` must be a number, the lowest relevant label, or a Python fun"):
            tfr.PrecisionLambdaWeight(2, positive_fn)


@on_tensorflow
class TestRagged:
    @staticmethod
    def given():
        import tensorflow as tf

        labels, scores, documents = (tf.ragged.constant(value) for value in GOLDEN["ragged"]["inputs"].values())
        return labels, scores, (None, np.array([[1.0], [0.5], [2.0]]), documents)

    @pytest.mark.parametrize("ragged", [True, False])
    @pytest.mark.parametrize("name", GOLDEN["ragged"]["expected"])
    def test_value_equals_the_peers(self, name, ragged):
        labels, scores, weights = self.given()
        actual = []
        for weight in weights:
            if name.endswith("Metric"):
                metric = getattr(tfr, name)(ragged=ragged)
                metric.update_state(labels, scores, weight)
                actual.append(float(metric.result()))
            else:
                actual.append(float(getattr(tfr, name)("sum", ragged=ragged)(labels, scores, weight)))
        near(actual, GOLDEN["ragged"]["expected"][name])

    def test_make_loss_fn_and_its_metric_take_ragged_tensors(self):
        labels, scores, weights = self.given()
        padded = labels.to_tensor(-1.0), scores.to_tensor(0.0)
        for weight in weights:
            dense = weight.to_tensor(0.0) if weight is weights[2] else weight
            loss_fn = tfr.make_loss_fn("softmax_loss,gumbel_approx_ndcg_loss:0", gumbel_params={"seed": 1})
            assert values(loss_fn(labels, scores, weight)) == pytest.approx(values(loss_fn(*padded, dense)))
            metrics = [tfr.make_loss_metric_fn("softmax_loss") for _ in range(2)]
            metrics[0].update_state(labels, scores, weight)
            metrics[1].update_state(*padded, dense)
            assert values(metrics[0].result()) == pytest.approx(values(metrics[1].result()))

    def test_ragged_labels_go_with_scores_of_a_model(self):
        labels, scores, _ = self.given()
        wide = np.pad(scores.to_tensor(7.0).numpy(), [[0, 0], [0, 2]])
        assert values(tfr.SoftmaxLoss()(labels, wide)) == pytest.approx(values(tfr.SoftmaxLoss()(labels, scores)))

    def test_several_scores_per_document(self):
        import tensorflow as tf

        labels, scores, _ = self.given()
        two = tf.stack([scores, 2 * scores], axis=-1)
        dense = two.to_tensor(0.0)
        for loss_fn in (tfr.ClickEMLoss(), tfr.OrdinalLoss(ordinal_size=2)):
            assert values(loss_fn(labels, two)) == pytest.approx(values(loss_fn(labels.to_tensor(-1.0), dense)))

    @pytest.mark.parametrize("as_dataset", [False, True])
    def test_fit(self, as_dataset):
        import tensorflow as tf

        labels, _, _ = self.given()
        x = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=tfr.SoftmaxLoss(ragged=True), metrics=[tfr.NDCGMetric(ragged=True)])
        data = (tf.data.Dataset.from_tensor_slices((x, labels)).batch(2),) if as_dataset else (x, labels)
        assert np.isfinite(model.fit(*data, verbose=0).history["loss"]).all()

    def test_lists_of_other_lengths_raise(self):
        labels, scores, _ = self.given()
        with pytest.raises(UserError, match=r"the same lengths. Received: \[2, 3, 2\] and \[2, 2, 2\]"):
            tfr.SoftmaxLoss()(labels, scores[:, :2])
        with pytest.raises(UserError, match="y_true has a list of 3 documents beside tensors of 2"):
            tfr.SoftmaxLoss()(labels, np.zeros((3, 2), "float32"))


class OfTensorFlow:
    """What is known of a ragged tensor without TensorFlow."""

    row_splits = (0, 1)

    def to_tensor(self, filler):
        raise AssertionError


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="which has ragged tensors")
def test_ragged_raises_on_other_backends():
    for make in (tfr.SoftmaxLoss, tfr.NDCGMetric, tfr.CircleLoss):
        with pytest.raises(UserError, match=r"Ragged tensors need the TensorFlow backend.*Received: ragged=True"):
            make(ragged=True)
    with pytest.raises(UserError, match=r"Ragged tensors need the TensorFlow backend.*y_true and y_pred ragged"):
        tfr.SoftmaxLoss()(OfTensorFlow(), OfTensorFlow())


LABELS, SCORES = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.6, 0.8], [0.5, 0.8]], dtype="float32")


@pytest.mark.parametrize("loss_fn", [tfr.SoftmaxLoss(), tfr.CircleLoss(), tfr.make_loss_fn("softmax_loss")])
def test_features_as_third_argument_raise(loss_fn):
    features = {"weight": np.ones((2, 1)), "price": np.ones((2, 2))}
    with pytest.raises(UserError, match=r"dict of features.*Received: \['weight', 'price'\]"):
        loss_fn(LABELS, SCORES, features)


def test_features_as_weights_of_a_metric_raise():
    with pytest.raises(UserError, match="dict of features"):
        tfr.NDCGMetric().update_state(LABELS, SCORES, {"weight": np.ones((2, 1))})


class TestSquareBatch:
    """Weights [B] where B = N: of queries here, of documents in TF-Ranking, whose value was run."""

    @pytest.fixture(autouse=True)
    def not_warned_yet(self):
        inputs._warn.cache_clear()

    def test_warns_once(self):
        weight = np.array([1.0, 3.0])
        with pytest.warns(UserWarning, match=r"it weights queries.*TF-Ranking takes it for weights of documents"):
            value = tfr.MeanSquaredLoss("sum")(LABELS, SCORES, weight)
        assert values(value) == pytest.approx(values(tfr.MeanSquaredLoss("sum")(LABELS, SCORES, weight[:, None])))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tfr.MeanSquaredLoss("sum")(LABELS, SCORES, weight)

    @pytest.mark.parametrize("weight", [2.0, np.ones((2, 1)), np.ones((2, 2)), None])
    def test_other_weights_do_not_warn(self, weight):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tfr.MeanSquaredLoss()(LABELS, SCORES, weight)
            tfr.MeanSquaredLoss()(LABELS[:, [0, 1, 1]], SCORES[:, [0, 1, 1]], np.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        tfr.GumbelApproxNDCGLoss,
        tfr.YetiLogisticLoss,
        lambda reduction, **kwargs: tfr.GumbelNeuralSortNDCGLoss(reduction=reduction, **kwargs),
    ],
)
def test_sum_of_a_sampling_loss_counts_every_sample(make):
    """TF-Ranking's batch is [B·S, N]: its sum is S times that of a mean over samples."""
    parameters = {"sample_size": 4, "seed": 3}
    total = values(make(reduction="sum", **parameters)(LABELS, SCORES))
    assert total == pytest.approx(4 * values(make(reduction="none", **parameters)(LABELS, SCORES)).sum())
    assert values(make(reduction="auto", **parameters)(LABELS, SCORES)) == pytest.approx(total / 8)


def test_sum_of_a_sampling_loss_equals_the_peers():
    """Of scores so far apart that samples do not change their order."""
    batch, key = GOLDEN["batches"]["far"], "gumbel_approx_ndcg_loss"
    expected = next(case["expected"] for case in GOLDEN["cases"] if case["key"] == key)["none weighted_sum"]
    labels, scores = np.array(batch["labels"]), np.array(batch["scores"], dtype="float32")
    near(values(tfr.GumbelApproxNDCGLoss("sum")(labels, scores)), expected, 2e-5)


def here(case):
    """Our value of a row of the migration guide's table of differences."""
    functions = {"minus_1": lambda x: x - 1.0}
    data = ("what", "class", "reduction", "labels", "scores", "weights", "there")
    params = {name: functions.get(str(value), value) for name, value in case.items() if name not in data}
    if "lambda_weight" in params:
        name, more = params["lambda_weight"]
        params["lambda_weight"] = getattr(tfr, name)(
            **{key: functions.get(value, value) for key, value in more.items()}
        )
    labels, scores = np.array(case["labels"]), np.array(case["scores"], dtype="float32")
    weights = np.array(case["weights"]) if "weights" in case else None
    if case["class"].endswith("Metric"):
        metric = getattr(tfr, case["class"])(**params)
        metric.update_state(labels, scores, weights)
        return float(metric.result())
    loss_fn = getattr(tfr, case["class"])(reduction=case.get("reduction", "auto"), **params)
    return float(values(loss_fn(labels, scores, weights)))


@pytest.mark.filterwarnings("ignore:`sample_weight`")
@pytest.mark.parametrize("case", GOLDEN["differences"], ids=lambda case: case["what"].replace(" ", "_"))
def test_the_guide_states_both_numbers_of_a_difference(case):
    guide = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text()
    (row,) = (line for line in guide.splitlines() if line.startswith(f"| {case['what']} |"))
    *_, there, ours = (cell.strip() for cell in row.strip("|").split("|"))
    assert float(there) == pytest.approx(case["there"], abs=5e-5)
    near(float(ours), here(case), 5e-5)
    assert there != ours
