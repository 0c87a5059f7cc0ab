"""The commands over texts, as a user types them."""

import csv

import numpy as np
import pytest
import yaml

from ml4ir_losses.core.errors import UserError
from selection import slow_except
from small_texts import BAG, PAIR, TRIPLET, config, write, write_texts

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_texts(tmp_path_factory.mktemp("texts"))
    retrieval = {"corpus": "docs.csv", "queries": "queries.csv", "qrels": "qrels.csv"}
    spec = config(folder, "multiple_negatives_ranking", data={"retrieval": retrieval})
    (folder / "c.yaml").write_text(yaml.safe_dump(spec))
    return folder


@pytest.fixture(scope="module")
def run_folder(folder, tmp_path_factory):
    from ml4ir_losses.experiments.train import train

    return train(folder / "c.yaml", tmp_path_factory.mktemp("runs") / "run").path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_check_and_train_print_sizes_and_metrics(run, folder, tmp_path):
    code, out, _ = run("check", folder / "c.yaml")
    assert code == 0
    assert "loss multiple_negatives_ranking" in out
    assert "words per text" in out
    code, out, err = run("train", folder / "c.yaml", "--run-dir", tmp_path / "run", "--set", "training.epochs=1")
    assert code == 0
    assert "retrieval metrics" in out
    assert "untrained" in out
    assert "48 rows of anchor, positive" in err


def test_encode_writes_the_embeddings_of_the_model(run, folder, run_folder, tmp_path):
    from ml4ir_losses.model.loading import load_model

    code, out, _ = run("encode", run_folder, "--data", folder / "docs.csv", "--output", tmp_path / "docs.npy")
    assert (code, out.split(":")[0]) == (0, "40 embeddings of 8 dimensions")
    texts = [row["text"] for row in rows(folder / "docs.csv")]
    np.testing.assert_allclose(
        np.load(tmp_path / "docs.npy"), load_model(run_folder).encode(texts, "positive"), atol=1e-6
    )
    code, _, err = run("encode", run_folder, "--data", folder / "train.csv", "--output", tmp_path / "x.npy")
    assert code == 2
    assert "which column holds the text? Give --column. Columns: a, b, c" in err
    assert not (tmp_path / "x.npy").exists()
    code, _, err = run(
        "encode", run_folder, "--data", folder / "train.csv", "--column", "z", "--output", tmp_path / "x"
    )
    assert code == 2
    assert "no column 'z'" in err


def test_search_finds_the_nearest_documents(run, folder, run_folder, tmp_path):
    from ml4ir_losses.model.loading import load_model

    found = tmp_path / "found.csv"
    documents = ["--data", folder / "docs.csv", "--document-id", "doc_id", "--top", 3]
    code, _, _ = run("search", run_folder, *documents, "--queries", folder / "queries.csv", "--output", found)
    assert code == 0
    model = load_model(run_folder)
    corpus = {row["doc_id"]: row["text"] for row in rows(folder / "docs.csv")}
    x, y = (np.stack(list(v)) for v in (model.encode(["wing"]), model.encode(list(corpus.values()), "positive")))
    x, y = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, y))
    best = np.argsort(-(x @ y.T)[0], kind="stable")[:3]
    first = [row for row in rows(found) if row["query_id"] == "0"]  # its text is "wing"
    assert [row["document_id"] for row in first] == [list(corpus)[i] for i in best]
    np.testing.assert_allclose([float(row["score"]) for row in first], (x @ y.T)[0][best], rtol=1e-5)
    code, out, _ = run("search", run_folder, *documents, "--query", "wing")
    assert code == 0
    assert f"{float(first[0]['score']):.4f}" in out
    x, y = (
        model.encode(texts, column) for texts, column in ((["wing"], "anchor"), (list(corpus.values()), "positive"))
    )
    code, _, _ = run("search", run_folder, *documents, "--query", "wing", "--similarity", "dot", "--output", found)
    np.testing.assert_allclose([float(r["score"]) for r in rows(found)], -np.sort(-(x @ y.T)[0])[:3], rtol=1e-5)
    code, _, err = run("search", run_folder, *documents, "--query", "wing", "--similarity", "dots")
    assert (code, "`similarity` must be one of cosine, dot, euclidean" in err) == (2, True)
    code, _, err = run("search", run_folder, *documents)
    assert (code, err.strip()) == (2, "error: Give --query TEXT or --queries FILE.")


@pytest.mark.parametrize("output", slow_except(["triplet", "n_tuple", "labeled_pair", "labeled_list"], "triplet"))
def test_mined_negatives_train_the_next_model(run, folder, run_folder, output, tmp_path):
    mined = tmp_path / "mined.csv"
    settings = ["--set", f"mining.output={output}", "--set", "mining.num_negatives=2"]
    code, out, _ = run("mine-negatives", folder / "c.yaml", "--run", run_folder, "--output", mined, *settings)
    assert code == 0
    found = rows(mined)
    assert out.startswith(f"{len(found)} rows of ")
    pairs = {(row["a"], row["b"]) for row in rows(folder / "train.csv")}
    if output in ("triplet", "n_tuple"):
        assert all((row["anchor"], row["positive"]) in pairs for row in found)
        negatives = [name for name in found[0] if name.startswith("negative")]
        assert all((row["anchor"], row[name]) not in pairs for row in found for name in negatives)
        columns = {name: name for name in found[0]}
        spec = config(tmp_path, "multiple_negatives_ranking", columns, data={"train": "mined.csv"})
    elif output == "labeled_pair":
        columns = {"anchor": "anchor", "positive": "document", "label": "label"}
        spec = config(tmp_path, "contrastive", columns, data={"train": "mined.csv"})
    else:
        pair = {"name": "p", "type": "text_pair", "query": "anchor", "document": "document", "max_length": 16}
        spec = {
            "data": {"directory": str(tmp_path), "train": "mined.csv"},
            "features": {"query_id": "query_id", "label": "label", "inputs": [pair]},
            "model": {"architecture": {"key": "cross_encoder", "encoder": BAG}, "loss": "softmax_cross_entropy"},
            "training": {"epochs": 1},
        }
    (tmp_path / "next.yaml").write_text(yaml.safe_dump(spec))
    code, _, err = run("train", tmp_path / "next.yaml", "--run-dir", tmp_path / "next")
    assert code == 0, err


