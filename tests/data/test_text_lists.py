"""Lists of documents from text columns, the negatives drawn from a batch, and their batches."""

import numpy as np
import pytest

from ml4ir_losses.config.text_schema import DatasetConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.registry import BATCHINGS
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.texts.in_batch import InBatchNegatives
from ml4ir_losses.data.texts.list_batches import ListFeed
from ml4ir_losses.data.texts.lists import make_lists
from ml4ir_losses.data.texts.rows import TextPlan, make_rows
from ml4ir_losses.data.texts.sets import TextSet
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.text.tokenizers import PairTokenizer, WordTokenizer

KEY = "cross_encoder_multiple_negatives_ranking"


def lists_of(columns, loss=KEY, **roles):
    """The lists of columns given as {role: cells}; `roles` override columns of the same name."""
    rows = len(next(iter(columns.values())))
    table = Table(columns, [Source("data", rows, lambda row: row + 1)])
    config = DatasetConfig(train="data", columns={name: name for name in columns if name not in roles} | roles)
    made, loss = make_rows(table, config), get_loss(loss)
    return make_lists(TextSet(config, loss, BATCHINGS.create("in_order"), {"train": made}), made)


def pairs(rows, negatives=1):
    """Lists of a positive and negatives, without a common text."""
    columns = {"anchor": [f"q{r}" for r in range(rows)], "positive": [f"p{r}" for r in range(rows)]}
    return lists_of(columns | {f"negative_{n}": [f"n{n}-{r}" for r in range(rows)] for n in range(1, negatives + 1)})


def drawn_texts(lists, batch, count, rng):
    """The texts that each query of a batch gets."""
    documents, mask = InBatchNegatives(lists, count).draw(np.array(batch), rng)
    return [[lists.documents[d] for d in row[real]] for row, real in zip(documents, mask, strict=True)]


def test_columns_of_a_row_are_a_list_with_the_positive_first():
    lists = pairs(2, negatives=2)
    assert lists.documents == ["p0", "n1-0", "n2-0", "p1", "n1-1", "n2-1"]
    assert lists.labels.tolist() == lists.relevance.tolist() == [1, 0, 0, 1, 0, 0]
    assert lists.offsets.tolist() == [0, 3, 6]


def test_rows_of_equal_anchor_are_a_list():
    columns = {"anchor": ["a", "b", "a"], "document": ["x", "y", "z"], "label": ["2", "0", "-1"], "weight": [3, 1, 2]}
    lists = lists_of(columns, "lambda_loss")
    assert (lists.queries, lists.documents) == (["a", "b"], ["x", "z", "y"])
    assert lists.labels.tolist() == [2, -1, 0]
    assert lists.offsets.tolist() == [0, 2, 3]
    assert (lists.weight.tolist(), lists.weighs_documents) == ([3, 2, 1], True)


@pytest.mark.parametrize("teacher", [["s0", "s1", "s2"], ["m1", "m2"]], ids=["scores", "margins"])
def test_teacher_columns_are_scores_or_margins(teacher):
    columns = {"anchor": ["a"], "positive": ["p"], "negative_1": ["x"], "negative_2": ["y"]}
    numbers = {"s0": [3.0], "s1": [1.0], "s2": [-2.5], "m1": [2.0], "m2": [5.5]}
    rows = Table(columns | numbers, [Source("data", 1, lambda row: row + 1)])
    config = DatasetConfig(train="data", columns={name: name for name in columns} | {"teacher": teacher})
    made = make_rows(rows, config)
    lists = make_lists(TextSet(config, get_loss("margin_mse"), BATCHINGS.create("in_order"), {"train": made}), made)
    np.testing.assert_allclose(lists.labels[0] - lists.labels[1:], [2.0, 5.5])
    assert lists.relevance.tolist() == [1, 0, 0]


def test_teacher_may_be_a_column_of_lists():
    columns = {"anchor": ["a", "b"], "positive": ["p", "q"], "negative_1": ["x", "y"]}
    lists = lists_of(columns | {"teacher": [[1.0, -2.0], [0.5, 0.0]]}, "margin_mse")
    assert lists.labels.tolist() == [1.0, -2.0, 0.5, 0.0]
    with pytest.raises(DataError, match=r"data: 'margin_mse' reads 2 or 1 numbers .* Received: 3"):
        lists_of(columns | {"teacher": [[1.0, -2.0, 0.0], [0.5, 0.0, 0.0]]}, "margin_mse")


def test_classes_are_numbered_by_name():
    columns = {"anchor": ["a", "b", "c"], "positive": ["x", "y", "z"], "label": ["no", "yes", "maybe"]}
    assert lists_of(columns, "categorical_cross_entropy").labels.tolist() == [1, 2, 0]


