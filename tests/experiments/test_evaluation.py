"""The evaluation of runs on documents with features: chunks, groups, baselines, calibration, clicks, messages."""

import json

import numpy as np
import pandas as pd
import pytest

from ml4ir_losses.config.load import dump_config, load_config
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation.run_files import evaluate_run_file
from ml4ir_losses.experiments import feature_evaluation
from ml4ir_losses.experiments.evaluate import evaluate, predict
from ml4ir_losses.experiments.experiment import prepare
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.experiments.run_folder import RunFolder
from small import config, write_splits

pytestmark = [pytest.mark.backend("tensorflow"), pytest.mark.usefixtures("eager_steps")]


def save_untrained(spec, path):
    """A run folder of the model as it is built."""
    experiment = prepare(load_config(spec))
    path.mkdir()
    folder = RunFolder(path)
    folder.write_text("config.yaml", dump_config(experiment.config))
    experiment.model.optimizer.build(experiment.model.trainable_variables)
    folder.save_model(experiment.model)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_splits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def frame(folder):
    return pd.read_csv(folder / "test.csv", dtype={"price": float})


@pytest.fixture(scope="module")
def runs(folder, tmp_path_factory):
    """`grades` ranks by a softmax loss; `clicks` predicts clicks with shown positions."""
    where = tmp_path_factory.mktemp("runs")
    clicks = {"features": {"label": "clicked", "positions": "shown"}, "model": {"loss": "sigmoid_cross_entropy"}}
    return {
        "grades": save_untrained(config(folder), where / "grades"),
        "clicks": save_untrained(config(folder, **clicks, training={"seed": 7}), where / "clicks"),
    }


def test_metrics_are_those_of_the_run_and_come_at_every_cutoff(runs, frame):
    found = evaluate(runs["grades"], frame, cutoffs=[1, 5])
    assert found.metrics == pytest.approx(open_run(runs["grades"]).evaluate(frame), abs=1e-6)
    assert list(found.metrics) == ["ndcg_5", "mrr"]
    assert list(found.estimates) == ["ndcg_1", "ndcg_5", "mrr_1", "mrr_5", "mrr", "acr"]
    assert (found.queries, found.documents) == (12, len(frame))
    for estimate in found.estimates.values():
        assert estimate.interval[0] <= estimate.mean <= estimate.interval[1]


def test_chunks_of_queries_change_nothing(runs, frame, monkeypatch):
    options = {"group_by": "segment", "baseline": "price", "positions": "shown"}
    shuffled = frame.sample(frac=1, random_state=0).sort_values("shown", kind="stable")  # queries are not adjacent
    whole = evaluate(runs["grades"], shuffled, **options)
    monkeypatch.setattr(feature_evaluation, "_CHUNK", 10)
    parts = evaluate(runs["grades"], shuffled, **options)
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-6)
    assert parts.groups.macro == pytest.approx(whole.groups.macro, rel=1e-6)
    assert parts.positions.score == pytest.approx(whole.positions.score, rel=1e-5)
    assert parts.differences["mrr"].p == whole.differences["mrr"].p
    assert parts.per_query.values["acr"] == pytest.approx(whole.per_query.values["acr"])


def test_padding_and_long_lists_are_left_out_as_in_training(folder, frame, tmp_path):
    run = save_untrained(config(folder, data={"max_list_size": 4}), tmp_path / "run")
    padded = frame.copy()
    padded.loc[padded["shown"] == 2, "label"] = -1
    found = evaluate(run, padded)
    assert found.metrics == pytest.approx(open_run(run).evaluate(padded), abs=1e-6)
    assert found.documents == int(((frame["shown"] <= 4) & (frame["shown"] != 2)).sum())


def test_group_is_evaluated_as_its_queries_alone(runs, frame):
    found = evaluate(runs["grades"], frame, group_by="segment").groups
    for group in found.groups:
        alone = evaluate(runs["grades"], frame[frame["segment"] == group.value])
        assert group.queries == alone.queries
        means = {name: estimate.mean for name, estimate in group.metrics.items()}
        assert means == pytest.approx({name: one.mean for name, one in alone.estimates.items()}, rel=1e-5)
    assert {group.value for group in found.groups} == set(frame["segment"])


