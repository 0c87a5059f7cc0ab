"""Properties that every loss has, whatever its formula."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from losses.cases import case_of, fill, float32, get_loss, make_batch, move, pure
from losses.numeric import BACKEND, assert_close, value_and_gradient, values
from ml4ir_losses.losses.keras_loss import RelevanceLoss
from selection import each_loss, each_variant, slow_except


def with_garbage(x, mask):
    """The array with arbitrary numbers where the mask is false."""
    return fill(x, mask, np.resize(np.array([np.nan, -7.0, np.inf, 1e30, -np.inf], x.dtype), x.shape))


def both(key, batch, **params):
    """Per-row values and their gradient."""
    return value_and_gradient(pure(key, batch, **params), batch.scores)


@cache
def random_batch_results(key):
    """Per-row values and gradient of `make_batch(key)`, the reference of most properties."""
    return both(key, make_batch(key))


@each_loss(lambda case: case.documents and not case.random)
def test_permuted_documents_permute_the_gradient(key):
    batch = make_batch(key, ties=False)
    order = np.random.default_rng(1).permuted(np.tile(np.arange(6), (7, 1)), axis=1)
    value, slopes = both(key, batch)
    moved_value, moved_slopes = both(key, move(batch, order))
    assert_close(moved_value, value)
    assert_close(moved_slopes, move(batch._replace(scores=slopes), order).scores)


@each_loss(lambda case: not case.random)
def test_permuted_rows_permute_the_gradient(key):
    batch = make_batch(key)
    order = np.random.default_rng(1).permutation(7)
    value, slopes = random_batch_results(key)
    moved_value, moved_slopes = both(key, type(batch)(*(x[order] for x in batch)))
    assert_close(moved_value, value[order])
    assert_close(moved_slopes, slopes[order])


@each_variant(lambda case: case.layout != "columns", quick="key")
def test_padding_is_ignored(key, params):
    batch = make_batch(key)
    value, slopes = both(key, batch, **params)
    dirty = batch._replace(scores=with_garbage(batch.scores, batch.mask), weight=with_garbage(batch.weight, batch.mask))
    if case_of(key).layout != "classes":  # with an explicit mask, labels of padding may be anything
        dirty = dirty._replace(labels=with_garbage(batch.labels, batch.mask))
    dirty_value, dirty_slopes = both(key, dirty, **params)
    np.testing.assert_allclose(dirty_value, value, rtol=1e-6)
    np.testing.assert_allclose(dirty_slopes, slopes, rtol=1e-6)
    assert (slopes[~batch.mask] == 0).all()


@each_loss(lambda case: case.documents)
def test_document_with_score_minus_infinity_is_padding(key):
    batch = make_batch(key)
    missing = np.random.default_rng(2).random(batch.mask.shape) < 0.3
    missing[2] = True  # a query of which nothing is retrieved
    value, slopes = both(key, batch._replace(mask=batch.mask & ~missing))
    got, got_slopes = both(key, batch._replace(scores=fill(batch.scores, ~missing, -np.inf)))
    assert_close(got, value)
    assert_close(got_slopes, slopes)


@each_loss(lambda case: case.marked and not (case.random and BACKEND == "jax"))  # eager on JAX, and slow
@pytest.mark.parametrize("from_logits", [True, False])
def test_padding_by_label_is_ignored(key, from_logits):
    """The same for the Keras loss, where only the labels mark padding."""
    loss = get_loss(key)
    if not (from_logits or loss.invertible):
        pytest.skip("its activation cannot be undone")
    fn = RelevanceLoss(loss, from_logits=from_logits, reduction="none")
    batch = float32(make_batch(key))
    scores = batch.scores if from_logits else 1 / (1 + np.exp(-batch.scores))
    padding = np.float32([np.nan] if loss.negative_labels else [-1.0, -0.5, np.nan])
    labels = fill(batch.labels, batch.mask, np.resize(padding, batch.labels.shape))
    value, slopes = value_and_gradient(lambda s: fn(labels, s), scores)
    dirty_value, dirty_slopes = value_and_gradient(lambda s: fn(labels, s), with_garbage(scores, batch.mask))
    np.testing.assert_allclose(dirty_value, value, rtol=1e-6)
    np.testing.assert_allclose(dirty_slopes, slopes, rtol=1e-6)
    assert np.isfinite(value).all()
    assert (slopes[~batch.mask] == 0).all()


@each_loss(lambda case: case.documents and not case.random)
def test_negative_labels_are_labels_where_declared(key):
    """Regression targets and a teacher's scores below 0 count, unless `min_label` says that they are padding."""
    labels, scores = np.array([[-2.5, 1.0, -0.5]], "float32"), make_batch(key, rows=1, size=3, padded=False).scores
    loss = get_loss(key)
    assert loss.min_label == (None if loss.negative_labels else 0.0)
    whole = values(loss.per_query(labels, scores, mask=np.ones((1, 3), dtype=bool)))
    first = values(loss.per_query(labels, scores, mask=labels >= 0))
    assert_close(values(loss.per_query(labels, scores)), whole if loss.negative_labels else first)
    assert_close(values(get_loss(key, min_label=0.0).per_query(labels, scores)), first)


