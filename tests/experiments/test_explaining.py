"""`explain`: what columns add to the difference of two logits, against predictions of rows with swapped cells."""

import json
from itertools import permutations

import numpy as np
import pytest

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.experiments import swaps
from ml4ir_losses.experiments.explaining import explain, explain_rows
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.relevance_model import RelevanceModel
from small import config, write_splits

COLUMNS = ["price", "brand", "title"]
QUERY = "q201"
ARCHITECTURES = {
    "dnn": {"key": "dnn", "hidden_units": [8]},
    "set_transformer": {"key": "set_transformer", "hidden_units": [6], "attention_dim": 4, "num_layers": 1},
    "linear": "linear",
    "gam": {"key": "gam", "hidden_units": [4]},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("explaining"))


@pytest.fixture(scope="module")
def models(folder):
    """A model of each architecture with random weights; one input ranks prices within the query."""
    inputs = config(folder)["features"]["inputs"]
    inputs[0]["query_rank"] = True
    made = {}
    for name, architecture in ARCHITECTURES.items():
        given = config(folder, features={"inputs": inputs}, model={"architecture": architecture})
        made[name] = model = RelevanceModel.from_config(load_config(given))
        rng = np.random.default_rng(1)
        for weight in model.trainable_variables:
            weight.assign(rng.normal(size=weight.shape))
    return made


@pytest.fixture(scope="module")
def trained(folder, eager):
    with eager():
        train(config(folder, model={"architecture": "linear"}, training={"epochs": 1}), folder / "run")
    return folder / "run"


def rows_of_query(folder, query=QUERY):
    table = read_table(str(folder / "test.csv"))
    return table.take(np.flatnonzero(table.strings("query_id") == query))


def logits_of_swaps(model, table, a, b):
    """The logits of all documents for every subset of columns that a and b keep, {subset: [N]}."""
    cells = table.to_arrow().to_pydict()
    subsets = [frozenset(c for i, c in enumerate(COLUMNS) if number >> i & 1) for number in range(2 ** len(COLUMNS))]
    rows = {name: [] for name in cells}
    for number, kept in enumerate(subsets):
        for name, column in cells.items():
            column = list(column)
            if name in COLUMNS and name not in kept:
                column[a], column[b] = column[b], column[a]
            rows[name] += [f"s{number}"] * len(column) if name == "query_id" else column
    found = model.predict_rows(rows, logits=True).astype("float64").reshape(len(subsets), -1)
    return dict(zip(subsets, found, strict=True))


def shapley(model, table, a, b):
    """What each column adds to the difference, averaged over all orders."""
    logits = logits_of_swaps(model, table, a, b)
    total = np.zeros(len(COLUMNS))
    orders = list(permutations(COLUMNS))
    for order in orders:
        for place, column in enumerate(order):
            before, after = frozenset(order[:place]), frozenset(order[: place + 1])
            for sign, kept in ((1.0, after), (-1.0, before)):
                total[COLUMNS.index(column)] += sign * (logits[kept][a] - logits[kept][b]) / 2.0
    return total / len(orders)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_contributions_equal_shapley_values_of_predictions_with_swapped_cells(models, folder, name):
    table = rows_of_query(folder)
    found = explain_rows(models[name], table, [0, 3])
    assert found.features == COLUMNS
    assert found.method == "exact"
    np.testing.assert_allclose(found.contributions[0], shapley(models[name], table, 0, 3), rtol=1e-4, atol=1e-5)
    assert (found.contributions[1] == 0).all()
    assert np.isclose(found.contributions[0].sum(), found.logits[0] - found.logits[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["dnn", "set_transformer"])
def test_sampled_contributions_lie_within_their_standard_errors(models, folder, name):
    table = rows_of_query(folder)
    exact = explain_rows(models[name], table, [0, 3]).contributions[0]
    found = explain_rows(models[name], table, [0, 3], method="permutation")
    assert found.method == "permutation"
    assert (found.errors[0] > 0).all()
    assert (np.abs(found.contributions[0] - exact) < 4 * found.errors[0]).all()
    assert np.isclose(found.contributions[0].sum(), found.logits[0] - found.logits[1], rtol=1e-9)


def test_exchanged_documents_change_the_signs(models, folder):
    table = rows_of_query(folder)
    one, other = (explain_rows(models["set_transformer"], table, pair).contributions[0] for pair in ([0, 3], [3, 0]))
    np.testing.assert_allclose(one, -other, rtol=1e-4, atol=1e-6)


def test_a_linear_model_has_the_products_of_weights_and_differences(models, folder):
    model, table = models["linear"], rows_of_query(folder)
    x = explain_rows(model, table, [0, 2])
    sampled = explain_rows(model, table, [0, 2], method="permutation")
    np.testing.assert_allclose(sampled.contributions, x.contributions, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sampled.errors, 0.0, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "dnn", "set_transformer"])
