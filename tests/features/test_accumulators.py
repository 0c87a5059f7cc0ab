"""Inputs fitted chunk by chunk: exact statistics equal those of the whole table, the others those of a sample."""

import numpy as np
import pytest

from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import fit_inputs, make_accumulators
from ml4ir_losses.features.moments import Moments

ROWS = 90


def data():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 20, (ROWS, 3)).astype("float32").astype("float64")
    x[rng.random((ROWS, 3)) < 0.2] = np.nan
    x[:, 2] = np.nan
    columns = {f"x{i}": x[:, i] for i in range(3)} | {"constant": np.full(ROWS, 0.1)}
    columns |= {"brand": rng.choice(["a", "b", "c", "", "d"], ROWS)}
    columns |= {name: np.array([" ".join(rng.choice(list("pqrst"), 3)) for _ in range(ROWS)]) for name in ("q", "text")}
    return Table(columns, [Source("t.csv", ROWS, lambda i: i + 2)])


def config(**numeric):
    inputs = [
        {"name": "*", "type": "numeric", **numeric},
        {"name": "brand", "type": "categorical", "max_vocabulary": 3},
        {"name": "text", "type": "text", "max_vocabulary": 4},
        {"name": "pair", "type": "text_pair", "query": "q", "document": "text", "max_vocabulary": 4},
    ]
    return FeatureConfig.model_validate({"inputs": inputs})


def in_chunks(features, table, sizes, sample=None):
    accumulators = make_accumulators(features)
    for start, end in zip(np.cumsum([0, *sizes[:-1]]), np.cumsum(sizes), strict=True):
        rows = np.arange(start, end)
        for accumulator in accumulators:
            accumulator.add(table.take(rows), None if sample is None else sample[rows])
    return [accumulator.result() for accumulator in accumulators]


@pytest.mark.parametrize("sizes", [(ROWS,), (1, ROWS - 1), (30, 0, 7, 1, 52)])
@pytest.mark.parametrize(
    "numeric",
    [
        {"missing": "mean", "transforms": ["log1p", "standardise", {"key": "clip", "min": -1}]},
        {"missing": "zero", "transforms": ["standardise"]},
        {"missing": 2.5, "transforms": [{"key": "clip", "max": 9}, "log1p"]},
        {"missing": "median", "transforms": ["standardise", "robust"]},
    ],
)
def test_chunks_fit_what_the_whole_table_fits(numeric, sizes):
    table = data()
    whole, chunked = fit_inputs(config(**numeric), table), in_chunks(config(**numeric), table, sizes)
    assert [fitted.model_dump() for fitted in chunked[1:]] == [fitted.model_dump() for fitted in whole[1:]]
    np.testing.assert_allclose(chunked[0].fill, whole[0].fill, rtol=1e-12)
    for a, b in zip(chunked[0].transforms, whole[0].transforms, strict=True):
        assert a.keys() == b.keys()
        assert a["key"] == b["key"]
        if "scale" in a:
            np.testing.assert_allclose(np.array([a["centre"], a["scale"]]), [b["centre"], b["scale"]], rtol=1e-11)


def test_mean_and_deviation_are_those_of_all_rows_where_the_median_is_that_of_a_sample():
    table, features = data(), config(transforms=["log1p", "standardise"])
    sample = np.random.default_rng(1).random(ROWS) < 0.4
    fitted = in_chunks(features, table, (40, 50), sample)[0]
    x = table.matrix(fitted.columns).astype("float64")
    fill = np.array([np.nanmedian(x[sample, 0]), np.nanmedian(x[sample, 1]), 0.0, x[0, 3]])
    np.testing.assert_allclose(fitted.fill, fill, rtol=1e-12)
    filled = np.where(np.isnan(x), fill, x)
    y = np.sign(filled) * np.log1p(np.abs(filled))
    expected = [*y[:, :2].mean(axis=0), 0.0, y[0, 3]], [*y[:, :2].std(axis=0), 1.0, 1.0]
    np.testing.assert_allclose(fitted.transforms[1]["centre"], expected[0], rtol=1e-11)
    np.testing.assert_allclose(fitted.transforms[1]["scale"], expected[1], rtol=1e-11)


@pytest.mark.parametrize(
    ("numeric", "keeps"),
    [
        ({"missing": "zero", "transforms": ["log1p", "standardise"]}, False),
        ({"missing": "mean"}, False),
        ({}, True),
        ({"missing": "zero", "transforms": ["robust"]}, True),
        ({"missing": "zero", "transforms": ["standardise", "standardise"]}, True),
    ],
)
def test_rows_are_kept_only_where_a_statistic_needs_them(numeric, keeps):
    assert [accumulator.keeps_rows for accumulator in make_accumulators(config(**numeric))] == [keeps] + [False] * 3


def test_moments_of_far_values_do_not_cancel():
    x = 1e9 + np.random.default_rng(0).random((1000, 1))
    moments = Moments.of(x[:10]) + Moments.of(x[10:400]) + Moments.of(x[400:])
    np.testing.assert_allclose(moments.deviation, x.std(axis=0), rtol=1e-9)
