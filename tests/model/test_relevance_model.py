"""`RelevanceModel`: wiring of losses, masks, weights and metrics; saving."""

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.core.names import POSITIONS
from ml4ir_losses.data.batching import BatchPlan, list_dataset, make_batch
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.sharding import Position, Shard
from ml4ir_losses.experiments.callbacks import EpochNumber
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.propensity import propensity_weight
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.scoring import score_queries
from selection import slow_except
from small import config, read_queries, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def build(folder, **sections):
    """The model and one batch of its training split."""
    loaded = load_config(config(folder, **sections))
    model = RelevanceModel.from_config(loaded)
    data = read_queries(loaded, model.fitted)
    return model, make_batch(BatchPlan(data, 8), np.arange(8)), data


def values(model, batch):
    """The logs of `evaluate` on one batch."""
    model.reset_metrics()
    return {name: float(value) for name, value in model.test_on_batch(*batch, return_dict=True).items()}


def logits(model, x):
    return keras.ops.convert_to_numpy(model(x)["logit"])


def test_loss_and_metrics_see_masked_logits(folder):
    model, (x, y), _ = build(folder)
    y = {**y, "label": np.where(x["mask"] > 0, y["label"], 3.0)}  # the mask alone marks padding here
    expected = get_loss("softmax_cross_entropy").get_loss_fn(mask=x["mask"])(y["label"], logits(model, x))
    logs = values(model, (x, y))
    assert logs["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert set(logs) == {"loss", "ndcg_5", "mrr"}


def test_padding_does_not_change_scores(folder):
    model, (x, _), _ = build(folder)
    padded = x["mask"] == 0
    garbage = {**x, "price": x["price"].copy(), "brand": x["brand"].copy()}
    garbage["price"][padded] = np.nan
    garbage["brand"][padded] = 2
    scores = model.predict(garbage, verbose=0)
    np.testing.assert_array_equal(scores, model.predict(x, verbose=0))
    assert (scores[padded] == 0).all()
    np.testing.assert_allclose(scores.sum(1), 1.0, rtol=1e-5)


def test_several_losses_are_summed_with_their_weights_and_labels(folder):
    aux = [{"key": "sigmoid_cross_entropy", "weight": 0.25, "label": "clicked", "normalization": "batch"}]
    model, (x, y), _ = build(folder, model={"aux_losses": aux})
    z = logits(model, x)
    main = get_loss("softmax_cross_entropy").get_loss_fn()(y["label"], z)
    clicks = get_loss("sigmoid_cross_entropy", normalization="batch").get_loss_fn()(y["clicked"], z)
    assert not np.array_equal(y["label"], y["clicked"])
    assert values(model, (x, y))["loss"] == pytest.approx(float(main) + 0.25 * float(clicks), rel=1e-5)


@pytest.mark.parametrize("propensity", [None, {"key": "power", "eta": 0.5}])
def test_document_and_query_weights_of_the_data_combine(folder, propensity):
    roles = {"weight": "w", "query_weight": "w", "positions": "shown"}
    loss = {"key": "pairwise_logistic", **({"propensity": propensity} if propensity else {})}
    model, (x, y, w), data = build(folder, features=roles, model={"loss": loss})
    assert (w["item"].ndim, w["query"].ndim) == (2, 1)
    fn = get_loss("pairwise_logistic").get_loss_fn(
        positions=y[POSITIONS] if propensity else None, propensity=propensity
    )
    expected = fn(y["label"], logits(model, x), w)
    assert values(model, (x, y, w))["loss"] == pytest.approx(float(expected), rel=1e-5)
    for part in w.values():
        assert float(expected) != pytest.approx(float(fn(y["label"], logits(model, x), part)), rel=1e-4)
    plan = BatchPlan(data, 8)
    history = model.fit((make_batch(plan, batch) for batch in plan.batches()), epochs=1, verbose=0).history
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("weight", ["weight", "query_weight"])
def test_sample_weights_reach_the_loss(folder, weight):
    model, (x, y, w), _ = build(folder, features={weight: "w"}, model={"loss": "pairwise_logistic"})
    expected = get_loss("pairwise_logistic").get_loss_fn()(y["label"], logits(model, x), w)
    plain = get_loss("pairwise_logistic").get_loss_fn()(y["label"], logits(model, x))
    assert w.ndim == (2 if weight == "weight" else 1)
    assert values(model, (x, y, w))["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert float(expected) != pytest.approx(float(plain), rel=1e-3)


@pytest.mark.parametrize("weight", [{}, {"weight": "w"}, {"query_weight": "w"}])
def test_propensity_from_yaml_weights_documents_inversely(folder, weight):
    propensity = {"key": "power", "eta": 0.7, "clip": 2.0}
    model, batch, _ = build(
        folder,
        features={"positions": "shown", **weight},
        model={"loss": {"key": "pairwise_logistic", "normalization": "sum", "propensity": propensity}},
    )
    x, y = batch[:2]
    shown = np.where(x["mask"] > 0, np.arange(1, x["mask"].shape[1] + 1), 0)
    item = np.where(shown > 0, np.minimum(np.maximum(shown, 1) ** 0.7, 2.0), 0.0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(propensity_weight(shown, propensity)), item, rtol=1e-6)
    if weight:
        item = item * (batch[2] if batch[2].ndim == 2 else batch[2][:, None])
    expected = get_loss("pairwise_logistic", normalization="sum").get_loss_fn()(y["label"], logits(model, x), item)
    assert values(model, batch)["loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [{"key": "listnet", "min_label": -100.0}, {"key": "mean_squared_error"}, {"key": "aux_softmax_cross_entropy"}],
)
def test_negative_labels_are_documents_where_the_loss_or_min_label_says_so(folder, loss):
    model, (x, y), _ = build(folder, model={"loss": loss})
    y = {**y, "label": y["label"] - 50.0}
    expected = get_loss(loss["key"]).get_loss_fn(mask=x["mask"])(y["label"], logits(model, x))
    assert values(model, (x, y))["loss"] == pytest.approx(float(expected), rel=1e-4)
    if "min_label" not in loss:
        model.compile("sgd", loss=get_loss(loss).get_loss_fn())
        assert values(model, (x, y))["loss"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("loss", [{"key": "list_mle", "min_label": None}, {"list_mle": 0.4, "pairwise_logistic": 0.6}])
def test_only_the_mask_marks_padding_if_min_label_is_none(folder, loss):
    if "key" not in loss:
        loss = {"key": "weighted_sum", "losses": [[{"key": k, "min_label": None}, w] for k, w in loss.items()]}
    model, (x, y), _ = build(folder, model={"loss": loss})
    y = {**y, "label": y["label"] - 50.0}
    expected = get_loss(loss).get_loss_fn(mask=x["mask"])(y["label"], logits(model, x))
    assert values(model, (x, y))["loss"] == pytest.approx(float(expected), rel=1e-4)


def test_targets_may_be_one_array(folder):
    model, (x, y), _ = build(folder)
    assert values(model, (x, y["label"])) == values(model, (x, y))


def test_user_defined_loss_can_be_compiled(folder):
    model, (x, y), _ = build(folder)
    model.compile("sgd", loss=get_loss("list_mle").get_loss_fn())
    expected = get_loss("list_mle").get_loss_fn()(y["label"], logits(model, x))
    assert values(model, (x, y))["loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.backend("tensorflow")
@pytest.mark.graph
def test_fit_learns_and_predict_takes_batches_of_any_length(folder):
    model, _, data = build(folder)
    dataset = list_dataset(BatchPlan(data, 8, shuffle=True, bucketing=True))
    history = model.fit(dataset, epochs=8, verbose=0, shuffle=False).history
    assert history["loss"][-1] < 0.95 * history["loss"][0]
    assert history["ndcg_5"][-1] > history["ndcg_5"][0]
    plan = BatchPlan(data, 8)
    scores = model.predict(list_dataset(plan))
    assert scores.shape == (len(data), data.sizes.max())
    np.testing.assert_allclose(scores.sum(1), 1.0, rtol=1e-5)
    assert (scores[np.arange(scores.shape[1])[None] >= data.sizes[:, None]] == 0).all()


@pytest.mark.backend("jax")
def test_lists_that_fill_the_last_batch_leave_the_logs_of_an_epoch_unchanged(folder):
    model, _, data = build(folder)
    plan = BatchPlan(data, 7, compiled_epochs=1)
    assert len(data) % 7
    assert plan.fills_batches
    logs = model.evaluate(list_dataset(plan), verbose=0, return_dict=True)
    expected = model.evaluate(list_dataset(BatchPlan(data, 7)), verbose=0, return_dict=True)
    assert logs == pytest.approx(expected, rel=1e-5)
    assert score_queries(model, plan).logits == pytest.approx(score_queries(model, BatchPlan(data, 7)).logits, rel=1e-5)


def test_fit_in_the_middle_of_an_epoch_reads_the_rest_of_it_and_whole_epochs_after_it(folder, monkeypatch):
    class Batches(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(feeding.epoch)

    model, _, data = build(folder)
    plan, feeding, seen, asked = BatchPlan(data, 8), Feeding(), [], []
    draws = plan.draws
    monkeypatch.setattr(plan, "draws", lambda *position: asked.append(position) or draws(*position))
    dataset = list_dataset(plan, feeding, Position(1, 3))
    callbacks = [EpochNumber(feeding), Batches()]
    model.fit(dataset, initial_epoch=1, epochs=3, callbacks=callbacks, verbose=0, shuffle=False)
    assert seen == [1] * (len(plan) - 3) + [2] * len(plan)
    looked = keras.backend.backend() != "tensorflow"  # at a batch, to build the metrics
    assert asked == [(1, 3)] * (1 + looked) + [(2, 0)]


def test_error_of_the_data_reaches_the_caller_of_fit_as_it_is(folder, monkeypatch):
    model, _, data = build(folder)
    plan, feeding = BatchPlan(data, 8), Feeding()
    draws = plan.draws

    def damaged(epoch, start=0):
        if epoch == 1:
            raise DataError("data.bin: is damaged")
        return draws(epoch, start)

    monkeypatch.setattr(plan, "draws", damaged)
    with pytest.raises(DataError, match=r"^data\.bin: is damaged$"), feeding.errors():
        model.fit(list_dataset(plan, feeding), epochs=3, callbacks=[EpochNumber(feeding)], verbose=0, shuffle=False)


@pytest.mark.parametrize("normalization", ["query", "batch"])
def test_lists_that_make_a_batch_divisible_leave_the_loss_unchanged(folder, normalization):
    model, _, data = build(folder, model={"loss": {"key": "pairwise_logistic", "normalization": normalization}})
    plan = BatchPlan(data, 7, shard=Shard(devices=3))
    assert plan.fills_batches
    filled, whole = (make_batch(some, np.arange(7)) for some in (plan, BatchPlan(data, 7)))
    assert len(filled[0]["mask"]) == 9
    assert values(model, filled) == pytest.approx(values(model, whole), rel=1e-5)


@pytest.mark.parametrize("precision", slow_except(["float32", "mixed_bfloat16"], "float32"))
def test_saved_model_is_compiled_and_keeps_scores_exactly(folder, tmp_path, precision):
    aux = [{"key": "sigmoid_cross_entropy", "weight": 0.25, "label": "clicked"}]
    model, batch, _ = build(folder, model={"aux_losses": aux}, training={"precision": precision})
    model.train_on_batch(*batch)
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert isinstance(loaded, RelevanceModel)
    np.testing.assert_array_equal(loaded.predict(batch[0], verbose=0), model.predict(batch[0], verbose=0))
    np.testing.assert_array_equal(logits(loaded, batch[0]), logits(model, batch[0]))
    assert values(loaded, batch) == values(model, batch)
    assert loaded.optimizer.iterations == model.optimizer.iterations
    loaded.train_on_batch(*batch)


def test_scores_are_float32_under_mixed_precision(folder):
    model, (x, _), _ = build(folder, training={"precision": "mixed_bfloat16"})
    output = model(x)
    assert {keras.backend.standardize_dtype(v.dtype) for v in output.values()} == {"float32"}
    assert keras.backend.standardize_dtype(model.encoder(x).dtype) == "bfloat16"


@pytest.mark.backend("tensorflow")
def test_strings_give_the_same_logits_as_ids(folder):
    import tensorflow as tf

    model, (x, _), _ = build(folder)
    brands = np.array(["?", *next(i for i in model.fitted if i.name == "brand").vocabulary])
    np.testing.assert_array_equal(model({**x, "brand": tf.constant(brands[x["brand"]])})["logit"], logits(model, x))


@pytest.mark.graph
def test_seeded_loss_draws_anew_and_equal_seeds_give_equal_sequences(folder, tmp_path):
    """All labels tied: the seed alone decides about the order that ListMLE takes as ideal."""
    losses = {"loss": {"key": "list_mle", "seed": 3}, "optimizer": {"key": "sgd", "learning_rate": 1e-9}}

    def sequence(model, batch):
        x, y = batch
        tied = {"label": np.where(y["label"] >= 0, 1.0, -1.0)}
        return [values(model, (x, tied))["loss"] for _ in range(3)]

    model, batch, _ = build(folder, model=losses)
    model.save(tmp_path / "m.keras")
    first = sequence(model, batch)
    assert len(set(first)) == 3
    again, batch, _ = build(folder, model=losses)
    assert sequence(again, batch) == first
    loaded = sequence(load_model(tmp_path / "m.keras"), batch)
    assert len(set(loaded)) == 3


def test_cosine_schedule_spans_the_whole_training(folder):
    sections = {"model": {"lr_schedule": "cosine"}, "training": {"epochs": 3}, "data": {"batch_size": 7}}
    model, _, data = build(folder, **sections)
    assert model.optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 3 * -(-len(data) // 7)


@pytest.mark.parametrize("architecture", ["linear", {"key": "dnn", "hidden_units": [4], "layer_norm": True, "l2": 0.1}])
def test_architecture_has_expected_weights(folder, architecture):
    model, batch, _ = build(folder, model={"architecture": architecture})
    model.train_on_batch(*batch)
    weights = [w.path for w in model.scorer.weights]
    assert len(weights) == (2 if architecture == "linear" else 6)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {"architecture": {"key": "dnn", "hidden_units": [0]}}}, "`hidden_units` must be whole numbers"),
        ({"model": {"architecture": {"key": "dnn", "dropout": 1.0}}}, "`dropout` must be a number from 0 to below 1"),
        ({"model": {"architecture": {"key": "dnn", "activation": "foo"}}}, "`activation` must be a Keras activation"),
        (
            {"model": {"architecture": {"key": "dnn", "hidden_units": None}}},
            "model.architecture: `hidden_units` must be whole numbers",
        ),
        (
            {"model": {"loss": "multiple_negatives_ranking"}},
            "main loss 'multiple_negatives_ranking' is an embedding loss",
        ),
        ({"model": {"optimizer": {"key": "adam", "epsilon": None}}}, "model.optimizer.epsilon: must be a number"),
        ({"model": {"optimizer": "adamm"}}, r"model.optimizer.key: .*Did you mean 'adam'\?"),
        ({"model": {"optimizer": {"key": "adam", "momentum": 1}}}, "model.optimizer.momentum: 'adam' has no such"),
        ({"model": {"optimizer": {"key": "adam", "beta_1": "x"}}}, "model.optimizer.beta_1: must be a number"),
    ],
)
def test_invalid_model_section_raises_one_line(folder, sections, message):
    with pytest.raises(ConfigError, match=message):
        build(folder, **sections)


def test_missing_inputs_and_labels_are_named_in_the_error(folder):
    model, (x, y), _ = build(folder)
    with pytest.raises(UserError, match="The model's input 'price' is missing"):
        model.encoder({name: value for name, value in x.items() if name != "price"})
    with pytest.raises(UserError, match="The targets lack the label 'label'"):
        model.compute_loss(x, {"other": y["label"]}, model(x))


def test_load_model_reports_invalid_files(tmp_path):
    with pytest.raises(UserError, match="there is no such model"):
        load_model(tmp_path / "nope.keras")
    (tmp_path / "bad.keras").write_text("x")
    with pytest.raises(UserError, match="is not a model that can be loaded"):
        load_model(tmp_path / "bad.keras")
