"""Fitting of features, and the feature encoder."""

import keras
import numpy as np
import pytest

from ml4ir_losses.config.inputs import FeatureConfig, NumericInput
from ml4ir_losses.core.errors import DataError
from ml4ir_losses.data.table import Source, Table
from ml4ir_losses.features.fitting import encode_rows, fit_inputs
from ml4ir_losses.features.transforms import fit_transforms

NAN = float("nan")


def table(**columns):
    rows = len(next(iter(columns.values())))
    return Table(columns, [Source("t.csv", rows, lambda i: i + 2)])


def features(*inputs):
    return FeatureConfig.model_validate({"inputs": list(inputs)})


def encoder(fitted):
    from ml4ir_losses.features.layers import FeatureEncoder

    return FeatureEncoder(fitted)


def run(fitted, x):
    return keras.ops.convert_to_numpy(encoder(fitted)({name: np.asarray(v)[None] for name, v in x.items()}))[0]


@pytest.mark.parametrize(
    ("transforms", "expected"),
    [
        (["standardise"], lambda x: (x - x.mean()) / x.std()),
        (["robust"], lambda x: (x - np.median(x)) / (np.percentile(x, 75) - np.percentile(x, 25))),
        (["log1p"], lambda x: np.sign(x) * np.log1p(np.abs(x))),
        ([{"key": "clip", "min": -1, "max": 2}], lambda x: np.clip(x, -1, 2)),
        ([{"key": "clip", "max": 2}], lambda x: np.minimum(x, 2)),
        ([], lambda x: x),
        (["log1p", "standardize"], lambda x: (lambda z: (z - z.mean()) / z.std())(np.sign(x) * np.log1p(np.abs(x)))),
    ],
)
def test_transforms_match_numpy(transforms, expected):
    x = np.random.default_rng(0).normal(1, 20, 50)
    fitted = fit_inputs(features({"name": "x", "type": "numeric", "transforms": transforms}), table(x=x))
    encoded = run(fitted, encode_rows(fitted, table(x=x)).arrays)
    np.testing.assert_allclose(encoded[:, 0], expected(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [3.0, 0.1, 1e8])
@pytest.mark.parametrize("transform", ["standardise", "robust"])
def test_constant_column_becomes_zero(transform, value):
    fitted = fit_inputs(
        features({"name": "x", "type": "numeric", "transforms": [transform]}), table(x=np.full(7, value))
    )
    np.testing.assert_allclose(run(fitted, encode_rows(fitted, table(x=np.full(7, value))).arrays), 0.0, atol=1e-6)


def test_robust_scaling_of_a_mostly_constant_column_uses_the_standard_deviation():
    x = np.array([0.0] * 95 + [1.0] * 5)
    state = fit_transforms(x[:, None], ["robust"])[0]
    assert state["scale"] == [pytest.approx(x.std())]


@pytest.mark.parametrize(("missing", "fill"), [("mean", 3.0), ("median", 2.0), ("zero", 0.0), (-7.5, -7.5)])
def test_missing_cells_are_filled_from_the_training_split_and_indicated(missing, fill):
    x = np.array([1.0, 2.0, NAN, 6.0])
    fitted = fit_inputs(
        features({"name": "x", "type": "numeric", "missing": missing, "missing_indicator": True}), table(x=x)
    )
    np.testing.assert_allclose(
        run(fitted, encode_rows(fitted, table(x=x)).arrays), [[1, 0], [2, 0], [fill, 1], [6, 0]], rtol=1e-6
    )


def test_column_without_values_is_filled_with_zero():
    assert NumericInput(name="x", type="numeric").missing == "median"
    fitted = fit_inputs(features({"name": "x", "type": "numeric"}), table(x=np.full(3, NAN)))
    assert fitted[0].fill == [0.0]


def test_glob_matches_only_columns_without_a_role():
    data = table(label=[0.0, 1.0], f1=[1.0, 2.0], f2=[3.0, 4.0], g=[5.0, 6.0])
    fitted = fit_inputs(features({"name": "*", "type": "numeric"}, {"name": "g", "type": "numeric"}), data)
    assert fitted[0].columns == ["f1", "f2"]
    np.testing.assert_allclose(run(fitted, encode_rows(fitted, data).arrays), [[1, 3, 5], [2, 4, 6]])


@pytest.mark.parametrize("kind", ["numeric", "categorical", "text"])
def test_missing_feature_column_names_the_nearest_one(kind):
    with pytest.raises(DataError, match=r"t.csv: no column 'prize'.*Did you mean 'price'\?"):
        fit_inputs(features({"name": "prize", "type": kind}), table(price=[1.0, 2.0]))


def test_category_ids_follow_frequency_and_unknown_categories_get_zero():
    data = table(x=["b", "a", "b", "", "c", "c", "b"])
    fitted = fit_inputs(features({"name": "x", "type": "categorical", "max_vocabulary": 2, "embedding_dim": 3}), data)
    assert fitted[0].vocabulary == ["b", "c"]
    assert encode_rows(fitted, table(x=["b", "c", "a", "", "new"])).arrays["x"].tolist() == [1, 2, 0, 0, 0]
    embedded = run(fitted, {"x": np.array([1, 2, 0, 1], "int32")})
    assert embedded.shape == (4, 3)
    np.testing.assert_array_equal(embedded[0], embedded[3])


def test_text_embedding_is_the_mean_of_its_words():
    data = table(x=["Red shoe", "red, hat!", "", "shoe"])
    fitted = fit_inputs(features({"name": "x", "type": "text", "embedding_dim": 5, "max_length": 3}), data)
    ids = encode_rows(fitted, table(x=["red", "shoe", "red shoe", "", "RED unknown"])).arrays["x"]
    assert ids.tolist()[0] == [2, 0, 0]
    assert ids[4].tolist() == [2, 1, 0]
    embedded = run(fitted, {"x": ids})
    np.testing.assert_allclose(embedded[2], (embedded[0] + embedded[1]) / 2, rtol=1e-5)
    np.testing.assert_array_equal(embedded[3], 0.0)


@pytest.mark.backend("tensorflow")
@pytest.mark.parametrize(
    "config",
    [
        {"type": "categorical"},
        {"type": "categorical", "encoding": "hash", "num_buckets": 5},
        {"type": "text", "max_length": 4},
    ],
)
def test_string_lookup_in_the_model_matches_pipeline_ids(config):
    import tensorflow as tf

    data = table(x=["Red shoe", "hat", "", "it's a café, isn't it?", "École A", "a\u00a0b", "[UNK]", "a b c d e f"])
    fitted = fit_inputs(features({"name": "x", **config}), data)
    ids = encode_rows(fitted, data).arrays["x"]
    layer = encoder(fitted)
    by_id = layer({"x": ids[None]})
    by_string = layer({"x": tf.constant([data.strings("x").tolist()])})
    np.testing.assert_array_equal(by_id, by_string)


def test_query_inputs_are_repeated_for_each_document():
    data = table(d=[1.0, 2.0], q=[7.0, 7.0])
    fitted = fit_inputs(
        features({"name": "d", "type": "numeric"}, {"name": "q", "type": "numeric", "scope": "query"}), data
    )
    x = {"d": np.array([[[1.0], [2.0]]], "float32"), "q": np.array([[7.0]], "float32")}
    np.testing.assert_allclose(keras.ops.convert_to_numpy(encoder(fitted)(x))[0], [[1, 7], [2, 7]])


def test_query_rank_averages_ties_and_ignores_padding():
    from ml4ir_losses.features.within_query import query_rank

    rng = np.random.default_rng(0)
    x = rng.integers(-2, 3, (3, 7, 2)).astype("float32") * np.float32(0.5)
    x[0, 0, 0], x[0, 1, 0] = -0.0, 0.0
    valid = rng.random((3, 7)) < 0.7
    valid[2] = False
    expected = np.zeros_like(x)
    for b, i, f in np.argwhere(np.repeat(valid[..., None], 2, axis=2)):
        others = x[b, valid[b], f]
        expected[b, i, f] = ((others < x[b, i, f]).sum() + 0.5 * (others == x[b, i, f]).sum()) / valid[b].sum() - 0.5
    ranks = keras.ops.convert_to_numpy(query_rank(x, valid.astype("float32")))
    np.testing.assert_allclose(ranks, expected, atol=1e-6)


def test_query_rank_is_appended_to_the_transformed_column():
    inputs = features({"name": "x", "type": "numeric", "transforms": ["log1p"], "query_rank": True})
    data = table(x=[3.0, 1.0, 2.0, 1.0])
    encoded = run(fit_inputs(inputs, data), encode_rows(fit_inputs(inputs, data), data).arrays)
    np.testing.assert_allclose(encoded[:, 1], [0.375, -0.25, 0.125, -0.25])


def test_encoded_features_say_where_the_values_of_a_column_lie():
    rng = np.random.default_rng(0)
    data = table(f1=rng.random(4), f2=rng.random(4), colour=np.array(["red", "blue", "red", "blue"]), age=np.ones(4))
    fitted = fit_inputs(
        features(
            {"name": "f*", "type": "numeric", "missing_indicator": True, "query_rank": True},
            {"name": "colour", "type": "categorical", "embedding_dim": 3},
            {"name": "age", "type": "numeric", "scope": "query"},
            {"name": "f[1]", "type": "numeric"},
        ),
        data,
    )
    built = encoder(fitted)
    assert [(f.name, f.scope, list(f.positions)) for f in built.features] == [
        ("f1", "document", [0, 2, 4, 10]),
        ("f2", "document", [1, 3, 5]),
        ("colour", "document", [6, 7, 8]),
        ("age", "query", [9]),
    ]
    x = {name: np.asarray(v)[None] for name, v in encode_rows(fitted, data).arrays.items()}
    x["age"] = x["age"][:, 0]
    other = {**x, "f*": x["f*"].copy(), "colour": 1 + x["colour"] % 2}
    other["f*"][0, :, 1] = [np.nan, 3.0, 2.0, 1.0]
    before, after = (keras.ops.convert_to_numpy(built(inputs))[0] for inputs in (x, other))
    assert list(np.flatnonzero((before != after).any(axis=0))) == [1, 3, 5, 6, 7, 8]
