"""Data in memory as tables: every kind gives the same cells, and bad data one clear line."""

import decimal

import numpy as np
import pyarrow as pa
import pytest

from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.memory import memory_table
from ml4ir_losses.data.nested import unnest, vectors
from ml4ir_losses.data.provenance import fingerprint
from ml4ir_losses.data.readers import read_table

COLUMNS = {
    "query_id": ["a", "b", "a"],
    "price": [1.5, None, 2.0],
    "stock": [3, 4, None],
    "brand": ["x", None, "y"],
    "sold": [True, False, True],
}


def pandas_frame():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(COLUMNS, index=[7, 8, 9])
    return frame.astype({"brand": "category", "stock": "Int64", "sold": "boolean", "query_id": "string"})


def polars_frame():
    polars = pytest.importorskip("polars")
    return polars.DataFrame(COLUMNS).with_columns(polars.col("brand").cast(polars.Categorical))


def duckdb_relation():
    duckdb = pytest.importorskip("duckdb")
    connection = duckdb.connect()
    connection.register("columns", pa.table(COLUMNS))
    return connection.sql("select * from columns")


def hugging_face_dataset():
    datasets = pytest.importorskip("datasets")
    reversed_rows = {name: cells[::-1] for name, cells in COLUMNS.items()}
    return datasets.Dataset.from_dict(reversed_rows).select([2, 1, 0])  # a selection that Arrow alone does not see


KINDS = {
    "dict": lambda: COLUMNS,
    "dict of arrays": lambda: {
        **COLUMNS,
        "query_id": np.array(COLUMNS["query_id"]),
        "price": np.array([1.5, np.nan, 2.0]),
        "sold": pa.array(COLUMNS["sold"]),
    },
    "list of dicts": lambda: [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)],
    "pyarrow": lambda: pa.table({**COLUMNS, "brand": pa.array(COLUMNS["brand"]).dictionary_encode()}),
    "string view": lambda: pa.table({**COLUMNS, "brand": pa.array(COLUMNS["brand"], pa.string_view())}),
    "pandas": pandas_frame,
    "polars": polars_frame,
    "duckdb": duckdb_relation,
    "hugging face": hugging_face_dataset,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_gives_the_same_cells(kind):
    table = memory_table(KINDS[kind]())
    assert table.names == list(COLUMNS)
    assert table.strings("query_id").tolist() == ["a", "b", "a"]
    assert table.strings("brand").tolist() == ["x", "", "y"]
    np.testing.assert_array_equal(table.numeric("price"), [1.5, np.nan, 2.0])
    np.testing.assert_array_equal(table.numeric("stock"), [3, 4, np.nan])
    np.testing.assert_array_equal(table.numeric("sold"), [1, 0, 1])


def test_list_of_dicts_may_lack_keys():
    table = memory_table([{"a": 1}, {"b": 2}])
    np.testing.assert_array_equal(table.numeric("a"), [1, np.nan])
    np.testing.assert_array_equal(table.numeric("b"), [np.nan, 2])


def test_column_of_mixed_types_is_read_as_text():
    table = memory_table({"id": [1, "a2", None, 2.5]})
    assert table.strings("id").tolist() == ["1", "a2", "", "2.5"]
    with pytest.raises(DataError, match=r"^data, row 1, column 'id': 'a2' is not a number$"):
        table.numeric("id")


def test_lists_of_mixed_types_name_the_row_of_a_wrong_number():
    table = unnest(memory_table({"docs": [["a", "b"], ["c"]], "label": [[1, 0], ["x"]]}))
    with pytest.raises(DataError, match=r"^data, row 1, column 'label': 'x' is not a number$"):
        table.numeric("label")


def test_lists_of_mixed_types_may_be_missing():
    table = unnest(memory_table({"id": ["p", "q"], "docs": [["a", 1], None]}))
    assert table.strings("docs").tolist() == ["a", "1"]
    assert table.strings("id").tolist() == ["p", "p"]


