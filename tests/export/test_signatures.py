"""The signatures that clients of TF-Ranking, ml4ir and TensorFlow Serving call, without this package."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export import rest
from export.alone import run_alone
from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table
from ml4ir_losses.export.exporting import check_can_export
from ml4ir_losses.export.formats.saved_model import SavedModel
from ml4ir_losses.export.signatures import PREDICT, REGRESS, SEQUENCES, signatures
from ml4ir_losses.export.texts import embedding_signatures
from ml4ir_losses.model.relevance_model import RelevanceModel
from model.test_embedding_model import make

pytestmark = pytest.mark.backend("tensorflow")
GOLDEN = Path(__file__).parents[1] / "golden" / "tfrecord"
LOWEST = np.finfo("float32").min
CONFIG = {
    "features": {
        "inputs": [
            {"name": "price", "type": "numeric", "missing": "query_min"},
            {"name": "clicks", "type": "categorical", "embedding_dim": 2},
            {"name": "genres", "type": "categorical", "pooling": "mean", "embedding_dim": 2},
            {"name": "age", "type": "numeric", "scope": "query", "transforms": ["log1p"]},
        ]
    },
    "model": {"architecture": "linear", "loss": "softmax_cross_entropy"},
}
LISTS = ["genres"]


def golden_file(kind):
    return str(GOLDEN / f"{kind}.tfrecord")


def golden_records(kind, compression=""):
    return np.array([record.numpy() for record in tf.data.TFRecordDataset(golden_file(kind), compression)], object)


@pytest.fixture(scope="module")
def model():
    """A model fitted on the documents that TF-Ranking's environment wrote, with weights far from 0."""
    data = {"train": golden_file("elwc"), "options": {"lists": LISTS}, "batch_size": 4}
    made = RelevanceModel.from_config(load_config({**CONFIG, "data": data}))
    rng = np.random.default_rng(0)
    for weight in made.trainable_weights:
        weight.assign(rng.normal(size=weight.shape) * 0.5)
    return made


def by_record(records, sizes):
    """A table whose query ids are the numbers of its records."""
    columns = {name: cells for name, cells in records.columns.items() if name != "query_id"}
    return Table({**columns, "query_id": np.repeat([f"r{n}" for n in range(len(sizes))], sizes)}, records.sources)


@pytest.fixture(scope="module")
def answers(model, text_model, tmp_path_factory):
    """The outputs of all calls: of TF-Ranking's lists, and of texts, in a process with TensorFlow alone."""
    folder = tmp_path_factory.mktemp("signatures")
    graphs = {graph.name: graph for graph in signatures(model)}
    SavedModel().write([graphs[PREDICT]], folder / "model")
    SavedModel().write(embedding_signatures(text_model), folder / "texts")

    def body(name, request):
        types = {n: "object" if i.dtype == "string" else i.dtype for n, i in graphs[name].inputs.items()}
        return rest.tensors(json.dumps(request), types)

    alone = {
        "predict": (folder / "model", PREDICT, body(PREDICT, {"instances": encoded("elwc")})),
        "queries": (folder / "texts", "embed_query", {"texts": np.array(TEXTS, object)}),
        "documents": (folder / "texts", "embed_document", {"texts": np.array(TEXTS, object)}),
    }
    here = {  # exports are checked in SavedModels, by each of their signatures
        "regress": (REGRESS, {"inputs": golden_records("example")}),
        "sequences": (SEQUENCES, {"protos": golden_records("sequence_example", "GZIP")}),
        "rows": ("serving_default", body("serving_default", {"instances": REQUEST})),
        "columns": ("serving_default", body("serving_default", {"inputs": columns_of(REQUEST)})),
        "masked": ("with_mask", body("with_mask", {"instances": MASKED})),
    }
    found = dict(zip(alone, run_alone(alone.values(), folder), strict=True))
    for call, (name, inputs) in here.items():
        types = {n: info.dtype for n, info in graphs[name].inputs.items()}
        outputs = graphs[name].function({n: tf.constant(value, types[n]) for n, value in inputs.items()})
        found[call] = {n: np.asarray(value) for n, value in outputs.items()}
    return found


@pytest.fixture(scope="module")
def text_model():
    return make("multiple_negatives_ranking", {"key": "cnn", "filters": [3]}, shared=False)


def encoded(kind):
    return [{"b64": base64.b64encode(record).decode()} for record in golden_records(kind)]


TEXTS = ["a bird", "", "unknown", "The dog, in the sea!"]
REQUEST = [
    {
        "price": [0.5, float("nan"), -1],
        "clicks": ["3", "", "7"],
        "genres": [["a", ""], ["b", "a"], ["", ""]],
        "age": 3,
    },
    {
        "price": [1.5, 2.0, 2.5],
        "clicks": ["-1", "8", "9"],
        "genres": [["", ""]] * 3,
        "age": float("nan"),
    },
]
MASKED = [{**REQUEST[0], "mask": [1, 1, 1]}, {**REQUEST[1], "mask": [1, 1, 0]}]


