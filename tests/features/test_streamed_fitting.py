"""Fitting on rows that do not fit into memory: exact statistics, sampled quantiles, bounded vocabularies."""

import math

import numpy as np
import pyarrow as pa
import pytest

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features import streamed_fitting
from ml4ir_losses.features.fitting import fit_inputs
from ml4ir_losses.features.streamed_fitting import fit_streamed

ROWS = 3_000


def table(rows=ROWS, **columns):
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def chunks_of(whole, size=500):
    return lambda: (whole.slice(i, min(i + size, len(whole))) for i in range(0, len(whole), size))


def features(*inputs):
    return FeatureConfig.model_validate({"inputs": list(inputs)})


def numbers(rows=ROWS):
    rng = np.random.default_rng(1)
    x = rng.lognormal(1, 2, rows)
    x[rng.random(rows) < 0.1] = np.nan
    return x


def test_means_and_vocabularies_are_those_of_all_rows(monkeypatch):
    monkeypatch.setattr(streamed_fitting, "_FEWEST", 10)
    whole = table(x=numbers(), brand=np.random.default_rng(0).choice(list("abcde"), ROWS))
    config = features(
        {"name": "x", "type": "numeric", "transforms": ["log1p", "standardise"], "missing": "mean"},
        {"name": "brand", "type": "categorical", "max_vocabulary": 3},
    )
    found, expected = fit_streamed(config, chunks_of(whole), limit=0), fit_inputs(config, whole)
    assert found[0].fill == pytest.approx(expected[0].fill, rel=1e-12)
    for name in ("centre", "scale"):
        assert found[0].transforms[1][name] == pytest.approx(expected[0].transforms[1][name], rel=1e-9)
    assert found[1] == expected[1]


def test_quantiles_have_the_rank_error_that_the_log_states(monkeypatch, caplog):
    monkeypatch.setattr(streamed_fitting, "_FEWEST", 200)
    x = np.random.default_rng(2).lognormal(1, 2, 20_000)
    config = features({"name": "x", "type": "numeric", "transforms": ["robust"], "missing": "zero"})
    with caplog.at_level("INFO", "ml4ir_losses"):
        (found,) = fit_streamed(config, chunks_of(table(len(x), x=x)), limit=0)
    kept = int(caplog.text.split("are those of ")[1].split()[0].replace(",", ""))
    assert 200 <= kept <= 400
    error = math.sqrt(math.log(40) / (2 * kept))
    assert f"their ranks are right to {100 * error:.2f}%" in caplog.text
    assert (x <= found.transforms[0]["centre"][0]).mean() == pytest.approx(0.5, abs=error)


def test_sample_is_uniform_over_the_rows():
    counts = np.zeros(1_000)
    for seed in range(200):
        sample = streamed_fitting._Sample()
        sample._rng = np.random.default_rng(seed)
        kept = np.empty(0, int)
        for start in range(0, 1_000, 100):
            kept = np.concatenate([kept, start + np.flatnonzero(sample.draw(100))])
            if len(kept) > 100:
                kept = kept[sample.thin(50)]
        assert len(kept) == len(sample.keys) >= 50
        counts[kept] += 1
    parts = counts.reshape(10, 100).sum(axis=1)
    assert parts == pytest.approx(parts.mean(), rel=0.15)


def test_all_rows_are_used_where_the_sample_holds_them(caplog):
    whole = table(x=numbers())
    config = features({"name": "x", "type": "numeric", "transforms": ["robust"], "missing": "median"})
    with caplog.at_level("INFO", "ml4ir_losses"):
        assert fit_streamed(config, chunks_of(whole), limit=0) == fit_inputs(config, whole)
    assert caplog.text == ""


def test_vocabulary_beyond_the_memory_keeps_frequent_values_and_says_so(monkeypatch, caplog):
    monkeypatch.setattr(streamed_fitting, "_FEWEST_NAMES", 50)
    rng = np.random.default_rng(0)
    names = [f"rare{i}" for i in range(2_000)] + ["a"] * 300 + ["b"] * 200 + ["c"] * 100
    whole = table(len(names), brand=rng.permutation(names))
    config = features({"name": "brand", "type": "categorical", "max_vocabulary": 3})
    with caplog.at_level("INFO", "ml4ir_losses"):
        (found,) = fit_streamed(config, chunks_of(whole, 100), limit=0)
    assert found.vocabulary == ["a", "b", "c"]
    assert "features.inputs, 'brand': too many different values for data.memory" in caplog.text


def test_columns_that_only_later_chunks_have_are_fitted_too():
    def chunk(width, first=1):
        rng = np.random.default_rng(width)
        dense = rng.random((50, width), "float32")
        dense[:, :first] = 0
        columns = {"qid": pa.array(["1"] * 50), "label": pa.array(["1"] * 50)}
        return Table(columns, [Source("t.svm", 50, lambda i: i)], dense, first)

    parts = [chunk(3), chunk(5), chunk(4, first=0), chunk(9), chunk(2)]
    reads = []

    def chunks():
        reads.append(1)
        return iter(parts)

    roles = {"query_id": "qid", "label": "label"}
    inputs = [{"name": "f*", "type": "numeric", "transforms": ["standardise"], "missing": "zero"}]
    config = FeatureConfig.model_validate({**roles, "inputs": inputs})
    (found,), (expected,) = fit_streamed(config, chunks, limit=1e9), fit_inputs(config, Table.concat(parts))
    assert found.columns == expected.columns == [f"f{i}" for i in range(9)]
    for name in ("centre", "scale"):
        assert found.transforms[0][name] == pytest.approx(expected.transforms[0][name], rel=1e-6)
    assert len(reads) == 2