def test_decimals_are_numbers():
    np.testing.assert_array_equal(memory_table({"x": [decimal.Decimal("1.25"), None]}).numeric("x"), [1.25, np.nan])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "data has no rows."),
        ({"a": []}, "data has no rows."),
        ({"a": [1], "b": [1, 2]}, "data: column 'b' has 2 cells, column 'a' has 1."),
        ({"a": [1, {"x": 1}]}, "data, row 1, column 'a': holds a dict beside cells of another type."),
        ({"a": [[1], 2]}, "data, row 1, column 'a': holds 2 beside lists."),
        ({"a": [[1], [2, {"x": 1}]]}, "data, row 1, column 'a': holds a dict beside cells of another type."),
        (
            {"features": np.ones((2, 3, 1)), "group": [2]},
            "data, 'group': belongs to features [rows, F]. Received: [2, 3, 1].",
        ),
        ({"a": "text"}, "data, column 'a': needs a list or an array of cells. Received: 'text'."),
        ({1: [1], "1": [2]}, "data: the column '1' occurs twice."),
        ({"features": np.ones((2, 3)), "label": [1]}, "data: 'label' has 1 cells, 'features' has 2 rows."),
        ({"features": np.ones((0, 3))}, "data has no rows."),
        ({"features": np.array([["a"]])}, "data: 'features' must be numbers. Received: an array of <U1."),
        (
            {"features": np.array([[1.0, np.inf]])},
            "data, row 0, feature 1: inf is not finite; use NaN for a missing value",
        ),
        ({"features": np.array([[1e300]])}, "data, row 0, feature 0: 1e+300 is beyond float32"),
        (
            {"features": np.ones((3, 1)), "group": [1, 1]},
            "data, 'group': the numbers of rows of the queries must add up to 3. Received: they add up to 2.",
        ),
        ({"features": np.ones((3, 1)), "group": [3], "qid": [1, 1, 1]}, "data: give 'qid' or 'group', not both."),
        (
            {"features": np.ones((3, 1)), "mask": [1, 1, 1]},
            "data, 'mask': belongs to features [B, N, F]. Received: features [3, 1].",
        ),
        (
            {"features": np.ones((2, 3, 1)), "label": np.ones((2, 2))},
            "data, 'label': needs the shape [2, 3] of the lists. Received: [2, 2].",
        ),
    ],
)
def test_bad_data_get_one_clear_line(data, message):
    with pytest.raises(DataError) as caught:
        memory_table(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [5, np.ones((2, 2)), object(), [1, 2]])
def test_data_that_are_no_table_name_the_kinds_that_are(data):
    with pytest.raises(DataError, match="a dict of columns, a list of dicts, a pandas") as caught:
        memory_table(data, "data['train']")
    assert str(caught.value).startswith("data['train']: ")


def test_arrays_have_the_columns_of_svmlight_files():
    features = np.arange(6.0).reshape(3, 2)
    table = memory_table({"features": features, "labels": [1, 0, 2], "group": [2, 1], "price": [7, 8, 9]})
    assert table.names == ["label", "price", "qid", "f0", "f1"]
    np.testing.assert_array_equal(table.matrix(["f0", "f1"]), features)
    assert table.strings("qid").tolist() == ["0", "0", "1"]
    np.testing.assert_array_equal(table.numeric("price"), [7, 8, 9])


def test_nan_in_features_is_missing():
    table = memory_table({"features": np.array([[np.nan, 1.0]]), "label": [1], "qid": [0]})
    np.testing.assert_array_equal(table.numeric("f0"), [np.nan])


@pytest.mark.parametrize("ids", [None, ["x", "y"]])
def test_padded_lists_become_rows_of_the_mask(ids):
    features = np.arange(12.0).reshape(2, 3, 2)
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    data = {"features": features, "label": np.array([[0, 1, 9], [2, 9, 9]]), "mask": mask}
    table = memory_table(data if ids is None else {**data, "qid": np.array(ids)})
    np.testing.assert_array_equal(table.matrix(["f0", "f1"]), features[mask.astype(bool)])
    np.testing.assert_array_equal(table.numeric("label"), [0, 1, 2])
    assert table.strings("qid").tolist() == (["0", "0", "1"] if ids is None else ["x", "x", "y"])


def test_sparse_features_are_made_dense():
    sparse = pytest.importorskip("scipy.sparse").csr_matrix(np.array([[0, 2.0], [1.0, 0]]))
    table = memory_table({"features": sparse, "label": [0, 1], "qid": [0, 0]})
    np.testing.assert_array_equal(table.matrix(["f0", "f1"]), [[0, 2], [1, 0]])


NESTED = {"query": ["red shoe", "hat"], "docs": [["a", "b"], ["c"]], "label": [[1, 0], [2]]}


@pytest.mark.parametrize("kind", ["dict", "pandas", "polars", "hugging face"])
def test_nested_lists_become_rows(kind):
    data = NESTED
    if kind == "pandas":
        data = pytest.importorskip("pandas").DataFrame(NESTED)
    if kind == "polars":
        data = pytest.importorskip("polars").DataFrame(NESTED)
    if kind == "hugging face":
        data = pytest.importorskip("datasets").Dataset.from_dict(NESTED)
    table = unnest(memory_table(data))
    assert table.strings("query").tolist() == ["red shoe", "red shoe", "hat"]
    assert table.strings("docs").tolist() == ["a", "b", "c"]
    assert table.strings("query_id").tolist() == ["0", "0", "1"]
    np.testing.assert_array_equal(table.numeric("label"), [1, 0, 2])
    assert table.locate(2) == "data, row 1"


