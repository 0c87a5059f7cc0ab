"""Queries, and their truncated, bucketed and padded batches."""

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.core.names import MASK, POSITIONS
from ml4ir_losses.data import batching
from ml4ir_losses.data.batching import BatchPlan, few_widths, list_dataset, make_batch
from ml4ir_losses.data.queries import Queries, Roles, make_queries
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.data.texts.lists import padded_width
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.features.fitting import encode_rows, fit_inputs

MINIMAL = {"data": {"train": "t.csv"}, "model": {"loss": "list_mle"}}


def table(**columns):
    rows = len(columns["query_id"])
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def queries(columns, roles=None, **kwargs):
    features = {"inputs": [{"name": "x", "type": "numeric"}], **(roles or {})}
    config = load_config({**MINIMAL, "features": features})
    data = table(**columns)
    encoded = encode_rows(fit_inputs(config.features, data), data)
    return make_queries(data, Roles.of(config.features, config.model), encoded, **kwargs)


def queries_of_sizes(*sizes, labels=None):
    """Queries of the given sizes whose feature is the row number."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    rows = int(offsets[-1])
    return Queries(
        ids=np.array([f"q{i}" for i in range(len(sizes))]),
        offsets=offsets,
        features={"x": np.arange(rows, dtype="float32")[:, None]},
        labels={"label": np.zeros(rows, "float32") if labels is None else np.asarray(labels, "float32")},
        document_ids=np.arange(rows).astype(str),
    )


def test_scattered_rows_of_a_query_are_grouped():
    data = queries({"query_id": ["b", "a", "b", "a", "c"], "label": [1.0, 0, 0, 2, 1], "x": [10.0, 20, 30, 40, 50]})
    assert data.ids.tolist() == ["b", "a", "c"]
    x, y = make_batch(BatchPlan(data, 3), np.arange(3))
    assert x["x"][:, :, 0].tolist() == [[10, 30], [20, 40], [50, 0]]
    assert x[MASK].tolist() == [[1, 1], [1, 1], [1, 0]]
    assert y["label"].tolist() == [[1, 0], [0, 2], [1, -1]]


def test_missing_document_ids_are_positions_in_the_query():
    columns = {"query_id": ["b", "a", "b"], "label": [1.0, 0, 0], "x": [1.0, 2, 3], "d": ["u", "v", "w"]}
    assert queries(columns).document_ids.tolist() == ["1", "2", "1"]
    assert queries(columns, {"document_id": "d"}).document_ids.tolist() == ["u", "w", "v"]


def test_weights_and_positions_stay_with_their_documents():
    columns = {"query_id": ["a", "b", "a"], "label": [1.0, 0, 0], "x": [1.0, 2, 3], "w": [5.0, 6, 7], "p": [2.0, 1, 1]}
    x, y, weight = make_batch(BatchPlan(queries(columns, {"weight": "w", "positions": "p"}), 2), np.arange(2))
    assert weight.tolist() == [[5, 7], [6, 0]]
    assert y[POSITIONS].tolist() == [[2, 1], [1, 0]]
    *_, weight = make_batch(BatchPlan(queries(columns, {"query_weight": "w"}), 2), np.arange(2))
    assert weight.tolist() == [5, 6]
    *_, weight = make_batch(BatchPlan(queries(columns, {"weight": "w", "query_weight": "w"}), 2), np.arange(2))
    assert {name: x.tolist() for name, x in weight.items()} == {"item": [[5, 7], [6, 0]], "query": [5, 6]}
    assert POSITIONS not in x


@pytest.mark.parametrize(
    ("change", "roles", "message"),
    [
        ({"label": [-1.0, 0, -1]}, {}, r"t.csv, line 2: query 'a' has no documents"),
        ({"label": [1.0, 1, 1]}, {}, r"every label of the training split is 1; a ranking loss .* that differ\.$"),
        ({"label": [1.0, 1, 1], "query_id": ["a", "b", "c"]}, {}, r"differ\. For pairs of texts give data\.columns"),
        ({"label": ["1", "", "0"]}, {}, r"t.csv, line 3, column 'label'"),
        ({"query_id": ["a", "", "a"]}, {}, r"t.csv, line 3: the query id is empty"),
        ({"w": [1.0, -1, 1]}, {"weight": "w"}, r"t.csv, line 3, column 'w': a weight must be at least 0"),
        ({"p": [1.0, 0, 1]}, {"positions": "p"}, r"t.csv, line 3, column 'p': a shown rank must be at least 1"),
        ({"w": [1.0, 1e40, 1]}, {"weight": "w"}, r"t.csv, line 3, column 'w': 1e\+40 is beyond float32"),
        ({}, {"label": "labl"}, r"t.csv: no column 'labl' \(features.label\). Did you mean 'label'\?"),
        ({}, {"document_id": "doc"}, r"t.csv: no column 'doc' \(features.document_id\)"),
    ],
)
def test_invalid_rows_raise_a_located_error(change, roles, message):
    columns = {"query_id": ["a", "b", "a"], "label": [1.0, 0, 0], "x": [1.0, 2, 3], **change}
    with pytest.raises(DataError, match=message):
        queries(columns, roles, training=True)


def test_queries_without_labels_are_read_for_prediction():
    data = queries({"query_id": ["a", "a"], "x": [1.0, 2]}, labels_required=False)
    assert data.labels == {}
    assert make_batch(BatchPlan(data, 1), np.arange(1))[1] == {}


def epoch(plan, number=0):
    return [batch.tolist() for batch in plan.batches(number)]


def test_each_epoch_holds_every_query_once_in_a_seeded_order():
    data = queries_of_sizes(*np.random.default_rng(0).integers(1, 30, 103))
    plan, same_seed = (BatchPlan(data, 10, shuffle=True, bucketing=True, seed=4) for _ in range(2))
    first, second = epoch(plan), epoch(plan, 1)
    assert sorted(q for batch in first for q in batch) == list(range(103))
    assert first != second
    assert [second, first] == [epoch(same_seed, 1), epoch(same_seed)]  # whichever is read first
    assert first != epoch(BatchPlan(data, 10, shuffle=True, bucketing=True, seed=5))
    assert len(plan) == len(first) == 11


def test_bucketing_batches_lists_of_similar_length():
    data = queries_of_sizes(*np.random.default_rng(0).integers(1, 200, 512))

    def padded(bucketing):
        plan = BatchPlan(data, 16, shuffle=True, bucketing=bucketing, seed=1)
        return sum(plan.rows(batch)[1].size for batch in plan.batches())

    assert padded(True) < 1.1 * data.rows < 1.5 * data.rows < padded(False)


def test_bucketing_puts_the_shortest_lists_into_the_incomplete_batch():
    data = queries_of_sizes(*np.random.default_rng(0).integers(1, 200, 2 * 64 * 4 + 15))
    batches = list(BatchPlan(data, 4, bucketing=True).batches())
    (incomplete,) = (batch for batch in batches if len(batch) == 3)
    assert sorted(np.concatenate(batches)) == list(range(len(data)))
    assert sorted(data.sizes[incomplete]) == sorted(data.sizes[-15:])[:3]  # the last 15 queries are a pool of their own


def test_lists_are_padded_to_the_longest_of_the_batch():
    rows, mask = BatchPlan(queries_of_sizes(2, 5, 3), 3).rows(np.array([0, 2]))
    assert mask.tolist() == [[True, True, False], [True, True, True]]
    assert rows.tolist() == [[0, 1, 0], [7, 8, 9]]


@pytest.mark.parametrize("bucketing", [True, False])
def test_compiled_epochs_limit_the_number_of_shapes(bucketing, monkeypatch):
    monkeypatch.setattr(batching, "is_backend", lambda name: name == "jax")  # where incomplete batches are filled too
    data = queries_of_sizes(*np.random.default_rng(0).integers(1, 100, 1003))

    def shapes(epochs):
        plan = BatchPlan(data, 10, shuffle=True, bucketing=bucketing, compiled_epochs=epochs)
        masks = [plan.rows(batch)[1] for number in range(3) for batch in plan.batches(number)]
        assert sum(mask.sum() for mask in masks) == 3 * data.rows
        return {mask.shape for mask in masks}

    assert len(shapes(None)) > 20
    assert shapes(1) == {(10, 99)}  # a compilation costs more than the padding
    assert 1 <= len(shapes(20)) <= len(shapes(1000)) <= 20


@pytest.mark.parametrize("price", [0.0, 3.0, 10.0, 50.0, 1e4])
def test_few_widths_cost_least(price):
    longest = np.random.default_rng(0).integers(1, 9, 40)
    choices = [np.flatnonzero([int(bit) for bit in f"0{n:08b}"]) for n in range(1, 256)]
    costs = [
        widths[np.searchsorted(widths, longest)].sum() + price * len(widths)
        for widths in choices
        if widths[-1] >= longest.max()
    ]
    widths = few_widths(longest, price)
    assert (np.diff(widths) > 0).all()
    assert widths[np.searchsorted(widths, longest)].sum() + price * len(widths) == min(costs)


@pytest.mark.parametrize("weighted", [False, True])
def test_lists_that_fill_a_batch_are_masked_and_leave_the_mean_unchanged(weighted, monkeypatch):
    monkeypatch.setattr(batching, "is_backend", lambda name: name == "jax")
    data = queries_of_sizes(2, 3, 1, 2)
    data.features["q"], data.query_scope = np.arange(data.rows, dtype="float32"), frozenset({"q"})
    data.query_weight = np.array([4.0, 1, 2, 3], "float32") if weighted else None
    plan, epochs = BatchPlan(data, 3, compiled_epochs=1), list(BatchPlan(data, 3).batches())
    (x, _, weight), (last, last_y, last_weight) = (make_batch(plan, batch) for batch in epochs)
    assert x["q"].tolist() == [0, 2, 5]
    assert weight.tolist() == ([4, 1, 2] if weighted else [1, 1, 1])
    assert last["q"].tolist() == [6, 0, 0]
    assert last[MASK].tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert last_y["label"].tolist() == [[0, 0, -1], [-1, -1, -1], [-1, -1, -1]]
    assert last_weight.tolist() == ([9, 0, 0] if weighted else [3, 0, 0])  # the sum over 3 lists is divided by 3


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_padded_width_takes_few_values_close_to_the_list_size(steps):
    sizes = np.arange(1, 2049)
    widths = np.array([padded_width(int(n), steps) for n in sizes])
    assert (widths >= sizes).all()
    assert (np.diff(widths) >= 0).all()
    assert [padded_width(int(n), steps) for n in widths] == widths.tolist()
    for low in 2 ** np.arange(6, 11):
        octave = widths[(sizes > low) & (sizes <= 2 * low)]
        assert len(set(octave)) == steps
        assert octave.max() == 2 * low
    assert (widths < sizes * (1 + 1 / steps) + 1).all()
    assert padded_width(1251, None) == 1251


def test_truncation_keeps_the_first_documents_and_reports_the_dropped_ones():
    data = queries_of_sizes(2, 6, 4)
    cut = Truncation(4)
    assert cut.report(data.sizes) == (
        "2 of 12 documents dropped from 1 queries longer than data.max_list_size: 4 (data.truncation: first)"
    )
    assert Truncation(6).report(data.sizes) == ""
    rows, mask = BatchPlan(data, 3, truncation=cut).rows(np.arange(3))
    assert rows[1].tolist() == [2, 3, 4, 5]
    assert mask.sum() == 10


def test_random_truncation_redraws_every_epoch_and_keeps_the_order():
    plan = BatchPlan(queries_of_sizes(30), 1, truncation=Truncation(10, "random"), seed=2)
    draws = [plan.rows(*draw)[0][0].tolist() for number in range(5) for _, draw in plan.draws(number)]
    assert all(draw == sorted(draw) and len(set(draw)) == 10 for draw in draws)
    assert len({tuple(draw) for draw in draws}) == 5


def test_keep_relevant_truncation_drops_irrelevant_documents_first():
    labels = np.zeros(30)
    labels[[3, 17, 25]] = [1, 2, 1]
    plan = BatchPlan(queries_of_sizes(30, labels=labels), 1, truncation=Truncation(5, "keep_relevant"))
    for _, draw in plan.draws(0):
        assert {3, 17, 25} <= set(plan.rows(*draw)[0][0].tolist())
    plan = BatchPlan(queries_of_sizes(30, labels=labels), 1, truncation=Truncation(1, "keep_relevant"))
    for _, draw in plan.draws(0):
        assert plan.rows(*draw)[0].tolist() == [[17]]


@pytest.mark.backend("tensorflow")
def test_dataset_yields_the_batches_of_the_plan():
    data = queries_of_sizes(2, 5, 3, 1)
    dataset = list_dataset(BatchPlan(data, 2))
    assert dataset.cardinality().numpy() == 2
    (x, y), (x2, _) = dataset.as_numpy_iterator()
    assert x["x"].shape == (2, 5, 1)
    assert x2["x"][:, :, 0].tolist() == [[7, 8, 9], [10, 0, 0]]
    assert y["label"].tolist() == [[0, 0, -1, -1, -1], [0, 0, 0, 0, 0]]


def test_dataset_autotuning_is_off():
    assert list_dataset(BatchPlan(queries_of_sizes(2, 5), 1)).options().autotune.enabled is False
