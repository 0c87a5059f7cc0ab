"""Exports of ranking models: a SavedModel that gives what Keras gives, or one line and nothing written."""

import importlib.util
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from export import all_kinds
from ml4ir_losses import Ranker
from ml4ir_losses.core.errors import NotWritten, UserError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.export import exporting
from ml4ir_losses.export.exporting import export_model
from ml4ir_losses.export.features import column_types, input_names, score_graph
from ml4ir_losses.export.formats.base import ExportFormat
from ml4ir_losses.export.formats.saved_model import SavedModel
from ml4ir_losses.export.samples import column_cells, list_cases, made_up_rows

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("columns_alone")]
PRICE = {"name": "sold", "type": "numeric", "transforms": ["standardise"]}
ALONE = """
import sys, pickle
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
with open(sys.argv[2], "rb") as stream:
    calls = pickle.load(stream)
found = []
for signature, inputs in calls:
    types = {name: spec.dtype for name, spec in loaded.signatures[signature].structured_input_signature[1].items()}
    outputs = loaded.signatures[signature](**{name: tf.constant(x, types[name]) for name, x in inputs.items()})
    found.append({name: value.numpy() for name, value in outputs.items()})
assert not any(name.startswith("ml4ir_losses") for name in sys.modules)
with open(sys.argv[2], "wb") as stream:
    pickle.dump(found, stream)
"""


@pytest.fixture(scope="module")
def model():
    return all_kinds.model(architecture="linear")


@pytest.fixture(scope="module")
def small():
    return all_kinds.model([PRICE], "linear")


@pytest.fixture(scope="module")
def exported(model, columns_alone, tmp_path_factory):
    return model.export(tmp_path_factory.mktemp("exports") / "model", data=all_kinds.rows(seed=1))


def inputs_of(graph, columns):
    """The tensors of a signature, [Q, N, ...] and [Q, ...], from lists of cells of equal lengths by column."""
    return {name: columns[info.get("column", name)] for name, info in graph["inputs"].items()}


def test_saved_model_gives_what_keras_gives_in_a_process_with_tensorflow_alone(model, exported, tmp_path):
    import pickle

    new, size = all_kinds.rows(seed=2, brands="bcd"), 4
    new["query_id"] = [f"q{row // size}" for row in range(all_kinds.ROWS)]  # lists of four documents
    table = memory_table(new)
    types = column_types(model.fitted)
    cells = {column: column_cells(table, column, kind) for column, kind in types.items()}
    lists = {name: values.reshape(-1, size, *values.shape[1:]) for name, values in cells.items()}
    lists |= {name: values[:, 0] for name, values in lists.items() if types[name].scope == "query"}
    logits = model.predict_rows(new, logits=True).reshape(-1, size)
    scores = model.predict_rows(new).reshape(-1, size)

    graphs = json.loads((exported.path / "export.json").read_text())["graphs"]
    default = inputs_of(graphs["serving_default"], lists)
    padded = {
        name: value if info["shape"] == [None] or value.ndim < 2 or name == "interests" else with_padding(value)
        for (name, info), value in zip(graphs["serving_default"]["inputs"].items(), default.values(), strict=True)
    }
    mask = np.concatenate([np.ones_like(logits), np.zeros_like(logits[:, :2])], axis=1)
    (tmp_path / "calls").write_bytes(
        pickle.dumps([("serving_default", default), ("with_mask", {**padded, "mask2": mask})])
    )
    command = [sys.executable, "-c", ALONE, str(exported.path), str(tmp_path / "calls")]
    subprocess.run(command, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""})
    plain, masked = pickle.loads((tmp_path / "calls").read_bytes())
    for outputs in (plain, {name: value[:, :size] for name, value in masked.items()}):
        np.testing.assert_allclose(outputs["logit"], logits, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outputs["score"], scores, rtol=1e-5, atol=1e-5)
        best_first = np.argsort(-outputs["logit"], axis=1, kind="stable")
        assert (np.take_along_axis(outputs["rank"], best_first, 1) == np.arange(1, size + 1)).all()
    assert not masked["rank"][:, size:].any()


def with_padding(values):
    """Two more documents per list, without content."""
    fill = "" if values.dtype == object else np.nan
    return np.concatenate([values, np.full((len(values), 2, *values.shape[2:]), fill, values.dtype)], axis=1)


def test_export_says_what_it_compared_and_the_folder_describes_itself(exported):
    assert list(exported.differences) == [1, 7, 1_000]
    assert max(exported.differences.values()) <= exported.tolerance == 1e-5
    assert "60 rows of data" in str(exported)
    record = json.loads((exported.path / "export.json").read_text())
    assert record["graphs"]["serving_default"]["inputs"]["price__USD_"] == {
        "shape": [None, None],
        "dtype": "float32",
        "column": "price (USD)",
    }
    assert record["checked"]["differences"] == {str(n): d for n, d in exported.differences.items()}
    assert {"saved_model.pb", "export.json"} <= set(exported.files)
    assert sorted(os.listdir(exported.path.parent)) == ["model"]


def test_input_names_are_the_columns_where_tensorflow_allows_it_and_distinct():
    columns = ["price", "Price 2", "price_2", "class", "_id", "1st", "größe", "a b", "a.b", "f1"]
    names = input_names(columns)
    assert names["price"] == "price"
    assert names["price_2"] == "price_2"
    assert names["f1"] == "f1"
    assert len({name.lower() for name in names.values()}) == len(columns)
    assert all(name.isidentifier() and name.isascii() for name in names.values())


