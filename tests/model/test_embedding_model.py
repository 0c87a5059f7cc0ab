"""`EmbeddingModel`: towers, heads, trained scales, memory and GradCache of a model that the builder makes."""

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.config.load import load_config
from ml4ir_losses.config.text_schema import TextConfig, TextTask
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.text.tokenizers import WordTokenizer
from selection import slow_except

pytestmark = pytest.mark.usefixtures("eager_steps")
TEXTS = ["a cat sat", "the dog ran away", "a bird", "fish swim in the sea", "the cat", "birds of the sea"] * 2
TOKENIZER = WordTokenizer.fit(TEXTS, 100, 8)
IDS = TOKENIZER.padded(TEXTS)
X = {"anchor": IDS, "positive": np.roll(IDS, 1, axis=0)}
ZEROS = np.zeros(len(TEXTS), "float32")
BAG = {"key": "bag_of_words", "embedding_dim": 6}
TRANSFORMER = {"key": "transformer", "embedding_dim": 8, "num_layers": 2, "num_heads": 2, "max_length": 8}


def make(loss, encoder=BAG, architecture="bi_encoder", columns=2, classes=(), training=None, **options):
    config = {
        "data": {"train": "x", "columns": {"anchor": "a", "positive": "b"}},
        "model": {"architecture": {"key": architecture, "encoder": encoder, **options}, "loss": loss},
        "training": training or {},
    }
    config["model"]["optimizer"] = {"key": "sgd", "learning_rate": 0.1}
    task = TextTask(loss=loss, columns=columns, classes=list(classes))
    return EmbeddingModel.make(TextConfig.model_validate(config), TOKENIZER, {"main": task})


def train(model, x=X, y=ZEROS, epochs=1):
    return model.fit(x, y, batch_size=len(y), epochs=epochs, verbose=0, shuffle=False).history["loss"]


def test_every_column_gets_an_embedding():
    model = make("multiple_negatives_ranking")
    out = values(model(X)["embedding"])
    assert out.shape == (len(TEXTS), 2, 6)
    np.testing.assert_allclose(out[:, 0], model.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(out[:, 1], model.encode(np.roll(TEXTS, 1), "positive"), atol=1e-6)


@pytest.mark.parametrize("shared", [True, False])
def test_anchors_have_their_own_encoder_unless_shared(shared):
    model = make("multiple_negatives_ranking", shared=shared)
    same = np.allclose(model.encode(TEXTS), model.encode(TEXTS, "positive"))
    assert same == shared
    assert len(model.towers.encoders) == 2 - shared


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_batches_do_not_change_embeddings(batch_size):
    model = make("multiple_negatives_ranking", TRANSFORMER)
    np.testing.assert_allclose(model.encode(TEXTS, batch_size=batch_size), model.encode(TEXTS), atol=1e-5)
    assert model.encode([]).shape == (0, 8)
    with pytest.raises(UserError, match="`column` must be anchor, positive or negative_1"):
        model.encode(TEXTS, "query")


@pytest.mark.parametrize(
    ("loss", "options", "y", "extra"),
    [
        ({"key": "pair_softmax", "num_labels": 3}, {"architecture": "pair_classifier"}, np.arange(12) % 3, 2),
        pytest.param("proxy_anchor", {"columns": 1, "classes": "ab"}, np.arange(12) % 2, 1, marks=pytest.mark.slow),
        pytest.param("proxy_nca", {"columns": 1, "classes": "ab"}, np.arange(12) % 2, 1, marks=pytest.mark.slow),
        ("arc_face", {"columns": 1, "classes": "ab"}, np.arange(12) % 2, 1),
        pytest.param("contrastive_tension_in_batch", {"shared": False}, ZEROS, 1, marks=pytest.mark.slow),
        ({"key": "matryoshka", "dims": [6, 3], "loss": "contrastive_tension_in_batch"}, {}, ZEROS, 1),
    ],
    ids=["pair_softmax", "proxy_anchor", "proxy_nca", "arc_face", "contrastive_tension_in_batch", "matryoshka"],
)
def test_heads_and_loss_variables_are_trained_and_saved(loss, options, y, extra, tmp_path):
    model = make(loss, **options)
    towers = {v.path for v in model.towers.trainable_variables}
    own = [v for v in model.trainable_variables if v.path not in towers]
    assert len(own) == extra
    before = [values(v) for v in own]
    x = {"anchor": IDS} if options.get("columns") == 1 else X
    first, *_, last = train(model, x, y.astype("float32"), epochs=5)
    assert last < first
    assert all(np.abs(values(v) - b).max() > 0 for v, b in zip(own, before, strict=True))
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    for mine, theirs in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(train(loaded, x, y.astype("float32")), train(model, x, y.astype("float32")), rtol=1e-5)


def test_pair_head_reads_blocks_selected_by_loss():
    parts = {f"concatenation_sent_{n}": n != "rep" for n in ("rep", "difference", "multiplication")}
    model = make({"key": "pair_softmax", "num_labels": 2, **parts}, architecture="pair_classifier")
    u, v = model.encode(TEXTS), model.encode(np.roll(TEXTS, 1), "positive")
    weights, bias = (values(w) for w in model.heads["main"].dense.weights)
    logits = np.concatenate([np.abs(u - v), u * v], axis=1) @ weights + bias
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(values(model(X, training=False)["score"]), expected, atol=1e-5)


def test_class_vectors_give_squared_distances_of_unit_vectors():
    model = make("proxy_nca", columns=1, classes="abc")
    x, w = model.encode(TEXTS), values(model.heads["main"].vectors)
    x, w = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, w))
    squares = ((x[:, None] - w[None]) ** 2).sum(-1)
    np.testing.assert_allclose(
        values(model.heads["main"](values(model({"anchor": IDS})["embedding"]))), squares, atol=1e-5
    )


