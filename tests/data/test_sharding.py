"""Batches from any position of an epoch, and the parts of a batch that processes read, for every kind of data."""

from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from ml4ir_losses.config.text_schema import DatasetConfig
from ml4ir_losses.core.errors import ConfigError
from ml4ir_losses.core.names import MASK
from ml4ir_losses.core.registry import BATCHINGS
from ml4ir_losses.data.batching import make_batch
from ml4ir_losses.data.feeding import Feeding
from ml4ir_losses.data.own_files import OwnFiles, without_documents
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.sharding import Position, Shard
from ml4ir_losses.data.streaming.plan import make_plan
from ml4ir_losses.data.streaming.store import QueryStore, new_store
from ml4ir_losses.data.texts.batches import MixedFeed, TextFeed
from ml4ir_losses.data.texts.feeds import text_dataset
from ml4ir_losses.data.texts.in_batch import InBatchNegatives
from ml4ir_losses.data.texts.list_batches import ListFeed
from ml4ir_losses.data.texts.lists import make_lists
from ml4ir_losses.data.texts.rows import TextPlan, TextRows, TokenRows
from ml4ir_losses.data.texts.sets import TextSet
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.text.tokenizers import PairTokenizer, WordTokenizer

QUERIES = 75


@pytest.fixture(scope="module")
def queries():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, QUERIES)
    rows = sizes.sum()
    return Queries(
        ids=np.arange(QUERIES).astype(str).astype(object),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        features={"x": rng.random((rows, 2), "float32"), "device": rng.integers(0, 9, rows).astype("int32")},
        labels={"label": rng.integers(0, 3, rows).astype("float32")},
        document_ids=np.arange(rows).astype(str).astype(object),
        query_scope=frozenset({"device"}),
        query_weight=rng.random(QUERIES, "float32"),
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory, queries):
    folder = tmp_path_factory.mktemp("data") / "store"
    with new_store(folder) as writer:
        writer.append(queries)
        writer.finish({})
    return folder


@pytest.fixture(params=["memory", "one window", "several windows"])
def data(request, queries, store):
    if request.param == "memory":
        return queries
    return QueryStore(store, 1 << 30 if request.param == "one window" else 1_200)


def leaves(batch):
    """The arrays of a batch by place and name."""
    parts = [part if isinstance(part, dict) else {"": part} for part in batch]
    return {(place, name): values for place, part in enumerate(parts) for name, values in part.items()}


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        one, other = leaves(one), leaves(other)
        assert list(one) == list(other)
        for name, values in one.items():
            assert values.dtype == other[name].dtype
            np.testing.assert_array_equal(values, other[name], err_msg=str(name))


def put_together(parts):
    """The whole batch of the parts of its processes."""
    arrays = [leaves(part) for part in parts]
    return {name: np.concatenate([part[name] for part in arrays]) for name in arrays[0]}


def list_batches(plan, epoch, start=0):
    return [make_batch(window, *draw) for window, draw in plan.draws(epoch, start)]


OPTIONS = {"shuffle": True, "bucketing": True, "seed": 5}


@pytest.mark.parametrize("policy", ["first", "random", "keep_relevant"])
def test_queries_from_a_position_are_the_rest_of_the_epoch(data, policy):
    plan = make_plan(data, 4, truncation=Truncation(5, policy), **OPTIONS)
    whole = {epoch: list_batches(plan, epoch) for epoch in (3, 4)}
    for start in (0, 1, 7, 13, len(plan) - 1, len(plan)):
        assert_same(list_batches(plan, 3, start), whole[3][start:])
    again = make_plan(data, 4, truncation=Truncation(5, policy), **OPTIONS)
    assert_same(list_batches(again, 4), whole[4])


