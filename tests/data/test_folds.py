"""Folds: queries stay whole, every query is evaluated once, groups stay together, time goes forward."""

from itertools import pairwise

import numpy as np
import pytest

from ml4ir_losses.config.folds import FoldsConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.folds import folded_tables
from ml4ir_losses.data.memory import memory_table


def table(queries, prefix="q", name="data", **columns):
    """Rows of queries with 1 to 3 documents, dealt so that the rows of a query are not adjacent."""
    sizes = np.arange(queries) % 3 + 1
    query = np.repeat(np.arange(queries), sizes)[np.random.default_rng(0).permutation(sizes.sum())]
    cells = {"query_id": [f"{prefix}{q}" for q in query], "row": [f"{name}:{i}" for i in range(len(query))]}
    return memory_table(cells | {c: [values[q] for q in query] for c, values in columns.items()}, name)


def ids(fold, part):
    return set(fold[part].strings("query_id"))


def rows(fold, part):
    return sorted(fold[part].strings("row"))


@pytest.fixture
def pool():
    return {"train": table(20, "a", "train"), "validation": table(7, "b", "validation")}


def test_each_query_is_evaluated_once_and_never_trained_on_there(pool):
    folds = folded_tables(pool, "query_id", FoldsConfig(k=4))
    everything = sorted(row for part in pool.values() for row in part.strings("row"))
    assert sorted(row for fold in folds for row in rows(fold, "validation")) == everything
    for fold in folds:
        assert not ids(fold, "train") & ids(fold, "validation")
        assert sorted(rows(fold, "train") + rows(fold, "validation")) == everything
        assert len(ids(fold, "validation")) in (6, 7)


def test_with_a_test_part_the_next_fold_is_the_validation_part(pool):
    folds = folded_tables(pool, "query_id", FoldsConfig(k=3), with_test=True)
    for fold, after in zip(folds, folds[1:] + folds[:1], strict=True):
        assert rows(fold, "validation") == rows(after, "test")
        assert sorted(rows(fold, "train") + rows(fold, "validation") + rows(fold, "test")) == sorted(
            row for part in pool.values() for row in part.strings("row")
        )
        assert not ids(fold, "train") & ids(fold, "test")


def test_folds_follow_the_seed(pool):
    def evaluated(seed):
        return [rows(fold, "validation") for fold in folded_tables(pool, "query_id", FoldsConfig(k=4, seed=seed))]

    assert evaluated(1) == evaluated(1) != evaluated(2)


def test_ids_that_restart_in_each_file_stay_separate_queries():
    pool = {"train": table(6, "", "train"), "validation": table(6, "", "validation")}
    for fold in folded_tables(pool, "query_id", FoldsConfig(k=3)):
        numbers = [name.split("/") for part in fold for name in ids(fold, part)]
        assert len(numbers) == 12
        assert {split for split, _ in numbers} == {"train", "validation"}
        # an id is in one fold, should it be the same query after all
        assert {name.split("/")[1] for name in ids(fold, "train")}.isdisjoint(
            name.split("/")[1] for name in ids(fold, "validation")
        )
        assert fold["train"].locate(0).startswith("train, row")


def test_queries_with_one_value_of_the_column_stay_together():
    users = [f"u{q % 5}" for q in range(20)]
    folds = folded_tables({"train": table(20, user=users)}, "query_id", FoldsConfig(k=5, by="column", column="user"))
    assert [len(set(fold["validation"].strings("user"))) for fold in folds] == [1] * 5
    for fold in folds:
        assert not set(fold["train"].strings("user")) & set(fold["validation"].strings("user"))


@pytest.mark.parametrize(
    "times", [list(range(12, 0, -1)), [f"2026-{12 - q:02}-01T10:00:00Z" for q in range(12)]], ids=["numbers", "dates"]
)
@pytest.mark.parametrize("with_test", [False, True])
def test_in_time_a_fold_is_later_than_what_it_is_trained_on(times, with_test):
    pool = {"train": table(12, when=times)}
    folds = folded_tables(pool, "query_id", FoldsConfig(k=3, by="time", column="when"), with_test)
    assert len(folds) == 3
    position = {f"q{q}": 12 - q for q in range(12)}
    parts = [[sorted(position[i] for i in ids(fold, part)) for part in fold] for fold in folds]
    for fold in parts:
        assert all(max(earlier) < min(later) for earlier, later in pairwise(fold))
    assert [fold[0][0] for fold in parts] == [1, 1, 1]
    assert max(parts[-1][-1]) == 12


def test_queries_of_one_time_are_in_one_part():
    days = np.repeat(np.arange(6), [2, 5, 1, 1, 6, 3]).tolist()
    folds = folded_tables({"train": table(18, day=days)}, "query_id", FoldsConfig(k=2, by="time", column="day"))
    for fold in folds:
        assert fold["train"].numeric("day").max() < fold["validation"].numeric("day").min()


def test_time_of_a_query_is_that_of_its_last_row():
    cells = {"query_id": list("aabbccdd"), "t": [1, 9, 2, 2, 3, 3, 4, 4]}
    folds = folded_tables({"train": memory_table(cells)}, "query_id", FoldsConfig(k=3, by="time", column="t"))
    assert [ids(fold, "validation") for fold in folds] == [{"c"}, {"d"}, {"a"}]


USERS = {"user": [f"u{q % 3}" for q in range(20)]}


@pytest.mark.parametrize(
    ("queries", "folds", "columns", "message"),
    [
        (1, {"k": 2}, {}, "data: folds need at least 2 queries. Received: 1."),
        (3, {"k": 5}, {}, "data: 5 folds need at least 5 queries (data.folds). There are 3."),
        (
            20,
            {"k": 5, "by": "column", "column": "user"},
            USERS,
            "data: 5 folds need at least 5 values of the column 'user' (data.folds). There are 3.",
        ),
        (
            20,
            {"k": 5, "by": "column", "column": "usr"},
            USERS,
            "data: no column 'usr' (data.folds.column). Did you mean 'user'? Columns: query_id, row, user.",
        ),
        (
            20,
            {"k": 3, "by": "time", "column": "user"},
            USERS,
            "data, row 0, column 'user': 'u2' is neither a number nor a date such as 2026-01-31 or "
            "2026-01-31T12:00:00 (data.folds.column)",
        ),
        (
            20,
            {"k": 3, "by": "time", "column": "t"},
            {"t": [1] * 19 + [2]},
            "data: 3 folds in time need 4 consecutive parts (data.folds), but the 20 queries with their 2 different "
            "values of 't' fill 2.",
        ),
        (
            6,
            {"k": 2, "by": "column", "column": "row"},
            {},
            "differs from",
        ),
    ],
)
def test_data_that_do_not_fit_the_folds_give_one_line(queries, folds, columns, message):
    with pytest.raises(DataError) as error:
        folded_tables({"train": table(queries, **columns)}, "query_id", FoldsConfig(**folds))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_two_folds_cannot_have_a_test_part():
    with pytest.raises(DataError, match=r"at least 3 are needed\. Received: 2\."):
        folded_tables({"train": table(20)}, "query_id", FoldsConfig(k=2), with_test=True)
