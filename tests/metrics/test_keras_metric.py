"""`RankingMetric` and `get_metric` as Keras uses them: shapes, weights, streaming, fit, saving."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import ops

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import METRICS, register_metric
from ml4ir_losses.metrics.keras_metric import RankingMetric, get_metric
from selection import slow_except

from .oracle import KEYS, batch, fill, in_layout, keys, queries_for, valid


@keras.saving.register_keras_serializable("tests")
def half(x):
    return x / 2


@pytest.fixture
def restored_registry(monkeypatch):
    """Removes what a test registers."""
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))
    monkeypatch.setattr(METRICS, "_names", dict(METRICS._names))


def data(seed=1, key="ndcg", **kwargs):
    """Labels with -1 in the padding, scores, weights."""
    labels, scores, mask, weight = queries_for(key, seed, **kwargs)
    return fill(labels, mask, -1.0), scores, weight


def result(metric, *batches):
    for one in batches:
        metric.update_state(*one)
    return float(metric.result())


def mean(key, labels, scores, weight=None, **params):
    values, weights = batch(key, labels, scores, valid(labels), weight, **params)
    return (values * weights).sum() / weights.sum()


@pytest.mark.parametrize("key", KEYS)
class TestEveryMetric:
    def test_document_and_query_weights(self, key):
        labels, scores, weight = data(key=key)
        rows = np.linspace(0.0, 2.0, len(labels), dtype="float32")
        spread = np.broadcast_to(rows[:, None], scores.shape)
        for given, same in ((None, None), (weight, weight), (rows, spread), (rows[:, None], spread)):
            expected = mean(key, labels, scores, same, topn=3)
            assert result(get_metric(key, topn=3), (labels, scores, given)) == pytest.approx(expected, rel=1e-5)
        for scalar in (2.5, np.float32(2.5)):
            expected = mean(key, labels, scores)
            assert result(get_metric(key), (labels, scores, scalar)) == pytest.approx(expected, rel=1e-5)

    def test_query_weights_where_batch_size_equals_list_size(self, key):
        labels, scores, _ = data(2, key, rows=8, documents=8)
        rows = np.arange(8, dtype="float32")
        expected = mean(key, labels, scores, np.broadcast_to(rows[:, None], scores.shape))
        assert result(get_metric(key), (labels, scores, rows)) == pytest.approx(expected, rel=1e-5)

    def test_batches_add_up_and_reset(self, key):
        labels, scores, weight = data(3, key, rows=12)
        metric = get_metric(key)
        whole = result(metric, (labels, scores, weight))
        metric.reset_state()
        assert float(metric.result()) == 0.0
        parts = [(labels[i : i + 5], scores[i : i + 5], weight[i : i + 5]) for i in (0, 5, 10)]
        wide = [
            tuple(np.pad(x, ((0, 0), (0, i), (0, 0))[: x.ndim], constant_values=-1) for x in p)
            for i, p in enumerate(parts)
        ]
        assert result(metric, *wide) == pytest.approx(whole, rel=1e-5)

    def test_query_of_weight_2_equals_the_query_twice(self, key):
        labels, scores, _ = data(4, key)
        labels = np.where((labels > 0) & (labels < 3), 0, labels)
        twice = [np.concatenate([x, x[2:3]]) for x in (labels, scores)]
        weight = np.where(np.arange(len(labels)) == 2, 2.0, 1.0)
        expected = result(get_metric(key, topn=2), twice)
        assert result(get_metric(key, topn=2), (labels, scores, weight)) == pytest.approx(expected, rel=1e-5)
        assert result(get_metric(key, topn=2), (labels, scores)) != pytest.approx(expected, rel=1e-3)

    def test_result_without_counted_queries_is_0(self, key):
        assert float(get_metric(key).result()) == 0.0
        padding = np.full((2, 3), -1.0, "float32")
        assert result(get_metric(key), (in_layout(key, padding), padding)) == 0.0
        labels, scores, _ = data(key=key)
        assert result(get_metric(key), (labels, scores, np.zeros_like(scores))) == 0.0

    def test_config_round_trip(self, key):
        metric = get_metric(key, topn=4, min_label=0.5)
        config = json.loads(json.dumps(metric.get_config()))
        copy = RankingMetric.from_config(config)
        assert copy.get_config() == metric.get_config()
        labels, scores, weight = data(key=key)
        assert result(copy, (labels, scores, weight)) == result(metric, (labels, scores, weight)) != 0.0
        again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
        assert isinstance(again, RankingMetric)
        assert again.get_config() == metric.get_config()


def test_default_name_holds_key_and_topn():
    names = [get_metric(spec).name for spec in ("mrr", {"key": "ndcg", "topn": 10}, {"key": "map", "name": "m"})]
    assert names == ["mrr", "ndcg_10", "m"]
    assert get_metric("ndcg", topn=3, name="first").name == "first"
    metric = get_metric("ndcg")
    assert get_metric(metric) is metric


def test_result_is_a_tensor():
    metric = get_metric("mrr")
    metric.update_state([[0, 1]], [[1, 2]])
    assert ops.is_tensor(metric.result())
    assert not isinstance(metric.result(), keras.Variable)


def test_labels_below_min_label_are_padding():
    labels = np.array([[np.nan, -2.0, 1.0, -1.0, 2.0]], "float32")
    scores = np.array([[9.0, 3.0, 1.0, 4.0, 2.0]], "float32")
    for limit, value in ((0.0, 1.0), (-1.0, 1 / 2), (-1e9, 1 / 3), (2.0, 1.0)):
        assert result(get_metric("mrr", min_label=limit), (labels, scores)) == pytest.approx(value)
    assert result(get_metric("mrr", min_label=None), (labels[:, 1:], scores[:, 1:])) == pytest.approx(1 / 3)
    assert result(get_metric("mrr", min_label=2), (np.array([[2, 1]]), np.array([[1, 2]]))) == 1.0


def test_inputs_may_have_any_dtype():
    expected = 0.5
    for kind in ("int32", "uint8", "bool", "float16", "float64"):
        labels = np.array([[0, 1, 0]]).astype(kind)
        assert result(get_metric("mrr"), (labels, np.array([[3, 2, 1]], "int64"))) == expected
    assert result(get_metric("mrr"), ([[0, 1, 0]], [[3.0, 2.0, 1.0]])) == expected
    scores = ops.cast([[3.0, 2.0, 1.0]], "bfloat16")
    assert result(get_metric("mrr", dtype="float16"), ([[0, 1, 0]], scores)) == expected


def test_half_precision_sums_are_exact():
    metric = get_metric("mrr", dtype="float16")
    for rows in (2048, 1, 1):  # in float16, 2048 + 1 is 2048
        metric.update_state(np.tile([[0.0, 1.0]], (rows, 1)), np.tile([[1.0, 0.0]], (rows, 1)))
    assert float(metric.count) == 2050.0
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize(
    ("labels", "scores", "weight", "message"),
    [
        ((3,), (3,), None, r"\[B, N\] .* Received: y_true \[3\], y_pred \[3\]"),
        ((2, 3), (2, 4), None, r"Received: y_true \[2, 3\], y_pred \[2, 4\]"),
        ((2, 3), (2, 3, 2), None, r"y_pred \[2, 3, 2\]"),
        ((2,), (2, 3), None, r"y_true \[2\], y_pred \[2, 3\]"),
        ((2, 3), (2, 3), (3,), r"Received: shape \(3,\)"),
        ((2, 3), (2, 3), (1, 3), r"Received: shape \(1, 3\)"),
        ((2, 3), (2, 3), (2, 3, 1), r"Received: shape \(2, 3, 1\)"),
    ],
)
def test_wrong_shape_is_refused(labels, scores, weight, message):
    weight = None if weight is None else np.ones(weight)
    with pytest.raises(UserError, match=message):
        get_metric("ndcg").update_state(np.ones(labels), np.ones(scores), weight)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ((2, 3), (2, 3), r"y_true \[B, N, S\] .* Received: y_true \[2, 3\], y_pred \[2, 3\]"),
        ((2, 3, 4), (2, 3, 4), r"y_pred \[2, 3, 4\]"),
        ((2, 3, 4), (2, 4), r"y_true \[2, 3, 4\], y_pred \[2, 4\]"),
    ],
)
def test_metric_over_subtopics_refuses_wrong_shapes(labels, scores, message):
    with pytest.raises(UserError, match=message):
        get_metric("alpha_dcg").update_state(np.ones(labels), np.ones(scores))


def test_metrics_over_subtopics_in_fit():
    labels, scores, _ = data(6, "alpha_dcg", rows=16)
    model = keras.Sequential([keras.Input((9,)), keras.layers.Identity()])
    model.compile("sgd", lambda y, s: ops.mean(s), metrics=[get_metric(key, topn=3) for key in keys(subtopics=3)])
    logs = model.evaluate(scores, labels, batch_size=5, verbose=0, return_dict=True)
    for key in keys(subtopics=3):
        assert logs[f"{key}_3"] == pytest.approx(mean(key, labels, scores, topn=3), rel=1e-4)


def test_keras_mask_is_ignored():
    labels, scores, _ = data(5, rows=9, documents=9)
    tensor = ops.convert_to_tensor(scores)
    expected = result(get_metric("ndcg"), (labels, tensor))
    keras.src.backend.set_keras_mask(tensor, ops.zeros((9, 9), dtype="bool"))
    assert result(get_metric("ndcg"), (labels, tensor)) == expected > 0


def test_config_round_trip_keeps_a_python_gain():
    metric = get_metric("dcg", gain=half, discount="inverse")
    copy = RankingMetric.from_config(json.loads(json.dumps(metric.get_config())))
    assert copy.params["gain"] is half
    assert result(copy, ([[3.0, 1.0]], [[1.0, 2.0]])) == pytest.approx(0.5 + 1.5 / 2)


def test_registered_function_becomes_a_metric(restored_registry):
    @register_metric("first_label")
    def first_label(labels, scores, mask=None, *, item_weight=None, power=1.0):
        """Label of the first document."""
        return labels[:, 0] ** power, ops.ones_like(labels[:, 0])

    metric = get_metric({"key": "first_label", "power": 2.0})
    assert isinstance(metric, RankingMetric)
    assert result(metric, ([[3.0, 1.0], [1.0, 0.0]], [[1.0, 2.0], [1.0, 2.0]])) == 5.0
    with pytest.raises(UserError, match="It takes: power"):
        get_metric("first_label", topn=3)


def test_registered_class_is_instantiated(restored_registry):
    @register_metric("queries")
    class Queries(keras.metrics.Sum):
        def __init__(self, factor=1.0, name="queries"):
            super().__init__(name=name)
            self.factor = factor

    metric = get_metric("queries", factor=3.0, name="rows")
    assert (type(metric), metric.factor, metric.name) == (Queries, 3.0, "rows")
    with pytest.raises(UserError, match="has no parameter 'topn'"):
        get_metric("queries", topn=3)
    with pytest.raises(UserError, match="has its own class"):
        RankingMetric("queries")


@pytest.mark.parametrize("jit", slow_except([False, True], False))
def test_fit_and_evaluate_report_the_metrics(jit):
    if jit and keras.backend.backend() == "torch":
        pytest.skip("torch.compile takes minutes and tests no code of this package")
    labels, scores, weight = data(6, rows=16)
    chosen = ("ndcg", "map", "ordered_pair_accuracy") if jit else keys(subtopics=0)
    size = 16 if jit else 5
    model = keras.Sequential([keras.Input((9,)), keras.layers.Identity()])
    model.compile(
        "sgd",
        "mse",
        metrics=[get_metric(key, topn=3) for key in chosen],
        weighted_metrics=[get_metric(key, topn=3, name=f"weighted_{key}") for key in chosen],
        jit_compile=jit,
    )
    model.fit(scores, labels, sample_weight=weight[:, 0], epochs=1, batch_size=16, verbose=0)  # one trace
    logs = model.evaluate(scores, labels, sample_weight=weight[:, 0], batch_size=size, verbose=0, return_dict=True)
    spread = np.broadcast_to(weight[:, :1], labels.shape)
    for key in chosen:
        assert logs[f"{key}_3"] == pytest.approx(mean(key, labels, scores, topn=3), rel=1e-4)
        assert logs[f"weighted_{key}"] == pytest.approx(mean(key, labels, scores, spread, topn=3), rel=1e-4)


def test_early_stopping_knows_which_direction_is_better():
    labels, scores, _ = data(6)
    for key, better in (("ndcg", np.greater), ("arp", np.less)):
        model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(9)])
        model.compile("sgd", "mse", metrics=[get_metric(key)])
        stop = keras.callbacks.EarlyStopping(monitor=f"val_{key}", mode="auto")
        model.fit(scores, labels, validation_data=(scores, labels), epochs=1, verbose=0, callbacks=[stop])
        assert stop.monitor_op is ops.greater if better is np.greater else stop.monitor_op is ops.less


def test_saved_model_keeps_its_metrics(tmp_path):
    labels, scores, _ = data(6)
    model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(9)])
    model.compile("sgd", "mse", metrics=[get_metric("ndcg", topn=3, gain="identity")])
    model.fit(scores, labels, verbose=0)
    before = model.evaluate(scores, labels, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    after = keras.models.load_model(tmp_path / "model.keras").evaluate(scores, labels, verbose=0, return_dict=True)
    assert after == pytest.approx(before)
    assert "ndcg_3" in after


def test_registry_of_metrics_does_not_import_keras():
    code = "import sys, ml4ir_losses.core.registry as r; print(len(list(r.METRICS)) > 8, 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "False"]
