"""Data that do not fit into `data.memory`: training, evaluation and prediction are those of data in memory."""

import csv
import json
import os
import socket

import keras
import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming import reading
from ml4ir_losses.data.streaming.cache import Cache
from ml4ir_losses.data.streaming.store import QueryStore
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.experiments import feature_data
from ml4ir_losses.experiments.build import build_relevance_model
from ml4ir_losses.experiments.evaluate import check, evaluate, predict
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.feature_data import memory_for_data, read_features
from ml4ir_losses.experiments.feature_experiment import FeatureExperiment
from ml4ir_losses.experiments.fit import fit
from ml4ir_losses.experiments.importance import permutation_importance
from ml4ir_losses.experiments.train import train
from small import config, write_csv, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(reading, "CHUNK_BYTES", 2_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


def streamed(folder, cache=False, **sections):
    cache = cache if isinstance(cache, bool) else str(cache)
    data = {"memory": 0, "cache": cache, **sections.pop("data", {})}
    return config(folder, data=data, **sections)


def read(config, **sections):
    return read_features(load_config(config))


def assert_same_queries(found, expected):
    found = found.read([(0, len(found))])
    for name in ("ids", "offsets", "document_ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for part in ("features", "labels"):
        assert getattr(found, part).keys() == getattr(expected, part).keys()
        for name, values in getattr(expected, part).items():
            np.testing.assert_array_equal(getattr(found, part)[name], values, err_msg=name)


def table(path):
    with open(path, newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


INPUTS = {"inputs": [{"name": "price", "type": "numeric", "transforms": ["log1p"], "query_rank": True}]}


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory, eager):
    """The same config with data in memory, and with windows of a batch each."""
    path = tmp_path_factory.mktemp("runs")
    order = {"shuffle": False, "bucketing": False}
    sections = {"features": INPUTS, "training": {"epochs": 1}}
    with eager():
        memory = train(config(folder, data=order, **sections), path / "memory", progress=False)
        return memory, train(streamed(folder, data=order, **sections), path / "streamed", progress=False)


def test_run_without_shuffling_is_bit_by_bit_that_of_data_in_memory(runs):
    for old, new in zip(*(run.model.get_weights() for run in runs), strict=True):
        np.testing.assert_array_equal(new, old)
    memory, stored = runs
    assert stored.metrics == memory.metrics
    assert stored.baselines == memory.baselines
    for name in ("history.csv", "predictions.csv", "per_query.csv"):
        assert table(stored.path / name) == table(memory.path / name)
    origin = [json.loads((run.path / "data.json").read_text()) for run in runs]
    for split, found in origin[1].items():
        assert {**found, "sha256": ""} == {**origin[0][split], "sha256": ""}


def test_training_with_one_window_is_bit_by_bit_that_of_data_in_memory(folder):
    weights, importance = [], []
    for given in (config, streamed):
        data = {"max_list_size": 5, "truncation": "random"}
        checked = load_config(given(folder, data=data, features=INPUTS, training={"epochs": 1}))
        read = read_features(checked)
        for queries in read.queries.values():
            queries.window_bytes = 1 << 30
        experiment = FeatureExperiment.prepare(checked, read)
        fit(experiment)
        weights.append(experiment.model.get_weights())
        found = permutation_importance(experiment.model, experiment.metric_set, read.queries["test"], Truncation(5))
        importance.append({**found, "seconds": 0})
    assert isinstance(read.queries["train"], QueryStore)
    for old, new in zip(*weights, strict=True):
        np.testing.assert_array_equal(new, old)
    assert importance[0] == importance[1]


def test_stores_hold_the_queries_that_memory_would_hold(folder):
    expected, found = read(config(folder)), read(streamed(folder))
    assert found.inputs[1:] == expected.inputs[1:]
    for name in ("centre", "scale"):
        assert found.inputs[0].transforms[0][name] == pytest.approx(expected.inputs[0].transforms[0][name], rel=1e-9)
    for split, queries in expected.queries.items():
        assert isinstance(queries, Queries)
        assert_same_queries(found.queries[split], queries)


def test_rows_of_a_query_that_are_not_adjacent_are_sorted(folder, tmp_path, caplog):
    header, *lines = (folder / "train.csv").read_text().splitlines()
    lines = np.random.default_rng(0).permutation(lines)
    (tmp_path / "train.csv").write_text("\n".join([header, *lines]) + "\n")
    with caplog.at_level("INFO", "ml4ir_losses"):
        found = read(streamed(tmp_path, tmp_path / "cache", data={"validation": None, "test": None}))
    assert caplog.text.count("the rows of a query are not adjacent; they are sorted on disk") == 1
    expected = read(config(tmp_path, data={"validation": None, "test": None}))
    assert_same_queries(found.queries["train"], expected.queries["train"])
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith(".")]


def test_parts_of_one_file_are_those_of_data_in_memory(folder):
    section = {"train": None, "validation": None, "test": None, "path": "train.csv"}
    for how in ({"validation": 0.2, "test": 0.2}, {"validation": 0.3, "by": "column", "column": "query_id"}):
        expected = read(config(folder, data={**section, "split": how}))
        found = read(streamed(folder, data={**section, "split": how}))
        assert list(found.queries) == list(expected.queries)
        for split, queries in expected.queries.items():
            assert_same_queries(found.queries[split], queries)


def test_encoded_data_are_used_again_until_file_config_or_fit_change(tmp_path, monkeypatch, caplog):
    write_splits(tmp_path)
    cache = tmp_path / "cache"
    given = streamed(tmp_path, cache)
    first = read(given)
    kept = sorted(cache.iterdir())
    assert len(kept) == 4
    monkeypatch.setattr(feature_data, "fit_streamed", None)
    with monkeypatch.context() as patch:
        patch.setattr(feature_data, "with_blocks", None)
        again = read(given)
    assert again.queries["train"].folder == first.queries["train"].folder
    assert [fitted.model_dump() for fitted in again.inputs] == [fitted.model_dump() for fitted in first.inputs]
    write_csv(tmp_path / "test.csv", queries=13, seed=5)
    with caplog.at_level("INFO", "ml4ir_losses"):
        assert len(read(given).queries["test"]) == 13
    assert "train: the encoded data of an earlier run are in" in caplog.text
    assert "test: 13 encoded queries take" in caplog.text
    monkeypatch.undo()
    changed = read(streamed(tmp_path, cache, features={"document_id": None}))
    assert changed.queries["train"].folder != first.queries["train"].folder


def test_damaged_encoded_data_are_made_anew(tmp_path):
    write_splits(tmp_path)
    given = streamed(tmp_path, tmp_path / "cache")
    store = read(given).queries["train"]
    (store.folder / "0.bin").write_bytes(b"")
    assert_same_queries(read(given).queries["train"], read(config(tmp_path)).queries["train"])


def test_temporary_encoded_data_end_with_the_queries(folder):
    data = read(streamed(folder))
    path = data.queries["train"].folder
    assert path.exists()
    del data
    assert not path.exists()


@pytest.mark.parametrize("change", ["append", "remove column"])
def test_file_that_changes_while_it_is_read_is_one_line(tmp_path, monkeypatch, change):
    write_splits(tmp_path)
    fit_inputs = feature_data.fit_streamed

    def fit_and_change(*args):
        fitted = fit_inputs(*args)
        with open(tmp_path / "train.csv", "a") as file:
            file.write("q0,d0,1,0,1,b1,red,new,1,1\n")
        return fitted

    monkeypatch.setattr(feature_data, "fit_streamed", fit_and_change)
    with pytest.raises(DataError, match=r"train.csv: the file changed while it was read; start again"):
        read(streamed(tmp_path, tmp_path / "cache"))
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("q99,d0,x,0,1,b1,red,new,1,1", r"train.csv, line 243, column 'label': 'x' is not a number"),
        ("q99,d0,-1,0,1,b1,red,new,1,1", r"train.csv, line 243: query 'q99' has no documents"),
        ("q99,d0,1,0,wool,b1,red,new,1,1", r"train.csv, line 243, column 'price': 'wool' is not a number"),
        (",d0,1,0,1,b1,red,new,1,1", r"train.csv, line 243: the query id is empty"),
    ],
)
def test_errors_in_streamed_rows_name_file_and_line(tmp_path, folder, cells, message):
    (tmp_path / "train.csv").write_text((folder / "train.csv").read_text() + cells + "\n")
    with pytest.raises(DataError, match=message):
        read(streamed(tmp_path, tmp_path / "cache", data={"validation": None, "test": None}))
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".json"]


