"""Numbers of sentence-transformers (6.2 over lists, else 5.1.2) and embedding_studio, reached through `compat`."""

import keras
import numpy as np
import pytest
from keras import ops

from compat.golden import REPAIRED, id_of, load, near, near_or_repaired
from losses.numeric import value_and_gradient, values
from ml4ir_losses.compat import embedding_studio
from ml4ir_losses.compat.sentence_transformers import cross_encoder
from ml4ir_losses.core.errors import UserError

CASES = load("st_losses.json")
BY_ID = {case["id"]: case for case in CASES}
RAGGED = ("LambdaLoss", "RankNetLoss", "ListNetLoss", "ListMLELoss", "PListMLELoss")
NEGATIVES = ("MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss")
FLAT = ("BinaryCrossEntropyLoss", "MSELoss")
LOWEST = -1e9  # `min_label` where labels are negative


def of_losses(*names):
    cases = [case for case in CASES if case["loss"].partition(".")[2] in names]
    assert cases
    peer = cross_encoder if hasattr(cross_encoder, names[0]) else embedding_studio
    return pytest.mark.parametrize("case", cases, ids=[id_of(case, peer) for case in cases])


def parameters(case):
    params = dict(case["params"])
    scheme = params.get("weighting_scheme")
    if isinstance(scheme, str):
        name, mu = scheme.partition("(")[0], params.pop("mu", 10.0)
        scheme = getattr(cross_encoder, name)
        params["weighting_scheme"] = scheme(mu=mu) if name == "NDCGLoss2PPScheme" else scheme()
    if isinstance(params.get("lambda_weight"), str):
        discount = "log2_inverse" if "log2" in params["lambda_weight"] else "inverse_log1p"
        params["lambda_weight"] = cross_encoder.PListMLELambdaWeight(rank_discount_fn=discount)
    return params


def make(case, **params):
    return getattr(cross_encoder, case["loss"].partition(".")[2])(**{**parameters(case), **params})


def number(x):
    """A golden number, which is a string where it is not finite; nested lists too."""
    return np.array(x, dtype=object).astype("float64") if isinstance(x, list) else float(x)


def check(case, actual, slopes, name="logits"):
    """The value and the gradient, place by place, against the case's, or those that the table has for it."""
    slopes = slopes.ravel()
    assert np.isfinite(slopes).all()
    kind, other, _ = REPAIRED.get(case["id"], ("", "", ""))
    if kind == "twin":
        near(actual, BY_ID[other]["expected_loss"])
        assert "expected_loss" not in case or abs(actual - case["expected_loss"]) > 1e-3, "remove it from the table"
        case = BY_ID[other]
    else:
        near_or_repaired(case, actual, number(case["expected_loss"]))
    expected = case["expected_grad"][name]
    if kind == "is" and other == 0.0:
        near(slopes, np.zeros_like(slopes))
    elif kind in ("", "twin"):
        near(slopes, number([x for row in expected for x in row] if isinstance(expected[0], list) else expected))


@pytest.mark.slow_on("jax")
@of_losses(*RAGGED)
def test_listwise_loss_equals_the_peers(case):
    logits, labels = case["inputs"]["logits"], case["inputs"]["labels"]
    real = np.arange(max(map(len, logits)) + 1) < np.array([[len(row)] for row in logits])
    y_pred = np.full(real.shape, 1e4, dtype="float32")  # one place of padding more than the longest list has
    y_pred[real] = [s for row in logits for s in row]
    negative = min(y for row in labels for y in row) < 0
    y_true = np.full(real.shape, 2 * LOWEST if negative else -1.0, dtype="float32")
    y_true[real] = [y for row in labels for y in row]
    loss_fn = make(case, **({"min_label": LOWEST} if negative else {}))
    value, slopes = value_and_gradient(lambda z: loss_fn(y_true, z), y_pred)
    check(case, value, slopes[real])
    assert not slopes[~real].any()


