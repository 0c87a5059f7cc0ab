"""Losses that wrap an embedding loss: sentence-transformers' numbers, sampling, and refused inputs."""

import numpy as np
import pytest

from compat.golden import id_of, load, near
from losses.numeric import gradient, value_and_gradient, values
from ml4ir_losses.compat.sentence_transformers import losses
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss

GOLDEN = load("st_wrapped_losses.json")
IDS = [case["id"] for case in GOLDEN]
TEACHER = [i for i in IDS if "AdaptiveLayerLoss" in i and "no_kl" not in i]  # there the teacher gets a gradient too


def inner(text):
    """The loss written as `Name(parameter=number)`."""
    name, _, parameters = text.rstrip(")").partition("(")
    given = dict(part.split("=") for part in parameters.split(",") if part)
    return getattr(losses, name)(**{key: int(number) for key, number in given.items()})


def batch_of(case):
    """y_true and y_pred, [B, C, D], [B, C, L, D] or [B, D]."""
    inputs = case["inputs"]
    if "lm_logits" in inputs:  # the first token is the decoder's start
        tokens = np.array(inputs["target_input_ids"], dtype="float32")
        return tokens[:, 1:], np.array(inputs["lm_logits"], dtype="float32")
    if "hidden_states" in inputs:
        return np.zeros(3, dtype="float32"), pooled(np.array(inputs["hidden_states"], dtype="float32"))
    names = sorted(name for name in inputs if name.startswith("embeddings"))
    columns = [np.array(inputs[name], dtype="float32") for name in names]
    y_pred = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
    return np.array(inputs.get("labels", np.zeros(len(y_pred))), dtype="float32"), y_pred


def pooled(states):
    """[layers, texts, tokens, D] as [B, 2, L, D]: mean over tokens, anchors before positives, first layer left out."""
    layers = states[1:].mean(axis=2)
    return np.stack([layers[:, :3], layers[:, 3:]], axis=1).transpose(2, 1, 0, 3)


def slopes_of(case):
    """The expected gradient in the shape of y_pred."""
    expected = {name: np.array(slope) for name, slope in case["expected_grad"].items()}
    if "hidden_states" in expected:
        return pooled(expected["hidden_states"] * 2)  # a mean over two tokens
    columns = [expected[name] for name in sorted(expected)]
    return columns[0] if len(columns) == 1 else np.stack(columns, axis=1)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: id_of(case, losses))
def test_golden_values_and_gradients(case):
    name = case["loss"].partition(".")[2]
    params = {**case["params"]}
    params.pop("pad_token_id", None)  # the tokenizer's number; 0, which is our default
    if "loss" in params:
        params["loss"] = inner(params["loss"])
    if name == "AdaptiveLayerLoss":
        params["layer_weighting"] = "linear"  # what version 5 has
    fn = getattr(losses, name)(**params)
    y_true, y_pred = batch_of(case)
    value, slopes = value_and_gradient(lambda x: fn(y_true, x), y_pred)
    near(float(value), case["expected_loss"])
    if case["id"] in TEACHER:
        assert np.isfinite(slopes).all()
    else:
        near(slopes, slopes_of(case))


INNER = {"key": "multiple_negatives_ranking", "scale": 5.0}


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_last_layer_gets_no_gradient_from_the_divergence():
    loss = get_loss("adaptive_layer", loss=INNER, last_layer_weight=0.0, prior_layers_weight=0.0, n_layers_per_step=-1)
    slopes = gradient(lambda x: loss.per_query(np.zeros(4), x), numbers(4, 2, 3, 6))
    assert (slopes[:, :, -1] == 0).all()
    assert (slopes[:, :, :-1] != 0).all()


def parts_of(key, name, count, y_pred, **params):
    """The values of `count` steps that sample one part each."""
    loss = get_loss(key, loss=INNER, seed=3, **{name: 1}, **params)
    fn = loss.get_loss_fn(reduction="none")
    return [values(fn(np.zeros(len(y_pred)), y_pred)).mean() for _ in range(count)]


