"""The cross-encoder's multiple negatives over all candidates, [B, B·C]."""

import json
from pathlib import Path

import numpy as np
import pytest

from losses.numeric import BACKEND, assert_close, gradient, value_and_gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.listwise.candidates import cross_encoder_multiple_negatives_ranking

KEY = "cross_encoder_multiple_negatives_ranking"
PLAIN = {"scale": 1.0, "activation_fn": None}


def scores_of(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, rows * columns))


def lists(scores, columns):
    """One row per query: its positive, the candidates of all other queries, its hard negatives."""
    rows = len(scores)
    for i, row in enumerate(scores):
        own = [c * rows + i for c in range(columns)]
        others = [j for j in range(rows * columns) if j not in own]
        yield row[own[0]], row[others], row[own[1:]]


def cross_entropy(positive, *negatives):
    logits = np.concatenate([[positive], *negatives])
    return np.log(np.exp(logits).sum()) - positive


@pytest.mark.parametrize("key", [KEY, f"cached_{KEY}"])
@pytest.mark.parametrize("columns", [1, 3])
@pytest.mark.parametrize("form", [(4,), (4, 1), (4, 4)], ids=str)
def test_all_candidates_match_the_oracle(key, columns, form):
    scores = scores_of(4, columns)
    expected = [cross_entropy(*query) for query in lists(scores, columns)]
    for enough in (None, 3 * columns, 100):
        if enough == 3 and form == (4, 4):  # a list of 1 + 3 columns
            continue
        loss = get_loss(key, num_negatives=enough, **PLAIN)
        value, slopes = value_and_gradient(lambda s, loss=loss: loss.per_query(np.zeros(form), s), scores)
        assert_close(value, expected)
        assert_close(slopes.sum(axis=1), np.zeros(4))
        assert (slopes[np.arange(4), np.arange(4)] < 0).all()


GOLDEN = [
    case
    for case in json.loads((Path(__file__).parent.parent / "golden" / "st_losses.json").read_text())
    if case["loss"].startswith("ce.") and "MultipleNegatives" in case["loss"] and "selected_columns" in case["inputs"]
]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['id']}-{KEY}")
def test_golden_values_and_gradients(case):
    """A run of sentence-transformers, with the columns that it drew."""
    scores, selected = np.array(case["inputs"]["scores"]), np.array(case["inputs"]["selected_columns"])
    params = {name: value for name, value in case["params"].items() if name in ("scale", "activation_fn")}
    params["scale"] = params.get("scale", 10.0) or 1.0  # in sentence-transformers 0 means no scaling
    chosen = np.take_along_axis(scores, selected, axis=1)
    loss = get_loss(KEY, num_negatives=max(1, chosen.shape[1] - 1), **params)

    def mean(rows):
        return loss.per_query(np.zeros(chosen.shape), rows) / len(scores)

    value, of_chosen = value_and_gradient(mean, chosen)
    assert_close(value.sum(), case["expected_loss"])
    slopes = np.zeros_like(scores)
    np.put_along_axis(slopes, selected, of_chosen, axis=1)
    assert_close(slopes, np.array(case["expected_grad"]["scores"]))

    count, columns = case["params"].get("num_negatives", 4), scores.shape[1] // len(scores)
    if count is None or count >= scores.shape[1] - columns:
        whole = get_loss(KEY, num_negatives=count, **params).per_query(np.zeros(len(scores)), scores)
        assert_close(values(whole).mean(), case["expected_loss"])


def test_negatives_are_drawn_from_allowed_pairs_without_replacement():
    """Every drawn logit adds exp(2^j), so that the value shows which were drawn."""
    rows, columns, count = 3, 2, 2
    scores = np.tile(np.log(2.0 ** np.arange(rows * columns)), (rows, 1))
    fn = get_loss(KEY, num_negatives=count, seed=1, **PLAIN).get_loss_fn(reduction="none")
    seen = [set() for _ in range(rows)]
    for _ in range(60):
        totals = np.rint(np.exp(values(fn(np.zeros(rows), scores))) * 2.0 ** np.arange(rows)).astype(int)
        for i, total in enumerate(totals):
            places = {j for j in range(rows * columns) if total >> j & 1}
            assert {i, i + rows} <= places
            assert len(places) == 2 + count
            seen[i] |= {frozenset(places - {i, i + rows})}
    assert [len(draws) for draws in seen] == [6, 6, 6]  # of 4 allowed, 2


def test_equal_seeds_draw_equal_negatives():
    scores = scores_of(8, 2)

    def sequence(seed):
        fn = get_loss(KEY, seed=seed).get_loss_fn()
        return [float(fn(np.zeros(8), scores)) for _ in range(4)]

    first = sequence(3)
    assert len(set(first)) == 4
    assert sequence(3) == first
    assert sequence(4) != first