def test_nested_rows_keep_their_query_id_and_skip_empty_lists():
    table = unnest(memory_table({"query_id": ["x", "y", "z"], "docs": [["a"], [], None], "label": [[1], [], None]}))
    assert table.strings("query_id").tolist() == ["x"]


def test_lists_of_different_lengths_name_the_row():
    table = memory_table({**NESTED, "label": [[1, 0], [2, 3]]}, "data['test']")
    with pytest.raises(DataError, match=r"^data\['test'\], row 1: 'label' has 2 items and 'docs' has 1\.$"):
        unnest(table)


def test_empty_lists_are_no_data():
    with pytest.raises(DataError, match=r"^data: every list is empty\.$"):
        unnest(memory_table({"docs": pa.array([[], []], pa.list_(pa.string()))}))


def test_kept_lists_stay_one_cell():
    table = unnest(memory_table({"text": ["a", "b"], "teacher": np.ones((2, 3))}), keep=["teacher"])
    assert len(table) == 2


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.int64())])
def test_lists_of_numbers_are_vectors(kind):
    table = memory_table({"teacher": pa.array([[1, 2], [3, 4], [5, 6]], kind)})
    np.testing.assert_array_equal(vectors(table, "teacher"), [[1, 2], [3, 4], [5, 6]])


def test_nested_lists_of_numbers_are_arrays():
    values = np.arange(12.0).reshape(2, 3, 2)
    np.testing.assert_array_equal(vectors(memory_table({"teacher": values.tolist()}), "teacher"), values)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([[1, 2], [3]], "data, row 1, column 'teacher': a list needs 2 numbers as in the first. Received: 1."),
        ([[1, 2], None], "data, row 1, column 'teacher': a list needs 2 numbers as in the first. Received: 0."),
        ([[], [1]], "data, row 0, column 'teacher': a list needs numbers. Received: 0."),
        ([[1, 2], [3, None]], "data, row 1, column 'teacher': a number is missing or not finite"),
        (
            [[[1], [2]], [[3], [4, 5]]],
            "data, row 1, column 'teacher': a list needs 1 numbers as in the first. Received: 2.",
        ),
        ([["a"], ["b"]], "data, column 'teacher': it holds lists of string, not of numbers."),
    ],
)
def test_lists_that_are_no_vectors_name_the_row(cells, message):
    with pytest.raises(DataError) as caught:
        vectors(memory_table({"teacher": cells}), "teacher")
    assert str(caught.value) == message


def test_table_without_lists_is_returned_as_it_is():
    table = memory_table(COLUMNS)
    assert unnest(table) is table


def test_read_table_takes_data_in_memory():
    assert read_table(COLUMNS).strings("brand").tolist() == ["x", "", "y"]


def test_fingerprint_follows_cells_names_and_order():
    base = fingerprint(memory_table(COLUMNS))
    chunked = pa.concat_tables([pa.table(COLUMNS).slice(0, 1), pa.table(COLUMNS).slice(1)])
    assert fingerprint(memory_table(chunked)) == base
    changed = [
        {**COLUMNS, "price": [1.5, None, 2.5]},
        {**COLUMNS, "price": [1.5, 0.0, 2.0]},
        {name.upper(): cells for name, cells in COLUMNS.items()},
        {name: cells[::-1] for name, cells in COLUMNS.items()},
    ]
    prints = {fingerprint(memory_table(data)) for data in changed}
    assert base not in prints
    assert len(prints) == len(changed)


def test_fingerprint_follows_features():
    data = {"features": np.ones((2, 2)), "label": [0, 1], "qid": [0, 0]}
    other = {**data, "features": np.array([[1, 1], [1, 2]])}
    assert fingerprint(memory_table(data)) == fingerprint(memory_table(dict(data)))
    assert fingerprint(memory_table(data)) != fingerprint(memory_table(other))


def test_documents_as_objects_in_a_list_become_columns():
    rows = [{"query": "a", "docs": [{"t": "x", "y": 1}, {"t": "z"}]}, {"query": "b", "docs": [{"t": "x", "y": 0}]}]
    table = unnest(memory_table(rows))
    assert table.strings("query").tolist() == ["a", "a", "b"]
    assert table.strings("t").tolist() == ["x", "z", "x"]
    assert table.strings("y").tolist() == ["1", "", "0"]
