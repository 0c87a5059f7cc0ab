"""The same rows through every format: equal inputs, labels, queries and batches, and equal training."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from ml4ir_losses import convert, load_config, train
from ml4ir_losses.data.batching import BatchPlan, make_batch
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.data.splitting import read_splits
from ml4ir_losses.features.fitting import fit_inputs
from small import WORDS, read_queries

ROOT = Path(__file__).parents[2]
LTR = ROOT.parent / "shared" / "data" / "ltr"
# name of the file, format (None: by the ending), options of the writer
FORMATS = {
    "csv": ("a.csv", None, {}),
    "tsv": ("a.tsv.gz", None, {}),
    "parquet": ("a.parquet", None, {}),
    "feather": ("a.feather", None, {}),
    "jsonl": ("a.jsonl.zst", None, {}),
    "nested jsonl": ("a.jsonl", None, {"nested": True}),
    "hugging face": ("folder", "huggingface", {}),
    "catboost": ("a.tsv", "catboost", {}),
    "elwc": ("a.tfrecord", None, {"kind": "elwc"}),
    "example in example": ("a.tfrecord.zst", None, {"kind": "eie"}),
    "sequence example": ("a.tfrecords.gz", None, {"kind": "sequence_example"}),
    "example": ("a.tfrecord", None, {"kind": "example"}),
    "url": ("memory://every-format/a.csv.gz", None, {}),
}
OF_NUMBERS = {
    "svmlight": ("a.txt", None, {}),
    "svmlight.gz": ("a.svm.gz", None, {}),
    "query file": ("a.txt", None, {"groups": "query"}),
    "group file": ("a.txt", None, {"groups": "group"}),
}


def rows_of_numbers():
    """Queries of documents with five features, some of them 0, in the names of svmlight files."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 9, 30)
    rows = sizes.sum()
    features = np.where(rng.random((rows, 5)) < 0.4, 0, rng.normal(size=(rows, 5)) * 10.0 ** rng.integers(-9, 9, 5))
    columns = {f"f{i + 1}": features[:, i].astype("float32") for i in range(5)}
    ids = {"qid": np.repeat([f"q{i}" for i in range(len(sizes))], sizes), "document_id": [f"d{i}" for i in range(rows)]}
    return {"label": rng.integers(0, 5, rows), **ids, **columns}


def rows_of_all_kinds():
    """The same with missing cells, categories, texts and true or false."""
    rng, columns = np.random.default_rng(1), rows_of_numbers()
    rows = len(columns["qid"])
    columns["f1"] = np.where(rng.random(rows) < 0.2, np.nan, columns["f1"])
    texts = {
        "brand": rng.choice(["acme", "glob,ex", 'the "b"', "ünï", None], rows),
        "title": [" ".join(rng.choice(WORDS, 3)) for _ in range(rows)],
        "stock": rng.choice([True, False], rows),
        "code": rng.choice(["007", "7", "x"], rows),
    }
    return {**columns, **texts}


def config(path, format, inputs, query_id="qid", **sections):
    data = {"train": str(path), "format": format, "batch_size": 8}
    features = {"query_id": query_id, "label": "label", "document_id": "document_id", "inputs": inputs}
    return load_config({"data": data, "features": features, "model": {"loss": "lambda_loss"}, **sections})


def batches(checked):
    """The queries of a config, and the arrays of two epochs of batches."""
    table = read_splits(checked.data, checked.features.query_id, ["train"])["train"]
    queries = read_queries(checked, fit_inputs(checked.features, table))
    plan = BatchPlan(queries, 8, shuffle=True, bucketing=True, seed=3)
    return queries, [make_batch(plan, batch) for epoch in range(2) for batch in plan.batches(epoch)]


def assert_equal_batches(found, expected):
    assert len(found) == len(expected)
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        for part, other in ((x, expected_x), (y, expected_y)):
            assert list(part) == list(other)
            for name, values in part.items():
                np.testing.assert_array_equal(values, other[name], strict=True, err_msg=name)


NUMBERS = [{"name": "f*", "type": "numeric", "transforms": ["log1p", "standardise"]}]
ALL_KINDS = [
    {**NUMBERS[0], "missing_indicator": True},
    {"name": "brand", "type": "categorical"},
    {"name": "code", "type": "categorical"},
    {"name": "title", "type": "text"},
    {"name": "stock", "type": "numeric"},
]


