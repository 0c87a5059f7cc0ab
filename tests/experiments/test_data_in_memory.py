"""Training, evaluation and prediction with data in memory in the place of files."""

import json

import numpy as np
import pyarrow.csv
import pytest
import yaml

from ml4ir_losses.config.load import load_config
from ml4ir_losses.core.errors import ConfigError, DataError, UserError
from ml4ir_losses.experiments.evaluate import check, evaluate, predict
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.loading import load_model
from ml4ir_losses.model.relevance_model import RelevanceModel
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def tables(folder):
    return {split: pyarrow.csv.read_csv(folder / f"{split}.csv") for split in SPLITS}


def without_files(folder):
    raw = config(folder)
    raw["data"] = {"batch_size": raw["data"]["batch_size"]}
    return raw


@pytest.fixture(scope="module")
def run(folder, tables, tmp_path_factory):
    return train(without_files(folder), tmp_path_factory.mktemp("runs") / "run", data=tables, progress=False)


def test_same_metrics_and_scores_as_from_files(folder, run, tmp_path):
    from_files = train(config(folder), tmp_path / "files", progress=False)
    assert run.metrics == from_files.metrics
    assert run.baselines == from_files.baselines
    path = str(folder / "test.csv")
    np.testing.assert_allclose(run.predict(path), from_files.predict(path), rtol=1e-5)


def test_run_folder_says_where_the_data_came_from(run):
    described = json.loads((run.path / "data.json").read_text())
    assert {split: value["sources"] for split, value in described.items()} == {s: [f"data[{s!r}]"] for s in SPLITS}
    assert described["train"]["columns"] == 10
    assert len({value["sha256"] for value in described.values()}) == 3
    saved = yaml.safe_load((run.path / "config.yaml").read_text())
    assert saved["data"]["train"] == "in memory: pyarrow.Table"


def test_saved_config_without_its_data_says_to_give_them_again(run):
    with pytest.raises(DataError, match=r"^These data were in memory: pyarrow.Table; .* Give them again: `data=`\.$"):
        check(run.path / "config.yaml")


def test_saved_config_trains_again_with_data(run, tables, tmp_path):
    again = train(run.path / "config.yaml", tmp_path / "again", data=tables, progress=False)
    assert again.metrics == run.metrics


def test_evaluate_and_predict_take_data_in_memory(folder, run, tables, tmp_path):
    path = str(folder / "test.csv")
    assert evaluate(run.path, tables["test"]).metrics == evaluate(run.path, path).metrics
    assert run.evaluate(tables["test"]) == run.metrics["test"]
    for data, output in ((path, "file.csv"), (tables["test"], "memory.csv")):
        predict(run.path, data, tmp_path / output)
    assert (tmp_path / "file.csv").read_text() == (tmp_path / "memory.csv").read_text()


def test_scores_come_in_the_order_of_unsorted_rows(run, tables):
    table = tables["test"].drop_columns(["label"])
    order = np.random.default_rng(0).permutation(len(table))
    scores = run.predict(table)
    np.testing.assert_allclose(run.predict(table.take(order)), scores[order], rtol=1e-5, atol=1e-6)


def test_loaded_model_scores_raw_columns(run, tables):
    model = load_model(run.path)
    raw = tables["test"].to_pydict()
    assert None in raw["price"]
    np.testing.assert_allclose(model.predict_rows(raw), run.predict(tables["test"]), rtol=1e-5, atol=1e-6)
    logits = model.predict_rows(raw, logits=True)
    np.testing.assert_allclose(logits, model.predict_rows(raw, logits=True, batch_size=2), rtol=1e-5, atol=1e-6)


def test_predict_of_raw_columns_names_predict_rows(run, tables):
    raw = {name: np.array(cells) for name, cells in tables["test"].to_pydict().items()}
    with pytest.raises(UserError, match=r"^predict takes lists \[Q, N\]; 'price' is a column .*: predict_rows"):
        run.model.predict(raw)


def test_scored_rows_need_the_query_id(run, tables):
    with pytest.raises(DataError, match=r"^data: no column 'query_id' \(query_id\)\. Columns: doc, "):
        run.predict(tables["test"].drop_columns(["query_id"]))


