"""Reports of run folders: what is read from their files, importance of columns, messages for other folders."""

import json
import shutil

import numpy as np
import pytest

import small_texts
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.data.queries import Queries
from ml4ir_losses.data.truncation import Truncation
from ml4ir_losses.evaluation.scoring import MetricSet
from ml4ir_losses.experiments import ranked_queries, run_report
from ml4ir_losses.experiments.importance import permutation_importance
from ml4ir_losses.experiments.ranked_queries import RankedQueries
from ml4ir_losses.experiments.run_data import collect
from ml4ir_losses.experiments.run_report import open_folders, report_comparison, write_report
from ml4ir_losses.experiments.train import train
from ml4ir_losses.features.kinds.categorical import FittedCategorical
from ml4ir_losses.features.kinds.numeric import FittedNumeric
from report.examples import comparison
from small import config, write_splits

pytestmark = pytest.mark.usefixtures("eager_steps")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def path(folder, tmp_path_factory, eager):
    """A run folder with its report."""
    settings = config(folder, training={"report": True}, data={"max_list_size": 8})
    with eager():
        return train(settings, tmp_path_factory.mktemp("runs") / "run", progress=False).path


@pytest.fixture
def copy(path, tmp_path):
    """A copy of the run folder, to change."""
    return shutil.copytree(path, tmp_path / "copy")


def data_of(path):
    return collect(path, open_folders(path)[0].config)


@pytest.mark.backend("tensorflow")
def test_train_writes_report_plots_and_importance(path):
    page = (path / "report.html").read_text(encoding="utf-8")
    metrics = json.loads((path / "metrics.json").read_text())
    for text in (f"{metrics['test']['ndcg_5']:.4f}", "softmax_cross_entropy", "price descending", "Worst queries"):
        assert text in page.replace("<wbr>", "")
    names = {
        "curve-loss",
        "curve-metric",
        "cutoffs",
        "cutoffs-others",
        "distribution",
        "list-length",
        "scores-by-grade",
        "importance",
    }
    assert {file.stem for file in (path / "plots").iterdir()} == names
    importance = json.loads((path / "importance.json").read_text())
    assert {column["name"] for column in importance["columns"]} == {"price", "brand", "title"}  # segment: per query


@pytest.mark.backend("tensorflow")
def test_train_explains_the_worst_queries_and_one_of_median_value(path):
    run = data_of(path)
    explained = run.explanations["queries"]
    assert [query["query"] for query in explained[:3]] == [query.query for query in run.poor[:3]]
    assert [query["value"] for query in explained] == pytest.approx([*sorted(run.values)[:3], sorted(run.values)[6]])
    for query in explained:
        first, second = query["documents"]
        assert first["rank"] == 1
        assert second["label"] > first["label"] or second["rank"] == 2
        assert sum(column["adds"] for column in query["columns"]) == pytest.approx(
            first["logit"] - second["logit"], abs=1e-6
        )
        assert {column["name"] for column in query["columns"]} == {"price", "brand", "title"}
    assert "Why the first document" in (path / "report.html").read_text(encoding="utf-8")


@pytest.mark.backend("tensorflow")
def test_collected_numbers_are_those_of_the_run(path):
    run, metrics = data_of(path), json.loads((path / "metrics.json").read_text())
    assert run.metric == "ndcg_5"
    assert run.part == "test"
    for name, value in metrics["test"].items():
        mean, (low, high) = run.metrics[name]
        assert mean == value
        assert low <= mean <= high
    assert run.cutoffs["ndcg"][5][0] == pytest.approx(metrics["test"]["ndcg_5"], abs=1e-6)
    assert np.mean(run.values) == pytest.approx(metrics["test"]["ndcg_5"], abs=1e-6)
    assert run.best_epoch in (1, 2)
    assert [query.value for query in run.poor] == pytest.approx(sorted(run.values)[:5], abs=1e-6)
    assert sum(count for _, count, *_ in run.lengths) == len(run.values)
    assert run.settings["model.architecture.hidden_units"] == [16]
    assert run.missing == ["Calibration: the labels are not all 0 or 1 (2 among them)."]


@pytest.mark.backend("tensorflow")
def test_report_of_an_old_run_says_what_is_left_out(copy):
    for name in ("importance.json", "report.html", "predictions.csv", "baselines.json", "log.txt"):
        (copy / name).unlink()
    page = write_report(copy).read_text(encoding="utf-8")
    assert "there is no predictions.csv" in page
    assert "Over queries" in page


@pytest.mark.backend("tensorflow")
def test_several_runs_make_one_page_with_their_differences(path, copy, tmp_path):
    settings = (copy / "config.yaml").read_text().replace("seed: 3", "seed: 4")
    (copy / "config.yaml").write_text(settings)
    with pytest.raises(UserError, match="--output FILE"):
        write_report([path, copy])
    page = write_report([path, copy], tmp_path / "both.html").read_text(encoding="utf-8")
    assert "training.<wbr>seed" in page or "training.seed" in page
    assert {file.name for file in (tmp_path / "both-plots").iterdir()} >= {"means.png", "curves-0.png"}