def test_label_shape_selects_list_or_all_candidates():
    """[5, 5] with 4 negatives is a list for labels of its shape, all candidates otherwise."""
    scores = scores_of(5, 1)
    loss = get_loss(KEY, **PLAIN)
    listed = [cross_entropy(row[0], row[1:]) for row in scores]
    whole = [cross_entropy(*query) for query in lists(scores, 1)]
    assert_close(values(loss.per_query(np.zeros((5, 5)), scores)), listed)
    assert_close(values(loss.per_query(np.zeros(5), scores)), whole)
    assert_close(values(loss.per_query(np.zeros((5, 1)), scores)), whole)
    seven = np.random.default_rng(1).normal(size=(7, 5))
    assert_close(values(loss.per_query(np.zeros(7), seven)), [cross_entropy(row[0], row[1:]) for row in seven])


def test_single_row_equals_its_list():
    scores = scores_of(1, 4)
    for labels in (np.zeros(1), np.zeros((1, 4))):
        expected = [cross_entropy(*query) for query in lists(scores, 4)]
        assert_close(values(get_loss(KEY, **PLAIN).per_query(labels, scores)), expected)
    assert values(get_loss(KEY).per_query(np.zeros(1), scores_of(1, 1)))[0] == 0


@pytest.mark.parametrize(
    ("labels", "scores"), [((4,), (4, 6)), ((3,), (4, 8)), ((), (4, 8)), ((4,), (4,)), ((4,), (4, 2, 4))], ids=str
)
def test_wrong_input_is_refused(labels, scores):
    with pytest.raises(UserError, match="y_pred"):
        get_loss(KEY).get_loss_fn()(np.zeros(labels), np.zeros(scores))


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 1e30])
def test_padded_rows_are_no_candidates(garbage):
    scores = scores_of(4, 2)
    real = np.array([True, True, False, True])
    kept = np.flatnonzero(real)
    columns = np.concatenate([kept, 4 + kept])
    expected = np.zeros(4)
    expected[kept] = [cross_entropy(*query) for query in lists(scores[np.ix_(kept, columns)], 2)]
    dirty = scores.copy()
    dirty[~real] = garbage
    dirty[:, [2, 6]] = garbage

    def value(s):
        return cross_encoder_multiple_negatives_ranking(np.zeros(4), s, real, num_negatives=None, scale=1.0)

    found, slopes = value_and_gradient(value, dirty)
    assert_close(found, expected)
    assert np.isfinite(slopes).all()
    assert (slopes[:, [2, 6]] == 0).all()
    assert (slopes[2] == 0).all()
    assert (values(get_loss(KEY).per_query(np.zeros(4), dirty, None, np.zeros(4, dtype=bool))) == 0).all()


@pytest.mark.backend("tensorflow")
def test_unknown_sizes_and_xla_equal_eager():
    import tensorflow as tf

    fn = get_loss(KEY, num_negatives=None, **PLAIN).get_loss_fn(reduction="none")
    spec = [tf.TensorSpec([None], tf.float32), tf.TensorSpec([None, None], tf.float32)]
    for graph in (
        tf.function(lambda y, s: fn(y, s), input_signature=spec),
        tf.function(lambda y, s: fn(y, s), jit_compile=True),
    ):
        for rows, columns in [(4, 1), (3, 2), (5, 3)]:
            scores = scores_of(rows, columns).astype("float32")
            expected = [cross_entropy(*query) for query in lists(scores, columns)]
            np.testing.assert_allclose(values(graph(np.zeros(rows, "float32"), scores)), expected, rtol=1e-5)
    drawn = get_loss(KEY, num_negatives=2, seed=1, **PLAIN).get_loss_fn(reduction="none")
    compiled = tf.function(lambda y, s: drawn(y, s), jit_compile=True)
    assert np.isfinite(values(compiled(np.zeros(6, "float32"), scores_of(6, 2).astype("float32")))).all()
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.function(lambda y, s: fn(y, s), input_signature=spec)(np.zeros(4, "float32"), np.zeros((4, 6), "float32"))


def test_gradient_of_drawn_negatives():
    """The gradient of a row sums to 0, and is 0 for candidates that were not drawn."""
    scores = scores_of(6, 2)
    loss = get_loss(KEY, num_negatives=3, seed=5, **PLAIN)
    slopes = gradient(lambda s: loss.per_query(np.zeros(6), s), scores)
    assert ((slopes != 0).sum(axis=1) == 1 + 3 + 1).all()
    np.testing.assert_allclose(slopes.sum(axis=1), 0, atol=1e-6 if BACKEND == "jax" else 1e-12)
