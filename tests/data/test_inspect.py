"""Inspection: types, roles by name and by content, statistics over chunks, and the draft of a config."""

import datetime
import json
from collections import Counter
from itertools import groupby

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ml4ir_losses import check, convert, load_config
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.inspecting.draft import draft_config
from ml4ir_losses.data.inspecting.inspect import inspect
from ml4ir_losses.data.inspecting.profiles import MAX_DISTINCT, Moments
from ml4ir_losses.data.streaming.query_runs import QueryRuns


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=6), min_size=1, max_size=5))
def test_moments_of_chunks_are_those_of_all_numbers(chunks):
    moments, x = Moments(), np.concatenate([np.array(chunk, float) for chunk in chunks])
    for chunk in chunks:
        moments.add(np.array(chunk, float))
    assert moments.number == len(x)
    if len(x):
        assert (moments.min, moments.max) == (x.min(), x.max())
        np.testing.assert_allclose(moments.mean, x.mean(), rtol=1e-9, atol=1e-9)
    if len(x) and x.std() > 1e-3:
        np.testing.assert_allclose(moments.skewness, stats.skew(x), rtol=1e-6, atol=1e-6)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=8), min_size=1, max_size=5))
def test_query_runs_are_those_of_a_counter(parts):
    runs = QueryRuns()
    for part in parts:
        groups = [(str(query), len(list(rows))) for query, rows in groupby(part)]
        runs.add([query for query, _ in groups], np.array([size for _, size in groups]))
    rows = [query for part in parts for query in part]
    assert sorted(runs.sizes()) == sorted(Counter(rows).values())
    assert runs.adjacent == (len(list(groupby(rows))) == len(set(rows)))


def log(queries=30, documents=4):
    """Rows of a search log, none of whose columns has a usual name but two."""
    rng = np.random.default_rng(0)
    rows = queries * documents
    ids = np.repeat([f"s{i}" for i in range(queries)], documents)
    return {
        "session": ids,
        "words": np.repeat([f"red hat {i % 7}" for i in range(queries)], documents),
        "hour": np.repeat(rng.integers(0, 24, queries), documents),
        "url": [f"u{i}" for i in range(rows)],
        "grade": rng.integers(0, 4, rows),
        "place": np.tile(np.arange(1, documents + 1), queries),
        "price": rng.lognormal(3, 2, rows),
        "bm25": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "brand": rng.choice(["acme", "globex"], rows),
        "stock": rng.choice(["true", "false"], rows),
        "day": [str(datetime.date(2026, 1, 1 + i % 28)) for i in range(rows)],
        "f1": rng.random(rows),
        "f2": rng.random(rows),
        "f3": np.zeros(rows),
        "f4": rng.random(rows),
        "old": ["x"] * rows,
        "clicks": rng.integers(0, 2, rows),
        "vector": list(rng.random((rows, 3))),
    }


def test_columns_and_roles_are_found_by_their_cells():
    found = inspect(log())
    columns = {column["name"]: column for column in found.as_dict()["columns"]}
    assert {name: column["type"] for name, column in columns.items()} == {
        **dict.fromkeys(["session", "words", "url", "brand", "old"], "text"),
        **dict.fromkeys(["hour", "grade", "place", "clicks"], "integer"),
        **dict.fromkeys(["price", "bm25", "f1", "f2", "f3", "f4"], "number"),
        "stock": "boolean",
        "day": "date",
        "vector": "list of numbers",
    }
    assert {role: guess.column for role, guess in found.roles.items()} == {
        "query_id": "session",
        "label": "grade",
        "document_id": "url",
        "position": "place",
        "date": "day",
    }
    assert found.roles["query_id"].reason == "equal values stand together, 4 rows each"
    assert [name for name, column in columns.items() if column["scope"] == "query"] == [
        *["session", "words", "hour", "f3", "old"]
    ]
    assert columns["vector"]["items"] == {"min": 3, "max": 3}
    assert columns["bm25"]["missing"] == int(np.isnan(log()["bm25"]).sum())
    assert columns["price"]["distinct"] == 120
    np.testing.assert_allclose(columns["price"]["skewness"], stats.skew(log()["price"]))


