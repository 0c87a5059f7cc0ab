"""`quantize-embeddings`, the index that it writes beside a run, and `search` in it."""

import csv
import json
import shutil

import numpy as np
import pytest
import yaml

from ml4ir_losses.core.checksums import RECORD
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.experiments import quantizing
from ml4ir_losses.experiments.embedding_index import FOLDER, open_index
from ml4ir_losses.experiments.evaluate import evaluate
from ml4ir_losses.experiments.quantizing import quantize_embeddings
from ml4ir_losses.experiments.run_report import write_report
from ml4ir_losses.experiments.text_commands import search, search_index
from ml4ir_losses.experiments.train import train
from ml4ir_losses.model.loading import load_model
from small_texts import config, write, write_texts

pytest.importorskip("faiss")
pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory, eager):
    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv"}
    spec = config(folder, "multiple_negatives_ranking", data={"retrieval": retrieval}, training={"epochs": 1})
    (folder / "c.yaml").write_text(yaml.safe_dump(spec))
    with eager():
        return train(folder / "c.yaml", tmp_path_factory.mktemp("runs") / "run").path


@pytest.fixture(scope="module")
def indexed(trained, tmp_path_factory):
    path = shutil.copytree(trained, tmp_path_factory.mktemp("indexed") / "run")
    quantize_embeddings(path)
    return path


@pytest.fixture
def run_folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def texts_of(folder):
    with (folder / "docs.csv").open(newline="") as file:
        return {row["doc_id"]: row["text"] for row in csv.DictReader(file)}


def test_the_corpus_of_the_run_is_indexed_and_measured(run, folder, run_folder):
    code, out, _ = run("quantize-embeddings", run_folder)
    assert code == 0
    assert out.startswith(f"40 documents of 8 dimensions: {run_folder / FOLDER}")
    index = open_index(run_folder / FOLDER)
    corpus = texts_of(folder)
    assert list(index.ids) == list(corpus)
    assert list(index.texts) == list(corpus.values())
    assert index.texts[2:4] == list(corpus.values())[2:4]
    found = index.record.measured
    assert found.queries == 6
    assert found.float32 == pytest.approx(evaluate(run_folder, "retrieval").metrics["ndcg_10"], abs=0.02)  # ties
    assert f"ndcg_10 {found.quantized:.4f}, with float32 {found.float32:.4f}" in out
    assert index.record.sizes["float32"] == 40 * 8 * 4


@pytest.mark.parametrize("precision", ["int8", "binary"])
def test_search_in_the_index_finds_what_a_search_in_the_file_finds(run, folder, run_folder, precision):
    quantize_embeddings(run_folder, str(folder / "docs.csv"), precision=precision, rescore=8, document_id="doc_id")
    queries = {"a": "wing flow", "b": "heat"}
    expected = search(run_folder, str(folder / "docs.csv"), queries, 3, identity="doc_id")
    found = search_index(run_folder, queries, 3)
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    np.testing.assert_allclose([row[3] for row in found], [row[3] for row in expected], atol=0.02)
    corpus = texts_of(folder)
    assert all(corpus[document] == text for _, _, document, _, text in found)
    code, out, _ = run("search", run_folder, "--query", "heat", "--top", 1)
    assert code == 0
    assert found[3][2] in out
    code, _, error = run("search", run_folder, "--query", "heat", "--similarity", "dot")
    assert code == 2
    assert "--similarity goes with --data" in error


def test_given_queries_and_judgments_are_measured_on(folder, run_folder):
    record = quantize_embeddings(
        run_folder,
        str(folder / "docs.csv"),
        queries=str(folder / "queries.csv"),
        qrels=str(folder / "qrels.csv"),
        precision="float32",
    )
    assert record.measured.queries == 6
    assert record.measured.quantized == record.measured.float32
    assert record.measured.overlap == 1.0