def test_label_that_is_no_number_is_named():
    columns = {"anchor": ["a", "b"], "positive": ["x", "y"], "label": ["1", "high"]}
    with pytest.raises(DataError, match=r"data, line 2: the label must be a finite number\. Received: 'high'"):
        lists_of(columns, "mean_squared_error")


@pytest.mark.parametrize("count", [1, 3, None])
def test_negatives_are_documents_of_other_rows(count):
    lists, rng = pairs(5), np.random.default_rng(0)
    for row, texts in zip([4, 1, 2], drawn_texts(lists, [4, 1, 2], count, rng), strict=True):
        assert len(texts) == len(set(texts)) == (4 if count is None else count)
        others = {1, 2, 4} - {row}
        assert set(texts) <= {f"p{r}" for r in others} | {f"n1-{r}" for r in others}


def test_fewer_negatives_are_drawn_where_the_batch_has_fewer():
    assert [sorted(t) for t in drawn_texts(pairs(5), [0, 3], 9, np.random.default_rng(0))] == [
        ["n1-3", "p3"],
        ["n1-0", "p0"],
    ]


def test_own_texts_duplicates_and_documents_of_equal_anchors_are_not_drawn():
    columns = {"anchor": ["a", "a", "b", "c", "d"], "positive": ["x", "y", "x", "z", "z"]}
    drawn = drawn_texts(lists_of(columns), [0, 1, 2, 3, 4], None, np.random.default_rng(0))
    assert [sorted(texts) for texts in drawn] == [["z"], ["z"], ["y", "z"], ["x", "y"], ["x", "y"]]


def test_negatives_are_drawn_uniformly_and_anew():
    lists, rng = pairs(6), np.random.default_rng(0)
    drawn = [drawn_texts(lists, range(6), 4, rng)[0] for _ in range(2000)]
    assert len({tuple(sorted(texts)) for texts in drawn}) > 150  # of 210
    _, counts = np.unique(np.concatenate(drawn), return_counts=True)
    assert len(counts) == 10
    assert np.abs(counts / 2000 - 0.4).max() < 5 * np.sqrt(0.4 * 0.6 / 2000)


def feed(lists, count=2, seed=0, redraw=True, **options):
    words = WordTokenizer([*map(str, range(20)), "p", "q", "n"], 20, punctuation="split")
    plan = TextPlan(lists.rows, BATCHINGS.create("in_order"), 3, shuffle=False, seed=seed)
    negatives = None if count == 0 else InBatchNegatives(lists, count)
    return ListFeed(lists, plan, PairTokenizer(words, 9, 3), negatives, seed=seed, redraw=redraw, **options)


def test_batches_hold_the_tokens_of_each_pair():
    lists = pairs(3)
    made = feed(lists)
    ((x, y),) = made.batches()
    assert x["pair_ids"].shape[:2] == x["mask"].shape == y.shape == (3, 4)
    assert y.tolist() == [[1, 0, 0, 0]] * 3
    ((batch, rows, mask),) = feed(lists).draws(0)
    queries, documents = np.repeat([lists.queries[q] for q in batch], 4), [lists.documents[d] for d in rows.reshape(-1)]
    np.testing.assert_array_equal(x["pair_ids"].reshape(12, -1), made.tokenizer.padded(queries, documents))
    assert mask.all()


def test_padded_documents_have_no_tokens_and_label_minus_one():
    columns = {"anchor": ["a", "b", "a"], "document": ["p", "q", "n"], "label": ["2", "1", "0"], "weight": [3, 1, 2]}
    ((x, y, weight),) = feed(lists_of(columns, "lambda_loss"), count=0).batches()
    assert y.tolist() == [[2, 0], [1, -1]]
    assert weight.tolist() == [[3, 2], [1, 0]]
    assert x["mask"].tolist() == [[1, 1], [1, 0]]
    assert not x["pair_ids"][1, 1].any()


@pytest.mark.parametrize("redraw", [True, False])
def test_epochs_draw_anew_only_in_training_and_equal_seeds_draw_equally(redraw):
    lists = pairs(6)

    def epochs(seed):
        made = feed(lists, seed=seed, redraw=redraw)
        return [np.concatenate([rows for _, rows, _ in made.draws(epoch)]).tolist() for epoch in range(3)]

    first = epochs(1)
    assert epochs(1) == first
    assert epochs(2) != first
    assert len({str(rows) for rows in first}) == (3 if redraw else 1)


def test_width_of_a_batch_does_not_depend_on_the_draws():
    columns = {"anchor": ["a", "b", "c"], "positive": ["x", "x", "y"]}
    ((x, _),) = feed(lists_of(columns), count=None, multiple=8).batches()
    assert x["pair_ids"].shape == (3, 3, 8)
    assert x["mask"].tolist() == [[1, 1, 0], [1, 1, 0], [1, 1, 0]]