PRICE = [{"name": "price", "type": "numeric"}]


def failing(*_):
    raise ZeroDivisionError("no ink")


@pytest.mark.backend("tensorflow")
def test_a_report_that_fails_loses_no_run(folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(run_report, "_page", failing)
    settings = config(folder, training={"report": True, "epochs": 1}, features={"inputs": PRICE})
    run = train(settings, tmp_path / "run", progress=False)
    assert run.metrics
    assert "report.html was not written (no ink)" in caplog.text
    assert not (run.path / "report.html").exists()
    assert (run.path / "metrics.json").exists()


@pytest.mark.backend("tensorflow")
def test_a_text_run_has_a_report_of_what_it_keeps(tmp_path):
    small_texts.write_texts(tmp_path)
    retrieval = {"corpus": "docs.csv", "document": "text", "queries": "queries.csv", "qrels": "qrels.csv"}
    loss, training = "multiple_negatives_ranking", {"epochs": 1, "report": True}
    settings = small_texts.config(tmp_path, loss, data={"retrieval": retrieval}, training=training)
    run = train(settings, tmp_path / "run", progress=False)
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "there is no predictions.csv" in page
    assert "untrained" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, "there is no such folder"),
        (lambda path: (path / "config.yaml").unlink(), "is not a run folder; it has no config.yaml"),
        (lambda path: (path / "metrics.json").unlink(), "the run is not finished; it has no metrics.json"),
        (lambda path: (path / "metrics.json").write_text("{"), "metrics.json: is not JSON"),
        (lambda path: (path / "config.yaml").write_text("name: a\nold: 1\n"), "its config is of another version"),
        (lambda path: (path / "compare.json").write_text('{"version": 0}'), "is not a comparison of this version"),
    ],
)
@pytest.mark.backend("tensorflow")
def test_other_folders_get_one_line(copy, change, message):
    change(copy)
    with pytest.raises(UserError, match=message) as raised:
        write_report(copy)
    assert "\n" not in str(raised.value)
    assert not (copy / "plots" / "means.png").exists()


@pytest.mark.backend("tensorflow")
def test_report_command_takes_a_comparison_alone(run, path, tmp_path):
    (tmp_path / "compare.json").write_text(json.dumps(comparison()))
    code, out, _ = run("report", tmp_path)
    assert code == 0
    assert f"report: {tmp_path / 'report.html'}" in out
    assert write_report(tmp_path) == tmp_path / "report.html"
    code, _, err = run("report", path, tmp_path, "--output", tmp_path / "x.html")
    assert code == 2
    assert "is a comparison, which has its own page" in err


class Weighted:
    """A model whose score is a weighted sum of its inputs."""

    def __init__(self, fitted, weights):
        self.fitted, self.weights = fitted, weights

    def predict_on_batch(self, x):
        return {"logit": sum(x[name] @ w if np.ndim(w) else x[name] * w for name, w in self.weights.items())}


def queries(sizes, rng):
    rows = sum(sizes)
    numeric = rng.normal(size=(rows, 2)).astype("float32")
    return Queries(
        ids=np.arange(len(sizes)).astype(str),
        offsets=np.concatenate([[0], np.cumsum(sizes)]),
        features={"x": numeric, "c": rng.integers(0, 5, rows).astype("int32"), "q": np.ones((rows, 1), "float32")},
        labels={"y": (numeric[:, 0] > 0).astype("float32")},
        document_ids=np.arange(rows).astype(str),
        query_scope=frozenset({"q"}),
    )


def test_importance_is_that_of_the_columns_that_the_score_needs():
    fitted = [
        FittedNumeric(name="x", columns=["a", "b"]),
        FittedCategorical(name="c", columns=["c"]),
        FittedNumeric(name="q", scope="query", columns=["q"]),
    ]
    data = queries([2, 9, 30, 4] * 10, np.random.default_rng(0))
    model = Weighted(fitted, {"x": np.array([1.0, 0.0])})
    found = permutation_importance(model, MetricSet([{"key": "ndcg", "topn": 5}], "y"), data, Truncation(20))
    drops = {column["name"]: column["drop"] for column in found["columns"]}
    assert next(iter(drops)) == "a"
    assert drops["a"] > 0.2
    assert drops["b"] == drops["c"] == 0.0
    assert found["value"] == 1.0
    assert (found["metric"], found["queries"], found["repeats"]) == ("ndcg_5", 40, 5)
    again = permutation_importance(model, MetricSet([{"key": "ndcg", "topn": 5}], "y"), data, Truncation(20))
    assert again["columns"] == found["columns"]