def test_baseline_may_be_a_run_a_column_or_a_run_file(runs, frame, folder, tmp_path):
    other = evaluate(runs["clicks"], frame.assign(clicked=frame["label"]))
    by_run = evaluate(runs["grades"], frame, baseline=runs["clicks"])
    predict(runs["clicks"], folder / "test.csv", tmp_path / "other.txt", format="trec")
    by_file = evaluate(runs["grades"], frame, baseline=tmp_path / "other.txt")
    for name in ("ndcg_5", "mrr", "acr"):
        assert by_run.differences[name].baseline == pytest.approx(other.estimates[name].mean, rel=1e-5)
        assert by_file.differences[name] == by_run.differences[name]
    best = frame.assign(score=frame["label"])
    found = evaluate(runs["grades"], best, baseline="score").differences["ndcg_5"]
    assert (found.baseline, found.wins) == (pytest.approx(1.0), 0)
    worst = evaluate(runs["grades"], best, baseline="-score").differences["ndcg_5"]
    assert worst.losses == 0
    assert worst.baseline < found.baseline


def test_clicks_are_calibrated_and_their_bias_by_position_is_measured(runs, frame, folder, tmp_path):
    found = evaluate(runs["clicks"], frame)
    predict(runs["clicks"], folder / "test.csv", tmp_path / "p.csv")
    predicted = pd.read_csv(tmp_path / "p.csv")
    assert found.calibration.brier == pytest.approx(np.mean((predicted["score"] - predicted["label"]) ** 2), rel=1e-5)
    assert found.calibration.documents == len(frame)
    assert found.positions.click_rate == pytest.approx(frame.groupby("shown")["clicked"].mean().tolist())
    assert found.positions.score == pytest.approx(
        predicted.groupby(frame["shown"])["logit"].mean().tolist(), rel=1e-4, abs=1e-6
    )
    clicked = predicted[predicted["label"] > 0].groupby("query_id")["rank"].min()
    assert found.estimates["acr"].mean == pytest.approx(clicked.mean())
    assert found.estimates["acr"].queries == len(clicked)


def test_failures_to_rank_matches_come_with_a_match_column(runs, frame):
    found = evaluate(runs["clicks"], frame, match="price").estimates
    assert {"rank_match_failure", "all_failure", "intrinsic_failure"} <= set(found)
    assert 0 < found["intrinsic_failure"].mean < 1


def test_predictions_as_trec_files_are_evaluated_alike(runs, folder, tmp_path):
    rows = predict(
        runs["grades"], folder / "test.csv", tmp_path / "run.txt", format="trec", qrels=tmp_path / "qrels.txt"
    )
    lines = (tmp_path / "run.txt").read_text().splitlines()
    assert len(lines) == rows
    assert lines[0].split()[3] == "1"
    assert lines[0].endswith(" small")
    found = evaluate_run_file(tmp_path / "run.txt", tmp_path / "qrels.txt", metrics=["ndcg", "mrr"]).estimates
    expected = evaluate(runs["grades"], folder / "test.csv").estimates
    for name in ("ndcg_1", "ndcg_5", "ndcg_10", "mrr", "mrr_3"):
        assert found[name].mean == pytest.approx(expected[name].mean, rel=1e-6)


def test_command_prints_tables_or_writes_json(run, runs, folder, tmp_path):
    command = ["evaluate", runs["clicks"], "--data", folder / "test.csv", "--cutoffs", "1,5"]
    code, out, _ = run(*command, "--group-by", "segment", "--baseline=-shown")
    assert code == 0
    for text in (
        "95% interval",
        "wins / ties / losses",
        "macro mean",
        "fewer than 25 queries",
        "ECE",
        "by shown position",
        "acr",
    ):
        assert text in out
    code, out, _ = run(*command, "--output", tmp_path / "evaluation.json")
    assert code == 0
    assert out.startswith("12 queries, 6 metrics: ")
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["metrics"]["ndcg_5"]["mean"] == evaluate(runs["clicks"], folder / "test.csv").metrics["ndcg_5"]
    assert set(found["calibration"]) == {"documents", "queries_left_out", "brier", "equal_mass", "equal_width"}


def test_command_evaluates_run_files(run, runs, folder, tmp_path):
    files = ["--format", "trec", "--output", tmp_path / "run.txt", "--qrels", tmp_path / "qrels.txt"]
    assert run("predict", runs["grades"], "--data", folder / "test.csv", *files)[0] == 0
    judged = ["evaluate", "--run", tmp_path / "run.txt", "--qrels", tmp_path / "qrels.txt"]
    code, out, _ = run(*judged, "--metrics", "ndcg,map", "--cutoffs", "5")
    assert code == 0
    assert [name in out for name in ("ndcg_5", "map_5", "recall")] == [True, True, False]
    for arguments, message in [
        ([*judged, "--data", "x"], "--data does not go with --run."),
        (judged[:3], "--run needs --qrels."),
        (["evaluate"], "Give a run folder and --data, or --run RUNFILE and --qrels QRELS."),
        (["evaluate", runs["grades"]], "a run folder needs --data."),
        (["evaluate", runs["grades"], "--data", "x", "--qrels", "y"], "--qrels does not go with a run folder."),
        ([*judged, "--cutoffs", "0"], "--cutoffs: needs whole numbers of at least 1"),
    ]:
        code, _, err = run(*arguments)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