@each_variant(lambda case: case.documents and not case.random, quick="key")
def test_appended_padding_is_ignored(key, params):
    batch = make_batch(key)
    widths = [((0, 0), (0, 40), *[(0, 0)] * (x.ndim - 2)) for x in batch]
    fillers = (9.0, 9.0, False, 9.0)
    longer = type(batch)(*(np.pad(x, w, constant_values=f) for x, w, f in zip(batch, widths, fillers, strict=True)))
    value, slopes = both(key, batch, **params)
    longer_value, longer_slopes = both(key, longer, **params)
    assert_close(longer_value, value)
    assert_close(longer_slopes[:, :6], slopes)


@each_loss(lambda case: not (case.random or case.pooled))
def test_batch_equals_its_rows_one_by_one(key):
    batch = make_batch(key, padded=case_of(key).documents)
    value, slopes = both(key, batch)
    for row in range(7):
        alone_value, alone_slopes = both(key, type(batch)(*(x[row : row + 1] for x in batch)))
        assert_close(alone_value, value[row : row + 1])
        assert_close(alone_slopes, slopes[row : row + 1])


@each_loss(lambda case: not (case.random or case.pooled))
def test_weight_two_equals_the_query_twice(key):
    batch = float32(make_batch(key, padded=case_of(key).documents))
    fn = get_loss(key).get_loss_fn(reduction="sum")
    query_weight = np.array([2, 1, 1, 1, 3, 2, 2], dtype="float32")
    seen = np.repeat(np.arange(7), query_weight.astype(int))
    weighted = values(fn(batch.labels, batch.scores, query_weight))
    repeated = values(fn(batch.labels[seen], batch.scores[seen]))
    np.testing.assert_allclose(weighted, repeated, rtol=2e-6)
    assert abs(weighted - values(fn(batch.labels, batch.scores))) > 1e-3


@each_variant(quick="family")
def test_weights_of_one_equal_none(key, params):
    batch = make_batch(key)
    ones = batch._replace(weight=np.ones_like(batch.weight))
    assert_close(
        values(pure(key, ones, **params)(batch.scores)), values(pure(key, batch, False, **params)(batch.scores))
    )
    fn = get_loss(key, **params).get_loss_fn()
    plain = values(fn(batch.labels, batch.scores))
    for weight in (1.0, np.ones(7), np.ones((7, 1)), *([ones.weight] if case_of(key).documents else [])):
        np.testing.assert_allclose(values(fn(batch.labels, batch.scores, weight)), plain, rtol=1e-6)


@each_loss(lambda case: case.layout != "embeddings")
def test_shifted_scores_give_the_same_value_where_declared(key):
    batch = make_batch(key)
    value, _ = random_batch_results(key)
    shifts = (np.arange(7.0) * 10).reshape((7,) + (1,) * (batch.scores.ndim - 1))
    moved, _ = both(key, batch._replace(scores=batch.scores + shifts))
    if case_of(key).shift_invariant:
        assert_close(moved, value, single=1e-4)
    else:
        assert np.abs(moved - value).max() > 0.1


@each_loss(lambda case: case.layout != "columns")
def test_full_padding_gives_zero_value_and_gradient(key):
    batch = make_batch(key)
    value, slopes = both(key, batch._replace(mask=np.zeros_like(batch.mask)))
    assert (value == 0).all()
    assert (slopes == 0).all()
    value, _ = random_batch_results(key)
    assert value[1] == 0  # query 1 is all padding, others are not


