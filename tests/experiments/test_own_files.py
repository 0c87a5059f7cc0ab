"""Processes that each read their own files of the training split; here they are threads."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, LostProcess
from ml4ir_losses.core.names import MASK
from ml4ir_losses.data.sharding import Shard
from ml4ir_losses.experiments import own_files
from ml4ir_losses.experiments.distribution.workers import Workers
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.own_files import read_own_files, together
from small import config, write_csv, write_splits
from small_texts import config as text_config

pytestmark = pytest.mark.backend("tensorflow")
COUNT = 3
FILES = {"strategy": "multi_worker", "shard": "files", "timeout": 1}


class Meeting(Workers):
    """One of several threads; `maximum` waits for all of them."""

    def __init__(self, rank, barrier, values):
        super().__init__(rank, COUNT, COUNT, Shard(rank, COUNT))
        self.barrier, self.values = barrier, values

    def maximum(self, value):
        self.values[self.rank] = value
        self.barrier.wait(20)
        largest = max(self.values)
        self.barrier.wait(20)
        return largest


def everywhere(function):
    """What a function of the workers gives on each of them, or the error that it raises."""
    barrier, values = threading.Barrier(COUNT), [0] * COUNT

    def run(rank):
        try:
            return function(Meeting(rank, barrier, values))
        except (ConfigError, DataError, LostProcess) as error:
            return error

    with ThreadPoolExecutor(COUNT) as threads:
        return list(threads.map(run, range(COUNT)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_splits(tmp_path_factory.mktemp("data"))
    for number, queries in enumerate((9, 2, 14, 5)):
        write_csv(folder / f"part-{number}.csv", queries, seed=number, start=1000 * number)
    return folder


def shared_config(folder, train="part-*.csv", **sections):
    return load_config(config(folder, data={"train": train, **sections}, training={"distribution": FILES}))


def test_each_process_reads_its_own_files_with_inputs_fitted_on_all_of_them(folder, tmp_path):
    checked = shared_config(folder)
    data = everywhere(lambda workers: read_own_files(checked, workers, tmp_path))
    assert [len(part.queries["train"]) for part in data] == [14, 2, 14]  # files 0 and 3, 1, 2
    assert {part.own_files.queries for part in data} == {(14, 2, 14)}
    whole = prepare(load_config(config(folder, data={"train": "part-*.csv"})))
    for part in data:
        assert [one.model_dump() for one in part.inputs] == [one.model_dump() for one in whole.model.all_fitted]
        assert part.sources == data[0].sources
        assert part.sources["train"]["rows"] == whole.sources["train"]["rows"]
        assert len(part.queries["validation"]) == 12
    assert not list(tmp_path.iterdir())


def test_every_query_is_trained_on_once_and_all_processes_have_as_many_batches(folder, tmp_path):
    checked = shared_config(folder)
    experiments = everywhere(lambda workers: prepare(checked, data=read_own_files(checked, workers, tmp_path)))
    datasets = [made.dataset("train", shard=Shard(rank, COUNT)) for rank, made in enumerate(experiments)]
    assert [made.steps for made in experiments] == [int(dataset.cardinality()) for dataset in datasets] == [7] * COUNT
    prices, weights = [], []
    for parts in zip(*(dataset.as_numpy_iterator() for dataset in datasets), strict=True):
        lists = sum(len(x[MASK]) for x, _, _ in parts)
        queries = sum(int(x[MASK].any(axis=1).sum()) for x, _, _ in parts)
        weights += [weight.sum() * queries / lists for _, _, weight in parts]
        prices += [x["price"][x[MASK] > 0] for x, _, _ in parts]
    assert sum(weights) == pytest.approx(30)
    whole = prepare(load_config(config(folder, data={"train": "part-*.csv"}))).queries["train"]
    found, expected = np.concatenate(prices), whole.features["price"]
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    validation = [made.dataset("validation", shard=Shard(rank, COUNT)) for rank, made in enumerate(experiments)]
    assert [[len(x[MASK]) for x, *_ in part.as_numpy_iterator()] for part in validation] == [[3, 2]] * COUNT


def test_error_on_one_process_is_one_on_all(folder, tmp_path):
    (folder / "bad.csv").write_text("query_id,doc,label\nq1,d1,x\n")
    checked = shared_config(folder, ["part-0.csv", "part-2.csv", "bad.csv"], format="csv")
    errors = everywhere(lambda workers: read_own_files(checked, workers, tmp_path))
    assert len({str(error) for error in errors}) == 1
    assert "bad.csv" in str(errors[0])  # the chief reads all files

    def fail(workers):
        with together(workers):
            if workers.rank == 1:
                raise DataError("train.csv, line 2: wrong")

    messages = list(map(str, everywhere(fail)))
    assert messages[1] == "train.csv, line 2: wrong"
    assert messages[0] == messages[2]
    assert "Another process of the training cannot use its config or data" in messages[0]


@pytest.mark.parametrize(
    ("data", "run_dir", "message"),
    [
        (
            {"train": "part-[01].csv"},
            ".",
            r"files needs a file of data\.train for each process\. Received: 2 files for 3",
        ),
        ({"batch_size": 2}, ".", r"data\.batch_size: 3 processes cannot share 2 queries\."),
        ({}, None, "choose --run-dir"),
    ],
)
def test_files_that_cannot_be_shared_out_are_refused(folder, data, run_dir, message):
    checked = shared_config(folder, **{"train": "part-*.csv", **data})
    for error in everywhere(lambda workers: read_own_files(checked, workers, run_dir)):
        assert isinstance(error, ConfigError)
        assert len(str(error).splitlines()) == 1
        with pytest.raises(ConfigError, match=message):
            raise error


def test_only_files_of_features_are_shared_out(folder, tmp_path):
    texts = text_config(tmp_path, "multiple_negatives_ranking", training={"distribution": FILES})
    with pytest.raises(ConfigError, match=r"shard: files is for documents with features; every process reads all"):
        load_config(texts)
    parts = {"train": None, "validation": None, "test": None, "path": "part-*.csv", "split": {"test": 0.2}}
    with pytest.raises(ConfigError, match=r"shard: files shares out the files of data\.train; give train in the place"):
        shared_config(folder, **parts)


def test_process_does_not_wait_for_a_chief_without_signs_of_life(tmp_path):
    with pytest.raises(LostProcess, match=r"gave no sign of life in .* for 0\.3 s \(training\.distribution\.timeout\)"):
        own_files._wait_for(tmp_path / "features.json", 0.3)


def test_process_waits_for_a_chief_that_works(tmp_path):
    path = tmp_path / "features.json"
    with ThreadPoolExecutor(1) as thread, own_files._signs_of_life(path.with_suffix(".alive")):
        waiting = thread.submit(own_files._wait_for, path, 0.5)
        threading.Event().wait(1.0)
        assert not waiting.done()
        path.write_text("{}")
        waiting.result(5)
    assert list(tmp_path.iterdir()) == [path]