def test_query_whose_first_rows_are_padding_has_its_other_rows_elsewhere(tmp_path, folder):
    header, *lines = (folder / "train.csv").read_text().splitlines()
    padding, other = "q99,d0,-1,0,1,b1,red,new,1,1", "q99,d1,1,0,1,b1,red,new,1,1"
    (tmp_path / "train.csv").write_text("\n".join([header, padding, *lines, other]) + "\n")
    splits = {"validation": None, "test": None}
    found = read(streamed(tmp_path, data=splits)).queries["train"]
    assert_same_queries(found, read(config(tmp_path, data=splits)).queries["train"])


def test_equal_labels_of_a_streamed_training_split_are_refused(tmp_path):
    write_splits(tmp_path)
    header, *lines = (tmp_path / "train.csv").read_text().splitlines()
    changed = [",".join([*line.split(",")[:2], "5", *line.split(",")[3:]]) for line in lines]
    (tmp_path / "train.csv").write_text("\n".join([header, *changed]) + "\n")
    with pytest.raises(DataError, match="every label of the training split is 5; a ranking loss"):
        read(streamed(tmp_path))


@pytest.fixture
def run(runs):
    return runs[1]


def test_evaluation_of_a_large_file_is_that_of_data_in_memory(run, folder, monkeypatch):
    options = {"baseline": "-price", "group_by": "segment"}
    found = evaluate(run.path, folder / "test.csv", **options)
    monkeypatch.setattr(feature_data, "memory_for_data", lambda data: 1 << 30)
    expected = evaluate(run.path, folder / "test.csv", **options)
    assert found.queries == expected.queries
    assert found.data == expected.data
    assert found.metrics == pytest.approx(expected.metrics, rel=1e-5)
    assert found.metrics == pytest.approx(run.metrics["test"], rel=1e-5)
    assert list(found.differences) == list(expected.differences)
    assert run.evaluate(str(folder / "test.csv")) == pytest.approx(expected.metrics, rel=1e-5)


