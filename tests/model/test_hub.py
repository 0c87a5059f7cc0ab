"""KerasHub presets: encoder and tokenizer against KerasHub's backbones and preprocessors, saving, errors."""

import shutil
import sys

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.model.encoders.keras_hub import keras_hub as make
from ml4ir_losses.model.hub import HubEncoder, LayeredHubEncoder, hub_encoder
from ml4ir_losses.text.hub_tokenizer import HubTokenizer
from selection import slow_except

hub = pytest.importorskip("keras_hub")

PIECES = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "red", "shoe", "##s", "run", "##ning", "blue", "cafe", "!"]
PARTS = ["<s>", "<pad>", "</s>", "<mask>", "<|endoftext|>", "s", *"redbluhon", "Ġ", "re", "red", "sh", "Ġs", "Ġsh"]
BYTES = {"vocabulary": {part: n for n, part in enumerate(dict.fromkeys(PARTS))}}
BYTES["merges"] = ["r e", "re d", "s h", "Ġ s", "Ġs h"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 6, "max_sequence_length": 12}
TEXTS = ["red shoes", "blue shoes running red red shoes !", "", "red", "blue shoe"]
PRESETS = ("bert", "roberta", "gpt2")
each_preset = pytest.mark.parametrize("name", slow_except(PRESETS, "bert", "gpt2"))
MODELS = {
    "bert": (hub.models.BertBackbone, lambda: hub.tokenizers.BertTokenizer(PIECES, lowercase=True)),
    "roberta": (hub.models.RobertaBackbone, lambda: hub.tokenizers.RobertaTokenizer(**BYTES)),
    "gpt2": (hub.models.GPT2Backbone, lambda: hub.tokenizers.GPT2Tokenizer(**BYTES)),
}
PREPROCESSORS = {
    "bert": hub.models.BertTextClassifierPreprocessor,
    "roberta": hub.models.RobertaTextClassifierPreprocessor,
    "gpt2": hub.models.GPT2Preprocessor,
}
PAD = {"bert": 1, "roberta": 1, "gpt2": 0}


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """Folders with tiny models, their weights far from 0."""
    folder = tmp_path_factory.mktemp("presets")
    for name, (backbone_class, tokenizer) in MODELS.items():
        made = tokenizer()
        backbone = backbone_class(vocabulary_size=made.vocabulary_size(), **SIZES)
        for place, weight in enumerate(backbone.weights):
            if weight.dtype == "float32":
                weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)
        backbone.save_to_preset(folder / name)
        made.save_to_preset(folder / name)
    return folder


def pair(folder, **params):
    """Encoder and ids of the texts."""
    return make(preset=str(folder), max_length=8, **params), HubTokenizer.from_preset(folder, 8).padded(TEXTS)


@each_preset
def test_encoder_matches_backbone(presets, name):
    """KerasHub's own preprocessor and backbone, and the mean in float64."""
    encoder, ids = pair(presets / name)
    tokenizer = hub.tokenizers.Tokenizer.from_preset(str(presets / name))
    given = PREPROCESSORS[name](tokenizer, sequence_length=8)(TEXTS)
    states = hub.models.Backbone.from_preset(str(presets / name))(given)
    states = values(states["sequence_output"] if isinstance(states, dict) else states)
    valid = np.asarray(values(given["padding_mask"]), dtype=bool)
    expected = [row[mask].mean(axis=0) for row, mask in zip(states, valid, strict=True)]
    np.testing.assert_allclose(values(encoder(ids)), expected, rtol=1e-4, atol=1e-5)
    assert encoder.output_width == 8
    assert encoder.config["pad_id"] == PAD[name]


@each_preset
def test_padding_does_not_change_embeddings(presets, name):
    loaded, ids = pair(presets / name)
    for pooling in ("mean", "max", "cls"):
        encoder = HubEncoder(loaded.backbone, loaded.config["pad_id"], pooling, max_length=8, output_dim=3)
        vectors = values(encoder(ids))
        assert vectors.shape == (5, 3)
        np.testing.assert_allclose(values(encoder(ids[3:4, : (ids[3] != 0).sum()])), vectors[3:4], atol=1e-5)
        assert (values(encoder(np.zeros((1, 4), dtype="int32"))) == values(encoder.projection.bias)).all()
        if (name, pooling) != ("gpt2", "cls"):  # a causal model's first token sees no other
            assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@each_preset