def test_nested_lists_train_like_rows(folder, run, tables, tmp_path):
    nested = {}
    for split, table in tables.items():
        grouped = table.group_by("query_id", use_threads=False).aggregate(
            [(n, "list") for n in table.column_names if n != "query_id"]
        )
        nested[split] = {name.removesuffix("_list"): grouped[name].to_pylist() for name in grouped.column_names}
    again = train(without_files(folder), tmp_path / "nested", data=nested, progress=False)
    assert again.metrics == run.metrics


def test_arrays_train_with_the_config_of_svmlight_files(tmp_path):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 3))
    label = (features[:, 0] > 0).astype(int)
    data = {"features": features, "label": label, "group": [6] * 10}
    raw = {
        "features": {"query_id": "qid", "inputs": [{"name": "f*", "type": "numeric"}]},
        "model": {"architecture": "linear", "loss": "ranknet", "optimizer": {"key": "adam", "learning_rate": 0.1}},
        "training": {"epochs": 3},
    }
    run = train(raw, tmp_path / "rows", data={"train": data, "test": data}, progress=False)
    lists = {"features": features.reshape(10, 6, 3), "label": label.reshape(10, 6)}
    again = train(raw, tmp_path / "lists", data={"train": lists, "test": lists}, progress=False)
    assert run.metrics == again.metrics
    np.testing.assert_allclose(run.predict(data), again.predict(lists), rtol=1e-5)


def test_one_table_is_the_training_data(folder, tables):
    assert list(check(without_files(folder), data=tables["train"])["splits"]) == ["train"]
    assert list(check(config(folder), data=tables["train"])["splits"]) == ["train"]


def test_split_in_memory_stands_beside_one_in_a_file(folder, tables):
    raw = config(folder)
    summary = check(raw, data={"train": tables["train"], "validation": "validation.csv"})
    assert list(summary["splits"]) == ["train", "validation"]


def test_models_are_built_from_data_in_memory(folder, tables):
    built = RelevanceModel.from_config(without_files(folder), data=tables)
    assert built.count_params() == check(config(folder))["parameters"]


def test_expected_metrics_belong_to_the_files(folder, tables, caplog):
    raw = config(folder, expected_metrics={"test": {"ndcg_5": 1.1}})
    with caplog.at_level("INFO", logger="ml4ir_losses"):
        assert load_config(raw, data=tables).expected_metrics == {}
    assert "expected_metrics: left out" in caplog.text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda t: {**t, "dev": t["test"]}, ConfigError, r"^data: unknown 'dev'\. Allowed: train, validation, test"),
        (
            lambda t: {"validation": t["test"]},
            ConfigError,
            r"^data: train is missing: give train, or path with split or folds\.$",
        ),
        (
            lambda t: {"train": t["train"].drop_columns(["price"])},
            DataError,
            r"^data\['train'\]: no column 'price' \(features\.inputs\)",
        ),
        (
            lambda t: {"train": {**t["train"].to_pydict(), "price": ["cheap", *t["train"]["price"].to_pylist()[1:]]}},
            DataError,
            r"^data\['train'\], row 0, column 'price': 'cheap' is not a number$",
        ),
    ],
)
def test_bad_data_in_memory_get_one_clear_line(folder, tables, change, error, message):
    with pytest.raises(error, match=message):
        check(without_files(folder), data=change(tables))