def test_predictions_for_a_large_file_are_those_of_data_in_memory(run, folder, tmp_path, monkeypatch):
    def write(name):
        rows = predict(run.path, folder / "test.csv", tmp_path / name)
        trec = {"format": "trec", "qrels": tmp_path / f"{name}.qrels"}
        assert rows == predict(run.path, folder / "test.csv", tmp_path / f"{name}.run", **trec)
        return table(tmp_path / name), (tmp_path / f"{name}.qrels").read_text()

    found, qrels = write("streamed.csv")
    monkeypatch.setattr(feature_data, "memory_for_data", lambda data: 1 << 30)
    expected, expected_qrels = write("memory.csv")
    assert qrels == expected_qrels
    for row, other in zip(found, expected, strict=True):
        assert [row[name] for name in ("query_id", "document_id", "label")] == [
            other[name] for name in ("query_id", "document_id", "label")
        ]
        assert float(row["logit"]) == pytest.approx(float(other["logit"]), abs=1e-5)


def test_qrels_without_labels_write_nothing(run, tmp_path, folder):
    lines = [line.split(",") for line in (folder / "test.csv").read_text().splitlines()]
    (tmp_path / "test.csv").write_text("\n".join(",".join(cells[:2] + cells[3:]) for cells in lines) + "\n")
    with pytest.raises(DataError, match="no column 'label'; qrels are made from labels"):
        predict(run.path, tmp_path / "test.csv", tmp_path / "out", format="trec", qrels=tmp_path / "qrels")
    assert [path.name for path in tmp_path.iterdir()] == ["test.csv"]


def test_check_and_models_from_large_data(folder):
    found, expected = (
        {split: {**sizes, "documents per second": 0} for split, sizes in check(given)["splits"].items()}
        for given in (streamed(folder), config(folder))
    )
    assert found == expected
    found, expected = build_relevance_model(streamed(folder)), build_relevance_model(config(folder))
    assert found.count_params() == expected.count_params()


def test_encoded_data_that_fit_into_a_window_are_read_into_memory(folder, monkeypatch):
    for module in (reading, feature_data):
        monkeypatch.setattr(module, "COPIES", 1_000)
    data = read(config(folder, data={"memory": "1MB", "cache": False}))
    assert isinstance(data.queries["train"], Queries)


@pytest.mark.parametrize(
    ("memory", "bytes"), [(0, 0), ("2GB", 2 * 10**9), ("1.5 GiB", 1610612736), ("500mb", 5 * 10**8)]
)
def test_memory_is_a_number_of_bytes_or_a_size(folder, memory, bytes):
    assert memory_for_data(load_config(config(folder, data={"memory": memory})).data) == bytes


@pytest.mark.parametrize("memory", ["2 apples", "-1", -1, ""])
def test_wrong_memory_is_an_error_of_the_config(folder, memory):
    with pytest.raises(ConfigError, match=r"data\.memory"):
        load_config(config(folder, data={"memory": memory}))


def test_half_of_the_free_memory_is_for_data(folder, monkeypatch):
    monkeypatch.setattr(feature_data, "available_memory", lambda: 1000)
    assert memory_for_data(load_config(config(folder)).data) == 500


def test_cache_removes_what_is_old_and_what_ended_processes_left(tmp_path):
    old, new, other = tmp_path / ("a" * 40), tmp_path / ("b" * 40), tmp_path / "notes.txt"
    for path in (old, new):
        path.mkdir()
    other.write_text("mine")
    for path in (old, other):
        os.utime(path, (0, 0))
    ended = tmp_path / f".{'c' * 40}.{socket.gethostname()}.{2**22 + 1}"
    own = tmp_path / f".{'c' * 40}.{socket.gethostname()}.{os.getpid()}"
    elsewhere = tmp_path / f".{'c' * 40}.another-host.1"
    for path in (ended, own, elsewhere):
        path.mkdir()
    Cache(str(tmp_path))
    assert set(tmp_path.iterdir()) == {new, other, own, elsewhere}


def test_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data.cache: .* cannot be written"):
        Cache(str(tmp_path / "file" / "below"))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def write_over(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_off, "the file changed while it was used"),
        (write_over, "the file changed while it was used"),
        (os.remove, "No such file or directory"),
    ],
)
def test_file_that_is_damaged_during_training_is_named(folder, tmp_path, damage, reason):
    class Damage(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                damage(file)

    experiment = prepare(load_config(streamed(folder, cache=tmp_path, features=INPUTS, training={"epochs": 5})))
    file = experiment.queries["train"].folder / "0.bin"
    with pytest.raises(DataError) as raised:
        fit(experiment, callbacks=[Damage()])
    message = f"{file}: the encoded data cannot be read ({reason}). Remove {file.parent}: it is made again."
    assert str(raised.value) == message