def test_draft_passes_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tags = [["new", "red"], []] * 60
    convert({**log(), "tags": tags}, "log.jsonl")
    text = draft_config(inspect("log.jsonl"), ["log.jsonl"])
    draft = yaml.safe_load(text)
    assert draft["data"] == {"path": "log.jsonl", "split": {"validation": 0.15, "test": 0.15}}
    inputs = {values.pop("name"): values for values in draft["features"].pop("inputs")}
    assert draft["features"] == {"query_id": "session", "label": "grade", "document_id": "url", "positions": "place"}
    assert inputs == {
        "f[0-9]*": {"type": "numeric", "transforms": ["standardise"]},
        "words": {"type": "text", "scope": "query"},
        "hour": {"type": "numeric", "transforms": ["standardise"], "scope": "query"},
        "price": {"type": "numeric", "transforms": ["log1p", "standardise"]},
        "bm25": {"type": "numeric", "transforms": ["standardise"], "missing_indicator": True},
        "brand": {"type": "categorical", "embedding_dim": 4},
        "stock": {"type": "numeric"},
        "day": {"type": "date", "transforms": ["standardise"]},
        "vector": {"type": "vector"},
        "tags": {"type": "categorical", "pooling": "mean"},
    }
    assert "# left out: old (all cells are equal)" in text
    assert "# left out: clicks (" in text
    (tmp_path / "draft.yaml").write_text(text)
    assert check(load_config("draft.yaml"))["features"] == 13


def test_inspection_of_parts_is_that_of_the_whole(tmp_path):
    lines = [f"{q},{q % 3},{x}" for q, x in zip([1, 1, 1, 2, 2, 3, 1, 1], range(8), strict=True)]
    (tmp_path / "whole.csv").write_text("\n".join(["qid,label,x", *lines]))
    for i in range(3):
        (tmp_path / f"part{i}.csv").write_text("\n".join(["qid,label,x", *lines[3 * i : 3 * i + 3]]))
    whole, parts = inspect(str(tmp_path / "whole.csv")).as_dict(), inspect(str(tmp_path / "part*.csv")).as_dict()
    assert whole["queries"] == {"number": 3, "rows": {"min": 1, "median": 2.0, "max": 5}, "adjacent": False}
    assert whole["labels"] == {"1": 5, "2": 2, "0": 1}
    for part, column in zip(parts.pop("columns"), whole.pop("columns"), strict=True):
        assert part == {key: pytest.approx(value, abs=1e-12) for key, value in column.items()}
    assert {**parts, "source": ""} == {**whole, "source": ""}
    assert inspect(str(tmp_path / "part*.csv"), rows=4).rows == 4


def test_many_values_are_counted_up_to_a_limit():
    rows = MAX_DISTINCT + 5
    columns = {"qid": np.arange(rows) // 2, "label": np.arange(rows) / 7, "few": np.arange(rows) % 3}
    found = inspect(columns)
    distinct = [(profile.distinct, profile.is_exact) for profile in found.columns]
    assert distinct == [((rows + 1) // 2, True), (MAX_DISTINCT, False), (3, True)]
    assert found.labels is None


def test_draft_needs_the_label():
    columns = log()
    del columns["grade"]
    columns["other"] = 1 - columns["clicks"]
    with pytest.raises(DataError, match="No column seems to be the label; name it: --label COLUMN"):
        draft_config(inspect(columns), ["x"])
    assert "label: price" in draft_config(inspect(columns, label="price"), ["x"])


def test_command_shows_columns_and_writes_a_draft(run, tmp_path):
    lines = ["query_id,label,price", *(f"{i // 3},{i % 2},{i}" for i in range(60))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    code, out, _ = run("inspect", tmp_path / "a.csv", "--config", tmp_path / "draft.yaml")
    assert code == 0
    assert "20 queries of 3 to 3 rows, median 3; the rows of a query are adjacent" in out
    assert "labels: 30 of 0, 30 of 1" in out
    assert f"path: {tmp_path / 'a.csv'}" in (tmp_path / "draft.yaml").read_text()
    code, out, _ = run("inspect", tmp_path / "a.csv")
    assert "- {name: price, type: numeric, transforms: [standardise]}" in out
    facts = json.loads(run("inspect", tmp_path / "a.csv", "--json", "--rows", 6)[1])
    assert (facts["rows"], facts["queries"]["number"]) == (6, 2)
    assert run("inspect", tmp_path / "a.csv", "--config", tmp_path / "draft.yaml")[0] == 2
    assert run("inspect", tmp_path / "a.csv", "--label", "grade")[2].startswith(
        "error: `label`: there is no column 'grade'"
    )
