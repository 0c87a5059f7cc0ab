"""Numeric transforms inside the model against float64 oracles, and values that no transform may turn into NaN."""

import keras
import numpy as np
import pytest

from ml4ir_losses.config.checks import check_transforms
from ml4ir_losses.config.inputs import FeatureConfig, NumericInput
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import fit_inputs
from ml4ir_losses.features.layers import FeatureEncoder
from ml4ir_losses.features.transforms import fit_transforms

rng = np.random.default_rng(0)
SKEWED = np.exp(rng.normal(0, 2, 400)).astype("float32").astype("float64")
TIED = np.where(rng.random(400) < 0.6, 0.0, rng.integers(1, 9, 400)).astype("float64")
HIGH = np.where(rng.random(400) < 0.7, 1.0, rng.random(400).astype("float32")).astype("float64")
COLUMNS = {"skewed": SKEWED, "tied": TIED, "high": HIGH, "constant": np.full(400, 0.1), "signed": rng.normal(0, 9, 400)}
EXTREME = np.array([np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 0.0, -0.0, 1e30, 7.0], "float32")


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def fit(transforms, x, **options):
    config = {"name": "x", "type": "numeric", "transforms": transforms, **options}
    return fit_inputs(FeatureConfig.model_validate({"inputs": [config]}), table(x=x))


def encode(fitted, x, valid=None):
    """Features [..., F] of lists x [B, N], through a saved and rebuilt layer."""
    layer = FeatureEncoder.from_config(FeatureEncoder(fitted).get_config())
    inputs = {"x": np.asarray(x, "float32")} | ({} if valid is None else {"mask": np.asarray(valid, "float32")})
    encoded = keras.ops.convert_to_numpy(layer(inputs))
    assert encoded.shape[-1] == layer.width
    return encoded


def bucket_by_loop(x, boundaries):
    return np.array([sum(boundary <= value for boundary in boundaries) for value in x])