def test_mining_reports_missing_settings_in_one_line(run, folder, run_folder, tmp_path):
    code, _, err = run("mine-negatives", folder / "c.yaml", "--output", tmp_path / "m.csv")
    assert code == 2
    assert "mining.run: is missing" in err
    wrong = ["--set", "mining.range_min=5", "--set", "mining.range_max=5"]
    code, _, err = run("mine-negatives", folder / "c.yaml", "--run", run_folder, "--output", tmp_path / "m.csv", *wrong)
    assert code == 2
    assert "mining: range_max 5 must be above range_min 5" in err
    assert not (tmp_path / "m.csv").exists()


def test_evaluate_and_predict_read_new_pairs(run, folder, run_folder, tmp_path):
    code, out, _ = run("evaluate", run_folder, "--data", "retrieval")
    assert code == 0
    assert "ndcg_10" in out
    code, _, err = run("evaluate", run_folder, "--data", "reranking")
    assert (code, "data.reranking: is not given" in err) == (2, True)
    code, _, err = run("evaluate", run_folder, "--data", folder / "test.csv")
    assert code == 2
    assert "nothing to evaluate by" in err
    assert run("predict", run_folder, "--data", folder / "test.csv", "--output", tmp_path / "p.csv")[0] == 0
    found = rows(tmp_path / "p.csv")
    assert len(found) == 16
    assert all(-1.0001 <= float(row["cosine"]) <= 1.0001 for row in found)


def test_predict_writes_class_probabilities_of_pairs(run, folder, tmp_path):
    loss = {"key": "pair_softmax", "num_labels": 2}
    spec = config(folder, loss, PAIR | {"label": "same"}, architecture="pair_classifier")
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(spec))
    assert run("train", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")[0] == 0
    assert run("predict", tmp_path / "run", "--data", folder / "test.csv", "--output", tmp_path / "p.csv")[0] == 0
    found = rows(tmp_path / "p.csv")
    np.testing.assert_allclose([float(r["class_0"]) + float(r["class_1"]) for r in found], 1.0, atol=1e-5)


def test_encode_refuses_a_ranking_model(run, folder, tmp_path):
    from small import config as features
    from small import write_splits

    spec = features(write_splits(tmp_path)) | {"training": {"epochs": 1}}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(spec))
    assert run("train", tmp_path / "r.yaml", "--run-dir", tmp_path / "run")[0] == 0
    code, _, err = run("encode", tmp_path / "run", "--data", folder / "docs.csv", "--output", tmp_path / "x.npy")
    assert code == 2
    assert "is the run of a ranking model, which embeds no texts" in err


def test_triplet_metrics_are_printed(run, folder, tmp_path):
    spec = config(folder, "triplet", TRIPLET, data={"test": "test.csv"})
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(spec))
    code, out, _ = run("train", tmp_path / "c.yaml", "--run-dir", tmp_path / "run")
    assert code == 0
    assert "triplet_accuracy_cosine" in out
    write(tmp_path / "bad.csv", ["a", "b"], [["x", "y"]])
    code, _, err = run("evaluate", tmp_path / "run", "--data", tmp_path / "bad.csv")
    assert (code, "no column 'c' (data.columns.negative)" in err) == (2, True)


def test_retrieval_is_evaluated_by_group_and_against_a_baseline(run, folder, run_folder, tmp_path):
    from ml4ir_losses.experiments.evaluate import evaluate

    lines = [f"{q} Q0 {d} 0 {d % 8 == q:d} t" for q in range(6) for d in range(40)]
    (tmp_path / "perfect.txt").write_text("\n".join(lines))
    found = evaluate(run_folder, "retrieval", group_by="kind", baseline=tmp_path / "perfect.txt", cutoffs=[3])
    assert {"ndcg_3", "ndcg_10", "recall_3"} <= set(found.estimates)
    assert found.estimates["ndcg_3"].interval is not None
    assert [(group.value, group.queries) for group in found.groups.groups] == [("k0", 3), ("k1", 3)]
    assert found.differences["mrr_10"].baseline == 1.0
    assert found.differences["mrr_10"].wins == 0
    same = evaluate(run_folder, "retrieval", baseline=run_folder)
    assert {one.difference for one in same.differences.values()} == {0.0}
    for options, message in [
        ({"convention": "sklearn"}, "--convention: needs documents with features"),
        ({"group_by": "kin"}, "no column 'kin' (--group-by). Did you mean 'kind'?"),
        ({"baseline": "nope"}, "--baseline: nope is no run folder and no run file."),
    ]:
        with pytest.raises(UserError) as refused:
            evaluate(run_folder, "retrieval", **options)
        assert message in str(refused.value)