@of_losses(*FLAT)
def test_pointwise_loss_equals_the_peers(case):
    y_pred = np.array(case["inputs"]["logits"], dtype="float32")[:, None]  # a list of one document per row
    y_true = np.array(case["inputs"]["labels"], dtype="float32")[:, None]
    loss_fn = make(case)
    check(case, *value_and_gradient(lambda z: loss_fn(y_true, z), y_pred))


@of_losses("CrossEntropyLoss")
def test_classification_loss_equals_the_peers(case):
    y_pred, y_true = np.array(case["inputs"]["logits"], dtype="float32"), np.array(case["inputs"]["labels"])
    loss_fn = make(case)
    check(case, *value_and_gradient(lambda z: loss_fn(y_true, z), y_pred))


@of_losses("MarginMSELoss")
def test_margin_loss_equals_the_peers(case):
    y_pred, loss_fn = np.array(case["inputs"]["logits"], dtype="float32"), make(case)
    if case.get("expected_error"):
        with pytest.raises(UserError, match="margin_mse"):
            loss_fn(np.zeros((3, 2), dtype="float32"), y_pred)
        return
    y_true = np.array(case["inputs"]["labels"], dtype="float32")
    check(case, *value_and_gradient(lambda z: loss_fn(y_true, z), y_pred))


@of_losses(*NEGATIVES)
def test_loss_of_candidates_equals_the_peers(case):
    scores = np.array(case["inputs"]["scores"], dtype="float32")
    columns = BY_ID.get(f"{case['id'].removesuffix('_error')}/fixed", case)["inputs"]["selected_columns"]
    negatives = case["params"].get("num_negatives")
    rows, width = scores.shape
    if negatives is None or negatives >= width - width // rows:  # all of them
        loss_fn = make(case)
        labels = np.zeros((rows, 1), dtype="float32")
        return check(case, *value_and_gradient(lambda z: loss_fn(labels, z), scores), "scores")
    place = np.arange(rows)[:, None], np.array(columns)  # as the peer drew them
    sampled = scores[place]
    loss_fn = make(case, num_negatives=sampled.shape[1] - 1)
    labels = np.zeros(sampled.shape, dtype="float32")
    slopes = np.zeros_like(scores, dtype="float64")
    value, slopes[place] = value_and_gradient(lambda z: loss_fn(labels, z), sampled)
    check(case, value, slopes, "scores")


@of_losses("ProbMarginRankingLoss", "CosineProbMarginRankingLoss")
def test_embedding_studio_loss_equals_the_peers(case):
    name = case["loss"].partition(".")[2]
    shipped = {"as_shipped": True} if name.startswith("Cosine") and case["variant"] == "as_shipped" else {}
    loss = getattr(embedding_studio, name)(**case["params"], **shipped)
    inputs = {name: np.array(value, dtype="float32") for name, value in case["inputs"].items()}
    ranks = ("positive_ranks", "negative_ranks")

    def value(**changes):
        return loss(embedding_studio.FineTuningFeatures(**{**inputs, **changes}))

    for name in ranks:
        check(case, *value_and_gradient(lambda z, name=name: value(**{name: z}), inputs[name]), name)


def test_every_golden_case_is_tested():
    names = {case["loss"].partition(".")[2] for case in CASES}
    margin = {"MarginMSELoss", "ProbMarginRankingLoss", "CosineProbMarginRankingLoss"}
    assert names == {*RAGGED, *FLAT, *NEGATIVES, *margin, "CrossEntropyLoss"}
    assert {name for name in REPAIRED if name.startswith(("ce.", "es."))} <= set(BY_ID)


def test_parameters_without_effect_do_not_change_the_value():
    labels, scores = np.array([[2.0, 0.0, 1.0]]), np.array([[0.1, 0.3, -0.2]], dtype="float32")
    plain = values(cross_encoder.LambdaLoss()(labels, scores))
    changed = cross_encoder.LambdaLoss(object(), eps=0.1, mini_batch_size=2)
    assert values(changed(labels, scores)) == plain
    assert isinstance(changed, keras.losses.Loss)
    assert ops.convert_to_numpy(changed(labels, scores)).shape == ()