def test_ids_are_those_of_the_preprocessor_plus_one(presets, name):
    tokenizer = HubTokenizer.from_preset(presets / name, 8)
    given = PREPROCESSORS[name](tokenizer.tokenizer, sequence_length=8)(TEXTS)
    theirs, valid = values(given["token_ids"]), values(given["padding_mask"])
    expected = np.where(valid != 0, theirs + 1, 0).astype(int)
    padded = tokenizer.padded(TEXTS)
    assert padded.dtype == "int32"
    np.testing.assert_array_equal(padded, expected[:, : padded.shape[1]])
    assert padded.shape[1] == valid.sum(axis=1).max() == 8
    assert [tokenizer.ids(text) for text in TEXTS] == [row[row != 0].tolist() for row in expected]
    assert tokenizer.vocabulary_size == MODELS[name][1]().vocabulary_size() + 1
    assert tokenizer.padded(TEXTS[3:4]).shape[1] == (expected[3] != 0).sum()
    assert tokenizer.padded([]).shape[0] == 0


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_splade_of_a_preset(presets, name, tmp_path):
    tokenizer = HubTokenizer.from_preset(presets / name, 8)
    inner = {"key": "keras_hub", "preset": str(presets / name), "max_length": 8}
    encoder = ENCODERS.create({"key": "splade", "encoder": inner})
    encoder.build((None, None))
    ids = tokenizer.padded(TEXTS)
    vectors = values(encoder(ids))
    assert vectors.shape == (5, tokenizer.vocabulary_size - 1) == (5, encoder.output_width)
    assert (vectors >= 0).all()
    assert ((vectors.max(axis=1) > 0) == (ids != 0).any(axis=1)).all()
    np.testing.assert_allclose(values(encoder(np.pad(ids, ((0, 0), (0, 8 - ids.shape[1]))))), vectors, atol=1e-5)
    np.testing.assert_allclose(values(encoder(ids[3:4, : (ids[3] != 0).sum()])), vectors[3:4], atol=1e-5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(encoder))
    again.set_weights(encoder.get_weights())
    np.testing.assert_array_equal(values(again(ids)), vectors)


def test_ids_match_hand_computed_values(presets):
    tokenizer = HubTokenizer.from_preset(presets / "bert", 6)
    cls, sep, red, shoe, s, unknown = 3, 4, 6, 7, 8, 1
    assert tokenizer.ids("Red shoes") == [cls, red, shoe, s, sep]
    assert tokenizer.ids("red shoes shoes") == [cls, red, shoe, s, shoe, sep]
    np.testing.assert_array_equal(tokenizer.padded(["", "zzz"]), [[cls, sep, 0], [cls, unknown, sep]])


def test_one_text_and_many_give_the_same_ids(presets):
    """WordPiece has two implementations: Python's for one text, TensorFlow's for many."""
    tokenizer = HubTokenizer.from_preset(presets / "bert", 9)
    texts = ["CAFÉ running!", "red,blue  shoe\t!", "日本 red", "x" * 300, "[SEP] red", " "]
    rows = tokenizer.padded(texts)
    assert [tokenizer.ids(text) for text in texts] == [row[row != 0].tolist() for row in rows]


def test_max_length_leaves_room_for_text(presets):
    assert HubTokenizer.from_preset(presets / "bert", 3).ids("red shoe") == [3, 6, 4]
    with pytest.raises(UserError, match=r"`max_length` must be a whole number of at least 3\. Received"):
        HubTokenizer.from_preset(presets / "bert", 2)


def test_tokenizer_without_start_token_is_supported():
    ids = HubTokenizer(hub.tokenizers.QwenTokenizer(**BYTES), 4).ids("red red red")
    assert len(ids) == 4
    assert ids[0] == BYTES["vocabulary"]["red"] + 1
    assert ids[-1] == BYTES["vocabulary"]["<|endoftext|>"] + 1


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("name", slow_except(["bert", "gpt2"], "bert"))  # it traces for seconds
def test_strings_are_tokenized_in_graph(presets, name):
    import tensorflow as tf

    tokenizer = HubTokenizer.from_preset(presets / name, 8)
    traced = tf.function(tokenizer, input_signature=[tf.TensorSpec([None], tf.string)])
    for texts in (TEXTS, TEXTS[3:4], ["unknown, red", "zzz"]):  # letters that no vocabulary has are left out
        np.testing.assert_array_equal(values(traced(tf.constant(texts))), tokenizer.padded(texts))
        np.testing.assert_array_equal(values(tokenizer(tf.constant(texts))), tokenizer.padded(texts))
    assert traced(tf.constant([], tf.string)).shape[0] == 0


