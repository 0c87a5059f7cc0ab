"""Models with lists of categories, shared embeddings, crosses, vectors and n-grams: training, saving, prediction."""

import keras
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_data import read_features
from ml4ir_losses.experiments.importance import permutation_importance
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.loading import load_model

pytestmark = [pytest.mark.usefixtures("eager_steps"), pytest.mark.slow_on("jax")]
ROWS, QUERIES = 60, 12
INPUTS = [
    {"name": "brand", "type": "categorical", "embedding_dim": 3, "oov_buckets": 2},
    {"name": "viewed", "type": "categorical", "share_embedding": "brand", "pooling": "mean"},
    {"name": "tags", "type": "categorical", "separator": "|", "pooling": "max", "embedding_dim": 2},
    {"name": "brand_device", "type": "cross", "columns": ["brand", "device"], "num_buckets": 8, "embedding_dim": 2},
    {"name": "image", "type": "vector", "normalise": True},
    {"name": "title", "type": "text", "ngrams": [3, 3], "num_buckets": 10, "embedding_dim": 2},
    {"name": "interests", "type": "categorical", "pooling": "sum", "scope": "query", "embedding_dim": 2},
]
CONFIG = {
    "data": {"batch_size": 4},
    "features": {"inputs": INPUTS},
    "model": {
        "architecture": {"key": "dnn", "hidden_units": [4]},
        "loss": "softmax_cross_entropy",
        "optimizer": {"key": "sgd", "learning_rate": 1.0},
    },
    "training": {"epochs": 1, "report": False},
}


def log(seed=0, brands="abc"):
    rng = np.random.default_rng(seed)
    query = np.sort(rng.integers(0, QUERIES, ROWS))
    some = [[str(b) for b in rng.choice(list(brands), rng.integers(0, 3))] for _ in range(ROWS)]
    brand = rng.choice(list(brands), ROWS)
    return {
        "query_id": [f"q{q}" for q in query],
        "label": (brand == brands[0]).astype(float) + rng.integers(0, 2, ROWS),
        "brand": brand.tolist(),
        "viewed": pa.array(some, pa.list_(pa.string())),
        "tags": ["|".join(values) for values in some],
        "device": rng.choice(["phone", "desk"], ROWS).tolist(),
        "image": rng.normal(size=(ROWS, 3)),
        "title": rng.choice(["red shoe", "red hat", ""], ROWS).tolist(),
        "interests": pa.array([[["x", "y"], ["y"], []][q % 3] for q in query], pa.list_(pa.string())),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory, eager):
    with eager():
        return train(
            CONFIG,
            tmp_path_factory.mktemp("runs") / "run",
            data={s: log(i) for i, s in enumerate(("train", "test"))},
            progress=False,
        )


def test_unseen_categories_score_and_a_saved_model_scores_the_same(run):
    new = log(seed=5, brands="cde")
    scores = run.predict(new)
    assert scores.shape == (ROWS,)
    assert np.isfinite(scores).all()
    again = load_model(run.path)
    np.testing.assert_allclose(again.predict_rows(new), scores, rtol=1e-5)
    shared = [encoder.embedding for encoder in again.encoder.encoders[:2]]
    assert shared[0] is shared[1]


def test_only_embeddings_of_values_that_occur_are_trained(tmp_path):
    from ml4ir_losses.model.relevance_model import RelevanceModel

    data = log()
    keras.utils.set_random_seed(1)
    start = RelevanceModel.from_config({**CONFIG, "training": {**CONFIG["training"], "seed": 1}}, data=data)
    trained = train(CONFIG, tmp_path / "run", data=data, progress=False).model
    for n, used in ((0, {3, 4, 5}), (2, {1, 2, 3}), (6, {1, 2})):
        before, after = (
            keras.ops.convert_to_numpy(model.encoder.encoders[n].embedding.embeddings) for model in (start, trained)
        )
        changed = set(np.flatnonzero((before != after).any(axis=1)).tolist())
        assert changed == used, INPUTS[n]  # rows 0, which padding holds, and of unknown values stay as they were


