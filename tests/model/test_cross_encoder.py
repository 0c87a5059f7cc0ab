"""Cross-encoders from a config: rows, strings, losses in chunks, saving, training."""

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.data.batching import BatchPlan, make_batch
from ml4ir_losses.evaluation.encoding import CrossEncoder
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.model.cross_encoder import CrossEncoderModel, TextCrossEncoder
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.relevance_model import RelevanceModel
from selection import slow_except
from small import config, read_queries, write_splits

TENSORFLOW = pytest.mark.backend("tensorflow")
pytestmark = pytest.mark.usefixtures("eager_steps")
KEY = "cross_encoder_multiple_negatives_ranking"
TRANSFORMER = {
    "key": "transformer",
    "embedding_dim": 8,
    "num_layers": 1,
    "num_heads": 2,
    "max_length": 9,
    "dropout": 0.0,
}
WORDS = {"key": "bag_of_words", "embedding_dim": 6, "pooling": "mean", "dropout": 0.0}
PAIR = {
    "name": "pair",
    "type": "text_pair",
    "query": "segment",
    "document": ["title", "brand"],
    "max_length": 9,
    "max_query_length": 2,
}
OTHERS = [
    {"name": "price", "type": "numeric", "transforms": ["standardise"], "missing_indicator": True, "query_rank": True},
    {"name": "shop", "type": "categorical", "embedding_dim": 3},
    {"name": "season", "type": "categorical", "scope": "query", "embedding_dim": 2},
]
ORDINAL = {"key": "ordinal", "ordinal_size": 3}
each_inputs = pytest.mark.parametrize(
    "inputs", [pytest.param([PAIR], marks=pytest.mark.slow), [PAIR, *OTHERS]], ids=["pair", "others"]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The small data with two more columns: a category, and one of the query."""
    directory = write_splits(tmp_path_factory.mktemp("data"))
    for path in directory.glob("*.csv"):
        header, *lines = path.read_text().splitlines()
        more = [
            f"{line},s{n % 4},{'cold' if int(line[1:].split(',')[0]) % 2 else 'warm'}" for n, line in enumerate(lines)
        ]
        path.write_text("\n".join([f"{header},shop,season", *more]) + "\n")
    return directory


def sections(encoder=TRANSFORMER, inputs=(PAIR,), loss="list_mle", **more):
    architecture = {"key": "cross_encoder", "encoder": encoder, **more.pop("architecture", {})}
    model = {"architecture": architecture, "loss": loss, **more.pop("model", {})}
    return {
        "features": {"document_id": "doc", "inputs": list(inputs), **more.pop("features", {})},
        "model": model,
        **more,
    }


def build(folder, **changes):
    """The model and one batch of its training split."""
    loaded = load_config(config(folder, **sections(**changes)))
    model = RelevanceModel.from_config(loaded)
    data = read_queries(loaded, model.fitted)
    return model, make_batch(BatchPlan(data, 8), np.arange(8)), data


def outputs(model, x):
    return {name: values(value) for name, value in model(x).items()}


def texts_of(folder, data, queries=8):
    """The batch's strings by column, as they stand in the file."""
    rows = [line.split(",") for line in (folder / "train.csv").read_text().splitlines()]
    table = {name: [row[n] for row in rows[1:]] for n, name in enumerate(rows[0])}
    width = data.sizes[:queries].max()
    x = {name: np.full((queries, width), "", object) for name in ("title", "brand")}
    x["segment"] = np.array([table["segment"][start] for start in data.offsets[:queries]], object)
    for query in range(queries):
        for place, row in enumerate(range(data.offsets[query], data.offsets[query + 1])):
            for name in ("title", "brand"):
                x[name][query, place] = table[name][row]
    return x


def spied(encoder, monkeypatch):
    """How many rows the encoder is given, call by call."""
    seen, call = [], encoder.call
    monkeypatch.setattr(
        encoder, "call", lambda tokens, **more: (seen.append(int(tokens.shape[0])), call(tokens, **more))[1]
    )
    return seen


def test_document_score_equals_score_of_its_sequence(folder):
    """Row by row through encoder and head, without the model's gathering."""
    model, (x, _), _ = build(folder)
    logit = outputs(model, x)["logit"]
    for query, place in np.argwhere(x["mask"] > 0)[::5]:
        tokens = x["pair"][query, place]
        alone = model.scorer(tokens[tokens > 0][None])
        np.testing.assert_allclose(logit[query, place], values(alone)[0], rtol=1e-4, atol=1e-5)
    assert type(model) is TextCrossEncoder


def test_other_inputs_are_concatenated_to_text_embedding(folder):
    model, (x, _), _ = build(folder, inputs=[PAIR, *OTHERS], encoder=WORDS, architecture={"hidden_units": [5]})
    features = values(model.encoder(x))
    logit = outputs(model, x)["logit"]
    assert features.shape[-1] == model.encoder.width == 3 + 3 + 2
    for query, place in np.argwhere(x["mask"] > 0)[::4]:
        vector = values(model.scorer.encoder(x["pair"][query, place][None]))
        whole = np.concatenate([vector, features[query, place][None]], axis=-1)
        np.testing.assert_allclose(logit[query, place], values(model.scorer.head(whole))[0], rtol=1e-4, atol=1e-5)
    assert type(model) is CrossEncoderModel


@each_inputs
def test_padding_does_not_change_scores(folder, inputs):
    model, (x, y), _ = build(folder, inputs=inputs)
    padded = x["mask"] == 0
    other = {name: value.copy() for name, value in x.items()}
    other["pair"][padded] = 3
    if len(inputs) > 1:
        other["price"][padded], other["shop"][padded] = np.nan, 2
    wider = {**other, "pair": np.pad(other["pair"], ((0, 0), (0, 0), (0, 9 - other["pair"].shape[-1])))}
    for given in (other, wider):
        np.testing.assert_allclose(model.predict(given, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    before, after = (float(model.test_on_batch(given, y, return_dict=True)["loss"]) for given in (x, wider))
    assert after == pytest.approx(before, rel=1e-5)


@pytest.mark.backend("tensorflow", "torch")
def test_only_real_documents_are_encoded(folder, monkeypatch):
    model, (x, _), _ = build(folder)
    seen = spied(model.scorer.encoder, monkeypatch)
    model(x)
    assert seen == [int(x["mask"].sum())]
    assert seen[0] < x["mask"].size


@TENSORFLOW
def test_mini_batch_step_encodes_only_real_documents_twice(folder, monkeypatch):
    model, batch, _ = build(folder, loss={"key": "list_mle", "mini_batch_size": 7})
    model.compile("sgd", loss=model.relevance_loss.get_loss_fn(), run_eagerly=True)
    seen = spied(model.scorer.encoder, monkeypatch)
    model.train_on_batch(*batch)
    rows = int(batch[0]["mask"].sum())
    once = [7] * (rows // 7) + [rows % 7] * (rows % 7 > 0)
    assert seen == once * 2


@pytest.mark.parametrize(
    ("loss", "encoder", "inputs", "size"),
    [
        pytest.param({"key": "mean_squared_error"}, WORDS, [PAIR], 5, marks=pytest.mark.slow),
        pytest.param({"key": "pairwise_logistic"}, WORDS, [PAIR, *OTHERS], 11, marks=pytest.mark.slow),
        pytest.param({"key": "list_mle"}, TRANSFORMER, [PAIR, *OTHERS], 5, marks=pytest.mark.slow),
        pytest.param(ORDINAL, WORDS, [PAIR], 1, marks=pytest.mark.graph),
        ({"key": "list_mle"}, {**WORDS, "dropout": 0.4}, [PAIR], 1000),  # one chunk: the same draws, and again
    ],
    ids=["pointwise", "pairwise", "listwise", "outputs", "dropout"],
)
def test_mini_batches_change_neither_loss_nor_gradients(folder, loss, encoder, inputs, size):
    """The step of SGD with rate 1 is the gradient; metrics, weights and auxiliary losses are as ever."""
    aux = {**(ORDINAL if loss is ORDINAL else {"key": "pairwise_hinge"}), "weight": 0.3, "label": "clicked"}
    logs, steps = [], []
    for chunks in ({}, {"mini_batch_size": size}):
        model, batch, _ = build(
            folder,
            inputs=inputs,
            encoder=encoder,
            loss={**loss, **chunks},
            architecture={"hidden_units": [4], "l2": 0.01, "dropout": encoder["dropout"]},
            model={"aux_losses": [aux], "optimizer": {"key": "sgd", "learning_rate": 1.0}},
            features={"weight": "w"},
        )
        assert model.mini_batch_size == chunks.get("mini_batch_size")
        before = model.get_weights()
        logs.append(model.train_on_batch(*batch, return_dict=True))
        trained = [n for n, weight in enumerate(model.weights) if weight.trainable]
        after = model.get_weights()
        steps.append([before[n] - after[n] for n in trained])
    assert logs[0].keys() == logs[1].keys()
    for name, value in logs[0].items():
        assert float(logs[1][name]) == pytest.approx(float(value), rel=1e-5)
    largest = max(np.abs(step).max() for step in steps[0])
    assert largest > 1e-2
    assert all(np.abs(a - b).max() <= 1e-4 * largest for a, b in zip(*steps, strict=True))


@pytest.mark.parametrize("size", [None, 5])
def test_batch_without_documents_does_not_change_weights(folder, size):
    model, (x, y), _ = build(folder, loss={"key": "list_mle", "mini_batch_size": size}, encoder=WORDS)
    before = model.get_weights()
    logs = model.train_on_batch({**x, "mask": np.zeros_like(x["mask"])}, y, return_dict=True)
    assert float(logs["loss"]) == 0.0
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_weighted_sum_uses_smallest_mini_batch_size(folder):
    parts = [
        [{"key": "list_mle", "mini_batch_size": 9}, 0.5],
        [{"key": "pairwise_logistic", "mini_batch_size": 4}, 0.5],
    ]
    model, batch, _ = build(folder, loss={"key": "weighted_sum", "losses": parts}, encoder=WORDS)
    assert model.mini_batch_size == 4
    model.train_on_batch(*batch)


@TENSORFLOW
@pytest.mark.graph
@each_inputs
def test_strings_give_the_same_scores_to_the_last_bit(folder, tmp_path, inputs):
    import tensorflow as tf

    model, (x, _), data = build(folder, inputs=inputs)
    strings = {name: tf.constant(texts) for name, texts in texts_of(folder, data).items()}
    given = {**{name: value for name, value in x.items() if name != "pair"}, **strings}
    real = x["mask"] > 0
    model.save(tmp_path / "m.keras")
    for one in (model, load_model(tmp_path / "m.keras")):
        np.testing.assert_array_equal(outputs(one, given)["score"], outputs(model, x)["score"])
        np.testing.assert_array_equal(outputs(one, given)["logit"][real], outputs(model, x)["logit"][real])
    by_batch = model.predict([(given,)])
    np.testing.assert_array_equal(by_batch, model.predict([(x,)]))
    with pytest.raises(DataError, match="'pair' is missing, and so is the text 'brand' in its place"):
        model({name: value for name, value in given.items() if name != "brand"})


@pytest.mark.parametrize(
    ("loss", "inputs"),
    [pytest.param("list_mle", [PAIR], marks=pytest.mark.slow), (ORDINAL, [PAIR, *OTHERS])],
    ids=["list_mle", "ordinal"],
)
def test_saved_model_keeps_scores(folder, tmp_path, loss, inputs):
    model, batch, _ = build(folder, loss=loss, inputs=inputs, encoder=WORDS)
    model.train_on_batch(*batch)
    model.save(tmp_path / "m.keras")
    loaded = load_model(tmp_path / "m.keras")
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.predict(batch[0], verbose=0), model.predict(batch[0], verbose=0))
    again, before = (float(m.test_on_batch(*batch, return_dict=True)["loss"]) for m in (loaded, model))
    assert again == before
    assert [w.shape for w in loaded.weights] == [w.shape for w in model.weights]
    loaded.train_on_batch(*batch)


def test_score_pairs_returns_one_logit_per_pair(folder):
    model, (x, _), data = build(folder)
    texts = texts_of(folder, data)
    places = np.argwhere(x["mask"] > 0)
    queries = [texts["segment"][q] for q, _ in places]
    documents = [f"{texts['title'][q, d]} {texts['brand'][q, d]}" for q, d in places]
    expected = outputs(model, x)["logit"][x["mask"] > 0]
    for size in (256, 5):
        found = model.score_pairs(queries, documents, batch_size=size)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert model.score_pairs([], []).shape == (0,)
    with pytest.raises(UserError, match=r"equally many\. Received: 1 and 2"):
        model.score_pairs(["a"], ["b", "c"])


def test_only_text_only_model_scores_text_pairs(folder):
    plain = RelevanceModel.from_config(load_config(config(folder)))
    mixed, _, _ = build(folder, inputs=[PAIR, *OTHERS], encoder=WORDS)
    texts, _, _ = build(folder, encoder=WORDS)
    assert [isinstance(model, CrossEncoder) for model in (plain, mixed, texts)] == [False, False, True]


def test_categorical_cross_entropy_matches_numpy_on_text_pairs(folder):
    """One document a query, whose class is the label."""
    model, (x, y), _ = build(folder, loss="categorical_cross_entropy", architecture={"num_outputs": 4}, encoder=WORDS)
    x, y = {"pair": x["pair"][:, :1], "mask": x["mask"][:, :1]}, y["label"][:, :1]
    z = outputs(model, x)["outputs"][:, 0].astype("float64")
    expected = np.mean(np.log(np.exp(z).sum(-1)) - z[np.arange(8), y[:, 0].astype(int)])
    assert float(model.test_on_batch(x, y, return_dict=True)["loss"]) == pytest.approx(expected, rel=1e-5)
    assert outputs(model, x)["outputs"].shape == (8, 1, 4)


def test_margin_mse_matches_numpy_on_teacher_scores(folder):
    """The first document is the positive, labels are the teacher's scores, negative ones too; the mask is padding."""
    model, (x, _), _ = build(folder, loss="margin_mse", encoder=WORDS)
    teacher = np.random.default_rng(0).normal(0, 9, x["mask"].shape).astype("float32")
    z, rows = outputs(model, x)["logit"].astype("float64"), []
    for scores, labels, mask in zip(z, teacher, x["mask"] > 0, strict=True):
        margins = [(scores[0] - s) - (labels[0] - y) for s, y in zip(scores[mask][1:], labels[mask][1:], strict=True)]
        rows.append(np.mean(np.square(margins)))
    logs = model.test_on_batch(x, {"label": np.where(x["mask"] > 0, teacher, -1.0)}, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(np.mean(rows), rel=1e-4)


@pytest.mark.parametrize("key", slow_except([KEY, f"cached_{KEY}"], f"cached_{KEY}"))
def test_first_most_relevant_document_is_compared_with_all_irrelevant_ones(folder, key):
    """The first of the highest label against every document without a positive label."""
    model, (x, y), _ = build(folder, loss={"key": key, "num_negatives": None}, encoder=WORDS)
    z, rows = outputs(model, x)["logit"].astype("float64"), []
    for scores, labels, mask in zip(z, y["label"], x["mask"] > 0, strict=True):
        scaled = 10.0 / (1.0 + np.exp(-scores[mask]))
        best, rest = int(np.argmax(labels[mask])), scaled[labels[mask] <= 0]
        relevant = labels[mask][best] > 0
        rows.append(np.log(np.exp([scaled[best], *rest]).sum()) - scaled[best] if relevant else 0.0)
    assert 0.0 in rows or min(rows) > 0
    assert float(model.test_on_batch(x, y, return_dict=True)["loss"]) == pytest.approx(np.mean(rows), rel=1e-4)
    assert (model.mini_batch_size == 32) == (key != KEY)
    model.train_on_batch(x, y)


def test_negatives_of_a_list_are_drawn():
    """Every negative adds 2^j: the value says which were drawn, always as many, and every pair comes up."""
    scores = np.log(2.0 ** np.arange(6))[None]
    labels = np.array([[0.0, 2.0, 0.0, 1.0, 0.0, 0.0]])
    spec = {"key": KEY, "num_negatives": 2, "min_label": 0.0, "scale": 1.0, "activation_fn": None, "seed": 1}
    fn = get_loss(spec).get_loss_fn()
    seen = set()
    for _ in range(60):
        total = round(float(np.exp(values(fn(labels, scores)))) * 2) - 2
        seen.add(tuple(j for j in range(6) if total >> j & 1))
    assert seen == {(0, 2), (0, 4), (0, 5), (2, 4), (2, 5), (4, 5)}


@TENSORFLOW
@pytest.mark.graph
def test_run_from_config_trains_cross_encoder(folder, tmp_path):
    """Training, evaluation and predicting."""
    from ml4ir_losses.experiments.evaluate import evaluate, predict
    from ml4ir_losses.experiments.train import train

    given = sections(encoder=WORDS, inputs=[PAIR, *OTHERS], loss={"key": "list_mle", "mini_batch_size": 16})
    given["model"]["optimizer"] = {"key": "adam", "learning_rate": 0.05}
    run = train(config(folder, **given, training={"epochs": 5, "seed": 3}), tmp_path / "run")
    assert run.metrics["test"]["ndcg_5"] > run.baselines["random"]["ndcg_5"] + 0.05
    assert evaluate(tmp_path / "run", str(folder / "test.csv")).metrics == pytest.approx(run.metrics["test"], rel=1e-5)
    lines = len((folder / "test.csv").read_text().splitlines()) - 1
    assert predict(tmp_path / "run", str(folder / "test.csv"), tmp_path / "p.csv") == lines


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"inputs": OTHERS},
            "model.architecture: 'cross_encoder' reads pairs of texts: it needs an input of type text",
        ),
        (
            {"loss": {"key": "list_mle", "mini_batch_size": 0}},
            "`mini_batch_size` must be None or a whole number of at least 1",
        ),
        ({"encoder": {**TRANSFORMER, "max_length": 8}}, "max_length must be at least 9, .* text_pair. .*: 8"),
        ({"encoder": "transformed"}, "Unknown encoder 'transformed'. Did you mean 'transformer'"),
        ({"architecture": {"hidden_units": [0]}}, "`hidden_units` must be whole numbers"),
        ({"architecture": {"dropout": 1.5}}, "`dropout` must be a number from 0 to below 1"),
        (
            {"inputs": [{**PAIR, "preset": "nowhere"}]},
            "`preset` of the input of type text_pair must be that of the enc",
        ),
        ({"inputs": [{**PAIR, "query": "segmant"}]}, "no column 'segmant'.*Did you mean 'segment'"),
    ],
)
def test_invalid_config_raises_one_line(folder, changes, message):
    with pytest.raises((ConfigError, DataError, UserError), match=message) as caught:
        build(folder, **changes)
    assert "\n" not in str(caught.value)


