"""Parts of the queries of one file: shares, groups, time, and independence of the order of the rows."""

from itertools import pairwise

import numpy as np
import pytest

from ml4ir_losses.config.folds import SplitConfig
from ml4ir_losses.config.in_memory import SPLITS, InMemory
from ml4ir_losses.config.schema import DataConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.splitting import parts_of_queries, read_splits

THIRD = {"validation": 0.15, "test": 0.15}


def ids(number):
    return np.array([f"q{i}" for i in range(number)], object)


def part(number=100, values=None, **settings):
    return parts_of_queries(ids(number), values, SplitConfig(**{**THIRD, **settings}))


def counts(parts):
    return [int((parts == name).sum()) for name in SPLITS]


def test_shares_are_met_as_exactly_as_whole_queries_allow():
    assert counts(part(100)) == [70, 15, 15]
    assert counts(part(20)) == [14, 3, 3]
    assert counts(part(100, train=0.2)) == [20, 15, 15]
    assert (part(100, train=0.2) == "").sum() == 50


def test_part_of_a_query_does_not_depend_on_the_order_of_the_queries():
    shuffled = np.random.default_rng(0).permutation(100)
    parts = parts_of_queries(ids(100)[shuffled], None, SplitConfig(**THIRD))
    assert (parts == part(100)[shuffled]).all()


def test_another_seed_gives_other_parts():
    assert (part(seed=1) == part(seed=1)).all()
    assert (part(seed=1) != part(seed=2)).any()


def test_without_a_split_the_others_keep_their_queries():
    split = SplitConfig(**THIRD)
    parts = parts_of_queries(ids(100), None, split.without("test"))
    expected = part(100)
    assert (parts == np.where(expected == "test", "", expected)).all()


def test_queries_with_one_value_are_in_one_part():
    users = np.array([f"u{i % 40}" for i in range(200)], object)
    parts = part(200, users, by="column", column="user")
    assert all(len(set(parts[users == user])) == 1 for user in users)
    assert counts(parts) == [140, 30, 30]


def test_what_is_evaluated_is_later_than_what_is_trained_on():
    days = np.repeat(np.arange(50.0), 4)[::-1]
    parts = part(200, days, by="time", column="day")
    assert all(days[parts == before].max() < days[parts == after].min() for before, after in pairwise(SPLITS))
    assert counts(parts) == [140, 32, 28]  # the queries of a day stay together


@pytest.mark.parametrize(
    ("number", "values", "settings", "message"),
    [
        (3, None, {}, "data.split.test: a share of 0.15 of 3 queries holds none of them."),
        (
            20,
            np.array(["u1", "u2"] * 10),
            {"by": "column", "column": "user"},
            "data.split.validation: a share of 0.15 of 20 queries with 2 different values of 'user' holds "
            "none of them.",
        ),
    ],
)
def test_a_split_without_queries_is_refused(number, values, settings, message):
    with pytest.raises(DataError) as error:
        part(number, values, **settings)
    assert str(error.value) == message


ROWS = {
    "query_id": [f"q{i % 10}" for i in range(30)],
    "row": list(range(30)),
    "day": [f"2026-01-{i % 10 + 1:02}" for i in range(30)],
}


def data(split, rows=ROWS):
    return DataConfig(path=InMemory(rows), split=split)


def test_rows_of_a_query_stay_together_in_the_order_of_the_file():
    tables = read_splits(data({"validation": 0.2, "test": 0.2}), "query_id")
    assert sorted(np.concatenate([table.numeric("row") for table in tables.values()])) == list(range(30))
    for table in tables.values():
        assert (np.diff(table.numeric("row")) > 0).all()
    queries = [set(table.strings("query_id")) for table in tables.values()]
    assert [len(known) for known in queries] == [6, 2, 2]
    assert len(set().union(*queries)) == 10


def test_named_splits_alone_are_read():
    config = data({"test": 0.2, "by": "time", "column": "day"})
    assert config.splits == ["train", "test"]
    assert config.paths("validation") == []
    (name,) = tables = read_splits(config, "query_id", ["test"])
    assert name == "test"
    assert set(tables["test"].strings("query_id")) == {"q8", "q9"}


def test_path_with_folds_alone_is_one_split():
    config = DataConfig(path=InMemory(ROWS), folds=5)
    assert config.splits == ["train"]
    assert len(read_splits(config, "query_id")["train"]) == 30


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (
            {"test": 0.2, "by": "column", "column": "row"},
            r"data, row 10, column 'row': '10' differs from '0' in the first row of its query, and the rows of a query "
            r"stay together \(data.split.column\)\.",
        ),
        ({"test": 0.2, "by": "time", "column": "dya"}, r"no column 'dya' \(data.split.column\)\. Did you mean 'day'"),
        (
            {"test": 0.2, "by": "time", "column": "query_id"},
            r"data, row 0, column 'query_id': 'q0' is neither .* \(data.split.column\)",
        ),
    ],
)
def test_columns_that_do_not_split_give_one_line(split, message):
    with pytest.raises(DataError, match=message):
        read_splits(data(split), "query_id")
