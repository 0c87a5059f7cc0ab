"""The losses inside Keras: compile, fit, evaluate, save, precision policies, XLA."""

import keras
import numpy as np
import pytest

from losses.cases import case_of, float32, get_loss, keras_batch, make_batch, oracle
from losses.models import Scores, model_and_data, ranker
from losses.numeric import gradient, values
from ml4ir_losses.core.errors import UserError
from selection import each_loss, each_variant


def oracle_mean(key, batch, scores, query_weight=1.0, weight=None):
    rows = oracle(key, batch._replace(weight=weight), scores)
    return float(np.mean(rows * query_weight))


def outputs(model, x):
    return values(keras.ops.cast(model(x), "float32"))


@each_loss(quick="layout")
def test_fit_evaluate_save_and_reload(key, tmp_path):
    model, x, batch = model_and_data(key)
    model.compile(keras.optimizers.SGD(0.05 / case_of(key).steep), loss=get_loss(key).get_loss_fn())
    data = {"x": x, "y": batch.labels, "batch_size": 7, "verbose": 0}
    before = model.evaluate(**data)
    assert before == pytest.approx(oracle_mean(key, batch, outputs(model, x)), rel=1e-4)

    history = model.fit(**data, epochs=4, shuffle=False).history["loss"]  # the fixed noise depends on the row
    after = model.evaluate(**data)
    assert history[0] == pytest.approx(before, rel=1e-4)
    assert after < before
    assert after == pytest.approx(oracle_mean(key, batch, outputs(model, x)), rel=1e-4)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(**data) == pytest.approx(after, rel=1e-5)
    assert again.loss.get_config() == model.loss.get_config()
    assert np.isfinite(again.fit(**data).history["loss"]).all()


@pytest.mark.usefixtures("eager_steps")
@each_loss(quick="layout")
def test_fit_takes_weights_of_every_shape(key):
    """`fit` takes weights of every documented shape, and trains on the loss of the oracle."""
    rng = np.random.default_rng(2)
    per_query = rng.uniform(0.5, 2, 7).astype("float32")
    forms = [(per_query, per_query, None), (per_query[:, None], per_query, None)]
    model, x, batch = model_and_data(key)
    if case_of(key).documents:
        forms.append((batch.weight, 1.0, batch.weight))
    for sample_weight, query_weight, weight in forms:
        data = {"x": x, "y": batch.labels, "sample_weight": sample_weight, "batch_size": 7, "verbose": 0}
        model.compile("sgd", loss=get_loss(key).get_loss_fn())
        expected = oracle_mean(key, batch, outputs(model, x), query_weight, weight)
        assert model.fit(**data, shuffle=False).history["loss"][0] == pytest.approx(expected, rel=1e-4)
    expected = oracle_mean(key, batch, outputs(model, x), query_weight, weight)
    assert model.evaluate(**data) == pytest.approx(expected, rel=1e-4)


@pytest.mark.backend("tensorflow")
def test_weights_of_another_rank_need_a_new_compile():
    """TensorFlow then traces with an unknown rank, for which [B] and [B, N] cannot be distinguished."""
    model, x, batch = model_and_data("list_mle")
    model.compile("sgd", loss=get_loss("list_mle").get_loss_fn())
    model.evaluate(x, batch.labels, sample_weight=np.ones(7), batch_size=7, verbose=0)
    with pytest.raises(ValueError, match="compile it again"):
        model.evaluate(x, batch.labels, sample_weight=batch.weight, batch_size=7, verbose=0)


def test_one_step_of_fit_follows_the_oracle_gradient():
    """One SGD step with document weights and padding moves the weights by the oracle's gradient."""
    key = "pairwise_logistic"
    model, x, batch = model_and_data(key)
    kernel, bias = (values(w) for w in model.get_weights())

    def loss(kernel):
        return oracle_mean(key, batch, (x.astype("float64") @ kernel + bias)[:, :, 0], weight=batch.weight)

    slope = [(loss(kernel + step) - loss(kernel - step)) / 2e-5 for step in np.eye(3)[:, :, None] * 1e-5]
    model.compile(keras.optimizers.SGD(0.5), loss=get_loss(key).get_loss_fn())
    model.fit(x, batch.labels, sample_weight=batch.weight, batch_size=7, verbose=0)
    moved = values(model.get_weights()[0])[:, 0]
    np.testing.assert_allclose(moved, kernel[:, 0] - 0.5 * np.array(slope), atol=1e-5)