def test_keras_way_to_call_export_works_and_an_input_signature_goes_to_keras(small, tmp_path):
    small.export(tmp_path / "ours", "tf_saved_model", verbose=False)
    assert (tmp_path / "ours" / "export.json").exists()
    small.export(
        tmp_path / "keras",
        input_signature=[
            {"sold": keras.InputSpec("float32", (None, None, 1)), "mask": keras.InputSpec("float32", (None, None))}
        ],
        verbose=False,
    )
    assert (tmp_path / "keras" / "saved_model.pb").exists()
    assert not (tmp_path / "keras" / "export.json").exists()


def test_ranker_exports_by_its_columns(tmp_path, eager):
    X, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 3
    with eager():
        ranker = Ranker("softmax_cross_entropy", architecture="linear", epochs=1).fit(X, y, group=[6, 6])
        scores = ranker.predict(X)
    exported = ranker.export(tmp_path / "ranker", X=X)
    runner = SavedModel().open(exported.path)["serving_default"]
    inputs = {f"f{i}": X[None, :, i] for i in range(3)}
    columns = json.loads((exported.path / "export.json").read_text())["graphs"]["serving_default"]["inputs"]
    inputs = dict(zip(columns, inputs.values(), strict=True))
    np.testing.assert_allclose(runner(inputs)["logit"][0], scores, rtol=1e-5)


def test_made_up_rows_have_the_columns_and_kinds_that_the_model_reads(model):
    rows = made_up_rows(model.fitted)
    assert set(rows.names) == {column for fitted in model.fitted for column in fitted.columns}
    case = next(iter(list_cases(model, "score", [score_graph(model)], rows)))
    assert np.isfinite(case.expected["score"]).all()


class Perturbed(SavedModel):
    """Gives other outputs than Keras."""

    def open(self, folder):
        return {
            name: lambda x, run=run: {n: v if n == "rank" else v + 2e-5 for n, v in run(x).items()}
            for name, run in super().open(folder).items()
        }


class Failing(SavedModel):
    """Fails after it has written half of its files."""

    def __init__(self, error):
        self.error = error

    def write(self, graphs, folder, quantize=None):
        (folder / "half").write_text("")
        raise self.error


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (Perturbed(), UserError, "differs from Keras' by 2e-05, and at most 1e-05 is allowed; nothing was written"),
        (Failing(UserError("cannot hold it")), UserError, "cannot hold it"),
        (Failing(KeyboardInterrupt()), KeyboardInterrupt, None),
        (Failing(OSError(28, "No space left on device")), NotWritten, "model: cannot be written .No space left"),
    ],
    ids=["difference", "format", "interrupted", "disk"],
)
def test_nothing_is_left_of_an_export_that_fails(small, tmp_path, monkeypatch, target, error, message):
    monkeypatch.setattr(exporting, "get_format", lambda key: target)
    with pytest.raises(error, match=message):
        export_model(small, tmp_path / "new" / "model")
    assert not os.listdir(tmp_path)


class Pickled(ExportFormat):
    """A format of the numeric core: a folder of nothing, whose runner is the Keras model."""

    key, artifact = "pickled", "score"

    def write(self, graphs, folder, quantize=None):
        self.graph = graphs[0]
        return []

    def open(self, folder):
        return {"model": lambda x: self.graph.function({name: np.asarray(value) for name, value in x.items()})}


def test_folder_of_a_numeric_core_holds_its_preprocessing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "get_format", lambda key: Pickled())
    exported = export_model(model, tmp_path / "model")
    assert exported.files == ["export.json", "preprocessing.json", "preprocessing.py"]
    spec = importlib.util.spec_from_file_location("alone", exported.path / "preprocessing.py")
    alone = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(alone)
    lists = alone.load(exported.path / "preprocessing.json").lists([{"query": {}, "documents": [{"sold": 3.0}, {}]}])
    record = json.loads((exported.path / "export.json").read_text())
    assert lists.keys() == record["graphs"]["model"]["inputs"].keys()


def test_wrong_calls_get_one_line(small, tmp_path, monkeypatch):
    (tmp_path / "here").write_text("")
    for arguments, message in {
        (tmp_path / "here", "saved_model"): "here: exists already",
        (tmp_path / "new", "saved_modle"): "Unknown format 'saved_modle'. Did you mean 'saved_model'",
        (tmp_path / "new", "saved_model", "int9"): "int9",
    }.items():
        path, format, *quantize = arguments
        with pytest.raises(UserError, match=message):
            export_model(small, path, format, quantize=next(iter(quantize), None))
    with pytest.raises(UserError, match="no column 'sold'"):
        export_model(small, tmp_path / "new", data={"sould": [1.0]})
    with pytest.raises(UserError, match=r"takes a ranking model of this package\. Received: Sequential"):
        export_model(keras.Sequential(), tmp_path / "new")
    monkeypatch.setattr(exporting, "is_backend", lambda name: False)
    with pytest.raises(UserError, match="set KERAS_BACKEND=tensorflow"):
        export_model(small, tmp_path / "new")
    assert os.listdir(tmp_path) == ["here"]


def test_column_that_is_read_in_two_ways_is_refused_where_no_tensor_serves_both(tmp_path):
    date = {"name": "published", "type": "date", "parts": ["age"], "reference": "newest"}
    inputs = [date, {"name": "day", "type": "categorical", "column": "published"}]
    with pytest.raises(UserError, match="column 'published': one input reads it as a date, another as text"):
        all_kinds.model(inputs, "linear").export(tmp_path / "model")