def columns_of(rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def table_of(rows):
    """The same documents as rows of data in memory."""
    flat = []
    for number, row in enumerate(rows):
        for place in range(len(row["price"])):
            cells = {name: value[place] for name, value in row.items() if name != "age"}
            flat.append({**cells, "age": row["age"], "query_id": f"q{number}"})
    return memory_table({name: [cells[name] for cells in flat] for name in flat[0]})


def test_lists_with_context_score_as_reader_and_model_do(model, answers):
    """Lists of different sizes, one without documents, documents without features; sent as JSON in base64."""
    assert answers["predict"].keys() == {"outputs"}
    scores = np.float32(rest.answer(answers["predict"], "instances")["predictions"])
    sizes = (scores > LOWEST).sum(axis=1)
    assert (sizes[:4] == [3, 0, 1, 3]).all()
    table = by_record(read_table(golden_file("elwc"), lists=LISTS), sizes)
    np.testing.assert_allclose(scores[scores > LOWEST], model.predict_rows(table, logits=True), rtol=1e-5, atol=1e-5)
    assert (scores[np.arange(scores.shape[1]) >= sizes[:, None]] == LOWEST).all()


def test_examples_score_as_lists_of_one_document(model, answers):
    assert answers["regress"].keys() == {"outputs"}
    table = read_table(golden_file("example"), lists=LISTS)
    missing = {"age": [None] * len(table)}
    one_by_one = by_record(Table({**table.columns, **missing}, table.sources), np.ones(len(table), int))
    expected = model.predict_rows(one_by_one, logits=True)
    np.testing.assert_allclose(answers["regress"]["outputs"], expected, rtol=1e-5, atol=1e-5)


def test_sequence_examples_give_the_activated_scores_of_the_same_documents(model, answers):
    scores = answers["sequences"]["ranking_score"]
    real = answers["predict"]["outputs"] > LOWEST
    table = by_record(read_table(golden_file("elwc"), lists=LISTS), real.sum(axis=1))
    np.testing.assert_allclose(scores[real], model.predict_rows(table), rtol=1e-5, atol=1e-6)
    assert (scores[~real] == 0).all()


def test_json_rows_and_columns_give_what_the_model_gives(model, answers):
    logits = model.predict_rows(table_of(REQUEST), logits=True).reshape(2, 3)
    rows = rest.answer(answers["rows"], "instances")["predictions"]
    np.testing.assert_allclose([row["logit"] for row in rows], logits, rtol=1e-5, atol=1e-5)
    assert [sorted(row["rank"]) for row in rows] == [[1, 2, 3]] * 2
    columns = rest.answer(answers["columns"], "inputs")["outputs"]
    np.testing.assert_array_equal(columns["logit"], [row["logit"] for row in rows])
    assert columns.keys() == {"logit", "score", "rank"}


def test_json_lists_of_different_sizes_are_filled_up_and_masked(model, answers):
    shorter = [REQUEST[0], {n: v[:2] if isinstance(v, list) else v for n, v in REQUEST[1].items()}]
    logits = model.predict_rows(table_of(shorter), logits=True)
    rows = rest.answer(answers["masked"], "instances")["predictions"]
    np.testing.assert_allclose([*rows[0]["logit"], *rows[1]["logit"][:2]], logits, rtol=1e-5, atol=1e-5)
    assert rows[1]["rank"][2] == 0


@pytest.mark.parametrize("default", ["predict", "regress"])
def test_default_signature_may_be_one_of_tf_ranking(model, default):
    graphs = {graph.name: graph for graph in signatures(model, default)}
    same = {"predict": PREDICT, "regress": REGRESS}[default]
    assert graphs["serving_default"].function is graphs[same].function
    assert {"columns", "with_mask", PREDICT, REGRESS, SEQUENCES} < graphs.keys()


def test_texts_are_embedded_as_encode_does(text_model, answers):
    """Two encoders, with a text in which no word is known and one without words."""
    for signature, column in (("queries", "anchor"), ("documents", "positive")):
        expected = text_model.encode(TEXTS, column)
        np.testing.assert_allclose(answers[signature]["embedding"], expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(answers["queries"]["embedding"], answers["documents"]["embedding"])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"format": "saved_model", "serving_default": "lists"}, "columns, predict, regress"),
        ({"format": "opensearch", "serving_default": "predict"}, "opensearch: has no signature serving_default"),
    ],
)
def test_unknown_default_signature_is_refused(tmp_path, options, reason):
    with pytest.raises(UserError, match=reason):
        check_can_export(tmp_path / "model", **options)
