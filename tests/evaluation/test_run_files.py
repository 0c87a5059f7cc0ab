"""The evaluation of TREC run files: pytrec_eval's numbers, the same for any chunks, messages."""

import numpy as np
import pytest

from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.evaluation import run_files
from ml4ir_losses.evaluation.run_files import evaluate_run_file

QUERIES = 12


def write(path, lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Run, qrels and a second run: no ties, unjudged and not retrieved documents, grades 0 and 1."""
    folder, rng = tmp_path_factory.mktemp("trec"), np.random.default_rng(0)
    qrels, runs = [], ([], [])
    for q in range(QUERIES):
        judged = rng.choice(30, 15, replace=False)
        qrels += [f"{q} 0 d{d} {int(rng.random() < 0.4 or i == 0)}" for i, d in enumerate(judged)]
        for run in runs:
            retrieved = rng.choice(30, int(rng.integers(5, 25)), replace=False)
            scores = rng.permutation(len(retrieved)) / 7
            run += [f"{q} Q0 d{d} 0 {score:.4f} t" for d, score in zip(retrieved, scores, strict=True)]
    names = {"qrels": qrels, "run": runs[0], "other": runs[1]}
    return {name: write(folder / name, lines) for name, lines in names.items()}


def test_metrics_equal_those_of_pytrec_eval(files):
    ir_measures = pytest.importorskip("ir_measures")
    from ir_measures import AP, RR, Bpref, P, R

    qrels = list(ir_measures.read_trec_qrels(str(files["qrels"])))
    run = list(ir_measures.read_trec_run(str(files["run"])))
    expected = ir_measures.calc_aggregate([AP, RR, Bpref, P @ 5, R @ 5], qrels, run)
    metrics = ["map", "mrr", "bpref", {"key": "precision", "denominator": "topn"}, "recall"]
    found = evaluate_run_file(files["run"], files["qrels"], metrics=metrics, cutoffs=[5]).estimates
    names = {"map": AP, "mrr": RR, "bpref": Bpref, "precision_5": P @ 5, "recall_5": R @ 5}
    for name, measure in names.items():
        assert found[name].mean == pytest.approx(expected[measure], abs=1e-6), name
    assert found["map"].queries == QUERIES


def test_chunks_of_queries_change_nothing(files, monkeypatch):
    whole = evaluate_run_file(files["run"], files["qrels"], baseline=files["other"])
    monkeypatch.setattr(run_files, "_CHUNK", 5)
    parts = evaluate_run_file(files["run"], files["qrels"], baseline=files["other"])
    assert parts.to_json() == whole.to_json()
    assert whole.documents == len(
        {tuple(line.split()[::2][:2]) for name in files.values() for line in name.read_text().splitlines()}
    )
    assert list(whole.differences) == list(whole.estimates)


def test_run_against_itself_differs_nowhere(files):
    for one in evaluate_run_file(files["run"], files["qrels"], baseline=files["run"]).differences.values():
        assert (one.difference, one.p, one.wins, one.losses) == (0, 1, 0, 0)


def test_queries_without_a_ranking_count_as_0_and_are_told(files, tmp_path):
    lines = files["run"].read_text().splitlines()
    fewer = write(tmp_path / "run", [line for line in lines if line.split()[0] != "3"] + ["99 Q0 d1 1 1.0 t"])
    found = evaluate_run_file(fewer, files["qrels"], metrics=["map"], cutoffs=[])
    whole = evaluate_run_file(files["run"], files["qrels"], metrics=["map"], cutoffs=[])
    assert found.per_query.values["map"][3] == 0
    assert np.delete(found.per_query.values["map"], 3) == pytest.approx(np.delete(whole.per_query.values["map"], 3))
    assert found.notes == [
        "1 of 12 queries of the qrels are not in the run and count as having retrieved nothing",
        "1 of 12 queries of the run are not in the qrels: left out",
    ]


def test_files_that_do_not_belong_together_are_refused(files, tmp_path):
    other = write(tmp_path / "run", ["x Q0 d1 1 1.0 t"])
    with pytest.raises(DataError, match="have no query in common: 'x' comes first in the run, '0' in the qrels"):
        evaluate_run_file(other, files["qrels"])
    with pytest.raises(DataError, match=r"the baseline has other queries; 12 of 12 are missing, '0' for instance"):
        evaluate_run_file(files["run"], files["qrels"], baseline=other)
    with pytest.raises(UserError, match="Unknown metric 'ndgc'"):
        evaluate_run_file(files["run"], files["qrels"], metrics=["ndgc"])