def test_windows_before_a_position_are_not_read(queries, store):
    data, read = QueryStore(store, 1_200), []
    plan = make_plan(data, 4, truncation=Truncation(5, "random"), **OPTIONS)
    batches = list_batches(plan, 2)
    windows = [window.data for window in dict.fromkeys(window for window, _ in plan.draws(2))]
    before = sum(-(-len(window) // 4) for window in windows[:-1])
    data.read = lambda ranges, with_ids=True: read.append(ranges) or QueryStore.read(data, ranges, with_ids)
    assert_same(list_batches(plan, 2, before + 1), batches[before + 1 :])
    assert len(windows) > 3
    assert len(read) == 1


@pytest.mark.parametrize(("count", "devices"), [(2, 1), (3, 1), (8, 1), (2, 4), (1, 3)])
@pytest.mark.parametrize("compiled", [False, True])
def test_parts_of_lists_are_the_batch_with_lists_that_keep_the_mean(data, count, devices, compiled, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.data.batching.is_backend", lambda name: compiled and name == "jax")
    options = {"truncation": Truncation(5, "random"), "compiled_epochs": 2 if compiled else None, **OPTIONS}
    shards = [Shard(index, count, devices) for index in range(count)]
    parts = [list_batches(make_plan(data, 10, shard=shard, **options), 1) for shard in shards]
    whole = list_batches(make_plan(data, 10, **options), 1)
    shapes = set()
    for batch, *shares in zip(whole, *parts, strict=True):
        batch, joined = leaves(batch), put_together(shares)
        has_documents = joined[0, MASK].any(axis=1)
        lists = int(batch[0, MASK].any(axis=1).sum())
        assert has_documents.tolist() == [True] * lists + [False] * (len(has_documents) - lists)
        assert len(has_documents) % (count * devices) == 0
        assert len({share[0][MASK].shape for share in shares}) == 1
        shapes.add(len(has_documents))
        for name in batch:
            if name != (2, ""):
                np.testing.assert_array_equal(joined[name][:lists], batch[name][:lists], err_msg=str(name))
        assert not joined[0, "x"][lists:].any()
        assert (joined[1, "label"][lists:] == -1).all()
        value = np.random.default_rng(0).random(lists)  # of the loss of each list
        mean = (batch[2, ""][:lists] * value).sum() / len(batch[2, ""])
        assert (joined[2, ""][:lists] * value).sum() / len(joined[2, ""]) == pytest.approx(mean, rel=1e-6)
        assert not joined[2, ""][lists:].any()
    assert len(shapes) == (1 if compiled else 2)


def test_parts_of_a_batch_differ_by_at_most_one_row():
    for count in (1, 2, 3, 8):
        for rows in range(40):
            parts = [Shard(index, count).part(rows) for index in range(count)]
            assert [row for part in parts for row in range(rows)[part]] == list(range(rows))
            sizes = [part.stop - part.start for part in parts]
            assert max(sizes) - min(sizes) <= 1


def test_epoch_is_that_of_fit_whatever_was_read_before():
    feeding = Feeding()
    generate = feeding.generator(lambda epoch, first: iter([(epoch, first)]), Position(2, 5))
    assert [next(generate()) for _ in range(3)] == [(2, 5), (3, 0), (4, 0)]  # nobody tells the epoch
    feeding.epoch = 2
    assert [next(generate()) for _ in range(2)] == [(2, 5), (2, 5)]  # Keras looks at a batch first
    feeding.epoch = 3
    assert next(generate()) == (3, 0)


def text_rows(rows=37):
    """Rows of two columns in which texts repeat, with labels and weights."""
    rng = np.random.default_rng(0)
    texts = [[f"{column}{rng.integers(20)}" + " w" * rng.integers(5) for _ in range(rows)] for column in "ab"]
    labels = [str(rng.integers(5)) for _ in range(rows)]
    return TextRows(texts, labels, None, rng.random(rows, "float32"), "train.csv", str)


def text_feed(key, rows=None):
    rows, batching = rows or text_rows(), BATCHINGS.create(key)
    if batching.makes_pairs:
        rows = replace(rows, texts=rows.texts[:1])
    tokens = [TokenRows.of(column, lambda text: [len(word) for word in text.split()]) for column in rows.texts]
    plan = TextPlan(rows, batching, 5, shuffle=True, seed=3)
    return TextFeed(plan, tokens, lambda batch: batch.astype("float32"), ["anchor", "positive"], 2)


def list_feed():
    rows = text_rows()
    config = DatasetConfig(train="train.csv", columns={"anchor": "a", "positive": "b"})
    loss, batching = get_loss("cross_encoder_multiple_negatives_ranking"), BATCHINGS.create("in_order")
    lists = make_lists(TextSet(config, loss, batching, {"train": rows}), replace(rows, labels=None))
    plan = TextPlan(lists.rows, batching, 5, shuffle=True, seed=3, min_rows=2)
    tokenizer = PairTokenizer(WordTokenizer([f"a{n}" for n in range(20)] + ["w"], 20), 9, 3)
    return ListFeed(lists, plan, tokenizer, InBatchNegatives(lists, 3), seed=1, redraw=True)


def mixed_feed(sampling):
    feeds = {"pairs": text_feed("no_duplicates"), "classes": text_feed("group_by_label", text_rows(23))}
    examples = {name: next(feed.batches()) for name, feed in feeds.items()}
    return MixedFeed(feeds, examples, sampling, 7, "task")


FEEDS = {
    **{key: partial(text_feed, key) for key in ("in_order", "no_duplicates", "group_by_label", "contrastive_pairs")},
    "lists": list_feed,
    **{sampling: partial(mixed_feed, sampling) for sampling in ("proportional", "round_robin")},
}


def test_every_batching_has_a_feed():
    assert {entry.key for entry in BATCHINGS} <= set(FEEDS)


@pytest.fixture(params=FEEDS)
def feed(request):
    return FEEDS[request.param]


def test_texts_from_a_position_are_the_rest_of_the_epoch(feed):
    made = feed()
    whole = {epoch: list(made.batches(epoch)) for epoch in (2, 3)}
    assert len(whole[2]) > 4
    for start in (0, 1, 4, len(whole[2]) - 1, len(whole[2])):
        assert_same(list(made.batches(2, start)), whole[2][start:])
    assert_same(list(feed().batches(3)), whole[3])
    assert list(map(str, made.draws(2))) != list(map(str, made.draws(3)))


def test_texts_before_a_position_are_not_padded(feed, monkeypatch):
    made = feed()
    padded = []
    monkeypatch.setattr(type(made), "make", lambda self, draw, part: padded.append(draw))
    assert len(list(made.batches(1, 3))) == len(padded) == len(list(made.draws(1))) - 3


@pytest.mark.parametrize("count", [2, 3, 4])
def test_parts_of_texts_are_the_batch(feed, count):
    parts = [list(feed().batches(1, shard=Shard(index, count))) for index in range(count)]
    draws = [draw for draw in feed().draws(1) if feed().size(draw) >= count]
    for draw, *shares in zip(draws, *parts, strict=True):
        whole, joined = leaves(feed().make(draw)), put_together(shares)
        sizes = [len(leaves(share)[0, "anchor" if (0, "anchor") in whole else "pair_ids"]) for share in shares]
        assert 0 < min(sizes) >= max(sizes) - 1
        for name, values in whole.items():
            np.testing.assert_array_equal(joined[name], values, err_msg=str(name))


def test_batches_that_not_every_device_has_a_row_of_are_left_out_everywhere(caplog):
    shards = [Shard(index, 4) for index in range(4)]
    rows = [[len(x["anchor"]) for x, *_ in text_feed("in_order").batches(0, shard=shard)] for shard in shards]
    assert rows == [[1] * 7] * 3 + [[2] * 7]  # the last 2 of 37 rows are too few
    assert "batches of fewer rows than devices are left out, such as one of 2 for 4" in caplog.text


@pytest.mark.backend("tensorflow")
def test_batch_smaller_than_the_devices_is_refused():
    with pytest.raises(ConfigError, match=r"data\.batch_size: 8 devices cannot share a batch of 5 rows\."):
        text_dataset(text_feed("in_order"), shard=Shard(0, 4, 2))


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("shares", [(30, 30, 15), (5, 69, 1)])
def test_batches_of_processes_with_their_own_files_hold_every_query_once_and_keep_the_mean(
    queries, tmp_path, shares, devices
):
    ends = np.cumsum([0, *shares])
    made = []
    for index, (first, last) in enumerate(pairwise(ends)):
        own = OwnFiles(index, shares, 8)
        with new_store(tmp_path / str(index)) as writer:
            writer.append(queries.take(np.arange(first, last)))
            writer.finish({})
        options = {"shard": Shard(devices=devices), "incomplete_last": True, **OPTIONS}
        plan = make_plan(QueryStore(tmp_path / str(index), 1_200), own.own_size, **options)
        empty = without_documents(make_batch(plan.example(), np.arange(1)), devices)
        fills = plan.fills_batches
        made.append(list(own.batches(iter(list_batches(plan, 1)), empty, filled=fills)))
        assert_same(own.batches(iter(list_batches(plan, 1, 2)), empty, 2, fills), made[-1][2:])
        assert len(own) == len(made[-1])
    weights = []
    for parts in zip(*made, strict=True):
        weight = np.concatenate([weight for _, _, weight in parts])
        has_documents = np.concatenate([x[MASK].any(axis=1) for x, _, _ in parts])
        assert all(len(part[2]) % devices == 0 for part in parts)
        assert not weight[~has_documents].any()
        # The mean over all lists is that over the queries.
        weights.append(weight[has_documents] * has_documents.sum() / len(has_documents))
    np.testing.assert_allclose(np.sort(np.concatenate(weights)), np.sort(queries.query_weight), rtol=1e-6)


@pytest.mark.parametrize("window_bytes", [1_200, 1 << 30])
def test_incomplete_batch_is_the_last_where_other_processes_must_know_its_place(store, window_bytes):
    plan = make_plan(QueryStore(store, window_bytes), 4, incomplete_last=True, **OPTIONS)
    for epoch in range(5):
        assert [len(batch) for _, (batch, _) in plan.draws(epoch)] == [4] * 18 + [3]
