"""Findings: each check sees what it looks for, and says nothing about data as they should be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from ml4ir_losses.config.schema import FindingKey
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.findings import check_findings, findings
from ml4ir_losses.data.findings.texts import shared_rows
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.queries import Queries, Roles
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.texts.rows import TextRows

COLUMNS = {"f*": ["price", "rank"], "brand": ["brand"], "device": ["device"], "title": ["title"]}
ROLES = Roles("query_id", "label", document_id="document_id")


def split(name="train", queries=60, seed=0, **changes):
    """Queries of 5 to 12 documents with two numbers, a category, the words of a title and a category of the query."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 13, queries)
    rows = int(sizes.sum())
    price = rng.normal(size=rows).astype("float32")
    features = {
        "f*": np.stack([price, rng.integers(0, 20, rows).astype("float32")], axis=1),
        "brand": rng.integers(1, 6, rows).astype("int32"),
        "device": np.repeat(rng.integers(1, 4, queries), sizes).astype("int32"),
        "title": rng.integers(1, 50, (rows, 4)).astype("int32"),
    }
    given = {
        "ids": np.array([f"{name}{i}" for i in range(queries)], object),
        "offsets": np.concatenate([[0], np.cumsum(sizes)]),
        "features": features,
        "labels": {"label": np.clip(np.round(price + rng.normal(size=rows)), 0, 2).astype("float32")},
        "document_ids": np.array([f"{name}-d{i}" for i in range(rows)], object),
        "query_scope": frozenset({"device"}),
    }
    return Queries(**{**given, **changes})


def with_input(queries, name, values):
    return replace(queries, features={**queries.features, name: np.asarray(values)})


def found(columns=COLUMNS, roles=ROLES, **splits):
    return [str(finding) for finding in findings(splits, columns, roles)]


def one(key, **splits):
    """The text of the only finding, which has this key."""
    (line,) = found(**splits)
    assert line.endswith(f" [{key}]")
    assert "\n" not in line
    return line.removesuffix(f" [{key}]")


@pytest.fixture
def train():
    return split()


def test_data_as_they_should_be_give_no_finding(train):
    assert found(train=train, validation=split("validation", 20, 1), test=split("test", 20, 2)) == []


def test_training_may_read_more_inputs_than_evaluation(train):
    more = with_input(train, "position", np.concatenate([np.arange(n) for n in train.sizes]).astype("float32")[:, None])
    assert found({**COLUMNS, "position": ["position"]}, train=more, test=split("test", 20, 1)) == []
    same = one("shared_queries", columns={**COLUMNS, "position": ["position"]}, train=more, test=train)
    assert same.startswith("test: every query is in train too")


def test_few_queries_tell_nothing():
    assert found(train=split(queries=3)) == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (lambda y: y, "equals the label 'label'"),
        (lambda y: 7 - 2 * y, "has one label for each of its values: it determines 'label'"),
        (lambda y: np.where(y > 0, y, np.nan), "has one label for each of its values: it determines 'label'"),
        (lambda y: y + np.linspace(0, 0.9, len(y)), "alone orders the documents of every query by the label 'label'"),
        (lambda y: -y + np.linspace(0, 0.9, len(y)), "alone orders the documents of every query by the label 'label'"),
    ],
    ids=["equal", "function", "missing", "rising", "falling"],
)
def test_an_input_that_gives_the_label_away_is_named(train, values, reason):
    leak = with_input(train, "leak", values(train.labels["label"]).astype("float32")[:, None])
    (line,) = found({**COLUMNS, "leak": ["leaked"]}, train=leak)
    assert line.startswith(f"train: the input 'leaked' {reason}: leave it out of features.inputs")


@pytest.mark.parametrize(("extreme", "which"), [(0, "lowest"), (2, "highest")])
def test_a_value_of_the_lowest_or_highest_label_alone_is_named(train, extreme, which):
    labels, rng = train.labels["label"], np.random.default_rng(0)
    dwell = np.where(labels == extreme, np.nan, rng.uniform(1, 9, len(labels))).astype("float32")
    date = np.stack([dwell, dwell], axis=1)
    for values in (dwell[:, None], date):
        (line,) = found({**COLUMNS, "dwell": ["dwell"]}, train=with_input(train, "dwell", values))
        assert f"'dwell' has one value in all documents with the {which} label and in no other: it gives away" in line


def test_an_order_by_label_in_each_query_alone_is_seen(train):
    offset = np.repeat(np.random.default_rng(0).normal(size=len(train)) * 9, train.sizes)
    leak = with_input(train, "leak", (train.labels["label"] + offset).astype("float32")[:, None])
    (line,) = found({**COLUMNS, "leak": ["leak"]}, train=leak)
    assert "alone orders the documents of every query" in line