@pytest.mark.parametrize("size", [5, 7], ids=["B7N5", "B7N7"])
@pytest.mark.parametrize("eager", [True, False])
def test_keras_mask_on_the_output_does_not_change_the_loss(size, eager):
    """Keras would multiply the values [B] by it: an error for B ≠ N, silently wrong for B = N."""
    key = "softmax_cross_entropy"
    batch = float32(make_batch(key, size=size))
    words = np.random.default_rng(3).integers(0, 4, (7, size))  # 0 is masked
    inputs = keras.Input((size,), dtype="int32")
    embedded = keras.layers.Embedding(4, 3, mask_zero=True)(inputs)
    model = keras.Model(inputs, Scores()(keras.layers.Dense(1)(embedded)))
    assert keras.src.backend.get_keras_mask(model.output) is not None
    model.compile("sgd", loss=get_loss(key).get_loss_fn(), run_eagerly=eager)
    loss = model.evaluate(words, batch.labels, batch_size=7, verbose=0)
    assert loss == pytest.approx(oracle_mean(key, batch, outputs(model, words)), rel=1e-4)


@pytest.mark.usefixtures("eager_steps")
@each_loss(quick="layout")
def test_mixed_bfloat16_loss_is_float32(key, policy):
    policy("mixed_bfloat16")
    model, x, batch = model_and_data(key)
    assert "bfloat16" in str(model.output.dtype)
    model.compile("sgd", loss=get_loss(key).get_loss_fn())
    data = {"x": x, "y": batch.labels, "batch_size": 7, "verbose": 0}
    # bfloat16 keeps 8 bits: compiled and eager scores differ by 2**-8, the loss of the same scores does not
    assert model.evaluate(**data) == pytest.approx(oracle_mean(key, batch, outputs(model, x)), rel=2e-2)
    scores = model(x)
    loss = get_loss(key).get_loss_fn()(batch.labels, scores)
    assert "float32" in str(loss.dtype)
    assert values(loss) == pytest.approx(oracle_mean(key, batch, outputs(model, x)), rel=1e-4)


@pytest.mark.parametrize("eager", [True, False])
def test_fit_runs_eagerly_and_as_graph(eager):
    model, x, batch = model_and_data("list_mle")
    model.compile("sgd", loss=get_loss("list_mle").get_loss_fn(), run_eagerly=eager)
    expected = oracle_mean("list_mle", batch, outputs(model, x))
    history = model.fit(x, batch.labels, batch_size=7, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-4)


@each_variant(quick="family")
@pytest.mark.backend("tensorflow")
def test_xla_equals_eager(key, params):
    """Value and gradient under `jit_compile=True`, with document weights; scores of -0.0 and 0.0 tie."""
    import tensorflow as tf

    batch = float32(make_batch(key))
    scores = np.where(np.abs(batch.scores) < 0.5, np.float32(-0.0), batch.scores)
    labels = batch.labels.copy()
    some = labels[..., ::2]
    some[some == 0] = -0.0  # ties with 0.0
    fn = get_loss(key, **params).get_loss_fn()
    weight = batch.weight if case_of(key).documents else None

    @tf.function(jit_compile=True)
    def compiled(labels, scores, weight):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            loss = fn(labels, scores, weight)
        return loss, tape.gradient(loss, scores)

    weight = None if weight is None else tf.constant(weight)
    loss, slopes = compiled(tf.constant(labels), tf.constant(scores), weight)
    np.testing.assert_allclose(values(loss), values(fn(labels, scores, weight)), rtol=1e-5)
    np.testing.assert_allclose(values(slopes), gradient(lambda s: fn(labels, s, weight), scores), atol=1e-5)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("key", ["pairwise_logistic", "rank_one_listnet", "list_mle", "categorical_cross_entropy"])