@pytest.mark.parametrize(
    ("transform", "oracle"),
    [
        ("signed_log1p", lambda x: np.sign(x) * np.log1p(np.abs(x))),
        ("arctan", np.arctan),
        ("reciprocal", lambda x: np.divide(1.0, x, out=np.zeros_like(x), where=x != 0)),
        ({"key": "reciprocal", "zero": -5}, lambda x: np.divide(1.0, x, out=np.full_like(x, -5.0), where=x != 0)),
        (
            {"key": "bucketise", "boundaries": [0, 0.5, 4], "output": "ordinal"},
            lambda x: bucket_by_loop(x, [0, 0.5, 4]) / 3,
        ),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_unfitted_transforms_match_their_formula(transform, oracle):
    for x in (SKEWED, TIED, COLUMNS["signed"].astype("float32").astype("float64")):
        encoded = encode(fit([transform], x), x[None])[0, :, 0]
        np.testing.assert_allclose(encoded, oracle(x), rtol=2e-6)


@pytest.mark.parametrize("quantiles", [2, 10, 100, 1000])
@pytest.mark.parametrize("column", COLUMNS)
def test_quantile_transform_matches_scikit_learn(column, quantiles):
    from sklearn.preprocessing import QuantileTransformer

    x = COLUMNS[column].astype("float32")
    unseen = np.concatenate([x, np.linspace(x.min() - 1, x.max() + 1, 98)]).astype("float32")
    for output, tolerance in (("uniform", 5e-6), ("normal", 2e-4)):
        peer = QuantileTransformer(n_quantiles=min(quantiles, len(x)), output_distribution=output, subsample=None)
        peer.fit(x[:, None].astype("float64"))
        peer.quantiles_ = peer.quantiles_.astype("float32").astype("float64")  # rounding errors break ties
        expected = peer.transform(unseen[:, None].astype("float64"))[:, 0]
        fitted = fit([{"key": "quantile", "quantiles": quantiles, "output": output}], x)
        encoded = encode(fitted, unseen[None])[0, :, 0]
        usual = np.abs(expected) < 4  # beyond, 1e-7 in the share is 1e-3 in its normal quantile
        np.testing.assert_allclose(encoded[usual], expected[usual], atol=tolerance)
        np.testing.assert_allclose(encoded, expected, atol=2e-3)


@pytest.mark.parametrize("column", COLUMNS)
def test_quantile_buckets_are_as_equal_as_ties_allow(column):
    x = COLUMNS[column].astype("float32").astype("float64")
    fitted = fit([{"key": "bucketise", "buckets": 5}], x)
    boundaries = np.array(fitted[0].transforms[0]["boundaries"])[:, 0]
    onehot = encode(fitted, x[None])[0]
    assert onehot.shape == (400, 5)
    np.testing.assert_array_equal(onehot, np.eye(5)[bucket_by_loop(x, boundaries.astype("float32"))])
    largest_tie = np.unique(x, return_counts=True)[1].max()
    assert onehot.sum(axis=0).max() <= 80 + largest_tie
    if column == "skewed":
        np.testing.assert_array_equal(onehot.sum(axis=0), 80)
    if column == "tied":  # the frequent lowest value does not share its bucket
        assert (onehot[x == 0] == onehot[x == 0][0]).all()
        assert (onehot[x > 0] * onehot[x == 0][0]).sum() == 0
    if column == "high":  # nor does the frequent highest one
        assert (onehot[x < 1] * onehot[x == 1][0]).sum() == 0
    ordinal = encode(fit([{"key": "bucketise", "buckets": 5, "output": "ordinal"}], x), x[None])[0, :, 0]
    np.testing.assert_allclose(ordinal, onehot.argmax(axis=1) / 4, rtol=1e-6)


def test_values_of_one_column_take_turns_with_those_of_the_others():
    data = table(a=SKEWED, b=TIED)
    config = {"name": "*", "type": "numeric", "transforms": ["log1p", {"key": "bucketise", "buckets": 3}]}
    fitted = fit_inputs(FeatureConfig.model_validate({"inputs": [{**config, "query_rank": True}]}), data)
    layer = FeatureEncoder(fitted)
    assert [list(feature.positions) for feature in layer.features] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    x = np.stack([SKEWED, TIED], axis=1).astype("float32")
    other = x.copy()
    other[:, 1] = other[::-1, 1]
    before, after = (keras.ops.convert_to_numpy(layer({"*": values[None]}))[0] for values in (x, other))
    assert set(np.flatnonzero((before != after).any(axis=0))) <= {1, 3, 5, 7}


ALL = [
    "log1p",
    "arctan",
    "reciprocal",
    "standardise",
    "robust",
    "quantile",
    {"key": "quantile", "output": "normal"},
    "bucketise",
    {"key": "bucketise", "output": "ordinal"},
    "z_score",
    "min_max",
    "rank",
    {"key": "clip", "min": -1},
]


@pytest.mark.parametrize("missing", ["median", "query_min"])
@pytest.mark.parametrize("transform", ALL, ids=str)
def test_extreme_and_missing_values_stay_finite(transform, missing):
    values = np.stack([EXTREME, np.full_like(EXTREME, np.nan), np.full_like(EXTREME, 3.4e38), EXTREME[::-1]])
    valid = np.ones(values.shape)
    valid[3, 1:] = 0
    for train in (
        np.array([1.0, 2.0, np.nan, 1e-3]),
        np.full(3, np.nan),
        np.full(3, 0.1),
        np.array([-3.4e38, 3.4e38, 1e-38]),
    ):
        fitted = fit([transform], train, missing=missing, missing_indicator=True, query_rank=True)
        assert np.isfinite(encode(fitted, values, valid)).all()
        assert np.isfinite(encode(fitted, values)).all()


def by_query(x, valid, oracle):
    """The oracle of the valid documents of each query and column, 0 in padding."""
    expected = np.zeros(x.shape)
    for b, n in np.ndindex(x.shape[0], x.shape[2]):
        chosen = np.flatnonzero(valid[b])
        if len(chosen):
            expected[b, chosen, n] = oracle(x[b, chosen, n].astype("float64"))
    return expected


def z_score(x):
    return (x - x.mean()) / x.std() if x.min() < x.max() else 0 * x


def min_max(x):
    return (x - x.min()) / (x.max() - x.min()) if x.min() < x.max() else 0 * x


def rank(x):
    return [((x < v).sum() + 0.5 * (x == v).sum()) / len(x) - 0.5 for v in x]


@pytest.mark.parametrize("oracle", [z_score, min_max, rank])
def test_transforms_within_a_query_match_a_loop_over_its_documents(oracle):
    x = rng.normal(0, 1, (9, 11, 3)) * np.exp(rng.normal(0, 9, (9, 1, 3)))
    x[..., 1] += 1e5 * np.abs(x[..., 1]).max(axis=1, keepdims=True)  # far from 0, close to each other
    x[..., 2] = rng.integers(0, 3, (9, 11))
    x[0, :, 0] = 0.1
    x[1, :2, 0] = [-3.4e38, 3.4e38]
    x = x.astype("float32")
    valid = rng.random((9, 11)) < 0.7
    valid[2:4] = False
    valid[3, 4] = True
    data = table(**{f"f{i}": np.zeros(3) for i in range(3)})
    config = {"name": "x", "column": "f*", "type": "numeric", "transforms": [oracle.__name__]}
    fitted = fit_inputs(FeatureConfig.model_validate({"inputs": [config]}), data)
    np.testing.assert_allclose(encode(fitted, x, valid), by_query(x, valid, oracle), atol=3e-6)
    unmasked = by_query(x, np.ones_like(valid), oracle)
    np.testing.assert_allclose(encode(fitted, x), unmasked, atol=3e-6)


def test_padding_changes_no_value_within_a_query():
    x, valid = np.array([[3.0, 1.0, 2.0, 9.0, -5.0]]), np.array([[1, 1, 1, 0, 0]])
    for key in ("z_score", "min_max", "rank"):
        fitted = fit(["log1p", key], x[0])
        np.testing.assert_allclose(encode(fitted, x, valid)[:, :3], encode(fitted, x[:, :3]), atol=1e-6)
        np.testing.assert_array_equal(encode(fitted, x, valid)[:, 3:], 0.0)


def test_missing_cells_take_the_lowest_value_of_their_query_else_of_the_training_split():
    nan = np.nan
    fitted = fit([], np.array([4.0, -2.5, nan, 8.0]), missing="query_min")
    x = [[3.0, nan, 2.0, -9.0], [nan, nan, 5.0, nan], [nan, nan, nan, nan]]
    valid = [[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    expected = [[3.0, 2.0, 2.0, -9.0], [5.0] * 4, [-2.5] * 4]
    np.testing.assert_array_equal(encode(fitted, x, valid)[..., 0], expected)


def test_transform_by_parameters_reads_the_fill_value_of_missing_cells():
    x = np.array([np.nan, np.nan, 1.0, 9.0])
    fitted = fit([{"key": "bucketise", "boundaries": [2], "output": "onehot"}, "standardise"], x, missing=5)
    np.testing.assert_allclose(fitted[0].transforms[1]["centre"], [0.25, 0.75])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"transforms": ["z_score", "standardise"]}, r"p\.1: standardise is fitted .* must stand before z_score"),
        ({"transforms": ["rank", "bucketise"]}, r"p\.1: bucketise is fitted"),
        ({"transforms": ["min_max"], "scope": "query"}, r"p\.0: min_max compares the documents of a query"),
        ({"transforms": [{"key": "quantile", "quantiles": 1}]}, r"p\.0: quantiles must be at least 2"),
        ({"transforms": [{"key": "quantile", "output": "gauss"}]}, r"p\.0: `output` must be"),
        ({"transforms": [{"key": "bucketise", "boundaries": [3, 1]}]}, r"p\.0: boundaries must be ascending"),
        ({"transforms": [{"key": "bucketise", "buckets": 1}]}, r"p\.0: buckets must be at least 2"),
    ],
)
def test_wrong_transform_names_its_place(inputs, message):
    with pytest.raises((ConfigError, UserError), match=message):
        check_transforms(NumericInput(name="x", type="numeric", **inputs), "p")


