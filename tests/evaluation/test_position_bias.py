"""Bias by shown position against pandas."""

import numpy as np
import pandas as pd
import pytest

from ml4ir_losses.evaluation.position_bias import LAST, PositionSums
from ml4ir_losses.evaluation.scored_lists import ScoredLists


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, 40)
    shown = np.concatenate([rng.permutation(size) + 1 for size in sizes])
    frame = pd.DataFrame({"query": np.repeat(np.arange(40), sizes), "shown": shown})
    frame["score"] = np.round(rng.standard_normal(len(frame)) - 0.2 * shown, 1)  # with ties
    frame["click"] = rng.random(len(frame)) < 1 / shown
    frame["rank"] = frame.groupby("query")["score"].rank(ascending=False)
    return frame


def result(frame, parts=1):
    sums = PositionSums()
    for queries in np.array_split(frame["query"].unique(), parts):
        part = frame[frame["query"].isin(queries)]
        offsets = np.concatenate([[0], part.groupby("query").size().cumsum()])
        columns = (part[name].to_numpy(float) for name in ("click", "score"))
        documents = part.index.astype(str).to_numpy()
        sums.add(ScoredLists(queries, offsets, *columns, documents, positions=part["shown"].to_numpy(float)))
    return sums.result()


def test_means_by_position_equal_those_of_pandas(frame):
    found = result(frame)
    by_position = frame.groupby("shown")
    assert found.positions == list(by_position.groups)
    assert found.documents == by_position.size().tolist()
    for name, values in {"score": found.score, "rank": found.rank, "click": found.click_rate}.items():
        assert values == pytest.approx(by_position[name].mean().tolist())


def test_explained_share_is_the_squared_correlation_within_queries(frame):
    centred = frame[["rank", "shown"]] - frame.groupby("query")[["rank", "shown"]].transform("mean")
    expected = centred.corr().iloc[0, 1]
    found = result(frame)
    assert found.correlation == pytest.approx(expected)
    assert found.explained == pytest.approx(expected**2)
    assert result(frame, parts=7).correlation == pytest.approx(expected)


def test_shown_order_is_explained_fully_and_a_constant_not_at_all(frame):
    assert result(frame.assign(score=-frame["shown"])).correlation == pytest.approx(1)
    assert result(frame.assign(score=0.0)).correlation is None


def test_low_positions_count_as_one(frame):
    found = result(frame.assign(shown=frame["shown"] * 1000))
    assert found.positions == [LAST]
    assert found.documents == [len(frame)]
