"""`position_bias`: training on clicks with a bias of the rank that evaluation, serving and saved models do not have."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.names import POSITIONS
from ml4ir_losses.data.batching import BatchPlan, make_batch
from ml4ir_losses.data.splitting import read_splits
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.features.fitting import fit_inputs
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.propensity import propensity_weight
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.position_biases import additive, tower
from ml4ir_losses.model.position_layers import logit_of_product
from ml4ir_losses.model.relevance_model import RelevanceModel
from small import config, read_queries, write_csv, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")

LOSSES = ("sigmoid_cross_entropy", "pairwise_logistic", "softmax_cross_entropy", "list_mle", "approx_ndcg")
TOWER = {"key": "tower", "inputs": ["segment"], "hidden_units": [4], "dropout": 0.0}
BIASES = [
    {"key": "additive", "max_position": 4, "dropout": 0.0},
    TOWER,
    {**TOWER, "combine": "multiply"},
]
NAMES = ["additive", "tower", "product"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clicks")
    write_csv(folder / "train.csv", queries=40)
    return folder


def build(folder, bias, loss="softmax_cross_entropy", **model):
    """The model, the training batch and a batch without what only the bias reads."""
    sections = {"data": {"validation": None, "test": None}, "features": {"label": "clicked", "positions": "shown"}}
    sections["model"] = {"loss": loss, "position_bias": bias, **model}
    loaded = load_config(config(folder, **sections))
    built = RelevanceModel.from_config(loaded)
    data = read_queries(loaded, fit_inputs(loaded.features, read_splits(loaded.data, "query_id")["train"]))
    batch = make_batch(BatchPlan(data, 8), np.arange(8))
    return built, batch, {name: value for name, value in batch[0].items() if name in (*served(built), "mask")}


def served(model):
    return [fitted.name for fitted in model.fitted]


def numbers(tensor):
    return keras.ops.convert_to_numpy(tensor)


def set_biases(model, scale=1.0):
    rng = np.random.default_rng(5)
    model.position_bias.set_weights([scale * rng.normal(size=w.shape) for w in model.position_bias.get_weights()])


def training_loss(model, x, y):
    return float(
        numbers(keras.ops.stop_gradient(model.compute_loss(x, y, model(x, training=True), None, training=True)))
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("bias", BIASES, ids=NAMES)
def test_training_loss_is_that_of_click_logits_and_evaluation_is_of_relevance(folder, bias, loss):
    model, (x, y), visible = build(folder, bias, loss)
    set_biases(model)
    z = numbers(model(visible)["logit"]).astype("float64")
    shown = y[POSITIONS]
    b = numbers(model.position_bias.biases(np.maximum(shown, 1), x))[..., 0].astype("float64")
    click = z + b
    if bias.get("combine") == "multiply":
        p = sigmoid(z) * sigmoid(b)
        click = np.log(p) - np.log1p(-p)
    click = np.where(shown > 0, click, z)
    fn = get_loss(loss).get_loss_fn(mask=x["mask"])
    assert training_loss(model, x, y) == pytest.approx(float(fn(y["clicked"], click.astype("float32"))), rel=1e-4)
    evaluated = model.compute_loss(visible, y, model(visible), None, training=False)
    assert float(evaluated) == pytest.approx(float(fn(y["clicked"], z.astype("float32"))), rel=1e-4)


def test_additive_bias_is_that_of_the_rank_and_later_ranks_share_the_last():
    layer = additive(max_position=3, dropout=0.0)
    layer.build()
    layer.set_weights([np.array([[0.5], [-1.0], [-2.0]])])
    found = numbers(layer(np.zeros((1, 6), "float32"), np.array([[1, 2, 3, 4, 99, 0]])))
    np.testing.assert_allclose(found, [[0.5, -1.0, -2.0, -2.0, -2.0, 0.0]])


def test_biases_of_several_logits_are_one_each(folder):
    model, (x, y), visible = build(folder, {"key": "additive", "dropout": 0.0}, {"key": "ordinal", "ordinal_size": 3})
    set_biases(model)
    (biases,) = model.position_bias.get_weights()
    assert biases.shape == (50, 3)
    z, shown = numbers(model(visible)["outputs"]), y[POSITIONS].astype(int)
    click = z + np.where(shown[..., None] > 0, biases[np.maximum(shown, 1) - 1], 0.0)
    expected = get_loss("ordinal", ordinal_size=3).get_loss_fn(mask=x["mask"])(y["clicked"], click)
    assert training_loss(model, x, y) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("bias", BIASES, ids=NAMES)
def test_gradients_of_the_bias_are_central_differences(folder, bias):
    """By a step of gradient descent, which every backend takes."""
    optimizer = {"key": "sgd", "learning_rate": 1.0}
    model, (x, y), _ = build(folder, bias, "softmax_cross_entropy", optimizer=optimizer)
    set_biases(model, 0.5)
    before = model.get_weights()
    of_bias = model.position_bias.get_weights()
    step, number = 1e-2, len(of_bias)
    expected = []
    for i in range(number):
        grid = np.zeros_like(of_bias[i])
        for place in list(np.ndindex(grid.shape))[:12]:
            values = []
            for sign in (1, -1):
                moved = [w.copy() for w in of_bias]
                moved[i][place] += sign * step
                model.position_bias.set_weights(moved)
                values.append(training_loss(model, x, y))
            grid[place] = (values[0] - values[1]) / (2 * step)
        expected.append(grid)
    model.set_weights(before)
    model.train_on_batch(x, y)
    for i, after in enumerate(model.position_bias.get_weights()):
        for place in list(np.ndindex(after.shape))[:12]:
            assert of_bias[i][place] - after[place] == pytest.approx(expected[i][place], abs=2e-3)
    assert max(np.abs(grid).max() for grid in expected) > 0.01


@pytest.mark.parametrize("bias", BIASES, ids=NAMES)
def test_padding_has_no_bias_and_changes_no_training_loss(folder, bias):
    model, (x, y), _ = build(folder, bias)
    set_biases(model)
    wide = {n: np.pad(v, [(0, 0), (0, 3), *[(0, 0)] * (v.ndim - 2)]) if v.ndim > 1 else v for n, v in x.items()}
    more = {n: np.pad(v, [(0, 0), (0, 3)], constant_values=-1 if n == "clicked" else 0) for n, v in y.items()}
    assert training_loss(model, wide, more) == pytest.approx(training_loss(model, x, y), rel=1e-5)
    garbage = {**y, POSITIONS: np.where(x["mask"] > 0, y[POSITIONS], 7.0)}
    assert training_loss(model, x, garbage) == pytest.approx(training_loss(model, x, y), rel=1e-6)


def test_dropout_leaves_whole_queries_without_bias():
    keras.utils.set_random_seed(0)
    layer = additive(max_position=2, dropout=0.4)
    layer.build()
    layer.set_weights([np.array([[1.0], [2.0]])])
    logits, positions = np.zeros((2000, 2), "float32"), np.tile([1, 2], (2000, 1))
    found = numbers(layer(logits, positions, training=True))
    assert {tuple(row) for row in found.tolist()} == {(0.0, 0.0), (1.0, 2.0)}
    assert abs((found[:, 0] == 0).mean() - 0.4) < 0.05
    np.testing.assert_array_equal(numbers(layer(logits, positions, training=False)), np.tile([1.0, 2.0], (2000, 1)))


def test_logit_of_a_product_of_probabilities_is_exact_for_large_logits():
    pairs = [(0.3, -1.2), (4.0, 5.0), (30.0, 40.0), (-60.0, 2.0), (-50.0, -40.0), (80.0, -3.0)]
    a, b = np.array(pairs, "float32").T

    def oracle(x, y):  # 1 - pq = q' + q p' with p' = 1 - p, without cancellation
        p, q, np_, nq = (1 / (1 + math.exp(-v)) for v in (x, y, -x, -y))
        return math.log(p) + math.log(q) - math.log(nq + q * np_)

    np.testing.assert_allclose(numbers(logit_of_product(a, b)), [oracle(x, y) for x, y in pairs], rtol=2e-6)
    extreme = numbers(logit_of_product(np.float32([300.0, -300.0]), np.float32([300.0, 300.0])))
    assert np.isfinite(extreme).all()


@pytest.mark.parametrize("bias", BIASES, ids=NAMES)
def test_saved_model_gives_relevance_alone_and_can_be_trained_on(folder, bias, tmp_path):
    model, batch, visible = build(folder, bias)
    model.train_on_batch(*batch)
    model.save(tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(visible, verbose=0), model.predict(visible, verbose=0), rtol=1e-6)
    assert training_loss(loaded, *batch) == pytest.approx(training_loss(model, *batch), rel=1e-6)
    assert served(loaded) == (["price", "brand", "title"] if "inputs" in bias else served(model))
    rows = {"query_id": ["a", "a"], "price": [0.1, 0.9], "brand": ["b1", "b2"], "title": ["red hat", "wool"]}
    rows |= {} if "inputs" in bias else {"segment": ["new", "new"]}
    assert loaded.predict_rows(rows).shape == (2,)  # neither positions nor what only the bias reads


def test_bias_corrects_the_named_label_columns_only(folder):
    aux = [{"key": "sigmoid_cross_entropy", "label": "clicked"}]
    bias = {"key": "additive", "dropout": 0.0, "labels": ["clicked"]}
    sections = {"data": {"validation": None, "test": None}, "features": {"positions": "shown"}}
    model = RelevanceModel.from_config(
        load_config(config(folder, **sections, model={"position_bias": bias, "aux_losses": aux}))
    )
    _, (x, y), _ = build(folder, bias)
    y = {**y, "label": np.where(x["mask"] > 0, np.arange(x["mask"].shape[1]) % 3, -1).astype("float32")}
    set_biases(model)
    z, (biases,) = numbers(model(x)["logit"]), model.position_bias.get_weights()
    click = z + np.where(x["mask"] > 0, biases[np.maximum(y[POSITIONS].astype(int), 1) - 1, 0], 0.0)
    expected = float(get_loss("softmax_cross_entropy").get_loss_fn()(y["label"], z))
    expected += float(get_loss("sigmoid_cross_entropy").get_loss_fn()(y["clicked"], click))
    assert training_loss(model, x, y) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("values", [None, [0.9, 0.5, 0.2]])
def test_propensity_is_that_of_every_loss_without_its_own(folder, values):
    bias = {"key": "propensity", "clip": 4.0, "normalize": True}
    bias |= {"eta": 0.7} if values is None else {"values": values}
    aux = [{"key": "pairwise_logistic", "propensity": {"key": "power", "eta": 0.5}}]
    model, (x, y), _ = build(folder, bias, aux_losses=aux)
    examined = np.arange(1.0, 30.0) ** -0.7 if values is None else np.array([*values, *[values[-1]] * 26])
    shown = y[POSITIONS].astype(int)
    weight = np.where(shown > 0, np.minimum(1 / examined[np.maximum(shown, 1) - 1], 4.0), 0.0)
    weight *= (shown > 0).sum() / weight.sum()
    z = numbers(model(x)["logit"])
    expected = float(get_loss("softmax_cross_entropy").get_loss_fn()(y["clicked"], z, weight))
    own = numbers(propensity_weight(shown, {"key": "power", "eta": 0.5}))
    expected += float(get_loss("pairwise_logistic").get_loss_fn()(y["clicked"], z, own))
    assert training_loss(model, x, y) == pytest.approx(expected, rel=1e-5)
    assert model.position_bias is None


def test_training_without_shown_ranks_is_refused(folder):
    model, (x, y), _ = build(folder, "additive")
    with pytest.raises(UserError, match=r"trains on the shown ranks: set features\.positions"):
        training_loss(model, x, y["clicked"])


def test_tower_tells_ranks_apart():
    keras.utils.set_random_seed(1)
    layer = tower(max_position=5, dropout=0.0)
    layer.build()
    found = numbers(layer(np.zeros((1, 6), "float32"), np.array([[1, 2, 3, 4, 5, 9]])))[0]
    assert len(set(np.round(found, 6))) == 5
    assert found[4] == found[5]


def test_experiment_reads_inputs_of_the_bias_for_training_alone(tmp_path):
    write_splits(tmp_path)
    model = {"position_bias": TOWER, "loss": "pairwise_logistic"}
    features = {"label": "clicked", "positions": "shown"}
    loaded = load_config(config(tmp_path, features=features, model=model, training={"epochs": 1}))
    experiment = FeatureExperiment.prepare(loaded)
    read = {split: "segment" in queries.features for split, queries in experiment.queries.items()}
    assert read == {"train": True, "validation": False, "test": False}
    before = experiment.model.position_bias.get_weights()
    history = experiment.model.fit(
        experiment.dataset("train"), validation_data=experiment.dataset("validation"), verbose=0
    ).history
    assert np.isfinite(history["val_loss"]).all()
    assert any((a != b).any() for a, b in zip(before, experiment.model.position_bias.get_weights(), strict=True))
    assert experiment.evaluate(str(tmp_path / "test.csv"))["mrr"] > 0