def test_importance_of_a_metric_to_be_minimized_is_its_rise():
    fitted = [FittedNumeric(name="x", columns=["a", "b"])]
    model = Weighted(fitted, {"x": np.array([1.0, 0.0])})
    data = queries([9] * 20, np.random.default_rng(1))
    found = permutation_importance(model, MetricSet(["arp"], "y"), data, Truncation(None))
    assert found["columns"][0]["name"] == "a"
    assert found["columns"][0]["drop"] > 0.5


def test_importance_is_none_without_columns_of_documents():
    fitted = [FittedNumeric(name="q", scope="query", columns=["q"])]
    data = queries([3], np.random.default_rng(0))
    assert permutation_importance(Weighted(fitted, {}), MetricSet(["mrr"], "y"), data, Truncation(None)) is None


HEADER = "query_id,document_id,label,logit,score\n"
ROWS = """query_id,document_id,label,logit,score,rank
a,d1,2,0.1,0,3
a,d2,0,0.9,0,1
b,d1,1,3,0,1
a,d3,1,0.5,0,2
b,d2,0,1,0,2
"""


def test_ranked_queries_of_a_file_by_hand(tmp_path):
    (tmp_path / "p.csv").write_text(ROWS)
    ranked = RankedQueries.read(tmp_path / "p.csv", ["mrr", {"key": "precision", "topn": 2}], 0.0)
    assert ranked.main == "mrr"
    assert ranked.cutoffs == [1, 2, 3]
    np.testing.assert_allclose(ranked.model.values["mrr"], [0.5, 1.0])
    np.testing.assert_allclose(ranked.original.values["mrr"], [1.0, 1.0])
    assert not ranked.original_is_sorted
    worst = ranked.poor(1)[0]
    assert (worst.query, worst.value, worst.documents) == ("a", 0.5, 3)
    assert [row[:4] for row in worst.rows] == [(1, 2, "d2", 0.0), (2, 3, "d3", 1.0), (3, 1, "d1", 2.0)]
    np.testing.assert_allclose([row[4] for row in worst.rows], [0.9, 0.5, 0.1])
    grades = ranked.by_grade()
    assert list(grades) == ["0", "1", "2"]
    np.testing.assert_allclose(grades["2"], [0.1 - 0.5] * 5, atol=1e-6)


def test_many_queries_are_sampled_and_documents_that_were_not_retrieved_have_no_grade(tmp_path, monkeypatch):
    monkeypatch.setattr(ranked_queries, "MAX_QUERIES", 2)
    (tmp_path / "p.csv").write_text(ROWS + "c,d1,1,-inf,0,2\nc,d2,1,1,0,1\n")
    ranked = RankedQueries.read(tmp_path / "p.csv", ["mrr"], 0.0)
    assert (len(ranked.data), ranked.total) == (2, 3)
    assert len(ranked.model.values["mrr"]) == 2
    assert np.isfinite(list(ranked.by_grade().values())).all()


def test_data_sorted_by_label_are_no_baseline(tmp_path):
    (tmp_path / "p.csv").write_text(HEADER + "a,1,2,0,0\na,2,2,0,0\na,3,0,0,0\nb,1,3,0,0\nb,2,1,0,0\n")
    assert RankedQueries.read(tmp_path / "p.csv", ["mrr"], 0.0).original_is_sorted


def test_labels_without_grades_are_grouped(tmp_path):
    lines = [f"q,{i},{i / 40},{i},0" for i in range(40)]
    (tmp_path / "p.csv").write_text(HEADER + "\n".join(lines))
    grades = RankedQueries.read(tmp_path / "p.csv", ["mrr"], 0.0).by_grade()
    assert len(grades) == 5
    assert next(iter(grades)) == "0 to 0.195"


@pytest.mark.parametrize(("of", "documents", "predicted"), [("document", 5, 0.42), ("choice", 2, 0.5)])
def test_calibration_by_hand(tmp_path, of, documents, predicted):
    (tmp_path / "p.csv").write_text(HEADER + "a,1,1,0,0.9\na,2,0,0,0.1\nb,1,1,0,0.6\nb,2,1,0,0.3\nb,3,0,0,0.2\n")
    found = RankedQueries.read(tmp_path / "p.csv", ["mrr"], 0.0).calibration(of)
    assert found.documents == documents
    assert np.average(found.equal_mass.predicted, weights=found.equal_mass.count) == pytest.approx(predicted)


def test_a_report_of_a_comparison_that_cannot_be_drawn_is_a_warning(tmp_path, caplog):
    (tmp_path / "compare.json").write_text("{}")
    with caplog.at_level("WARNING", logger="ml4ir_losses"):
        report_comparison(tmp_path)
    assert "report.html was not written" in caplog.text
    assert f"ml4ir-losses report {tmp_path} tries again." in caplog.text
