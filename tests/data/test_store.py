"""Encoded queries on disk: what is read back, windows of an epoch, and what an interrupted or failed write leaves."""

import resource
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.batching import BatchPlan, make_batch
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.streaming.cache import unfinished
from ml4ir_losses.data.streaming.plan import StreamedPlan, make_plan, read_ahead
from ml4ir_losses.data.streaming.store import QueryStore, new_store
from ml4ir_losses.data.truncation import Truncation

QUERIES = 203


def make(queries=QUERIES, seed=0, documents=True):
    """Queries with every array that a store can hold."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 9, queries)
    rows = sizes.sum()
    return Queries(
        ids=np.array([f"qü{seed}-{i}" for i in range(queries)], object),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        features={
            "x": rng.random((rows, 3), "float32"),
            "word": rng.integers(0, 9, (rows, 2)).astype("int32"),
            "device": rng.integers(0, 9, rows).astype("int32"),
        },
        labels={"label": rng.integers(0, 3, rows).astype("float32"), "clicked": np.zeros(rows, "float32")},
        document_ids=np.array([f"d{i}" for i in rng.integers(0, 10**6, rows)], object),
        query_scope=frozenset({"device"}),
        weight=rng.random(rows, "float32"),
        query_weight=rng.random(queries, "float32"),
        positions=np.arange(1, rows + 1, dtype="float32"),
        source="train.csv",
    )


def write(folder, queries, parts=3, **options):
    """The store of queries that are appended in parts."""
    with new_store(folder, **options) as writer:
        for index in np.array_split(np.arange(len(queries)), parts):
            writer.append(queries.take(index))
        writer.finish({"rows": queries.rows})
    return QueryStore(folder)


def assert_equal(found, expected, with_ids=True):
    names = ["offsets", "weight", "query_weight", "positions", *(("ids", "document_ids") if with_ids else ())]
    for name in names:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for part in ("features", "labels"):
        arrays = getattr(expected, part)
        assert list(getattr(found, part)) == list(arrays)
        for name, values in arrays.items():
            assert getattr(found, part)[name].dtype == values.dtype
            np.testing.assert_array_equal(getattr(found, part)[name], values)
    assert (found.query_scope, found.source, found.confidence) == (expected.query_scope, expected.source, None)


@pytest.fixture(scope="module")
def queries():
    return make()


@pytest.fixture
def store(tmp_path, queries):
    return write(tmp_path / "store", queries)


def test_store_gives_back_what_was_appended(store, queries):
    assert (len(store), store.rows, store.facts) == (len(queries), queries.rows, {"rows": queries.rows})
    np.testing.assert_array_equal(store.ids, queries.ids)
    np.testing.assert_array_equal(store.sizes, queries.sizes)
    assert_equal(store.read([(0, len(store))]), queries)
    assert_equal(store.read([(7, 30), (2, 5)]), queries.take(np.r_[7:30, 2:5]))
    assert_equal(store.take(np.array([202, 0, 3])), queries.take(np.array([202, 0, 3])))
    assert_equal(store.read([(5, 9)], with_ids=False), queries.take(np.arange(5, 9)), with_ids=False)
    assert not list(store.label_values("grade"))
    np.testing.assert_array_equal(np.concatenate(list(store.label_values("label"))), queries.labels["label"])


def test_places_of_documents_are_not_stored(tmp_path, queries):
    found = write(tmp_path / "store", queries, document_ids=False).read([(1, 3)])
    expected = [str(place) for size in queries.sizes[1:3] for place in range(1, size + 1)]
    assert found.document_ids.tolist() == expected


@pytest.mark.parametrize(("nbytes", "least", "most"), [(0, 1, 32), (20_000, 32, 96), (10**9, QUERIES, QUERIES)])
def test_sample_is_spread_over_the_queries(store, queries, nbytes, least, most):
    sample = store.sample(nbytes)
    assert least <= len(sample) <= most
    place = {query: i for i, query in enumerate(queries.ids)}
    chosen = np.array([place[query] for query in sample.ids])
    assert np.diff(chosen).min() > 0
    assert chosen[0] < 10
    assert chosen[-1] > QUERIES - 10
    assert_equal(sample, queries.take(chosen))


def test_labels_come_in_parts(store, queries, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.data.streaming.store._PART", 100)
    parts = list(store.label_values("label"))
    assert len(parts) == -(-queries.rows // 100)
    np.testing.assert_array_equal(np.concatenate(parts), queries.labels["label"])


def batches(plan, epoch=0):
    return [make_batch(window, *draw) for window, draw in plan.draws(epoch)]


def windows_of(plan, epoch=0):
    """The windows of an epoch with the queries of their batches; weights tell queries apart, whose ids are not read."""
    windows = groupby(plan.draws(epoch), key=itemgetter(0))
    return [(window, [queries for _, (queries, _) in drawn]) for window, drawn in windows]


def assert_same_batches(found, expected):
    for (x, y, weights), (x2, y2, weights2) in zip(found, expected, strict=True):
        for part, part2 in ((x, x2), (y, y2), (weights, weights2)):
            assert list(part) == list(part2)
            for name, values in part.items():
                np.testing.assert_array_equal(values, part2[name], err_msg=name)


@pytest.mark.parametrize("compiled_epochs", [None, 2])
@pytest.mark.parametrize("policy", ["first", "random", "keep_relevant"])
def test_batches_of_one_window_are_those_of_queries_in_memory(store, queries, policy, compiled_epochs):
    options = {"shuffle": True, "bucketing": True, "seed": 5, "compiled_epochs": compiled_epochs}
    plans = [make_plan(data, 8, truncation=Truncation(5, policy), **options) for data in (queries, store)]
    assert [type(plan) for plan in plans] == [BatchPlan, StreamedPlan]
    np.testing.assert_array_equal(*(plan.widths for plan in plans))
    for epoch in range(2):
        assert_same_batches(*(batches(plan, epoch) for plan in plans))


@pytest.mark.parametrize("window_bytes", [0, 5_000, 50_000])
def test_batches_without_shuffling_are_those_of_queries_in_memory(store, queries, window_bytes):
    store.window_bytes = window_bytes
    plan = make_plan(store, 8)
    assert sum(1 for _ in plan.windows()) > 1
    assert len(plan) == len(BatchPlan(queries, 8))
    assert_same_batches(batches(plan), batches(BatchPlan(queries, 8)))


@pytest.mark.parametrize("window_bytes", [0, 5_000, 50_000])
def test_windows_of_a_shuffled_epoch_hold_each_query_once_in_another_order_every_epoch(store, queries, window_bytes):
    store.window_bytes = window_bytes
    options = {"shuffle": True, "bucketing": True, "compiled_epochs": 2}
    plan = make_plan(store, 8, seed=1, **options)
    epochs = []
    for epoch in range(2):
        windows = windows_of(plan, epoch)
        for window, groups in windows:
            assert store.nbytes()[:8].sum() * 3 > window_bytes or window.data.rows
            assert sorted(np.concatenate(groups)) == list(range(len(window.data)))
            widths = {window.rows(group)[0].shape[1] for group in groups}
            assert widths <= set(plan.widths)
        order = np.concatenate([window.data.query_weight[group] for window, groups in windows for group in groups])
        assert sorted(order) == sorted(queries.query_weight)
        assert sum(len(groups) for _, groups in windows) == len(plan)
        sizes = [len(group) for _, groups in windows for group in groups]
        assert sorted(sizes, reverse=True) == [8] * (QUERIES // 8) + [QUERIES % 8]
        epochs.append(order.tolist())
    assert epochs[0] != epochs[1]
    again = make_plan(store, 8, seed=1, **options)
    same = [window.data.query_weight[group] for window, groups in windows_of(again) for group in groups]
    assert np.concatenate(same).tolist() == epochs[0]


def test_windows_stay_within_their_size_and_change_with_the_epoch(store, queries):
    store.window_bytes = 20_000
    plan = make_plan(store, 8, shuffle=True)
    size = dict(zip(queries.query_weight, store.nbytes(with_ids=False), strict=True))
    windows = [[set(window.data.query_weight) for window, _ in windows_of(plan, epoch)] for epoch in range(2)]
    assert all(sum(size[query] for query in window) <= 20_000 for epoch in windows for window in epoch)
    assert windows[0] != windows[1]


def test_items_are_made_ahead_and_errors_reach_the_reader():
    def items():
        yield 1
        yield 2
        raise DataError("gone")

    ahead = read_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(DataError, match="gone"):
        next(ahead)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("line 3: wrong")])
def test_failed_or_interrupted_write_leaves_nothing(tmp_path, queries, error):
    def fail():
        with new_store(tmp_path / "store") as writer:
            writer.append(queries)
            raise error

    with pytest.raises(type(error)):
        fail()
    assert not list(tmp_path.iterdir())


@contextmanager
def largest_file(size):
    """No file may become larger within the block, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, queries):
    with pytest.raises(DataError) as error, largest_file(5000):
        write(tmp_path / "store", queries)
    assert str(error.value).startswith(f"{tmp_path}: the encoded data cannot be written after ")
    assert str(error.value).endswith("Set data.cache to a folder with more space.")
    assert not list(tmp_path.iterdir())


def test_store_of_a_faster_process_is_kept(tmp_path, queries):
    other = make(seed=1)
    with new_store(tmp_path / "store") as writer:
        writer.append(queries)
        writer.finish({})
        write(tmp_path / "other", other)
        (tmp_path / "other").rename(tmp_path / "store")
    assert_equal(QueryStore(tmp_path / "store").take(np.array([1])), other.take(np.array([1])))
    assert not unfinished(tmp_path / "store").exists()


@pytest.mark.parametrize("damage", ["cut", "missing", "no description", "during reading"])
def test_damaged_store_is_refused(store, damage):
    file = store.folder / "0.bin"
    if damage == "missing":
        file.unlink()
    elif damage == "no description":
        (store.folder / "store.json").unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=str(store.folder)):
        store.read([(0, len(store))]) if damage == "during reading" else QueryStore(store.folder)


def test_arrays_of_another_type_are_refused(tmp_path, queries):
    wrong = make(seed=3)
    wrong.features["x"] = wrong.features["x"].astype("float64")
    with new_store(tmp_path / "store") as writer:
        writer.append(queries)
        with pytest.raises(DataError, match="x: float64"):
            writer.append(wrong)
        writer.finish({})
