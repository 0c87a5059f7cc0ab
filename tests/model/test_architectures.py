"""Ranking models with the architectures `set_transformer`, `deep_cross` and `gam`, from config to saved file."""

import keras
import numpy as np
import pytest

from ml4ir_losses import train
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.data.batching import BatchPlan, make_batch
from ml4ir_losses.data.splitting import read_splits
from ml4ir_losses.experiments.ranking_model import build_from_inputs
from ml4ir_losses.features.fitting import fit_inputs
from ml4ir_losses.model.loading import load_model
from selection import slow_except
from small import config, read_queries, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")
SPECS = {
    "set_transformer": {
        "hidden_units": [8],
        "attention_dim": 8,
        "noise": 0.1,
        "dropout": 0.1,
        "attention_dropout": 0.1,
    },
    "deep_cross": {"hidden_units": [8], "rank": 3, "dropout": 0.1},
    "gam": {"hidden_units": [4], "query_hidden_units": [4], "dropout": 0.1},
}
each_architecture = pytest.mark.parametrize("key", SPECS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def build(folder, key, training=(), features=(), dropout=True, **model):
    """The compiled model and one batch of its training split."""
    architecture = {"key": key, **SPECS.get(key, {})}
    if not dropout:
        architecture |= {name: 0.0 for name in architecture if "dropout" in name}
    sections = {"training": dict(training), "features": dict(features)}
    loaded = load_config(config(folder, model={"architecture": architecture, **model}, **sections))
    model = build_from_inputs(loaded, fit_inputs(loaded.features, read_splits(loaded.data, "query_id")["train"]))
    return model, make_batch(BatchPlan(read_queries(loaded, model.fitted), 8), np.arange(8))


def logits(model, x):
    return keras.ops.convert_to_numpy(model(x)["logit"])


@pytest.mark.backend("tensorflow")
@pytest.mark.graph
@each_architecture
def test_a_config_trains_and_evaluates(folder, tmp_path, key):
    experiment = config(folder, model={"architecture": {"key": key, **SPECS[key]}}, training={"epochs": 4})
    run = train(experiment, tmp_path / "run")
    losses = np.loadtxt(tmp_path / "run" / "history.csv", delimiter=",", skiprows=1, usecols=1)
    assert run.metrics["test"]["ndcg_5"] > 0.5
    assert losses[-1] < losses[0]


@each_architecture
def test_saved_model_keeps_scores_and_trains_on(folder, tmp_path, key):
    model, batch = build(folder, key)
    assert np.isfinite(model.train_on_batch(*batch)).all()
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(logits(loaded, batch[0]), logits(model, batch[0]))
    assert loaded.get_config() == model.get_config()
    assert np.isfinite(loaded.train_on_batch(*batch)).all()


@each_architecture
def test_every_weight_is_trained(folder, key):
    model, batch = build(folder, key)
    before = [keras.ops.convert_to_numpy(w).copy() for w in model.trainable_variables]
    for _ in range(3):
        model.train_on_batch(*batch)
    still = [
        w.path
        for w, old in zip(model.trainable_variables, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(w), old)
    ]
    # A softmax over the documents does not see what is added to all of them: an output bias, or that of a key.
    assert all(path.endswith("bias") for path in still), still


@each_architecture
def test_values_of_padding_change_no_score(folder, key):
    model, (x, _) = build(folder, key)
    padded = x["mask"] == 0
    garbage = {**x, "price": x["price"].copy(), "brand": x["brand"].copy()}
    garbage["price"][padded] = 1e4
    garbage["brand"][padded] = 2
    np.testing.assert_array_equal(logits(model, garbage)[~padded], logits(model, x)[~padded])


@each_architecture
def test_lists_that_fill_a_batch_change_no_weight_and_no_metric(folder, key):
    def trained(fills_batches):
        keras.utils.set_random_seed(1)
        model, _ = build(folder, key, optimizer={"key": "sgd", "learning_rate": 0.5}, dropout=False)
        data = read_queries(load_config(config(folder)), model.fitted)
        plan = BatchPlan(data, len(data) + 3, compiled_epochs=1)
        plan.fills_batches = fills_batches
        logs = model.train_on_batch(*make_batch(plan, np.arange(len(data))), return_dict=True)
        return model.get_weights(), {name: float(value) for name, value in logs.items()}

    (weights, logs), (filled_weights, filled_logs) = trained(False), trained(True)
    for old, new in zip(weights, filled_weights, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
    assert filled_logs == pytest.approx(logs, rel=1e-5)


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("key", slow_except(SPECS, "set_transformer"))
def test_mixed_precision_trains_with_float32_scores(folder, key):
    model, batch = build(folder, key, training={"precision": "mixed_bfloat16"})
    assert np.isfinite(model.train_on_batch(*batch)).all()
    assert keras.backend.standardize_dtype(model(batch[0])["logit"].dtype) == "float32"


@pytest.mark.backend("tensorflow", "jax")
@pytest.mark.graph
@pytest.mark.parametrize("key", slow_except(SPECS, "set_transformer"))
def test_a_compiled_step_equals_an_eager_one(folder, key):
    rates = {name: 0.0 for name in SPECS[key] if "dropout" in name or name == "noise"}
    spec = {"key": key, **SPECS[key], **rates}
    numbers = {"inputs": [{"name": name, "type": "numeric"} for name in ("price", "shown")]}  # strings are not compiled
    model = {"architecture": spec, "optimizer": {"key": "sgd", "learning_rate": 0.1}}
    compiled, batch = build(folder, key, {"jit_compile": True}, numbers, **model)
    eager, _ = build(folder, key, {"jit_compile": False}, numbers, **model)
    assert compiled.jit_compile
    assert not eager.jit_compile
    eager.set_weights(compiled.get_weights())
    np.testing.assert_allclose(compiled.train_on_batch(*batch)[0], eager.train_on_batch(*batch)[0], rtol=1e-5)
    np.testing.assert_allclose(logits(compiled, batch[0]), logits(eager, batch[0]), rtol=1e-4, atol=1e-5)


def test_explained_parts_sum_to_the_logits(folder, tmp_path):
    model, batch = build(folder, "gam")
    model.train_on_batch(*batch)
    x = batch[0]
    parts = model.explain(x)
    assert list(parts) == ["price", "brand", "title"]  # the query's segment weighs them
    real = x["mask"] > 0
    np.testing.assert_allclose(sum(parts.values())[real], logits(model, x)[real], rtol=1e-5, atol=1e-6)
    assert all((part[~real] == 0).all() for part in parts.values())
    model.save(tmp_path / "m.keras")
    for name, part in load_model(tmp_path / "m.keras").explain(x).items():
        np.testing.assert_array_equal(part, parts[name])
    other = {**x, "price": x["price"] + 1.0}
    assert [n for n, part in model.explain(other).items() if not np.array_equal(part, parts[n])] == ["price"]


def test_the_parts_of_a_linear_model_sum_to_the_logits_without_the_bias(folder):
    model, (x, _) = build(folder, "linear")
    model.scorer.head.bias.assign([0.7])
    parts = model.explain(x)
    assert sorted(parts) == ["brand", "price", "segment", "title"]
    real = x["mask"] > 0
    np.testing.assert_allclose(sum(parts.values())[real], logits(model, x)[real] - 0.7, rtol=1e-5, atol=1e-6)
    encoded, kernel = (keras.ops.convert_to_numpy(part) for part in (model.encoder(x), model.scorer.head.kernel))
    for feature in model.encoder.features:
        expected = (encoded.astype("float64") * kernel[:, 0])[..., feature.positions].sum(axis=-1)
        np.testing.assert_allclose(parts[feature.name][real], expected[real], rtol=1e-5, atol=1e-6)
    assert all((part[~real] == 0).all() for part in parts.values())


@pytest.mark.parametrize("key", ["dnn", "set_transformer"])
def test_a_model_that_is_no_sum_cannot_be_explained(folder, key):
    model, (x, _) = build(folder, key)
    with pytest.raises(UserError, match=f"architecture '{key}' is no sum over features .*; 'gam' is, and 'linear'"):
        model.explain(x)


@pytest.mark.parametrize("key", ["set_transformer", "deep_cross"])
def test_a_loss_of_several_logits_sizes_the_head(folder, key):
    model, (x, _) = build(folder, key, loss={"key": "ordinal", "ordinal_size": 3})
    assert model(x)["outputs"].shape == (*x["mask"].shape, 3)


def test_gam_says_that_it_gives_one_logit(folder):
    with pytest.raises(ConfigError, match="architecture 'gam' gives 1 logit per document"):
        build(folder, "gam", loss={"key": "ordinal", "ordinal_size": 3})


def test_wrong_parameters_of_a_config_are_named_with_their_path(folder):
    wrong = {"model": {"architecture": {"key": "set_transformer", "num_head": 2}}}
    with pytest.raises(ConfigError, match=r"model.architecture: .*'num_head'.* Did you mean 'num_heads'\?"):
        load_config(config(folder, **wrong))
    with pytest.raises(ConfigError, match="model: `num_heads` must divide attention_dim=8"):
        build(folder, "set_transformer", architecture={"key": "set_transformer", "attention_dim": 8, "num_heads": 3})
