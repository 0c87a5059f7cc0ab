"""`RelevanceModel` with losses of several logits per document: head, loss, ranking, saving."""

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.registry import ARCHITECTURES, register_architecture
from ml4ir_losses.data.batching import BatchPlan, list_dataset, make_batch
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.metrics.keras_metric import get_metric
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.relevance_model import RelevanceModel
from small import config, read_queries, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")
ORDINAL = {"key": "ordinal", "ordinal_size": 3}
LOSSES = pytest.mark.parametrize(
    ("loss", "architecture", "width"),
    [
        (ORDINAL, {"key": "dnn", "hidden_units": [8]}, 3),
        ("click_em", "linear", 2),
        ("mixture_em", {"key": "dnn", "hidden_units": [8]}, 2),
        ({"key": "mixture_em", "alpha": 0.5}, {"key": "linear", "num_outputs": 3}, 3),
        ("categorical_cross_entropy", {"key": "dnn", "hidden_units": [8], "num_outputs": 4}, 4),
    ],
    ids=["ordinal", "click_em", "mixture_em", "mixture_em-3", "classes"],
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def build(folder, **model):
    """The model and one batch of its training split."""
    loaded = load_config(config(folder, model=model))
    built = RelevanceModel.from_config(loaded)
    data = read_queries(loaded, built.fitted)
    return built, make_batch(BatchPlan(data, 8), np.arange(8)), data


@pytest.mark.slow_on("jax")
@LOSSES
def test_loss_reads_all_logits_and_metrics_the_ranking_score(folder, loss, architecture, width):
    model, (x, y), _ = build(folder, loss=loss, architecture=architecture)
    output = {name: values(value) for name, value in model(x).items()}
    assert output["outputs"].shape == (*y["label"].shape, width)
    assert output["logit"].shape == output["score"].shape == y["label"].shape
    logs = model.test_on_batch(x, y, return_dict=True)
    expected = get_loss(loss).get_loss_fn()(y["label"], output["outputs"])
    assert float(logs["loss"]) == pytest.approx(float(expected), rel=1e-5)
    ndcg = get_metric("ndcg", topn=5)
    ndcg.update_state(y["label"], output["logit"])
    assert float(logs["ndcg_5"]) == pytest.approx(float(ndcg.result()), rel=1e-5)
    real = x["mask"] > 0
    p = 1 / (1 + np.exp(-output["outputs"]))
    classes = values(keras.ops.softmax(output["outputs"])) @ np.arange(width)
    score = {"ordinal": p.sum(-1), "click_em": p[..., 1], "mixture_em": p.mean(-1)}.get(get_loss(loss).key, classes)
    np.testing.assert_allclose(output["score"], np.where(real, score, 0.0), rtol=1e-5)


@LOSSES
def test_saved_model_keeps_outputs(folder, tmp_path, loss, architecture, width):
    model, batch, data = build(folder, loss=loss, architecture=architecture)
    model.train_on_batch(*batch)
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(batch[0], verbose=0), model.predict(batch[0], verbose=0))
    assert loaded.scorer.get_config()["outputs"] == width
    again, before = (float(m.test_on_batch(*batch, return_dict=True)["loss"]) for m in (loaded, model))
    assert again == before
    if keras.backend.backend() == "tensorflow":
        assert model.predict(list_dataset(BatchPlan(data, 8))).shape == (len(data), data.sizes.max())


def test_auxiliary_loss_shares_the_logits(folder):
    aux = [{"key": "click_em", "weight": 0.5, "label": "clicked"}]
    model, (x, y), _ = build(folder, loss={"key": "ordinal", "ordinal_size": 2}, aux_losses=aux)
    z = values(model(x)["outputs"])
    expected = float(get_loss("ordinal", ordinal_size=2).get_loss_fn()(y["label"], z))
    expected += 0.5 * float(get_loss("click_em").get_loss_fn()(y["clicked"], z))
    assert float(model.test_on_batch(x, y, return_dict=True)["loss"]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"loss": ORDINAL, "aux_losses": ["softmax_cross_entropy"]},
            "aux_0 loss 'softmax_cross_entropy' takes 1 logit per document, the main loss 'ordinal' 3 logits",
        ),
        (
            {"loss": "list_mle", "aux_losses": ["mixture_em"]},
            "aux_0 loss 'mixture_em' takes several logits per document, the main loss 'list_mle' 1 logit;",
        ),
        (
            {"loss": {"click_em": 1.0, "list_mle": 1.0}},
            "model.loss: .* must take the same number of logits per document",
        ),
        ({"loss": "ordinal"}, "needs the parameter 'ordinal_size'"),
        (
            {"loss": ORDINAL, "architecture": {"key": "dnn", "num_outputs": 3}},
            "`num_outputs` is for the losses",
        ),
        (
            {"loss": "mixture_em", "architecture": {"key": "dnn", "num_outputs": 1}},
            "`num_outputs` must be None or a whole number of at least 2",
        ),
        ({"loss": ORDINAL, "architecture": {"key": "dnn", "outputs": 2}}, "has no parameter 'outputs'"),
    ],
)
def test_inconsistent_config_raises_one_line(folder, model, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build(folder, **model)
    assert "\n" not in str(caught.value)


def test_architecture_of_one_logit_trains_losses_of_one_logit(folder):
    @register_architecture("narrow")
    def narrow(*, dtype=None):
        """One logit."""
        return ARCHITECTURES["linear"].target(dtype=dtype)

    try:
        build(folder, architecture="narrow")
        with pytest.raises(ConfigError, match="'narrow' gives 1 logit per document; the loss 'ordinal' takes 3 logits"):
            build(folder, architecture="narrow", loss=ORDINAL)
    finally:
        del ARCHITECTURES._entries["narrow"], ARCHITECTURES._names["narrow"]


def test_user_defined_loss_reads_every_logit(folder):
    model, (x, y), _ = build(folder, loss=ORDINAL)
    model.compile("sgd", loss=get_loss(ORDINAL | {"use_fraction_label": True}).get_loss_fn())
    expected = get_loss(ORDINAL).get_loss_fn()(y["label"], values(model(x)["outputs"]))
    assert float(model.test_on_batch(x, y, return_dict=True)["loss"]) == pytest.approx(float(expected), rel=1e-5)