@each_preset
def test_saved_model_needs_no_preset(presets, name, tmp_path):
    shutil.copytree(presets / name, tmp_path / "preset")
    encoder, ids = pair(tmp_path / "preset", output_dim=3, trainable=False)
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, encoder(tokens))
    model.tokenizer = HubTokenizer.from_preset(tmp_path / "preset", 8)
    model.save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "preset")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(values(again(ids)), values(model(ids)))
    assert type(again.layers[-1]) is type(encoder)
    assert [weight.trainable for weight in again.weights] == [weight.trainable for weight in model.weights]


@pytest.mark.backend("tensorflow")
@each_preset
def test_saved_model_encodes_strings_without_the_preset(presets, name, tmp_path):
    import tensorflow as tf

    shutil.copytree(presets / name, tmp_path / "preset")
    encoder, _ = pair(tmp_path / "preset")
    texts = keras.Input((), dtype="string")
    ids = HubTokenizer.from_preset(tmp_path / "preset", 8)(texts)
    model = keras.Model(texts, [ids, encoder(ids)])
    model.save(tmp_path / "model.keras")
    shutil.rmtree(tmp_path / "preset")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for mine, theirs in zip(again(tf.constant(TEXTS)), model(tf.constant(TEXTS)), strict=True):
        np.testing.assert_array_equal(values(mine), values(theirs))
    loaded = next(layer for layer in again.layers if isinstance(layer, HubTokenizer))
    np.testing.assert_array_equal(loaded.padded(TEXTS), model.layers[1].padded(TEXTS))
    assert loaded.vocabulary_size == model.layers[1].vocabulary_size


@pytest.mark.parametrize("trainable", [True, False])
def test_trainable_controls_backbone_training(presets, trainable):
    encoder, ids = pair(presets / "bert", output_dim=3, trainable=trainable)
    before = [values(weight) for weight in encoder.weights]
    tokens = keras.Input((None,), dtype="int32")
    model = keras.Model(tokens, encoder(tokens))
    model.compile(keras.optimizers.Adam(0.05), loss="mse", run_eagerly=True)
    model.fit(ids, np.ones((5, 3)), verbose=0)
    changed = {
        weight.path for weight, old in zip(encoder.weights, before, strict=True) if (values(weight) != old).any()
    }
    assert any("projection" in path for path in changed)
    assert any("transformer_layer_0" in path for path in changed) == trainable
    assert len(changed) == len(encoder.trainable_weights)
    drawn = [values(encoder(ids, training=True)) for _ in range(2)]
    assert (np.abs(drawn[0] - drawn[1]).max() > 1e-4) == trainable


def test_every_layer_returns_all_layer_embeddings(presets):
    encoder, ids = pair(presets / "bert", output_dim=3)
    assert isinstance(encoder, LayeredHubEncoder)
    every = values(encoder.every_layer(ids))
    assert every.shape == (5, 2, 3)
    np.testing.assert_allclose(every[:, -1], values(encoder(ids)), atol=1e-6)
    assert np.abs(every[:, 0] - every[:, 1]).max() > 0.01
    assert len(encoder.weights) == len(encoder.backbone.weights) + 2
    # Behind GPT2's last layer there is a normalisation.
    assert not hasattr(pair(presets / "gpt2")[0], "every_layer")


def test_bfloat16_embeddings_are_close_to_float32(presets):
    (wide, ids), (narrow, _) = pair(presets / "bert"), pair(presets / "bert", dtype="mixed_bfloat16")
    vectors = narrow(ids)
    assert "float32" in str(vectors.dtype)
    assert narrow.backbone.output["sequence_output"].dtype == "bfloat16"
    np.testing.assert_allclose(values(vectors), values(wide(ids)), atol=0.15)


def test_folder_named_like_public_preset_is_read(presets, tmp_path, monkeypatch):
    assert "bert_tiny_en_uncased" in hub.models.BertBackbone.presets
    shutil.copytree(presets / "bert", tmp_path / "bert_tiny_en_uncased")
    monkeypatch.chdir(tmp_path)
    assert hub_encoder("bert_tiny_en_uncased", max_length=8).backbone.hidden_dim == 8
    assert HubTokenizer.from_preset("bert_tiny_en_uncased", 8).vocabulary_size == len(PIECES) + 1