def test_a_category_or_text_with_one_label_per_value_is_named(train):
    ids = (train.labels["label"] + 3).astype("int32")
    words = np.stack([ids, ids * 2], axis=1)
    for values in (ids, words):
        (line,) = found({**COLUMNS, "leak": ["leak"]}, train=with_input(train, "leak", values))
        assert "'leak' has one label for each of its values" in line


def test_strong_but_honest_inputs_are_no_leak(train):
    labels, rng = train.labels["label"], np.random.default_rng(0)
    noisy = labels + rng.normal(size=len(labels)) * 0.4
    matches = (labels > 0) | (rng.random(len(labels)) < 0.2)
    zero_without_match = np.where(matches, rng.uniform(1, 9, len(labels)), 0)  # as BM25: 0 is never relevant
    for values in (noisy, zero_without_match, np.round(noisy)):
        honest = with_input(train, "honest", values.astype("float32")[:, None])
        assert found({**COLUMNS, "honest": ["honest"]}, train=honest) == []


def test_one_document_with_the_highest_label_is_no_leak(train):
    labels = train.labels["label"].copy()
    labels[5] = 4
    assert found(train=replace(train, labels={"label": labels})) == []


def test_an_id_of_the_document_is_no_leak(train):
    number = with_input(train, "number", np.arange(train.rows, dtype="float32")[:, None])
    assert found({**COLUMNS, "number": ["number"]}, train=number) == []


@pytest.mark.parametrize("sign", [-1, 1])
def test_rows_in_label_order_are_seen(train, sign):
    test = split("test", 60, 1)
    order = np.lexsort((sign * test.labels["label"], np.repeat(np.arange(60), test.sizes)))
    sorted_test = replace(test, labels={"label": test.labels["label"][order]})
    line = one("label_order", train=train, test=sorted_test)
    assert line.startswith("test: the rows of 100% of the queries are sorted by 'label'")
    assert ("the highest first" in line) == (sign < 0)


def test_queries_from_which_nothing_is_learnt_are_counted(train):
    labels = np.where(np.repeat(np.arange(len(train)) < 40, train.sizes), 1, train.labels["label"]).astype("float32")
    line = one("useless_queries", train=replace(train, labels={"label": labels}))
    assert line.startswith("train: 40 of 60 queries do not have two different labels, and 0 have one document")
    rows = np.arange(50)
    alone = Queries(rows.astype(str), np.arange(51), {}, {"label": rows % 2}, rows.astype(str))
    assert "50 of 50 queries do not have two different labels, and 50 have one" in found({}, train=alone)[0]


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_split_that_is_the_training_split_is_seen_under_any_id(train, part):
    renamed = replace(train, ids=np.array([f"other{i}" for i in range(60)], object))
    for same in (train, renamed):
        line = one("shared_queries", train=train, **{part: same})
        assert line.startswith(f"{part}: every query is in train too, with the same documents")


def test_some_shared_queries_are_counted_in_any_order_of_their_rows(train):
    other = split("test", 20, 1)
    shared = train.take(np.array([4, 9]))
    order = np.concatenate([np.arange(*shared.offsets[[0, 1]])[::-1], np.arange(*shared.offsets[[1, 2]])])
    joined = Queries(
        np.concatenate([other.ids, shared.ids]),
        np.concatenate([other.offsets, other.rows + shared.offsets[1:]]),
        {name: np.concatenate([x, shared.features[name][order]]) for name, x in other.features.items()},
        {"label": np.concatenate([other.labels["label"], shared.labels["label"][order]])},
        np.concatenate([other.document_ids, shared.document_ids[order]]),
        other.query_scope,
    )
    line = one("shared_queries", train=train, test=joined)
    assert line.startswith("test: 2 of 22 queries, first 'train4': in train too, with the same documents")


