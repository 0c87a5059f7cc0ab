"""Start values from texts: latent semantic indexing against scikit-learn and a dense decomposition in float64."""

import csv

import keras
import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from losses.numeric import values
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.registry import ENCODERS
from ml4ir_losses.model.start_values import lsi, start_encoders
from ml4ir_losses.text.tokenizers import WordTokenizer

TEXTS = [
    "wing flow over a wing",
    "heat flow in a plate",
    "a plate a plate and a wing",
    "heat and shock and shock",
    "shock wave",
    "wave over the wing",
    "the heat of the shock wave",
]
TOKENIZER = WordTokenizer.fit(TEXTS, 100, 20, min_count=2)
SIZE = TOKENIZER.vocabulary_size
IDS = [TOKENIZER.ids(text) for text in TEXTS]
each_frequency = pytest.mark.parametrize("log_frequency", [False, True])


def tf_idf(log_frequency):
    """Vectors of the texts over all ids [texts, V], by scikit-learn on the strings, and idf [V] of the words."""
    made = TfidfVectorizer(token_pattern=r"\S+", vocabulary=TOKENIZER.vocabulary, sublinear_tf=log_frequency)
    return np.pad(made.fit_transform(TEXTS).toarray(), ((0, 0), (2, 0))), made.idf_


def encoder(**params):
    keras.utils.set_random_seed(1)
    spec = {"key": "bag_of_words", "embedding_dim": 3, "initial": "lsi", **params}
    made = ENCODERS.create(spec, hidden={"vocabulary_size": SIZE})
    made.build((None, None))
    return made


@each_frequency
def test_lsi_matches_dense_decomposition(log_frequency):
    weights, idf = tf_idf(log_frequency)
    _, _, right = np.linalg.svd(weights)
    vectors, found_idf = lsi(IDS, SIZE, 3, log_frequency=log_frequency, seed=5)
    np.testing.assert_allclose(found_idf[2:], idf, rtol=1e-12)
    assert vectors.shape == (SIZE, 3)
    assert np.sqrt(np.mean(vectors**2)) == pytest.approx(0.05)
    assert (vectors[:2] == 0).all()
    assert (found_idf[:2] == 1).all()
    basis = vectors / np.linalg.norm(vectors, axis=0)
    np.testing.assert_allclose(np.abs(np.sum(basis * right[:3].T, axis=0)), 1.0, rtol=1e-6)


def test_equal_seeds_give_equal_vectors():
    np.testing.assert_array_equal(lsi(IDS, SIZE, 3, seed=1)[0], lsi(IDS, SIZE, 3, seed=1)[0])


@pytest.mark.parametrize(
    ("documents", "dims", "most"),
    [
        (IDS, 8, 7),
        (IDS[:3], 4, 3),
        ([IDS[0], IDS[1], IDS[0][::-1]], 3, 2),  # two documents of the same words
        ([[2, 3], [3, 2, 2, 3], [2]], 3, 2),
        ([[2, 3], []], 2, 1),
        ([[1, 1], [0]], 1, 0),
        ([], 1, 0),
    ],
)
def test_dims_above_rank_of_texts_are_rejected(documents, dims, most):
    with pytest.raises(UserError, match=rf"`embedding_dim` must be at most {most} .* Received: {dims}\."):
        lsi(documents, SIZE, dims)
    if most:
        assert np.isfinite(lsi(documents, SIZE, most)[0]).all()


@each_frequency
@pytest.mark.parametrize("pooling", ["weighted", "mean"])
def test_untrained_encoder_equals_lsi(pooling, log_frequency):
    """A text's vector points where the projection of its tf-idf points."""
    made = encoder(pooling=pooling, term_frequency="log" if log_frequency else "raw")
    start_encoders([made], IDS, seed=5)
    expected = tf_idf(log_frequency)[0] @ lsi(IDS, SIZE, 3, log_frequency=log_frequency, seed=5)[0]
    found = values(made(TOKENIZER.padded(TEXTS)))
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    # Unknown words come into the mean and not into tf-idf; their vectors are 0, so that the direction is the same.
    np.testing.assert_allclose(cosine, 1.0, rtol=1e-5)
    if pooling == "weighted":
        importance = np.log1p(np.exp(values(made.importance.embeddings)[:, 0]))
        np.testing.assert_allclose(importance[2:], tf_idf(log_frequency)[1], rtol=1e-5)