def test_rows_of_the_last_batches_are_queued_and_saved(tmp_path):
    model = make({"key": "cross_batch_memory", "memory_size": 30, "loss": "multiple_negatives_ranking"})
    model.optimizer.learning_rate.assign(0.0)
    first, second = train(model, epochs=2)
    assert second > first  # more candidates
    queue = model.memories["main"]
    assert values(queue.filled).sum() == 24
    held = values(queue.embeddings)
    model.evaluate(X, ZEROS, batch_size=12, verbose=0)
    np.testing.assert_array_equal(values(queue.embeddings), held)  # an evaluation leaves no trace
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(values(load_model(tmp_path / "m.keras").memories["main"].embeddings), held)


@pytest.mark.parametrize("size", slow_except([5, 12, 50], 5), ids=str)
def test_cached_step_equals_full_batch_step(size):
    """Plain gradient descent: equal weights after a step are equal gradients."""
    plain, cached = "multiple_negatives_ranking", "cached_multiple_negatives_ranking"
    models = [make(loss, {**TRANSFORMER, "dropout": 0.0}) for loss in (plain, {"key": cached, "mini_batch_size": size})]
    models[1].set_weights(models[0].get_weights())
    before = models[0].get_weights()
    losses = [train(model) for model in models]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    for start, whole, parts in zip(before, *(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(parts - start, whole - start, rtol=0, atol=1e-4 * np.abs(whole - start).max() + 1e-7)


@pytest.mark.graph
def test_cached_step_redraws_dropout_in_every_step():
    model = make({"key": "cached_multiple_negatives_ranking", "mini_batch_size": 4}, {**TRANSFORMER, "dropout": 0.5})
    model.optimizer.learning_rate.assign(0.0)
    assert len(set(train(model, epochs=3))) == 3


@pytest.mark.backend("tensorflow")
def test_strings_and_ids_give_equal_embeddings():
    model = make("multiple_negatives_ranking", TRANSFORMER)
    strings = np.array([*TEXTS, "", "never seen"], dtype=object)
    out = model.predict({"anchor": strings}, verbose=0)["embedding"][:, 0]
    np.testing.assert_allclose(out, model.encode(list(strings)), atol=1e-6)


@pytest.mark.parametrize("precision", slow_except(["mixed_bfloat16", "mixed_float16"], "mixed_bfloat16"))
def test_half_precision_model_trains(precision):
    if keras.backend.backend() == "torch" and precision == "mixed_float16":
        pytest.skip("no half precision on this processor")
    model = make("multiple_negatives_ranking", TRANSFORMER, training={"precision": precision})
    assert np.isfinite(train(model, epochs=2)).all()
    assert model.encode(TEXTS).dtype == np.float32


def test_encoder_with_too_few_positions_is_rejected():
    with pytest.raises(ConfigError, match=r"max_length must be at least 8, that of model\.tokenizer\. Received: 4"):
        make("multiple_negatives_ranking", {**TRANSFORMER, "max_length": 4})


def test_unknown_column_is_rejected():
    with pytest.raises(Exception, match="takes texts by column: anchor, positive"):
        make("multiple_negatives_ranking")({"query": IDS})


def test_from_config_fits_the_tokenizer_and_compiles(tmp_path):
    rows = "\n".join(["a,b", *(f"{t},{t} again" for t in TEXTS[:6])])
    (tmp_path / "train.csv").write_text(rows + "\n")
    config = {
        "data": {"train": str(tmp_path / "train.csv"), "columns": {"anchor": "a", "positive": "b"}},
        "model": {"architecture": {"key": "bi_encoder", "encoder": BAG}, "loss": "multiple_negatives_ranking"},
    }
    model = EmbeddingModel.from_config(load_config(config))
    assert "again" in model.tokenizer.vocabulary
    assert model.encode(["a cat"]).shape == (1, 6)
