"""The scorers of feature lists: values, dependence on other documents, padding, gradients, precision, saving."""

import keras
import numpy as np
import pytest
import scorer_oracles
from keras import ops

from losses.numeric import BACKEND, central_differences, compiled_on_jax, gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import ARCHITECTURES
from ml4ir_losses.features.layers import EncodedFeature
from selection import slow_except

FEATURES = [
    EncodedFeature("price", "document", [0, 3]),
    EncodedFeature("size", "document", [1]),
    EncodedFeature("country", "query", [2, 4]),
    EncodedFeature("brand", "document", [5, 6, 7]),
    EncodedFeature("hour", "query", [8]),
]
QUERY = [2, 4, 8]
SET = {"hidden_units": [6, 5], "attention_dim": 8, "num_layers": 2, "num_heads": 2}
DEEP = {"hidden_units": [6, 5]}
CASES = {
    "set_transformer": SET,
    "set_transformer, concatenated": {**SET, "latent_cross": False, "log1p": False, "hidden_dim": 3},
    "set_transformer, no hidden layer": {**SET, "hidden_units": [], "num_layers": 1},
    "deep_cross": {**DEEP, "cross_layers": 3},
    "deep_cross, stacked": {**DEEP, "structure": "stacked", "rank": 2},
    "deep_cross, crosses alone": {"structure": "stacked", "hidden_units": []},
    "gam": {"hidden_units": [4, 3], "query_hidden_units": [3]},
    "gam, linear": {"hidden_units": [], "query_hidden_units": []},
}
QUICK = [case for case in CASES if BACKEND != "jax" or "," not in case]  # JAX compiles each of them anew
SETS = [case for case in CASES if case.startswith("set_transformer")]
each_case = pytest.mark.parametrize("case", slow_except(CASES, *QUICK))
each_set_case = pytest.mark.parametrize("case", slow_except(SETS, *[case for case in SETS if case in QUICK]))
MASK = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1]], "float32")
rng = np.random.default_rng(7)
X = rng.normal(size=(*MASK.shape, 9)).astype("float32")
X[..., QUERY] = X[:, :1, QUERY]


def make(case, features=FEATURES, **hidden):
    """A built scorer; random weights, for zeros and ones would hide what is not used."""
    key = case.partition(",")[0]
    scorer = ARCHITECTURES.create({"key": key, **CASES[case]}, hidden={"features": features, **hidden})
    scorer.build((None, None, X.shape[-1]))
    for place, weight in enumerate(scorer.trainable_variables):
        weight.assign(np.random.default_rng(place).normal(size=weight.shape) * 0.5)
    return scorer


def run(scorer, x=X, mask=MASK):
    return values(compiled_on_jax(scorer)(ops.convert_to_tensor(x), None if mask is None else mask))


def oracle(case, scorer, x=X, mask=MASK):
    key = case.partition(",")[0]
    return getattr(scorer_oracles, key)(scorer, x.astype("float64"), mask)


def loss_of(scorer, mask=MASK, weight=None):
    """A weighted sum of the logits of the valid documents, as a function of x."""
    weight = np.random.default_rng(3).normal(size=mask.shape).astype("float32") if weight is None else weight
    return compiled_on_jax(
        lambda x: ops.sum(ops.where(ops.convert_to_tensor(mask > 0), ops.multiply(scorer(x, mask), weight), 0.0))
    )


def slopes_of(case):
    """The columns whose slopes are compared: `gam` reads those of the query from its first document alone."""
    return [c for c in range(X.shape[-1]) if c not in QUERY or not case.startswith("gam")]


@each_case
def test_logits_match_the_formula(case):
    scorer = make(case)
    real = MASK > 0
    expected = oracle(case, scorer)[..., 0]
    np.testing.assert_allclose(run(scorer)[real], expected[real], rtol=2e-5, atol=2e-5)
    everything = oracle(case, scorer, mask=np.ones_like(MASK))[..., 0]
    np.testing.assert_allclose(run(scorer, mask=None), everything, rtol=2e-5, atol=2e-5)


