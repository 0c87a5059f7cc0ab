"""Batchings of text rows, and the mixing of data sets."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.batchings.group_by_label import group_by_label
from ml4ir_losses.data.batchings.in_order import in_order
from ml4ir_losses.data.batchings.no_duplicates import no_duplicates
from ml4ir_losses.data.texts.mixing import proportional, round_robin


def rng(seed=0):
    return np.random.default_rng(seed)


def test_in_order_yields_every_row_once():
    assert [b.tolist() for b in in_order(5, 2)] == [[0, 1], [2, 3], [4]]
    shuffled = np.concatenate(list(in_order(50, 7, rng())))
    assert sorted(shuffled.tolist()) == list(range(50)) != shuffled.tolist()


@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40),
    batch_size=st.integers(1, 12),
    seed=st.none() | st.integers(0, 99),
)
def test_no_duplicates_repeats_no_text_in_a_batch_and_loses_no_row(rows, batch_size, seed):
    texts = [(f"t{a}", f"t{b}") for a, b in rows]
    batches = list(no_duplicates(texts, batch_size, None if seed is None else rng(seed)))
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(rows)))
    for batch in batches:
        assert 0 < len(batch) <= batch_size
        counts = Counter(text for row in batch for text in set(texts[row]))
        assert not counts or max(counts.values()) == 1


def test_no_duplicates_puts_deferred_rows_first():
    texts = [("a", "b"), ("a", "c"), ("d", "e"), ("f", "g"), ("b", "h")]
    assert [b.tolist() for b in no_duplicates(texts, 2)] == [[0, 2], [1, 3], [4]]


@given(
    labels=st.lists(st.integers(0, 6), min_size=12, max_size=80),
    batch_size=st.integers(4, 20),
    per_class=st.integers(2, 3),
    seed=st.none() | st.integers(0, 99),
)
def test_group_by_label_has_per_class_rows_of_every_class(labels, batch_size, per_class, seed):
    large = [label for label, count in Counter(labels).items() if count >= per_class]
    arguments = (labels, max(batch_size, 2 * per_class), None if seed is None else rng(seed), per_class)
    if len(large) < 2:
        with pytest.raises(UserError, match="needs two classes"):
            list(group_by_label(*arguments))
        return
    batches = list(group_by_label(*arguments))
    seen = np.concatenate(batches) if batches else np.array([], dtype=int)
    assert len(set(seen.tolist())) == len(seen)
    assert {labels[row] for row in seen} <= set(large)
    for batch in batches:
        assert min(Counter(labels[row] for row in batch).values()) >= per_class
        assert len(batch) <= arguments[1] + per_class


def test_group_by_label_mixes_classes():
    labels = np.repeat(np.arange(10), 8)
    batches = list(group_by_label(labels, 8, rng()))
    assert len(batches) == 10
    assert all(len(set(labels[batch].tolist())) >= 3 for batch in batches)


def test_round_robin_stops_when_one_data_set_is_exhausted():
    assert list(round_robin({"a": "123", "b": "xy"})) == [("a", "1"), ("b", "x"), ("a", "2"), ("b", "y"), ("a", "3")]
    assert list(round_robin({})) == []


def test_proportional_yields_every_batch_in_proportion_to_size():
    sizes = {"a": 300, "b": 100}
    mixed = list(proportional({name: range(size) for name, size in sizes.items()}, sizes, rng()))
    assert Counter(name for name, _ in mixed) == sizes
    for name in sizes:
        assert [batch for other, batch in mixed if other == name] == list(range(sizes[name]))
    first = Counter(name for name, _ in mixed[:200])
    assert 120 < first["a"] < 180


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: in_order(3, 0), "`batch_size`"),
        (lambda: no_duplicates([("a",)], 0), "`batch_size`"),
        (lambda: group_by_label([0, 0, 1, 1], 3), "batch_size=3"),
        (lambda: group_by_label([0, 0, 1, 1], 8, per_class=1), "per_class=1"),
        (lambda: group_by_label([0, 0, 0, 1], 4), r"two classes of at least 2 rows\. Received: 1 in 4 rows"),
    ],
)
def test_invalid_parameters_raise(make, message):
    with pytest.raises(UserError, match=message):
        list(make())