@each_loss(lambda case: case.layout == "embeddings")
def test_zero_or_equal_embeddings_give_finite_gradients(key):
    batch = make_batch(key)
    even = np.arange(7).reshape((7,) + (1,) * (batch.scores.ndim - 1)) % 2 == 0
    zeros, ones = np.zeros_like(batch.scores), np.ones_like(batch.scores)
    mixed = [np.where(even, x, batch.scores) for x in (zeros, ones, batch.scores[:1])]
    for scores in (zeros, ones, *mixed):
        value, slopes = both(key, batch._replace(scores=scores))
        assert np.isfinite(value).all()
        assert np.isfinite(slopes).all()


@each_loss(lambda case: case.documents)
def test_single_document_is_finite_and_zero_where_declared(key):
    batch = make_batch(key, size=1, padded=False)
    value, slopes = both(key, batch)
    assert np.isfinite(value).all()
    if case_of(key).constant_alone:
        np.testing.assert_array_equal(value, 0)
        np.testing.assert_array_equal(slopes, 0)
    else:
        assert np.abs(value).max() > 0


@each_loss(quick="family")
@pytest.mark.parametrize("dtype", slow_except(["float16", "bfloat16"], "bfloat16"))
def test_half_precision_scores_give_float32_values(key, dtype):
    from keras import ops

    batch = float32(make_batch(key))
    narrow = ops.cast(batch.scores, dtype)
    result = pure(key, batch)(narrow)
    assert "float32" in str(result.dtype)
    wide = values(pure(key, batch)(ops.cast(narrow, "float32")))
    np.testing.assert_allclose(values(result), wide, rtol=1e-6)
    result = get_loss(key).get_loss_fn()(batch.labels, narrow)
    assert "float32" in str(result.dtype)


@each_loss(quick="family")
def test_integer_and_boolean_labels_equal_floats(key):
    batch = float32(make_batch(key, padded=False))
    fn = get_loss(key).get_loss_fn()
    for kinds in (("int32", "int64"), ("bool",)):
        numbers = batch.labels.astype("int32") > 1 if kinds == ("bool",) else np.trunc(batch.labels)
        expected = values(fn(numbers.astype("float32"), batch.scores))
        for kind in kinds:
            np.testing.assert_allclose(values(fn(numbers.astype(kind), batch.scores)), expected, rtol=1e-6)


def embeddings_from(case, numbers):
    """Embeddings of the case's shape made of a few numbers per row."""
    shape = (len(numbers), *[number for number in (case.columns, case.layers) if number], case.dims or 4)
    return np.array([np.resize(row, shape[1:]) for row in numbers])


def row_labels_from(case, numbers):
    """Labels of the case's kind from the numbers -1, 0, 0.25 and 1."""
    first = numbers[:, 0]
    return {
        "none": lambda: first,
        "class": lambda: np.mod(first * 4, 3),
        "binary": lambda: np.float32(first > 0),
        "share": lambda: np.abs(first),
        "number": lambda: first,
        "token": lambda: np.int32(np.abs(numbers[:, : case.columns]) * 4) % case.dims,
        "teacher": lambda: np.array([np.resize(row, case.teacher) for row in numbers]),
    }[case.labels]()


finite = st.floats(-1e4, 1e4, width=32)


@each_loss(lambda case: not (case.random and BACKEND == "jax"))  # eager on JAX, and slow
@settings(max_examples=4)
@given(
    scores=arrays("float32", (12, 5), elements=finite),
    labels=arrays("float32", (12, 5), elements=st.sampled_from([-1.0, 0.0, 0.25, 1.0])),
    weight=arrays("float32", (12, 5), elements=st.floats(0, 100, width=32)),
    variant=st.integers(0, 99),
)
def test_finite_input_gives_finite_gradients(key, scores, labels, weight, variant):
    case = case_of(key)
    if case.random and variant % 3:  # slow, because it samples
        return
    if case.layout == "embeddings":
        scores, labels, weight = embeddings_from(case, scores), row_labels_from(case, labels), weight[:, 0]
    elif case.layout == "classes":
        labels, weight = labels[:, 0] * 4, weight[:, 0]
    elif case.layout == "columns":
        weight = weight[:, 0]
    elif case.layout == "outputs":
        scores = np.stack([np.roll(scores, k, axis=1) for k in range(case.outputs)], axis=-1)
    params = case.variants[variant % len(case.variants)]
    if "class_weight" in params:
        params = {**params, "class_weight": params["class_weight"][:5]}
    fn = get_loss(key, **params).get_loss_fn(reduction="none")
    for found in value_and_gradient(lambda s: fn(labels, s, weight), scores):
        assert np.isfinite(found).all()