def test_other_documents_are_measured_on_the_collection_of_the_run(folder, run_folder, tmp_path):
    write(tmp_path / "other.csv", ["name", "text"], [["x", "wing flow"], ["y", "heat wave"]])
    record = quantize_embeddings(run_folder, str(tmp_path / "other.csv"), document_id="name")
    assert record.documents == 2
    assert record.measured.on == "data.retrieval, 40 documents"
    assert list(open_index(run_folder / FOLDER).ids) == ["x", "y"]


def test_a_run_with_an_index_is_still_a_valid_run(run_folder):
    before = evaluate(run_folder, "retrieval").metrics
    record = json.loads((run_folder / RECORD).read_text())
    quantize_embeddings(run_folder)
    assert evaluate(run_folder, "retrieval").metrics == before
    assert write_report(run_folder).exists()
    assert json.loads((run_folder / RECORD).read_text()) == record


def test_a_new_index_replaces_the_old_one_and_a_failed_one_leaves_it(run_folder, folder, monkeypatch):
    quantize_embeddings(run_folder)
    first = open_index(run_folder / FOLDER).record
    quantize_embeddings(run_folder, precision="binary")
    second = open_index(run_folder / FOLDER).record
    assert second.folder != first.folder
    assert sorted(file.name for file in (run_folder / FOLDER).iterdir()) == [second.folder, "index.json"]

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(quantizing, "_measure", stopped)
    with pytest.raises(KeyboardInterrupt):
        quantize_embeddings(run_folder)
    assert open_index(run_folder / FOLDER).record == second
    assert sorted(file.name for file in (run_folder / FOLDER).iterdir()) == [second.folder, "index.json"]
    shutil.rmtree(run_folder / FOLDER)
    with pytest.raises(KeyboardInterrupt):
        quantize_embeddings(run_folder)
    assert not (run_folder / FOLDER).exists()


def test_an_open_index_is_searched_after_it_was_replaced(run_folder):
    quantize_embeddings(run_folder, precision="binary")
    index = open_index(run_folder / FOLDER)
    query = load_model(run_folder).encode(["wing"])
    before = index.search(query, 5)
    quantize_embeddings(run_folder)
    np.testing.assert_array_equal(index.search(query, 5)[1], before[1])
    assert index.texts[0]


def damage(name):
    def change(run):
        (data,) = (run / FOLDER).glob("data-*")
        path = data / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return change


def edit(run, **changes):
    path = run / FOLDER / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: shutil.rmtree(run / FOLDER), "there is no index; make one: ml4ir-losses quantize-embeddings"),
        (damage("vectors.faiss"), "vectors.faiss: is damaged: its checksum is not that of index.json; make it again"),
        (damage("documents.arrow"), "documents.arrow: is damaged"),
        (lambda run: (run / "model.keras").write_bytes(b"another"), "is the index of another model than .*model.keras"),
        (lambda run: (run / FOLDER / "index.json").write_text("{"), "index.json: is not JSON"),
        (lambda run: edit(run, version=2), "is not that of an index of this version"),
        (lambda run: edit(run, folder="../../x"), "is not that of an index of this version"),
        (lambda run: edit(run, files={"/etc/passwd": "0"}), "does not name the files of the index"),
        (lambda run: edit(run, documents=3), "its files are not of the same documents"),
    ],
)
def test_an_index_that_cannot_be_used_is_refused(indexed, tmp_path, change, message):
    run = shutil.copytree(indexed, tmp_path / "run")
    change(run)
    with pytest.raises(UserError, match=message):
        open_index(run / FOLDER)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queries": "q.csv"}, "--queries and --qrels belong together"),
        ({"precision": "int4"}, "`precision` must be one of float32, int8, binary"),
        ({"similarity": "manhattan"}, "`similarity` must be one of"),
        ({"data": "missing.csv"}, "missing.csv"),
    ],
)
def test_wrong_options_leave_no_index(run_folder, options, message):
    with pytest.raises((UserError, DataError), match=message):
        quantize_embeddings(run_folder, **options)
    assert not (run_folder / FOLDER).exists()