def halves(queries):
    """The first and the other documents of each query."""
    first = np.zeros(queries.rows, bool)
    for start, size in zip(queries.offsets[:-1], queries.sizes, strict=True):
        first[start : start + size // 2] = True
    return [
        Queries(
            queries.ids,
            np.concatenate([[0], np.cumsum(np.add.reduceat(rows.astype(int), queries.offsets[:-1]))]),
            {name: x[rows] for name, x in queries.features.items()},
            {"label": queries.labels["label"][rows]},
            queries.document_ids[rows],
            queries.query_scope,
        )
        for rows in (first, ~first)
    ]


def test_queries_split_by_row_are_seen_by_their_query_columns(train):
    with_number = with_input(train, "idf", np.repeat(np.arange(60.0), train.sizes).astype("float32")[:, None])
    first, second = halves(with_number)
    line = one("shared_query_ids", columns={**COLUMNS, "idf": ["idf"]}, train=first, test=second)
    assert line.startswith("test: 60 of 60 queries, first 'train0': in train too, with other documents. Split by query")


def test_queries_split_by_row_are_seen_by_ids_that_count_nothing(train):
    names = np.array([f"how to {i * 7919 % 97} times {i}" for i in range(60)], object)
    first, second = halves(replace(train, ids=names))
    assert "with other documents" in one("shared_query_ids", train=first, test=second)


def test_ids_that_start_anew_in_each_split_are_no_shared_queries():
    numbers = np.arange(60).astype(str)
    for ids in (numbers, np.array([f"q{i}" for i in range(60)], object)):
        splits = {name: split(name, 60, seed, ids=ids) for seed, name in enumerate(("train", "validation", "test"))}
        assert found(**splits) == []
        idf = {
            name: with_input(s, "idf", np.repeat(np.random.default_rng(i).normal(size=60), s.sizes)[:, None])
            for i, (name, s) in enumerate(splits.items())
        }
        assert found({**COLUMNS, "idf": ["idf"]}, **idf) == []


def test_coarse_features_are_equal_by_chance_and_no_finding():
    def coarse(name, seed):
        base = split(name, 200, seed, ids=np.arange(200).astype(str))
        return replace(base, features={"brand": base.features["brand"] % 2 + 1}, query_scope=frozenset())

    assert found({"brand": ["brand"]}, train=coarse("train", 0), test=coarse("test", 1)) == []


def test_repeated_rows_under_other_queries_are_seen(train):
    test = split("test", 60, 1)
    rows = np.random.default_rng(0).permutation(train.rows)[: test.rows]
    taken = np.concatenate([rows, np.random.default_rng(1).permutation(train.rows)])[: test.rows]
    features = {name: x[taken] for name, x in train.features.items()}
    test = replace(test, features=features, query_scope=frozenset())
    line = one("shared_documents", train=replace(train, query_scope=frozenset()), test=test)
    assert line.startswith("test: 100% of the documents have the features of a document in train; inside train, 0%")


def test_documents_by_id_are_compared_with_how_often_they_recur(train):
    test = split("test", 40, 1)
    shared = replace(test, document_ids=np.resize(train.document_ids, test.rows))
    line = one("shared_documents", train=train, test=shared)
    assert line.startswith("test: 100% of the documents are in train too, by their ids; inside train, 0% recur")
    catalogue = np.array([f"d{i % 30}" for i in range(train.rows)], object)
    in_catalogue = replace(train, document_ids=catalogue)
    assert found(train=in_catalogue, test=replace(test, document_ids=catalogue[: test.rows])) == []


def test_inputs_without_information_are_named(train):
    values = np.stack([np.full(train.rows, 3.0), np.full(train.rows, np.nan), train.features["f*"][:, 0]], axis=1)
    columns = {**COLUMNS, "g*": ["g1", "g2", "g3"], "h": ["h"], "day": ["day"]}
    empty = with_input(with_input(train, "g*", values.astype("float32")), "h", np.zeros(train.rows, "int32"))
    empty = with_input(empty, "day", np.full((train.rows, 2), np.nan, "float32"))
    assert found(columns, train=empty) == [
        "train: the inputs 'g2', 'day': no value in any row [constant_input]",
        "train: the inputs 'g1', 'h': one value in all rows [constant_input]",
    ]
    late = with_input(train, "late", np.append(np.zeros(train.rows - 1), 1).astype("float32")[:, None])
    assert found({**COLUMNS, "late": ["late"]}, train=late) == []


def test_a_document_column_with_the_scope_query_is_named(train):
    brand = replace(train, query_scope=frozenset({"device", "brand"}))
    line = one("query_scope", train=brand)
    assert line.startswith("train: the input 'brand' has scope: query and differs between the documents of 60 of 60")
    missing = np.repeat(np.where(np.arange(60) % 2, np.nan, 1.0), train.sizes)[:, None]
    query = replace(with_input(train, "n", missing), query_scope=frozenset({"device", "n"}))
    assert found({**COLUMNS, "n": ["n"]}, train=query) == []


def test_a_query_id_that_is_the_label_or_an_input_is_named(train):
    (line,) = found(roles=replace(ROLES, query_id="label"), train=train)
    assert line.startswith("train: the query id 'label' is the label")
    (line,) = found({**COLUMNS, "query_id": ["query_id"]}, train=with_input(train, "query_id", train.features["brand"]))
    assert line.startswith("train: the input 'query_id' is the query id")
    numbered = replace(train, ids=np.arange(60).astype(str))
    copy = with_input(numbered, "number", np.repeat(np.arange(60), train.sizes).astype("float32")[:, None])
    (line,) = found({**COLUMNS, "number": ["number"]}, train=copy)
    assert line.startswith("train: the input 'number' is the query id")


def test_categories_that_training_does_not_know_are_counted(train):
    test = split("test", 40, 1)
    brand = test.features["brand"].copy()
    brand[: test.rows // 4] = 0
    line = one("unknown_category", train=train, test=with_input(test, "brand", brand))
    assert line.startswith("test: 25% of the cells of 'brand' are empty or not in its vocabulary, 0% in train")
    often_empty = with_input(train, "brand", np.where(np.arange(train.rows) % 4, train.features["brand"], 0))
    assert found(train=often_empty, test=with_input(test, "brand", brand)) == []


def test_documents_twice_in_a_query_are_counted(train):
    documents = train.document_ids.copy()
    start = train.offsets[7]
    documents[start + 1 : start + 3] = documents[start]
    documents[:4] = ""
    line = one("duplicate_document", train=replace(train, document_ids=documents))
    assert line.startswith(
        f"train: 2 rows repeat a document of their query, first {documents[start]!r} of query 'train7'"
    )
    no_ids = Roles("query_id", "label")
    assert found(roles=no_ids, train=replace(train, document_ids=np.resize(np.array(["1"]), train.rows))) == []


def test_queries_in_several_files_are_counted(train):
    def table(*rows):
        sources = [Source(name, len(ids), lambda row: row + 1) for name, ids in rows]
        return Table({"query_id": [i for _, ids in rows for i in ids]}, sources)

    def lines(*rows):
        return [str(finding) for finding in findings({"train": train}, COLUMNS, ROLES, {"train": table(*rows)})]

    assert lines(("a.csv", "112"), ("a.csv", "23")) == []  # chunks of one file
    assert lines(("a.csv", "112"), ("b.csv", "33")) == []
    (line,) = lines(("a.csv", "112"), ("b.csv", "213"), ("c.csv", "1"))
    assert line.startswith("train: 2 of 3 queries have rows in several files")
    assert findings({"train": train}, COLUMNS, ROLES, {"train": memory_table({"query_id": ["a"]})}) == []


def test_long_data_are_compared_at_their_first_rows(monkeypatch, train):
    monkeypatch.setattr("ml4ir_losses.data.findings.labels.ROWS", 300)
    leak = with_input(train, "leak", train.labels["label"][:, None])
    (line,) = found({**COLUMNS, "leak": ["leak"]}, train=leak)
    assert "'leak' equals the label 'label' (seen in the first 29" in line


def test_strict_findings_are_one_error(train):
    check_findings([])
    with pytest.raises(DataError) as error:
        check_findings(findings({"train": train, "test": train}, COLUMNS, ROLES))
    assert str(error.value).startswith("1 finding (strict): test: every query is in train too")
    assert str(error.value).endswith("[shared_queries].")


def test_each_finding_is_documented_and_can_be_accepted():
    page = (Path(__file__).parents[2] / "docs" / "checks.md").read_text(encoding="utf-8")
    source = "".join(path.read_text() for path in Path(findings.__code__.co_filename).parent.glob("*.py"))
    for key in get_args(FindingKey):
        assert f"`{key}`" in page
        assert f'"{key}"' in source


def text_rows(*columns, name="rows"):
    texts = [list(column) for column in columns]
    return TextRows(texts, None, None, None, name, lambda row: f"{name}, line {row + 2}")


def test_rows_of_texts_in_two_splits_are_counted():
    train = text_rows([f"question {i}" for i in range(50)], [f"answer {i % 7}" for i in range(50)])
    fresh = text_rows([f"question {i}" for i in range(50, 70)], [f"answer {i % 7}" for i in range(20)], name="test.csv")
    assert list(shared_rows({"train": train, "test": fresh})) == []
    mixed = text_rows([*fresh.texts[0][:-1], "question 3"], [*fresh.texts[1][:-1], "answer 3"], name="test.csv")
    (line,) = shared_rows({"train": train, "test": mixed}, " of faq")
    assert str(line).startswith("test of faq: 1 of 20 rows, first test.csv, line 21: in train too.")
    (line,) = shared_rows({"train": train, "test": train})
    assert str(line).startswith("test: every row is in train too: it measures what was learnt by heart")


def test_texts_that_repeat_anyway_are_no_finding():
    words = text_rows([f"word {i % 10}" for i in range(100)])
    assert list(shared_rows({"train": words, "test": text_rows([f"word {i % 20}" for i in range(40)])})) == []