def test_order_that_can_be_fitted_passes():
    inputs = NumericInput(
        name="x", type="numeric", transforms=["robust", "z_score", {"key": "bucketise", "boundaries": [0]}, "log1p"]
    )
    check_transforms(inputs, "p")
    assert [state["key"] for state in fit_transforms(SKEWED[:, None], inputs.transforms)][1] == "z_score"


def test_transforms_are_fitted_on_the_values_of_those_before_them():
    x = SKEWED.copy()
    x[:50] = np.nan
    for before in ("quantile", {"key": "bucketise", "output": "ordinal"}, {"key": "quantile", "output": "normal"}):
        encoded = encode(fit([before, "standardise"], x), x[None])[0, :, 0]
        np.testing.assert_allclose([encoded.mean(), encoded.std()], [0, 1], atol=1e-4)


def test_query_min_of_a_query_input_raises():
    with pytest.raises(ValueError, match="query_min is a value of the query's documents"):
        NumericInput(name="x", type="numeric", scope="query", missing="query_min")


def test_column_may_be_read_by_several_inputs():
    data = table(f1=np.array([1.0, 3.0]), f2=np.array([2.0, 2.0]))
    config = {
        "inputs": [
            {"name": "f*", "type": "numeric"},
            {"name": "ranked", "column": "f1", "type": "numeric", "transforms": ["rank"]},
        ]
    }
    fitted = fit_inputs(FeatureConfig.model_validate(config), data)
    assert [i.columns for i in fitted] == [["f1", "f2"], ["f1"]]
    assert [list(f.positions) for f in FeatureEncoder(fitted).features] == [[0, 2], [1]]


def test_feature_dropout_hides_whole_features_from_whole_lists_in_training_alone():
    data = table(a=SKEWED, b=TIED)
    config = {"inputs": [{"name": "*", "type": "numeric", "missing": "zero", "missing_indicator": True}]}
    fitted = fit_inputs(FeatureConfig.model_validate(config), data)
    layer = FeatureEncoder.from_config(FeatureEncoder(fitted, 0.3).get_config())
    x = np.full((400, 5, 2), np.nan, "float32")
    x[:, :3] = 2.0
    encoded = keras.ops.convert_to_numpy(layer({"*": x}, training=True))
    plain = keras.ops.convert_to_numpy(layer({"*": x}, training=False))
    kept = encoded[:, 0, :2] != 0
    np.testing.assert_array_equal(encoded, plain * np.tile(kept, 2)[:, None, :])
    assert 0.2 < 1 - kept.mean() < 0.4
    assert (kept[:, 0] != kept[:, 1]).any()
    np.testing.assert_array_equal(plain, keras.ops.convert_to_numpy(FeatureEncoder(fitted)({"*": x}, training=True)))