def test_fit_with_jit_compile_matches_the_oracle(key):
    model, x, batch = model_and_data(key)
    model.compile("sgd", loss=get_loss(key).get_loss_fn(), jit_compile=True)
    expected = oracle_mean(key, batch, outputs(model, x))
    assert model.fit(x, batch.labels, batch_size=7, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.backend("tensorflow")
@each_loss(quick="family")
def test_graph_of_unknown_sizes_matches_the_oracle(key):
    """A graph whose B and N are unknown until run time."""
    import tensorflow as tf

    fn = get_loss(key).get_loss_fn()
    case, batch = case_of(key), keras_batch(key)
    lists = case.layout not in ("classes", "embeddings")
    unknown = [[None, case.width or None, *x.shape[2:]] if lists else [None, *x.shape[1:]] for x in batch[:2]]
    graph = tf.function(lambda y, s: fn(y, s), input_signature=[tf.TensorSpec(shape, tf.float32) for shape in unknown])
    for rows, size in [(7, 6), (3, 6), (4, 40)]:
        if lists or size == 6:
            batch = keras_batch(key, rows, size)
            expected = oracle_mean(key, batch, batch.scores)
            assert values(graph(batch.labels, batch.scores)) == pytest.approx(expected, rel=1e-4)


def test_losses_on_two_outputs():
    inputs = keras.Input((6, 3))
    clicks = Scores(name="click")(keras.layers.Dense(1)(inputs))
    sales = Scores(name="sale")(keras.layers.Dense(1)(inputs))
    model = keras.Model(inputs, {"click": clicks, "sale": sales})
    keys = {"click": "sigmoid_cross_entropy", "sale": "list_mle"}
    model.compile(
        "sgd",
        loss={name: get_loss(key).get_loss_fn() for name, key in keys.items()},
        loss_weights={"click": 0.5, "sale": 2.0},
    )
    x = np.random.default_rng(1).normal(size=(7, 6, 3)).astype("float32")
    batches = {name: float32(make_batch(key)) for name, key in keys.items()}
    scores = {name: values(score) for name, score in model(x).items()}
    expected = sum(
        weight * oracle_mean(keys[name], batches[name], scores[name])
        for name, weight in (("click", 0.5), ("sale", 2.0))
    )
    labels = {name: batch.labels for name, batch in batches.items()}
    assert model.evaluate(x, labels, batch_size=7, verbose=0)[0] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("key", ["list_mle", "prob_margin_ranking"])
def test_compiled_loss_object_names_get_loss_fn(key):
    model, x, batch = model_and_data(key)
    model.compile("sgd", loss=get_loss(key))
    with pytest.raises(ValueError, match=rf"get_loss\('{key}'\)\.get_loss_fn\(\)"):
        model.fit(x, batch.labels, batch_size=7, verbose=0)


def test_fit_names_wrong_shapes():
    model, x, batch = (ranker(), *model_and_data("list_mle")[1:])
    model.compile("sgd", loss=get_loss("list_mle").get_loss_fn())
    with pytest.raises(ValueError, match=r"sample_weight.*\(7, 5\)|sample_weight.*\(None, 5\)"):
        model.fit(x, batch.labels, sample_weight=batch.weight[:, :5], batch_size=7, verbose=0)
    with pytest.raises(ValueError, match=r"y_true \[(7|\?), 5\]"):
        model.fit(x, batch.labels[:, :5], batch_size=7, verbose=0)


def test_loss_holding_tensors_cannot_be_saved(tmp_path):
    for argument in ("mask", "positions"):
        fn = get_loss("list_mle").get_loss_fn(**{argument: np.ones((7, 6))})
        with pytest.raises(UserError, match=f"`{argument}=` holds a tensor"):
            fn.get_config()
    model, _, _ = model_and_data("list_mle")
    model.compile("sgd", loss=fn)
    with pytest.raises(UserError, match="cannot be saved"):
        model.save(tmp_path / "model.keras")