@pytest.mark.slow_on("jax")
@each_case
def test_gradient_matches_central_differences_of_the_formula(case):
    scorer = make(case)
    x, mask = X[1:3, :4], MASK[1:3, :4]
    weight = np.random.default_rng(3).normal(size=mask.shape).astype("float32")

    def total(z):
        return np.sum(np.where(mask > 0, weight * oracle(case, scorer, z, mask)[..., 0], 0.0))

    expected = central_differences(total, x.astype("float64"))
    actual = gradient(loss_of(scorer, mask, weight), x)
    columns = slopes_of(case)
    np.testing.assert_allclose(actual[..., columns], expected[..., columns], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("case", ["set_transformer", "set_transformer, concatenated", "deep_cross"])
def test_several_logits_per_document_match_the_formula(case):
    scorer = make(case, outputs=3)
    logits = run(scorer)
    assert logits.shape == (*MASK.shape, 3)
    np.testing.assert_allclose(logits[MASK > 0], oracle(case, scorer)[MASK > 0], rtol=2e-5, atol=2e-5)


@each_case
def test_permuted_documents_permute_scores_and_gradients(case):
    scorer = make(case)
    order = np.array([3, 0, 5, 1, 4, 2])
    weight = np.random.default_rng(3).normal(size=MASK.shape).astype("float32")
    permuted = run(scorer, X[:, order], MASK[:, order])
    np.testing.assert_allclose(permuted, run(scorer)[:, order], rtol=1e-5, atol=1e-5)
    columns = slopes_of(case)
    before = gradient(loss_of(scorer, MASK, weight), X)[:, order]
    after = gradient(loss_of(scorer, MASK[:, order], weight[:, order]), X[:, order])
    np.testing.assert_allclose(after[..., columns], before[..., columns], rtol=1e-4, atol=1e-5)


@each_set_case
def test_scores_depend_on_the_other_documents(case):
    scorer = make(case)
    other = X.copy()
    other[:, 0] += 1.0
    change = np.abs(run(scorer, other) - run(scorer))
    others = MASK > 0
    others[:, 0] = False
    assert (change[others] > 1e-6).all()
    slopes = gradient(loss_of(scorer, MASK, np.eye(6, dtype="float32")[[3, 3, 0, 3]]), X)
    assert np.abs(slopes[0, 0]).max() > 1e-6
    assert np.abs(slopes[3, 5]).max() > 1e-6


@pytest.mark.parametrize("garbage", [1e6, np.nan, np.inf])
@each_case
def test_values_of_padding_change_no_score(case, garbage):
    scorer = make(case)
    other = X.copy()
    other[MASK == 0] = garbage
    np.testing.assert_array_equal(run(scorer, other)[MASK > 0], run(scorer)[MASK > 0])


@each_case
def test_more_padding_changes_neither_scores_nor_gradients(case):
    scorer = make(case)
    weight = np.random.default_rng(3).normal(size=MASK.shape).astype("float32")
    wide = np.concatenate([X, np.full((4, 3, 9), 5.0, "float32")], axis=1)
    mask, wide_weight = (np.concatenate([part, np.zeros((4, 3), "float32")], axis=1) for part in (MASK, weight))
    np.testing.assert_allclose(run(scorer, wide, mask)[:, :6][MASK > 0], run(scorer)[MASK > 0], rtol=1e-5, atol=1e-5)
    slopes = gradient(loss_of(scorer, mask, wide_weight), wide)
    np.testing.assert_allclose(slopes[:, :6], gradient(loss_of(scorer, MASK, weight), X), rtol=1e-4, atol=1e-5)
    assert (slopes[mask == 0] == 0).all()


@each_case
def test_a_list_alone_scores_as_in_a_batch(case):
    scorer = make(case)
    together = run(scorer)
    alone = np.concatenate([run(scorer, X[b : b + 1], MASK[b : b + 1]) for b in range(2)])
    np.testing.assert_allclose(alone[MASK[:2] > 0], together[:2][MASK[:2] > 0], rtol=1e-5, atol=1e-5)
    single = run(scorer, X[2:3, :1], MASK[2:3, :1])
    np.testing.assert_allclose(single, together[2:3, :1], rtol=1e-5, atol=1e-5)


@each_case
def test_a_list_of_padding_has_finite_logits_and_gradients(case):
    scorer = make(case)
    mask = MASK * np.array([[1], [0], [1], [0]], "float32")
    assert np.isfinite(run(scorer, X, mask)).all()
    slopes = gradient(loss_of(scorer, mask), X)
    assert np.isfinite(slopes).all()
    assert (slopes[[1, 3]] == 0).all()


@each_set_case
def test_long_lists_have_finite_scores(case):
    scorer = make(case)
    x = np.random.default_rng(0).normal(size=(2, 1000, 9)).astype("float32") * 30
    mask = (np.arange(1000) < [[1000], [990]]).astype("float32")
    scores = run(scorer, x, mask)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(run(scorer, x[1:, :990], mask[1:, :990])[0], scores[1, :990], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("features", [FEATURES, [f for f in FEATURES if f.scope == "document"]], ids=["query", "none"])
@pytest.mark.parametrize("case", ["gam", "gam, linear"])
def test_parts_of_gam_sum_to_the_logits_and_depend_on_one_feature_each(case, features):
    scorer = make(case, features=features)
    parts = values(scorer.parts(ops.convert_to_tensor(X)))
    assert list(scorer.feature_parts(X, features)) == ["price", "size", "brand"]
    np.testing.assert_allclose(parts, scorer_oracles.gam_parts(scorer, X.astype("float64")), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(parts.sum(axis=-1), run(scorer), rtol=1e-5, atol=1e-5)
    for j, feature in enumerate(f for f in FEATURES if f.scope == "document"):
        other = X.copy()
        other[..., feature.positions] += 0.5
        changed = (values(scorer.parts(ops.convert_to_tensor(other))) != parts).any(axis=(0, 1))
        assert list(np.flatnonzero(changed)) == [j]


def test_query_features_weigh_the_parts_of_gam():
    scorer = make("gam")
    plain = make("gam", features=[f for f in FEATURES if f.scope == "document"])
    ratio = values(scorer.parts(ops.convert_to_tensor(X))) / values(plain.parts(ops.convert_to_tensor(X)))
    np.testing.assert_allclose(ratio, ratio[:, :1] * np.ones_like(ratio), rtol=1e-3)  # the same for all documents
    np.testing.assert_allclose(ratio.sum(axis=-1), 2.0, rtol=1e-3)  # two query features, and weights of sum 1 each
    assert np.std(ratio[:, 0], axis=0).min() > 1e-3  # but other queries weigh otherwise


def test_noise_is_added_in_training_alone_and_has_the_given_spread():
    from ml4ir_losses.model.set_scorer import SetScorer

    attention = {"size": 2, "num_layers": 1, "num_heads": 1}
    scorer = SetScorer({"hidden_units": []}, attention, log1p=False, noise=3.0)
    scorer.build((None, None, 9))
    x = np.zeros((40, 50, 9), "float32")
    for weight in scorer.trainable_variables:
        weight.assign(np.zeros(weight.shape))  # with a = 0 the head reads the noisy features
    scorer.head.kernel.assign(np.eye(9)[:, :1])
    first, second, still = (values(scorer(x, training=training)) for training in (True, True, False))
    assert (still == 0).all()
    assert np.std(first) == pytest.approx(3.0, rel=0.1)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("case", ["set_transformer", "deep_cross", "gam"])
def test_dropout_acts_in_training_alone(case):
    rates = {"dropout": 0.5} if case == "gam" else {"dropout": 0.5, "input_dropout": 0.5}
    scorer = ARCHITECTURES.create({"key": case, **CASES[case], **rates}, hidden={"features": FEATURES})
    scorer.build((None, None, 9))
    x = ops.convert_to_tensor(X)
    assert not np.array_equal(values(scorer(x, MASK, training=True)), values(scorer(x, MASK, training=True)))
    np.testing.assert_array_equal(values(scorer(x, MASK, training=False)), values(scorer(x, MASK)))


@pytest.mark.parametrize("precision", slow_except(["mixed_bfloat16", "mixed_float16"], "mixed_bfloat16"))
@each_case
def test_logits_are_float32_under_mixed_precision(case, precision):
    scorer, exact = make(case, dtype=precision), run(make(case))
    logits = scorer(ops.convert_to_tensor(X, dtype=precision.removeprefix("mixed_")), MASK)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    scale = np.abs(exact).max()
    np.testing.assert_allclose(values(logits)[MASK > 0], exact[MASK > 0], atol=0.1 * scale)


@each_case
def test_a_layer_is_rebuilt_from_its_config(case):
    scorer = make(case)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(scorer))
    assert again.get_config() == scorer.get_config()
    again.set_weights(scorer.get_weights())
    np.testing.assert_array_equal(run(again), run(scorer))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"key": "set_transformer", "attention_dim": 10, "num_heads": 3}, "`num_heads` must divide attention_dim=10"),
        ({"key": "set_transformer", "noise": -1.0}, "`noise` must be a number of at least 0"),
        ({"key": "set_transformer", "num_layers": 0}, "`num_layers` must be a whole number of at least 1"),
        (
            {"key": "set_transformer", "attention_dropout": 1.0},
            "`attention_dropout` must be a number from 0 to below 1",
        ),
        ({"key": "deep_cross", "structure": "stackd"}, "Did you mean 'stacked'?"),
        ({"key": "deep_cross", "rank": 0}, "`rank` must be None or a whole number of at least 1"),
        ({"key": "deep_cross", "activation": "rellu"}, "`activation` must be a Keras activation"),
        ({"key": "gam", "activation": "rellu"}, "`activation` must be a Keras activation"),
        ({"key": "gam", "hidden_units": [0]}, "`hidden_units` must be whole numbers of at least 1"),
        ({"key": "gam", "features": []}, "architecture 'gam' has no parameter 'features'"),
    ],
)
def test_wrong_parameters_say_what_is_allowed(params, message):
    with pytest.raises(UserError) as caught:
        ARCHITECTURES.create(params, hidden={} if "features" in params else {"features": FEATURES})
    assert message in str(caught.value)