def test_other_architectures_reject_text_pairs(folder):
    given = sections()
    given["model"]["architecture"] = "dnn"
    with pytest.raises(ConfigError, match="'dnn' cannot read the input 'pair' of type text_pair; 'cross_encoder' does"):
        RelevanceModel.from_config(load_config(config(folder, **given)))


@TENSORFLOW
def test_jit_compile_is_rejected_on_tensorflow(folder):
    with pytest.raises(ConfigError, match=r"training\.jit_compile: a cross-encoder on TensorFlow"):
        build(folder, encoder=WORDS, training={"jit_compile": True})


def test_half_precision_scores_are_float32(folder):
    model, batch, _ = build(folder, training={"precision": "mixed_bfloat16"})
    output = model(batch[0])
    assert {keras.backend.standardize_dtype(value.dtype) for value in output.values()} == {"float32"}
    model.train_on_batch(*batch)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A folder with a tiny BERT; 1 is its padding."""
    hub = pytest.importorskip("keras_hub")
    words = [
        "[UNK]",
        "[PAD]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "red",
        "blue",
        "shoe",
        "hat",
        "new",
        "old",
        "b",
        "##1",
        "##2",
    ]
    made = hub.tokenizers.BertTokenizer(words, lowercase=True)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 6, "max_sequence_length": 12}
    path = tmp_path_factory.mktemp("preset") / "bert"
    hub.models.BertBackbone(vocabulary_size=made.vocabulary_size(), **sizes).save_to_preset(path)
    made.save_to_preset(path)
    return path


@pytest.mark.graph
def test_preset_tokenizer_encodes_pairs(folder, preset, tmp_path):
    """[CLS] query [SEP] document [SEP], ids of the preset plus one; the folder is not needed once a model is saved."""
    import shutil

    place = shutil.copytree(preset, tmp_path / "preset")
    encoder = {"key": "keras_hub", "preset": str(place), "max_length": 9}
    model, batch, data = build(folder, encoder=encoder, inputs=[{**PAIR, "preset": str(place)}], loss="list_mle")

    ids = model.tokenizer.ids("old red hat", "blue shoe b1 zebra red")
    assert ids == [3, 11, 6, 4, 7, 8, 12, 13, 4]
    assert model.tokenizer.ids("", "red") == [3, 4, 6, 4]
    model.train_on_batch(*batch)
    model.save(tmp_path / "m.keras")
    shutil.rmtree(place)
    loaded = load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(batch[0], verbose=0), model.predict(batch[0], verbose=0))
    texts = texts_of(folder, data)
    queries = read_queries(load_config(config(folder)), loaded.fitted)
    np.testing.assert_array_equal(queries.features["pair"], data.features["pair"])
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        given = {"mask": batch[0]["mask"], **{name: tf.constant(value) for name, value in texts.items()}}
        np.testing.assert_array_equal(outputs(loaded, given)["score"], outputs(loaded, batch[0])["score"])


@pytest.mark.graph
def test_preset_tokenizer_encodes_text_columns(preset, tmp_path):
    import shutil

    from ml4ir_losses.experiments.experiment import prepare

    place = shutil.copytree(preset, tmp_path / "preset")
    pairs = [("red", "red shoe"), ("blue", "blue hat"), ("old", "old b1"), ("new", "new hat")]
    (tmp_path / "pairs.csv").write_text("\n".join(["q,d", *map(",".join, pairs)]) + "\n")
    encoder = {"key": "keras_hub", "preset": str(place), "max_length": 9}
    given = {
        "data": {"train": str(tmp_path / "pairs.csv"), "columns": {"anchor": "q", "positive": "d"}, "batch_size": 4},
        "model": {
            "architecture": {"key": "cross_encoder", "encoder": encoder},
            "tokenizer": {"max_length": 9, "max_query_length": 2},
            "loss": KEY,
        },
    }
    experiment = prepare(load_config(given))
    model = experiment.model
    assert model.tokenizer.ids("old red hat", "blue shoe b1 zebra red") == [3, 11, 6, 4, 7, 8, 12, 13, 4]
    model.train_on_batch(*next(experiment.feeds["train"]["main"].batches()))
    model.save(tmp_path / "m.keras")
    shutil.rmtree(place)
    queries, documents = zip(*pairs, strict=True)
    expected = model.score_pairs(queries, documents)
    np.testing.assert_array_equal(load_model(tmp_path / "m.keras").score_pairs(queries, documents), expected)


def test_tokenizer_preset_must_match_encoder(folder, preset):
    encoder = {"key": "keras_hub", "preset": str(preset), "max_length": 9}
    with pytest.raises(ConfigError, match="`preset` of the input of type text_pair must be that of the encoder"):
        build(folder, encoder=encoder)
