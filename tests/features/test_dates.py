"""Dates as inputs: ages and cyclic parts inside the model against Python's calendar."""

import math
from datetime import UTC, datetime, timedelta

import keras
import numpy as np
import pytest

from ml4ir_losses.config.inputs import DateInput, FeatureConfig
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import encode_rows, fit_inputs, make_accumulators
from ml4ir_losses.features.layers import FeatureEncoder

rng = np.random.default_rng(0)
DAYS = [datetime(1999, 12, 31, tzinfo=UTC) + timedelta(days=n, seconds=7 * n) for n in range(800)]
SPREAD = [datetime(1, 1, 2, tzinfo=UTC) + timedelta(seconds=int(s)) for s in rng.integers(0, 9998 * 365 * 86400, 300)]
ENDS = [
    datetime(y, m, d, 23, 59, 59, tzinfo=UTC) for y in (1900, 2000, 2023, 2024) for m, d in ((2, 28), (3, 1), (12, 31))
]
TIMES = [*DAYS, *SPREAD, *ENDS]


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def fit(data, **options):
    config = {"name": "published", "type": "date", **options}
    return fit_inputs(FeatureConfig.model_validate({"inputs": [config]}), data)


def encode(fitted, data):
    layer = FeatureEncoder.from_config(FeatureEncoder(fitted).get_config())
    x = {name: values[None] for name, values in encode_rows(fitted, data).arrays.items()}
    encoded = keras.ops.convert_to_numpy(layer(x))[0]
    assert encoded.shape[-1] == layer.width
    return encoded


def turn(time, part):
    """The share of its cycle that has passed."""
    return {
        "hour": (time.hour * 3600 + time.minute * 60 + time.second) / 86400,
        "weekday": time.weekday() / 7,
        "month": (time.month - 1) / 12,
        "day_of_year": (time.timetuple().tm_yday - 1) / 366,
    }[part]


def test_cyclic_parts_match_the_calendar():
    parts = ["hour", "weekday", "month", "day_of_year"]
    data = table(published=[time.isoformat() for time in TIMES])
    encoded = encode(fit(data, parts=parts), data)
    angles = np.array([[2 * math.pi * turn(time, part) for part in parts] for time in TIMES])
    np.testing.assert_allclose(encoded[:, 0::2], np.sin(angles), atol=2e-6)
    np.testing.assert_allclose(encoded[:, 1::2], np.cos(angles), atol=2e-6)


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, max(TIMES)),
        ({"reference": "2024-03-01"}, datetime(2024, 3, 1, tzinfo=UTC)),
        ({"reference": "2024-03-01T06:30:00+02:00"}, datetime(2024, 3, 1, 4, 30, tzinfo=UTC)),
    ],
)
def test_age_is_the_number_of_days_before_the_reference(options, reference):
    data = table(published=[time.isoformat() for time in TIMES])
    expected = [(reference - time) / timedelta(days=1) for time in TIMES]
    np.testing.assert_allclose(encode(fit(data, **options), data)[:, 0], expected, rtol=1e-6, atol=2e-3)


def test_age_may_count_from_another_column():
    searched = [time + timedelta(days=3.25) for time in TIMES[:800]]
    data = table(
        published=[*(time.isoformat() for time in TIMES[:800]), "2024-01-01", ""],
        searched=[*(time.isoformat() for time in searched), "", "2024-01-01"],
    )
    encoded = encode(fit(data, reference="searched", missing=-1), data)[:, 0]
    np.testing.assert_allclose(encoded, [*[3.25] * 800, -1, -1], atol=1e-5)


def test_age_is_transformed_filled_and_ranked_as_a_number():
    data = table(published=["2024-01-04", "2024-01-02", "", "2024-01-05"])
    fitted = fit(
        data, transforms=["log1p", "standardise"], missing="query_min", missing_indicator=True, query_rank=True
    )
    ages = np.array([1.0, 3.0, 0.0, 0.0])
    y = np.log1p(ages)
    expected = np.stack([(y - y.mean()) / y.std(), [0, 0, 1, 0], [0.125, 0.375, -0.25, -0.25]], axis=1)
    np.testing.assert_allclose(encode(fitted, data), expected, atol=1e-5)