def written(rows, name, format, options, folder):
    path = name if "://" in name else folder / name
    convert(rows, path, to_format=format, write_options=options, overwrite=True)
    return path


@pytest.mark.parametrize("key", [*FORMATS, *OF_NUMBERS])
def test_numbers_give_equal_batches_in_every_format(key, tmp_path):
    name, format, options = {**FORMATS, **OF_NUMBERS}[key]
    path = written(rows_of_numbers(), name, format, options, tmp_path)
    checked = config(path, format, NUMBERS, "query_id" if key == "catboost" else "qid")
    if options.get("groups"):
        checked = config(path, format, NUMBERS)
        checked.features.document_id = None
    queries, found = batches(checked)
    original, expected = batches(config(written(rows_of_numbers(), "b.parquet", None, {}, tmp_path), None, NUMBERS))
    assert_equal_batches(found, expected)
    if not options.get("groups"):
        assert queries.ids.tolist() == original.ids.tolist()
        assert queries.document_ids.tolist() == original.document_ids.tolist()


@pytest.mark.parametrize("key", FORMATS)
def test_columns_of_all_kinds_give_equal_batches_in_every_format(key, tmp_path):
    name, format, options = FORMATS[key]
    path = written(rows_of_all_kinds(), name, format, options, tmp_path)
    _, found = batches(config(path, format, ALL_KINDS, "query_id" if key == "catboost" else "qid"))
    _, expected = batches(config(written(rows_of_all_kinds(), "b.parquet", None, {}, tmp_path), None, ALL_KINDS))
    assert_equal_batches(found, expected)


def test_trec_files_read_back_the_same(tmp_path):
    columns = {
        "query_id": ["q0", "q0", "q1"],
        "document_id": ["a", "b", "a"],
        "label": [2.0, None, 0.5],
        "score": [0.1, 7.0, -1e-9],
        "query": ["red hat", "red hat", 'a\t"b"'],
        "document": ["x", None, "x"],
    }
    options = {"score": "score", "query": "query", "document": "document"}
    path = tmp_path / "a.run"
    convert(columns, path, write_options=options)
    beside = {name: str(tmp_path / f"a.{name}.jsonl") for name in ("queries", "documents")}
    table = read_table(str(path), unjudged=None, **beside)
    assert {name: table.columns[name].to_pylist() for name in columns} == columns


def trained(paths, format, query_id, tmp_path):
    """Predictions without the ids of the queries, metrics, and the history of two epochs on files of a format."""
    raw = yaml.safe_load((ROOT / "configs" / "ltr.yaml").read_text(encoding="utf-8"))
    del raw["expected_metrics"]
    raw["data"] = {"batch_size": 16, "format": format, **{split: str(path) for split, path in paths.items()}}
    raw["features"]["query_id"] = query_id
    raw["training"] = {"epochs": 2, "seed": 1, "report": False}
    run = train(raw, tmp_path, progress=False)
    predictions, metrics, history = (
        (Path(run.path) / name).read_text().splitlines() for name in ("predictions.csv", "metrics.json", "history.csv")
    )
    without_ids = [line.partition(",")[2] for line in predictions]  # a group file does not hold them
    return without_ids, metrics, [line.rpartition(",")[0] for line in history]  # the last column holds seconds


@pytest.fixture(scope="module")
def trained_on_ltr(tmp_path_factory):
    if not LTR.is_dir():
        pytest.skip("needs ../shared/data/ltr")
    paths = {"train": LTR / "train.txt", "validation": LTR / "vali.txt", "test": LTR / "test.txt"}
    return paths, trained(paths, None, "qid", tmp_path_factory.mktemp("ltr") / "run")


@pytest.mark.slow
@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize("key", [*FORMATS, *OF_NUMBERS])
def test_training_on_ltr_is_the_same_in_every_format(key, trained_on_ltr, tmp_path):
    sources, expected = trained_on_ltr
    name, format, options = {**FORMATS, **OF_NUMBERS}[key]
    paths = {}
    for split, source in sources.items():
        paths[split] = f"{name}-{split}.csv" if "://" in name else tmp_path / split / name
        if "://" not in name:
            paths[split].parent.mkdir()
        convert(str(source), paths[split], to_format=format, write_options=options, overwrite=True)
    found = trained(paths, format, "query_id" if key == "catboost" else "qid", tmp_path / "run")
    assert found == expected