def test_both_lsi_encoders_start_equal_and_others_stay_random():
    first, second, random = encoder(), encoder(), encoder(initial="random")
    before = values(random.words.embeddings)
    start_encoders([first, second], IDS, seed=0)
    start_encoders([random, object()], IDS, seed=0)
    for mine, other in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(values(mine), values(other))
    np.testing.assert_array_equal(values(random.words.embeddings), before)
    assert np.abs(values(first.words.embeddings) - before).max() > 0.01


def test_texts_are_not_read_without_lsi_encoder():
    start_encoders([encoder(initial="random")], (pytest.fail("read") for _ in range(1)), seed=0)


def spec(folder, columns=None, training=None, **encoder):
    """A config of the texts as pairs, questions and a corpus."""
    with (folder / "rows.csv").open("w", newline="") as file:
        rows = [
            [text, other, third, place % 2]
            for place, (text, other, third) in enumerate(
                zip(TEXTS, TEXTS[1:] + TEXTS[:1], TEXTS[3:] + TEXTS[:3], strict=True)
            )
        ]
        csv.writer(file).writerows([["a", "b", "c", "same"], *rows, rows[0]])
    columns = columns or {"anchor": "a", "positive": "b"}
    return {
        "data": {
            "directory": str(folder),
            "train": "rows.csv",
            "batch_size": 4,
            "batching": "in_order",
            "columns": columns,
        },
        "model": {
            "architecture": {
                "key": "bi_encoder",
                "encoder": {"key": "bag_of_words", "embedding_dim": 3, "initial": "lsi", **encoder},
                "shared": False,
            },
            "tokenizer": {"min_count": 2, "max_length": 20},
            "loss": "contrastive" if "label" in columns else "multiple_negatives_ranking",
        },
        "training": {"epochs": 1, "seed": 5, **(training or {})},
    }


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"anchor": "a", "positive": "b"}, [f"{a} {b}" for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)]),
        (
            {"anchor": "a", "positive": "b", "negative": "c"},
            [f"{a} {b}" for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True)] + TEXTS,
        ),
        ({"anchor": "a", "positive": "b", "label": "same"}, TEXTS),
    ],
)
def test_training_run_initializes_the_encoder_from_its_texts(columns, expected, tmp_path):
    """An anchor and its positive are one document; what a label or a negative tells apart is not; each counts once."""
    from ml4ir_losses.data.texts.sets import training_documents
    from ml4ir_losses.experiments.experiment import prepare

    experiment = prepare(load_config(spec(tmp_path, columns)))
    found = training_documents(experiment.sets.values())
    assert sorted(found) == sorted(expected)
    tokenizer, encoders = experiment.model.tokenizer, experiment.model.towers.encoders
    vectors, _ = lsi([tokenizer.ids(text) for text in found], tokenizer.vocabulary_size, 3, seed=5)
    assert len(encoders) == 2
    for made in encoders:
        np.testing.assert_allclose(values(made.words.embeddings), vectors, rtol=1e-6)


@pytest.mark.backend("tensorflow")
def test_initial_model_replaces_lsi_and_too_many_dims_are_rejected(tmp_path):
    from ml4ir_losses.experiments.experiment import prepare
    from ml4ir_losses.experiments.train import train
    from ml4ir_losses.model.loading import load_model

    first = train(spec(tmp_path), tmp_path / "first")
    expected = first.model.encode(TEXTS)
    np.testing.assert_array_equal(load_model(first.path).encode(TEXTS), expected)
    second = prepare(load_config(spec(tmp_path, training={"initial_model": str(first.path)})))
    np.testing.assert_array_equal(second.model.encode(TEXTS), expected)
    with pytest.raises(ConfigError, match=r"^model.architecture.encoder: `embedding_dim` must be at most 7 ") as caught:
        prepare(load_config(spec(tmp_path, embedding_dim=8)))
    assert "\n" not in str(caught.value)
