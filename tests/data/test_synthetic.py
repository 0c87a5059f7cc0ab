"""The synthetic log: reproducible by seed, and a ranking task in which stronger models score higher."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.table import Table, group_by_query

TEXTS = ("query_id", "document_id", "query_text", "query_category", "device", "user_segment", "title", "brand")
NUMBERS = ("query_length", "hour", "price", "bm25", "title_match", "popularity", "rating", "age_days", "in_stock")
NOISE = ("noise_normal", "noise_uniform")
FIRST_ROW = {
    "query_id": "q000000", "document_id": "d01684", "query_text": "dock router professional steel",
    "query_category": "computers", "device": "desktop", "user_segment": "premium", "query_length": "4", "hour": "21",
    "title": "Kadosk mouse tablet large outdoor steel compact", "brand": "Kadosk", "category": "computers",
    "price": "281.78", "bm25": "2.9371", "title_match": "0.25", "popularity": "116", "rating": "4.1",
    "age_days": "380", "in_stock": "0", "feed_version": "3", "noise_normal": "-0.7032", "noise_uniform": "0.765",
    "label": "0", "shown_rank": "8", "clicked": "0",
}  # fmt: skip
CATEGORIES = ("query_category", "device", "user_segment", "brand", "category")


@pytest.fixture(scope="module")
def splits() -> dict[str, Table]:
    return {split: read_table(split, "synthetic") for split in ("train", "validation", "test")}


@pytest.fixture(scope="module")
def test_split(splits: dict[str, Table]) -> Table:
    return splits["test"]


def digest(folder: Path, split: str, **options: Any) -> str:
    read_table(split, "synthetic", **options).to_csv(folder / "table.csv")
    return hashlib.sha256((folder / "table.csv").read_bytes()).hexdigest()


def ndcg(table: Table, scores: Any, k: int = 10) -> float:
    """Mean NDCG@k over the queries with a relevant document, gain 2^grade - 1."""
    order, offsets = group_by_query(table.strings("query_id"))
    gains, discounts = 2 ** table.numeric("label") - 1, 1 / np.log2(np.arange(2, k + 2))
    values = []
    for start, end in itertools.pairwise(offsets):
        rows = order[start:end]
        best = np.sort(gains[rows])[::-1][:k]
        if best[0] > 0:
            ranked = gains[rows][np.argsort(-scores[rows], kind="stable")][:k]
            values.append((ranked @ discounts[: len(ranked)]) / (best @ discounts[: len(best)]))
    return float(np.mean(values))


def test_equal_seeds_give_equal_tables(tmp_path: Path) -> None:
    reference = digest(tmp_path, "test", queries=100, seed=3)
    assert reference == digest(tmp_path, "test", queries=100, seed=3)
    others = [
        digest(tmp_path, "test", queries=100, seed=4),
        digest(tmp_path, "validation", queries=100, seed=3),
        digest(tmp_path, "test", queries=100, seed=3, noise=0.1),
    ]
    assert len({reference, *others}) == 4


def test_first_row_does_not_change() -> None:
    """Measured numbers in docs and configs depend on it."""
    table = read_table("train", "synthetic", queries=50)
    assert {name: table.strings(name)[0] for name in table.names} == FIRST_ROW
    assert table.numeric("label").sum() == 496


def test_splits_have_the_documented_sizes(splits: dict[str, Table]) -> None:
    ids = {split: set(table.strings("query_id")) for split, table in splits.items()}
    assert {split: len(queries) for split, queries in ids.items()} == {"train": 1400, "validation": 300, "test": 300}
    assert len(set.union(*ids.values())) == 2000
    texts = {split: table.strings("query_text")[:50].tolist() for split, table in splits.items()}
    assert texts["train"] != texts["test"] != texts["validation"]


def test_columns_have_the_expected_values(test_split: Table) -> None:
    table = test_split
    for name in table.names:
        if name in (*TEXTS, "category"):
            assert not (table.strings(name) == "").any()
        else:
            assert np.isnan(table.numeric(name)).any() == (name in ("price", "rating"))
    assert set(table.names) == {*TEXTS, *NUMBERS, *NOISE, "category", "feed_version", "label", "shown_rank", "clicked"}
    assert 0.01 < np.isnan(table.numeric("price")).mean() < 0.1
    assert np.isnan(table.numeric("rating"))[table.numeric("age_days") < 60].all()
    assert set(table.strings("feed_version")) == {"3"}
    words = np.array([len(text.split()) for text in table.strings("query_text")])
    np.testing.assert_array_equal(words, table.numeric("query_length"))
    assert set(words) == {1, 2, 3, 4}
    assert len(set(table.strings("category"))) == 20
    brands = np.unique(table.strings("brand").astype(str), return_counts=True)[1]
    assert 150 < len(brands) <= 200
    assert brands.max() > 10 * np.median(brands)
    popularity = table.numeric("popularity")
    assert popularity.mean() > 2 * np.median(popularity)


def test_title_match_is_the_share_of_query_words_in_the_title(test_split: Table) -> None:
    pairs = zip(test_split.strings("query_text"), test_split.strings("title"), strict=True)
    shares = [np.mean([word in title.split() for word in query.split()]) for query, title in pairs]
    np.testing.assert_allclose(test_split.numeric("title_match"), shares, atol=1e-4)


def test_query_columns_are_constant_and_list_sizes_vary(test_split: Table) -> None:
    ids = test_split.strings("query_id")
    order, offsets = group_by_query(ids)
    assert order.tolist() == list(range(len(ids)))  # documents of a query are adjacent
    sizes = np.diff(offsets)
    assert sizes.min() >= 5
    assert sizes.max() <= 60
    assert len(set(sizes)) > 30
    ranks, documents = test_split.numeric("shown_rank"), test_split.strings("document_id")
    for start, end in itertools.pairwise(offsets):
        assert sorted(ranks[start:end]) == list(range(1, end - start + 1))
        assert len(set(documents[start:end])) == end - start
    for name in ("query_text", "query_category", "device", "user_segment", "query_length", "hour"):
        values = test_split.strings(name)
        assert (values == values[np.repeat(offsets[:-1], sizes)]).all()


def test_list_sizes_are_options() -> None:
    table = read_table("train", "synthetic", queries=40, min_documents=2, max_documents=3)
    sizes = np.diff(group_by_query(table.strings("query_id"))[1])
    assert len(sizes) == 28
    assert set(sizes) == {2, 3}


def test_grades_have_the_documented_shares(splits: dict[str, Table]) -> None:
    for table in splits.values():
        label = table.numeric("label", missing=False)
        shares = np.bincount(label.astype(int)) / len(label)
        np.testing.assert_allclose(shares, [0.64, 0.17, 0.10, 0.06, 0.03], atol=0.05)
        _, offsets = group_by_query(table.strings("query_id"))
        empty = np.mean([label[a:b].max() == 0 for a, b in itertools.pairwise(offsets)])
        assert 0.01 < empty < 0.1


def click_rate(table: Table, grades: tuple[int, ...], low: int, high: int) -> float:
    label, rank = table.numeric("label"), table.numeric("shown_rank")
    rows = np.isin(label, grades) & (rank >= low) & (rank <= high)
    assert rows.sum() > 100
    return float(table.numeric("clicked")[rows].mean())


def test_clicks_fall_with_the_rank_at_equal_grade(splits: dict[str, Table]) -> None:
    train = splits["train"]
    for grades in ((1,), (2,), (3, 4)):
        rates = [click_rate(train, grades, *ranks) for ranks in ((1, 1), (2, 3), (4, 8), (9, 60))]
        assert all(a > 1.3 * b for a, b in itertools.pairwise(rates))
    rates = [click_rate(train, grades, 1, 5) for grades in ((0,), (1,), (2,), (3, 4))]
    assert all(b > 1.5 * a for a, b in itertools.pairwise(rates))


def test_clicks_do_not_fall_with_the_rank_without_position_bias() -> None:
    flat = read_table("train", "synthetic", eta=0.0)
    top, bottom = click_rate(flat, (2,), 1, 5), click_rate(flat, (2,), 15, 60)
    assert abs(top - bottom) < 0.05
    assert 0.3 < bottom < 0.4


def inputs(table: Table) -> Any:
    """Numbers (price and popularity as logarithms) and category codes side by side, for scikit-learn."""
    numbers = table.matrix([*NUMBERS, *NOISE])
    for name in ("price", "popularity"):
        i = NUMBERS.index(name)
        numbers[:, i] = np.log1p(numbers[:, i])
    return numbers, np.stack([table.strings(name) for name in CATEGORIES], axis=1)


def test_stronger_learners_reach_a_higher_ndcg(splits: dict[str, Table]) -> None:
    train, test = splits["train"], splits["test"]
    (numbers, texts), (test_numbers, test_texts) = inputs(train), inputs(test)
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).fit(texts)
    trees = HistGradientBoostingRegressor(max_iter=100, random_state=0)
    with threadpool_limits(1):  # threads of several test processes wait for one another
        trees.fit(np.hstack([numbers, codes.transform(texts)]), train.numeric("label"))
    boosted = ndcg(test, trees.predict(np.hstack([test_numbers, codes.transform(test_texts)])))

    width = numbers.shape[1]
    encode = make_column_transformer(
        (StandardScaler(), list(range(width))),
        (OneHotEncoder(handle_unknown="ignore"), list(range(width, width + len(CATEGORIES)))),
    )
    ridge = make_pipeline(encode, Ridge())
    ridge.fit(np.hstack([np.nan_to_num(numbers), texts]).astype(object), train.numeric("label"))
    linear = ndcg(test, ridge.predict(np.hstack([np.nan_to_num(test_numbers), test_texts]).astype(object)))

    singles = [ndcg(test, sign * np.nan_to_num(column)) for column in test_numbers.T for sign in (1, -1)]
    noise = ndcg(test, test.numeric("noise_normal"))
    assert noise < 0.4
    assert noise + 0.1 < max(singles) < 0.6
    assert max(singles) + 0.08 < linear
    assert linear + 0.05 < boosted < 0.9


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("dev", {}, r"splits train, validation, test\. Received: 'dev'"),
        ("train", {"queries": 9}, "`queries` must be a whole number of at least 10"),
        ("train", {"queries": 0}, "`queries`"),
        ("train", {"seed": -1}, "`seed`"),
        ("train", {"seed": 1.5}, "`seed` must be a whole number"),
        ("train", {"eta": -1.0}, "`eta`"),
        ("train", {"min_documents": 9, "max_documents": 8}, "min_documents <= max_documents"),
        ("train", {"max_documents": 101}, "`max_documents` must be a whole number from 1 to 100"),
    ],
)
def test_invalid_options_raise(split: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_table(split, "synthetic", **options)