@pytest.mark.slow_on("jax")
def test_each_step_samples_dimensions():
    y_pred, dims = numbers(4, 2, 6), [6, 4, 2]
    alone = [values(get_loss("matryoshka", loss=INNER, dims=[d]).per_query(np.zeros(4), y_pred)).mean() for d in dims]
    drawn = parts_of("matryoshka", "n_dims_per_step", 20, y_pred, dims=dims)
    places = [int(np.argmin(np.abs(np.array(alone) - value))) for value in drawn]
    np.testing.assert_allclose(drawn, np.array(alone)[places], rtol=1e-5)
    assert set(places) == {0, 1, 2}
    again = parts_of("matryoshka", "n_dims_per_step", 20, y_pred, dims=dims)
    np.testing.assert_array_equal(again, drawn)


@pytest.mark.slow_on("jax")
def test_each_step_samples_layers():
    y_pred, off = numbers(4, 2, 4, 6), {"last_layer_weight": 0.0, "kl_temperature": 0.0}
    inner_loss = get_loss(INNER)
    alone = [values(inner_loss.per_query(np.zeros(4), y_pred[:, :, k])).mean() for k in range(3)]
    drawn = parts_of("adaptive_layer", "n_layers_per_step", 20, y_pred, **off)
    places = [int(np.argmin(np.abs(np.array(alone) - value))) for value in drawn]
    np.testing.assert_allclose(drawn, np.array(alone)[places], rtol=1e-5)
    assert set(places) == {0, 1, 2}
    both = {"dims": [6, 3], "n_dims_per_step": 1, "n_layers_per_step": 1}
    fn = get_loss("matryoshka_2d", loss=INNER, seed=1, **both).get_loss_fn()
    assert len({float(fn(np.zeros(4), y_pred)) for _ in range(20)}) > 4


@pytest.mark.parametrize(
    ("key", "params", "shape", "message"),
    [
        (
            "matryoshka",
            {"dims": [8, 4]},
            (4, 2, 6),
            "`dims` of 'matryoshka' must be at most D = 6, by y_pred. Received: 8",
        ),
        ("matryoshka_2d", {"dims": [8]}, (4, 2, 3, 6), "must be at most D = 6"),
        ("matryoshka", {"dims": [4]}, (4, 6), "'multiple_negatives_ranking' takes y_pred [B, C, D]"),
        ("adaptive_layer", {}, (4, 6), "'adaptive_layer' takes y_pred [B, C, L, D] or [B, L, D]"),
        ("adaptive_layer", {}, (4, 3, 6), "'multiple_negatives_ranking' takes y_pred [B, C, D]"),
        ("splade", {"document_regularizer_weight": 1.0}, (4, 6), "[B, C, D]"),
    ],
)
def test_wrong_shapes_are_refused(key, params, shape, message):
    with pytest.raises(UserError) as caught:
        get_loss(key, loss=INNER, **params).get_loss_fn()(np.zeros(4), np.zeros(shape))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"dims": [4, 2], "loss": INNER, "weights": [1.0]}, "`weights` of 'matryoshka' must hold one number for each"),
        (
            {"dims": [4], "loss": "list_mle"},
            "`loss` of 'matryoshka' must be an embedding loss.",
        ),
        ({"dims": [4], "loss": {"key": "cosent", "scal": 1}}, "'cosent' has no parameter 'scal'"),
        ({"dims": [4]}, "'matryoshka' needs the parameter 'loss'"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(UserError) as caught:
        get_loss("matryoshka", **params)
    assert message in str(caught.value)


def test_config_round_trip():
    spec = {"key": "matryoshka", "dims": [4, 2], "loss": {"key": "multiple_negatives_ranking", "scale": 7.0}}
    loss = get_loss(spec)
    again = get_loss(loss.get_config())
    assert again.get_config() == loss.get_config()
    assert again.inner.params["scale"] == 7.0