@pytest.mark.parametrize(
    "preset", ["kaggle://keras/bert/keras/bert_tiny_en_uncased", "hf://a/b", "bert_tiny_en_uncased"]
)
@pytest.mark.parametrize("load", [hub_encoder, lambda preset: HubTokenizer.from_preset(preset, 8)])
def test_nothing_is_downloaded(preset, load, monkeypatch):
    def no_network(*args):
        raise AssertionError(args)

    monkeypatch.setattr("socket.socket.connect", no_network)
    with pytest.raises(UserError, match=f"none is downloaded. Received: '{preset}'"):
        load(preset)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "has no config.json"),
        ("tokenizer.json", None, "tokenizer of the preset .* cannot be loaded: .*tokenizer.json"),
        ("model.weights.h5", None, "backbone of the preset .* cannot be loaded: .*weights"),
        ("config.json", '{"name": "x"}', "cannot be loaded: Unrecognized format"),
        ("config.json", "{", "cannot be loaded: Expecting property name"),
    ],
)
def test_invalid_preset_folder_is_rejected(presets, tmp_path, file, content, message):
    folder = tmp_path / "preset"
    shutil.copytree(presets / "bert", folder)
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        hub_encoder(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_length": 13}, r"`max_length` must be at most 12, .* Received: max_length=13"),
        ({"max_length": 0}, "`max_length` must be a whole number of at least 1"),
        ({"pooling": "first"}, "`pooling` must be one of mean, max, cls"),
        ({"output_dim": 0}, "`output_dim` must be None or a whole number"),
        ({"trainable": "no"}, "`trainable` must be true or false"),
    ],
)
def test_invalid_parameters_are_rejected(presets, params, message):
    with pytest.raises(UserError, match=message):
        ENCODERS.create({"key": "keras_hub", "preset": str(presets / "bert"), **{"max_length": 8, **params}})


def test_texts_longer_than_max_length_are_rejected(presets):
    with pytest.raises(UserError, match=r"texts of max_length=8 tokens\. Received: texts of 9"):
        pair(presets / "bert")[0](np.ones((1, 9), dtype="int32"))


def test_backbone_without_token_inputs_is_rejected():
    bart = hub.models.BartBackbone(vocabulary_size=10, **SIZES)
    with pytest.raises(UserError, match=r"inputs token_ids and padding_mask\. Received: BartBackbone with decoder_"):
        HubEncoder(bart, max_length=8)


def test_missing_keras_hub_is_reported(presets, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"pip install 'ml4ir-losses\[keras-hub\]'") as caught:
        hub_encoder(presets / "bert")
    assert "\n" not in str(caught.value)


@pytest.mark.backend("tensorflow")
def test_xla_gives_the_same_embeddings(presets):
    import tensorflow as tf

    encoder, ids = pair(presets / "bert")
    np.testing.assert_allclose(values(tf.function(encoder, jit_compile=True)(ids)), values(encoder(ids)), atol=1e-5)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(
    ("loss", "architecture"),
    [
        ("multiple_negatives_ranking", "bi_encoder"),
        pytest.param(
            {"key": "cached_multiple_negatives_ranking", "mini_batch_size": 3}, "bi_encoder", marks=pytest.mark.slow
        ),
        pytest.param("denoising_auto_encoder", "denoising_auto_encoder", marks=pytest.mark.slow),
    ],
    ids=["bi_encoder", "cached", "denoising_auto_encoder"],
)
@pytest.mark.usefixtures("eager_steps")
def test_trains_from_a_config_and_loads_without_the_preset(presets, loss, architecture, tmp_path):
    from ml4ir_losses.experiments.train import train
    from ml4ir_losses.model.loading import load_model

    shutil.copytree(presets / "bert", tmp_path / "bert")
    rows = "\n".join(["a,b", *(f"{text},{text} again" for text in ("red shoe", "blue run", "cafe !", "running red"))])
    (tmp_path / "train.csv").write_text(rows + "\n")
    columns = {"anchor": "a", "positive": "b"} if architecture == "bi_encoder" else {"text": "b"}
    encoder = {"key": "keras_hub", "preset": str(tmp_path / "bert"), "max_length": 8}
    config = {
        "data": {"train": str(tmp_path / "train.csv"), "columns": columns, "batch_size": 4},
        "model": {
            "architecture": {"key": architecture, "encoder": encoder},
            "tokenizer": {"max_length": 8},
            "loss": loss,
        },
        "training": {"epochs": 2},
    }
    run = train(config, tmp_path / "run")
    expected = run.model.encode(TEXTS)
    shutil.rmtree(tmp_path / "bert")
    loaded = load_model(run.path)
    np.testing.assert_allclose(loaded.encode(TEXTS), expected, atol=1e-6)
    strings = loaded.predict({"anchor": np.array(TEXTS, dtype=object)}, verbose=0)["embedding"][:, 0]
    np.testing.assert_allclose(strings, expected, atol=1e-5)