@pytest.mark.backend("tensorflow")
def test_saved_function_takes_strings(run, tmp_path):
    import tensorflow as tf

    rows = {name: cells[:4] for name, cells in log(seed=5, brands="cde").items()} | {"query_id": ["q"] * 4}
    rows["interests"] = pa.array([["x", "y"]] * 4)
    viewed = [[*values, "", ""][:2] for values in rows["viewed"].to_pylist()]
    pairs = [list(pair) for pair in zip(rows["brand"], rows["device"], strict=True)]
    x = {name: tf.constant([rows[name]]) for name in ("brand", "tags", "title")}
    x |= {"viewed": tf.constant([viewed]), "brand_device": tf.constant([pairs]), "mask": tf.ones((1, 4))}
    x |= {"image": tf.constant([rows["image"]], "float32"), "interests": tf.constant([["x", "y"]])}
    specs = {name: tf.TensorSpec([*[None] * (v.shape.rank - 1), v.shape[-1]], v.dtype) for name, v in x.items()}
    saved = tf.Module()
    saved.score = tf.function(lambda x: run.model(x, training=False)["score"], input_signature=[specs])
    saved.model = run.model
    tf.saved_model.save(saved, tmp_path / "saved")
    expected = run.predict(rows)
    again = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(again.score(x)[0], expected, rtol=1e-5)


def test_importance_and_baselines_of_all_inputs():
    experiment = prepare(load_config(CONFIG, data={"train": log(), "validation": log(1)}))
    metrics, queries = experiment.metric_set, experiment.queries["validation"]
    columns = permutation_importance(experiment.model, metrics, queries, Truncation())["columns"]
    names = ["brand", "brand_device", "image", "tags", "title", "viewed"]
    assert sorted(column["name"] for column in columns) == names
    assert list(experiment.judge_baselines("validation")) == ["random", "original order"]


def test_vector_of_another_length_names_its_row(run):
    data = log()
    data["image"] = [row.tolist() for row in data["image"]]
    data["image"][7] = [1.0]
    with pytest.raises(DataError, match=r"^data, row 7, column 'image': a vector of 1 numbers; the first one has 3$"):
        run.predict(data)


@pytest.mark.backend("tensorflow")
def test_streamed_rows_with_lists_give_what_rows_in_memory_give(tmp_path):
    rows = {name: list(cells) if name == "image" else cells for name, cells in log().items()}
    whole = pa.table(rows).take(np.random.default_rng(1).permutation(ROWS))  # sorted on disk
    pq.write_table(whole, tmp_path / "train.parquet")

    def read(memory):
        data = {"train": str(tmp_path / "train.parquet"), "memory": memory, "cache": False}
        return read_features(load_config({**CONFIG, "data": data}))

    streamed, in_memory = read(0), read("1GB")
    assert streamed.inputs == in_memory.inputs
    stored, expected = streamed.queries["train"], in_memory.queries["train"]
    found = stored.read([(0, len(stored))])
    for name, values in expected.features.items():
        np.testing.assert_array_equal(found.features[name], values, err_msg=name)


@pytest.mark.backend("tensorflow")
def test_streamed_fit_reads_a_changed_vocabulary_file_again(tmp_path):
    pq.write_table(pa.table({name: log()[name] for name in ("query_id", "label", "brand")}), tmp_path / "train.parquet")
    inputs = [{"name": "brand", "type": "categorical", "vocabulary": str(tmp_path / "brands.txt")}]
    data = {"train": str(tmp_path / "train.parquet"), "memory": 0, "cache": str(tmp_path / "cache")}
    for values in (["a", "b"], ["c"]):
        (tmp_path / "brands.txt").write_text("\n".join(values))
        read = read_features(load_config({**CONFIG, "data": data, "features": {"inputs": inputs}}))
        assert read.inputs[0].vocabulary == values
