"""Propensities estimated from simulated logs whose truth is known, and logs from which nothing can be estimated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from threadpoolctl import threadpool_limits

from ml4ir_losses.config.position_bias import read_propensities
from ml4ir_losses.core.errors import DataError, UserError
from ml4ir_losses.data.clicks.logs import simulate_clicks
from ml4ir_losses.data.propensities import LogColumns, estimate_propensities
from ml4ir_losses.data.propensities.click_rows import hashes, poisson_weights
from ml4ir_losses.data.table import Source, Table

RANKS = 4
TRUE = 1 / np.arange(1, RANKS + 1)
FEATURES = ["a", "b", "colour"]


def graded(queries: int, documents: int = RANKS, seed: int = 0) -> Table:
    """Documents whose grade follows two numbers, a colour and noise."""
    rng, rows = np.random.default_rng(seed), queries * documents
    a, b, colour = rng.normal(size=rows), rng.normal(size=rows), rng.choice(["red", "blue", "green"], rows)
    utility = a + 0.8 * b + (colour == "red") + rng.normal(0, 0.5, rows)
    columns = {"query_id": [f"q{i // documents}" for i in range(rows)], "a": a, "b": b, "colour": colour}
    grade = np.searchsorted(np.quantile(utility, [0.6, 0.8, 0.93]), utility)
    return Table({**columns, "label": grade}, [Source("grades.csv", rows, lambda row: row + 2)])


def log(queries: int = 1500, sessions: int = 8, **options: Any) -> Any:
    """A log in which the ranker knows one of the features; columns in memory."""
    table = simulate_clicks(graded(queries), "a", sessions=sessions, ranker_noise=0.7, swaps=0.9, seed=3, **options)
    return pa.table(table.columns)


@pytest.fixture(scope="module")
def large() -> Any:
    return log(queries=4000, sessions=14, noise=0.3)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    with threadpool_limits(1):  # threads of several test processes wait for one another
        yield


def relative_errors(found: Any, true: Any = TRUE) -> Any:
    return np.abs(np.array(found.propensities) / true - 1)


def test_sessions_of_a_nested_log_without_ids_are_counted_over_all_chunks(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("ml4ir_losses.data.readers.jsonl._BLOCK_BYTES", 2000)
    session = {"position": [1, 2, 3], "click": [1, 0, 1], "swap_rank": [2, 2, 0], "swapped": [0, 0, 0]}
    swapped = {**session, "click": [1, 1, 0], "swapped": [1, 1, 0]}
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [session, swapped] * 150))
    found = estimate_propensities(str(path), method="swaps", columns=LogColumns(session="query_id"), resamples=10)
    assert found.sessions == 300


def test_em_is_within_five_per_cent_of_the_truth(large: Any) -> None:
    sample = large.slice(0, 4000 * 4 * 3)
    found = estimate_propensities(sample, features=FEATURES, resamples=0, rounds=1)
    by_rank = sample.group_by("position").aggregate([("click", "mean")]).sort_by("position")["click_mean"].to_numpy()
    assert (np.abs(by_rank / by_rank[0] / TRUE - 1)[2:] > 0.1).all()  # what counting clicks gives
    assert (relative_errors(found) < 0.05).all()
    assert found.method == "em"
    assert found.sessions == 12_000
    assert found.shown == [12_000] * RANKS
    assert not found.interpolated


def test_swaps_are_within_five_per_cent_of_the_truth_and_intervals_hold_it(large: Any) -> None:
    found = estimate_propensities(large, method="swaps", resamples=60)
    assert (relative_errors(found) < 0.05).all()
    for true, interval in zip(TRUE[1:], found.intervals[1:], strict=True):
        assert interval is not None
        assert interval[0] < true < interval[1]
        assert interval[1] / interval[0] < 1.25


def test_bootstrap_intervals_of_swaps_have_the_width_of_independent_logs() -> None:
    logs = [simulate_clicks(graded(400, seed=i), "a", sessions=5, swaps=1.0, seed=i, noise=0.3) for i in range(25)]
    found = [estimate_propensities(pa.table(x.columns), method="swaps", resamples=25, seed=1) for x in logs]
    spread = np.std([np.log(x.propensities[1]) for x in found], ddof=1)
    widths = [np.log(high / low) / (2 * 1.96) for x in found for low, high in [x.intervals[1] or (1.0, 1.0)]]
    assert 0.6 < np.mean(widths) / spread < 1.6


def test_estimates_do_not_depend_on_the_order_of_rows() -> None:
    data = log(queries=60)
    shuffled = data.take(np.random.default_rng(0).permutation(len(data)))
    a, b = (estimate_propensities(x, method="swaps", resamples=5) for x in (data, shuffled))
    assert a == b


def test_resamples_weigh_whole_sessions_with_mean_and_variance_one() -> None:
    session = hashes(np.array([f"s{i // 2}" for i in range(20_000)], object))
    weights = np.stack([poisson_weights(session, r, seed=0) for r in range(4)])
    assert (weights[0] == 1).all()
    assert (weights[:, ::2] == weights[:, 1::2]).all()
    np.testing.assert_allclose(weights[1:].mean(axis=1), 1.0, atol=0.05)
    np.testing.assert_allclose(weights[1:].var(axis=1), 1.0, atol=0.08)
    assert abs(np.corrcoef(weights[1], weights[2])[0, 1]) < 0.05


def test_em_keeps_a_sample_of_whole_sessions() -> None:
    data = log(queries=300, sessions=4)
    found = estimate_propensities(data, features=FEATURES, max_rows=2000, resamples=0, rounds=0)
    assert 800 <= found.rows <= 2000
    assert found.rows % RANKS == 0
    assert found.sessions == 1200


def test_ranks_without_clicks_are_interpolated_and_later_ranks_share_the_last(tmp_path: Path) -> None:
    data = log(queries=300, noise=0.3)
    kept = data.filter(pa.compute.not_equal(data["position"], 3))
    found = estimate_propensities(kept, method="em", features=["a"], resamples=0, rounds=0)
    assert found.interpolated == [3]
    assert found.shown[2] == 0
    assert found.propensities[1] > found.propensities[2] > found.propensities[3]
    shared = estimate_propensities(data, features=["a"], max_position=2, resamples=0, rounds=0)
    assert len(shared.propensities) == 2
    assert shared.shown[1] == 3 * shared.shown[0]
    shared.save(tmp_path / "p.json")
    assert read_propensities(str(tmp_path / "p.json")) == shared.propensities
    assert json.loads((tmp_path / "p.json").read_text())["sessions"] == shared.sessions


def write(folder: Path, *lines: str) -> str:
    (folder / "log.csv").write_text("\n".join(["session_id,position,click,a,swap_rank,swapped", *lines]) + "\n")
    return str(folder / "log.csv")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["s,,1,0,0,0"], r"log.csv, line 2, column 'position': the cell is empty"),
        (["s,1,0,0,0,0", "s,0,1,0,0,0"], r"line 3, column 'position': a shown rank is a whole number of at least 1"),
        (["s,1.5,1,0,0,0"], r"a shown rank is a whole number of at least 1\. Received: 1\.5"),
        (["s,1,3,0,0,0"], r"line 2, column 'click': a click is 0 or 1\. Received: 3"),
        (["s,1,0,0,0,0", "s,2,0,0,0,0"], r"log.csv: the log has no click"),
        (["s,2,1,0,0,0", "t,2,0,0,0,0"], r"every row was shown at rank 2; propensities compare ranks"),
        (["s,1,0,0,0,0", "s,2,1,0,0,0"], r"no document was clicked at rank 1"),
        ([",1,1,0,0,0"], r"line 2, column 'session_id': the cell is empty"),
        (["s,1,1,0,0,0", "s,2,1,0,0,0"], r"No session swaps documents: 'swap_rank' is 0 everywhere"),
        (["s,1,1,0,0,2", "s,2,1,0,0,0"], r"column 'swapped': swapped is 0 or 1"),
    ],
)
def test_bad_logs_are_refused_with_the_place(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        estimate_propensities(write(tmp_path, *lines), method="swaps", resamples=0)


def test_missing_columns_and_features_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "s,1,1,0,0,0", "s,2,1,0,0,0")
    with pytest.raises(DataError, match=r"no column 'shown' \(position\)"):
        estimate_propensities(path, method="swaps", columns=LogColumns(position="shown"))
    with pytest.raises(UserError, match="em needs `features`"):
        estimate_propensities(path)
    with pytest.raises(DataError, match=r"no column 'price' \(features\)"):
        estimate_propensities(path, features=["a", "price"])
    with pytest.raises(DataError, match=r"'click' \(features\) is a column of the log"):
        estimate_propensities(path, features=["click"])
    with pytest.raises(UserError, match="`method` must be one of em, swaps"):
        estimate_propensities(path, method="ems")  # type: ignore[arg-type]


def test_command_writes_a_file_that_a_config_takes(run: Any, tmp_path: Path) -> None:
    table = simulate_clicks(graded(100), "a", sessions=3, swaps=0.9, seed=3, noise=0.3)
    table.to_csv(tmp_path / "log.csv")
    code, out, err = run(
        "propensities", tmp_path / "log.csv", "--method", "swaps", "--resamples", "5", "--output", tmp_path / "p.json"
    )
    assert code == 0, err
    assert "300 sessions, 1,200 rows" in out
    assert "95% interval" in out
    assert len(read_propensities(str(tmp_path / "p.json"))) == RANKS
    code, _, err = run("propensities", tmp_path / "log.csv", "--method", "em", "--output", tmp_path / "q.json")
    assert code == 2
    assert "em needs `features`" in err
    assert not (tmp_path / "q.json").exists()