def test_conventions_are_those_of_the_libraries_and_the_gap_to_ours_is_explained(runs, frame):
    convention = {"convention": "sklearn", "cutoffs": [5]}
    found = evaluate(runs["grades"], frame, explain_metric="ndcg_5", **convention)
    sklearn = pytest.importorskip("sklearn.metrics")
    scores = open_run(runs["grades"]).model.predict_rows(frame.drop(columns="label"))
    lists = frame.assign(score=scores).groupby("query_id")
    expected = [sklearn.ndcg_score([part["label"]], [part["score"]], k=5) for _, part in lists]
    assert found.estimates["ndcg_5"].mean == pytest.approx(np.mean(expected), abs=1e-6)
    assert found.notes[0] == "mrr_5, mrr: sklearn has no such metric, left out"
    ours = evaluate(runs["grades"], frame, cutoffs=[5]).estimates["ndcg_5"].mean
    assert (found.gap.from_value, found.gap.to_value) == pytest.approx((ours, found.estimates["ndcg_5"].mean), abs=1e-6)
    with pytest.raises(UserError, match="--explain-metric: Unknown metric 'mrr'"):
        evaluate(runs["grades"], frame, explain_metric="mrr", **convention)
    with pytest.raises(UserError, match="it needs --convention"):
        evaluate(runs["grades"], frame, explain_metric="ndcg_5")


def test_one_query_has_no_interval_and_says_so(runs, frame):
    found = evaluate(runs["grades"], frame[frame["query_id"] == frame["query_id"][0]])
    assert found.estimates["ndcg_5"].interval is None
    assert "there is one query: a 95% interval and a test need at least 2" in found.notes


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"group_by": "segmnt"}, DataError, r"no column 'segmnt' \(--group-by\). Did you mean 'segment'"),
        ({"group_by": "brand"}, DataError, r"row 1, column 'brand': differs within query 'q200': '\w+' and '\w+'"),
        (
            {"baseline": "pric"},
            UserError,
            "'pric' is no run folder, no file and no column of data. Did you mean 'price'",
        ),
        ({"convention": "trec"}, UserError, "Unknown convention 'trec'"),
        ({"cutoffs": [0]}, UserError, "`cutoffs` must be a whole number of at least 1"),
        ({"match": "title"}, DataError, "column 'title': '.*' is not a number"),
        ({"positions": "show"}, DataError, r"no column 'show' \(--positions\). Did you mean 'shown'"),
    ],
)
def test_unusable_options_give_one_line(runs, frame, options, error, message):
    with pytest.raises(error, match=message) as refused:
        evaluate(runs["grades"], frame, **options)
    assert "\n" not in str(refused.value)


def test_baseline_with_other_queries_is_refused(runs, frame, tmp_path):
    (tmp_path / "run.txt").write_text("q200 Q0 d0 1 0.5 t\n")
    with pytest.raises(DataError, match="the baseline has other queries; 11 of 12 are missing"):
        evaluate(runs["grades"], frame, baseline=tmp_path / "run.txt")


def test_baseline_with_other_documents_is_refused(runs, frame, tmp_path):
    lines = [f"{query} Q0 other 1 0.5 t" for query in frame["query_id"].unique()]
    (tmp_path / "run.txt").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"has none of the data's documents, such as 'd\d'; see features.document_id"):
        evaluate(runs["grades"], frame, baseline=tmp_path / "run.txt")


def test_reason_without_calibration_is_told(runs, frame):
    note = "calibration is left out: the labels are not all 0 or 1 (2 among them)"
    assert note in evaluate(runs["grades"], frame).notes


def test_share_of_tied_documents_is_told(tmp_path):
    (tmp_path / "run").write_text("q Q0 a 1 1.0 t\nq Q0 b 2 1.0 t\nq Q0 c 3 0.5 t\nq Q0 d 4 0.2 t\n")
    (tmp_path / "qrels").write_text("q 0 a 1\nq 0 e 1\n")
    found = evaluate_run_file(tmp_path / "run", tmp_path / "qrels", metrics=["mrr"], cutoffs=[])
    assert found.metrics == {"mrr": 0.75}  # the mean of the ranks 1 and 2
    assert "50.0% of the documents have the score of another one with a different label" in found.notes