def test_training_in_python_shows_its_progress_unless_told_not_to(folder, tables, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("ml4ir_losses.core.log.LOGGER.hasHandlers", lambda: False)  # pytest adds its own
    raw = without_files(folder)
    raw["training"] = {"epochs": 1}
    train(raw, tmp_path / "quiet", data=tables, progress=False)
    assert "epoch 1/1" not in capfd.readouterr().err
    train(raw, tmp_path / "shown", data=tables)
    assert "epoch 1/1" in capfd.readouterr().err


TEXTS = {
    "data": {"columns": {"anchor": "question", "positive": "answer"}, "batch_size": 4},
    "model": {
        "architecture": {"key": "bi_encoder", "encoder": {"key": "bag_of_words", "embedding_dim": 4}},
        "loss": "multiple_negatives_ranking",
    },
    "training": {"epochs": 1},
}
PAIRS = {"question": [f"what is a{i}" for i in range(12)], "answer": [f"a{i} is b{i}" for i in range(12)]}
COLLECTION = {
    "corpus": {"doc_id": ["d1", "d2"], "text": PAIRS["answer"][:2]},
    "queries": {"query_id": ["q1"], "text": PAIRS["question"][:1]},
    "qrels": {"query_id": ["q1"], "doc_id": ["d1"], "grade": [1]},
}


def test_texts_in_memory_train_and_evaluate(tmp_path):
    data = {"train": PAIRS, "validation": PAIRS, "retrieval": COLLECTION}
    run = train(TEXTS, tmp_path / "run", data=data, progress=False)
    assert run.metrics["retrieval"]["recall_100"] == 1.0
    scores = run.predict(PAIRS)
    renamed = {"anchor": PAIRS["question"], "positive": PAIRS["answer"]}
    np.testing.assert_allclose(load_model(run.path).predict_rows(renamed), scores, rtol=1e-5)
    embeddings = run.model.encode(PAIRS["question"], "anchor"), run.model.encode(PAIRS["answer"], "positive")
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in embeddings)
    np.testing.assert_allclose(scores, (a * b).sum(axis=1), rtol=1e-5)


def test_retrieval_in_memory_needs_its_tables_by_name():
    with pytest.raises(ConfigError, match=r"^data\['retrieval'\]: give its tables by name: corpus, queries, qrels\.$"):
        check(TEXTS, data={"train": PAIRS, "retrieval": COLLECTION["corpus"]["text"]})


def test_data_sets_in_memory_go_by_name(tmp_path):
    raw = {**TEXTS, "data": {"batch_size": 4, "datasets": {"one": {"columns": TEXTS["data"]["columns"]}}}}
    run = train(raw, tmp_path / "run", data={"one": {"train": PAIRS, "test": PAIRS}}, progress=False)
    assert list(json.loads((run.path / "data.json").read_text())) == ["one train", "one test"]
    with pytest.raises(ConfigError, match=r"^data: unknown 'two'\. Allowed: one\.$"):
        check(raw, data={"two": PAIRS})
    with pytest.raises(ConfigError, match=r"^data: give the data of each data set by name: one\.$"):
        check(raw, data=[PAIRS])


def test_nested_pairs_become_rows():
    nested = {"question": ["a", "b"], "answer": [["x", "y"], ["z"]]}
    assert check(TEXTS, data=nested)["splits"]["train"]["rows"] == 3
    assert isinstance(EmbeddingModel.from_config(TEXTS, data=nested), EmbeddingModel)


def test_teacher_scores_may_be_lists_or_columns(tmp_path):
    rows = {**PAIRS, "negative": PAIRS["answer"][::-1]}
    raw = {
        **TEXTS,
        "data": {"columns": {"anchor": "question", "positive": "answer", "negative": "negative", "teacher": "scores"}},
        "model": {**TEXTS["model"], "loss": "embedding_margin_mse"},
    }
    scores = np.random.default_rng(0).normal(size=(12, 2))
    listed = train(raw, tmp_path / "lists", data={**rows, "scores": scores}, progress=False)
    raw["data"]["columns"]["teacher"] = ["first", "second"]
    columns = {**rows, "first": scores[:, 0], "second": scores[:, 1]}
    separate = train(raw, tmp_path / "columns", data=columns, progress=False)
    history = [(run.path / "history.csv").read_text().splitlines()[1].split(",")[1] for run in (listed, separate)]
    assert history[0] == history[1]


def test_roles_stand_for_columns_of_their_names():
    raw = {**TEXTS, "data": {"columns": ["anchor", "positive"]}}
    data = {"anchor": PAIRS["question"], "positive": PAIRS["answer"]}
    assert check(raw, data=data)["splits"]["train"]["rows"] == 12