def test_missing_dates_have_no_phase():
    data = table(published=["2024-01-04T05:00", ""])
    encoded = encode(fit(data, parts=["hour", "day_of_year", "age"], missing="zero"), data)
    np.testing.assert_array_equal(encoded[1], 0.0)
    assert np.isfinite(encode(fit(data, parts=["hour", "age"]), table(published=["", ""]))).all()
    nothing = fit(table(published=["", ""]), parts=["age", "month"])
    assert np.isfinite(encode(nothing, data)).all()


def test_chunks_fit_what_the_whole_table_fits():
    data = table(published=[time.isoformat() for time in SPREAD])
    for reference in ("newest", "2024-01-01"):
        config = {"name": "published", "type": "date", "reference": reference, "transforms": ["standardise"]}
        features = FeatureConfig.model_validate({"inputs": [config]})
        (accumulator,) = make_accumulators(features)
        assert accumulator.keeps_rows
        for rows in np.split(np.arange(300), [100, 101]):
            accumulator.add(data.take(rows))
        chunked, whole = accumulator.result(), fit_inputs(features, data)[0]
        assert chunked.reference == whole.reference
        a, b = (fitted.age.transforms[0] for fitted in (chunked, whole))
        np.testing.assert_allclose([a["centre"], a["scale"]], [b["centre"], b["scale"]], rtol=1e-12)


def test_newest_date_is_that_of_all_rows_though_ages_are_those_of_a_sample():
    data = table(published=["2024-01-01", "2024-01-02", "2024-01-05"])
    (accumulator,) = make_accumulators(
        FeatureConfig.model_validate({"inputs": [{"name": "published", "type": "date"}]})
    )
    fitted = accumulator.add(data, np.array([True, True, False])).result()
    assert fitted.reference == datetime(2024, 1, 5, tzinfo=UTC).timestamp()
    assert fitted.age.fill == [3.5]


@pytest.mark.parametrize("reference", ["newest", "2024-01-06"])
def test_kept_rows_may_be_thinned(reference):
    data = table(published=["2024-01-01", "2024-01-02", "2024-01-06", "2024-01-04"])
    config = {"name": "published", "type": "date", "reference": reference}
    (accumulator,) = make_accumulators(FeatureConfig.model_validate({"inputs": [config]}))
    accumulator.add(data, np.array([True, True, False, True]))
    accumulator.thin(np.array([True, False, True]))
    assert accumulator.result().age.fill == [3.5]


def test_later_dates_rank_higher():
    data = table(published=["2024-01-04", "2024-01-02T12:00", ""])
    fitted = fit(data)[0]
    ((name, values),) = fitted.rankings(fitted.encode(data)).items()
    assert name == "published"
    np.testing.assert_allclose(values, [19726, 19724.5, np.nan])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ["hour"], "transforms": ["log1p"]}, "transforms belongs to the age"),
        ({"parts": ["hour"], "query_rank": True}, "query_rank belongs to the age"),
        ({"parts": []}, "parts"),
        ({"parts": ["second"]}, "parts"),
    ],
)
def test_invalid_date_config_raises(options, message):
    with pytest.raises(ValueError, match=message):
        DateInput(name="x", type="date", **options)


def test_milliseconds_and_missing_reference_columns_raise():
    with pytest.raises(DataError, match=r"t.csv, line 3, column 'published': .*must count seconds, not milliseconds"):
        fit(table(published=[1.7e9, 1.7e12 * 1000]))
    with pytest.raises(DataError, match=r"no column 'serched' \(features.inputs\).*Did you mean 'searched'\?"):
        fit(table(published=["2024-01-01"], searched=["2024-01-02"]), reference="serched")