def test_shap_sums_to_the_difference_and_agrees_on_a_linear_model(models, folder, name):
    pytest.importorskip("shap")
    table = rows_of_query(folder)
    found = explain_rows(models[name], table, [0, 3], method="shap")
    difference = found.contributions[0] - found.contributions[1]
    assert np.isclose(difference.sum(), found.logits[0] - found.logits[1], rtol=1e-4, atol=1e-5)
    if name == "linear":
        np.testing.assert_allclose(difference, explain_rows(models[name], table, [0, 3]).contributions[0], atol=1e-5)


def test_several_documents_are_compared_with_the_last(models, folder):
    model, table = models["dnn"], rows_of_query(folder)
    found = explain_rows(model, table, [2, 1, 3])
    for i, row in enumerate((2, 1)):
        alone = explain_rows(model, table, [row, 3]).contributions[0]
        np.testing.assert_allclose(found.contributions[i], alone, rtol=1e-5, atol=1e-6)


def test_columns_in_which_documents_agree_add_nothing(models, folder):
    table = rows_of_query(folder)
    cells = table.to_arrow().to_pydict()
    cells["brand"] = ["b1"] * len(table)
    found = explain_rows(models["set_transformer"], read_table(cells), [0, 3])
    assert found.contributions[0][COLUMNS.index("brand")] == 0.0


def test_the_first_two_documents_are_compared_by_default(models, folder):
    found = explain_rows(models["dnn"], rows_of_query(folder))
    assert found.ranks.tolist() == [1, 2]
    assert found.logits[0] >= found.logits[1]


def test_many_columns_are_sampled_and_exact_refuses_them(models, folder, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.experiments.explaining.ENUMERATED", 2)
    table = rows_of_query(folder)
    assert explain_rows(models["dnn"], table, [0, 3]).method == "permutation"
    with pytest.raises(UserError, match=r"differ in at most 2 columns; these differ in 3. Use 'permutation'"):
        explain_rows(models["dnn"], table, [0, 3], method="exact")


def test_chunks_of_swaps_do_not_change_the_values(models, folder, monkeypatch):
    table = rows_of_query(folder)
    whole = explain_rows(models["dnn"], table, [0, 3], method="permutation").contributions
    monkeypatch.setattr(swaps, "_AT_ONCE", 64)
    in_parts = explain_rows(models["dnn"], table, [0, 3], method="permutation").contributions
    np.testing.assert_allclose(in_parts, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("documents", "message"),
    [([1], "at least two different"), ([1, 1], "at least two different"), ([0, 99], "from 0 to ")],
)
def test_wrong_documents_are_refused(models, folder, documents, message):
    with pytest.raises(UserError, match=message):
        explain_rows(models["dnn"], rows_of_query(folder), documents)


def test_a_query_with_one_document_is_refused(models, folder):
    with pytest.raises(UserError, match="has one document"):
        explain_rows(models["dnn"], rows_of_query(folder).take([0]))


def test_a_run_explains_a_query_of_a_file(trained, folder):
    found = explain(trained, str(folder / "test.csv"), QUERY, ["d3", "d0"])
    assert found.documents == ["d3", "d0"]
    table = rows_of_query(folder)
    assert found.cells[0] == [f"{float(table.strings('price')[3]):.6g}", *(table.strings(c)[3] for c in COLUMNS[1:])]
    by_size = found.why()
    assert [abs(value) for _, value in by_size] == sorted((abs(value) for _, value in by_size), reverse=True)


@pytest.mark.parametrize(
    ("query", "documents", "message"),
    [
        ("q20", None, r"test.csv: no query 'q20'\. Did you mean 'q2.*'\? It has 12 queries"),
        (QUERY, ("d0", "e3"), r"there is no document 'e3' to rank\. Did you mean 'd3'"),
    ],
)
def test_a_missing_query_or_document_is_named(trained, folder, query, documents, message):
    with pytest.raises(DataError, match=message):
        explain(trained, str(folder / "test.csv"), query, documents)


def test_the_command_prints_a_table_or_json(trained, folder, run):
    arguments = ["explain", trained, "--data", folder / "test.csv", "--query", QUERY, "--documents", "d0", "d3"]
    code, out, _ = run(*arguments, "--top", 2)
    assert code == 0
    assert out.startswith("query q201: why d0 (rank ")
    assert "1 others" in out
    code, out, _ = run(*arguments, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["features"] == COLUMNS
    assert [document["document"] for document in found["documents"]] == ["d0", "d3"]
    code, _, error = run(*arguments, "--method", "lime")
    assert code == 2
    assert "`method` must be one of auto, exact, permutation, shap" in error
