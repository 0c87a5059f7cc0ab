"""`cross_batch_memory`: sequences of batches against float64 loops, gradients, state in `fit`, refused inputs."""

import math
from functools import partial
from itertools import islice

import keras
import numpy as np
import pytest
from keras import ops

from losses.families.embedding_triplets import anchors, batch_hard_soft_margin_triplet, batch_hard_triplet
from losses.families.embedding_wrappers import INNER as ORACLES
from losses.families.in_batch import cosines, logsumexp, multi_similarity
from losses.numeric import BACKEND, DOUBLE, central_differences, compiled_on_jax, gradient, values
from ml4ir_losses import functional
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.losses.factory import get_loss
from selection import slow_except

EXACT = 1e-5
FITTING = [entry.key for entry in LOSSES if getattr(entry.target, "takes_memory", False)]
SIZES = [7, 3, 100]
if BACKEND == "jax":  # it compiles every operation for every shape
    FITTING, SIZES = FITTING[::3], SIZES[:1]


def share(terms):
    """Per-row values from each row's (sum, count), whose mean is the pooled mean."""
    count = sum(counted for _, counted in terms)
    return [len(terms) * total / count if count else 0.0 for total, _ in terms]


def nt_xent(y, x, rows):
    near = [(p, n) for _, p, n in islice(cosines(y, x, [1] * len(x)), rows)]
    terms = [[logsumexp([p / 0.07, *(n / 0.07 for n in ns)]) - p / 0.07 for p in ps] for ps, ns in near]
    return share([(math.fsum(own), len(own)) for own in terms])


def sup_con(y, x, rows):
    terms = []
    for _, ps, ns in islice(cosines(y, x, [1] * len(x)), rows):
        term = logsumexp([c / 0.1 for c in ps + ns]) - math.fsum(ps) / len(ps) / 0.1 if ps else 0.0
        terms.append((term, term > 0))
    return share(terms)


def all_triplets(y, x, rows):
    near = [(p, n) for _, p, n in islice(anchors(y, x, [1] * len(x), "euclidean"), rows)]
    hinges = [[p - n + 5.0 for p in ps for n in ns if p - n + 5.0 > 0] for ps, ns in near]
    return share([(math.fsum(own), len(own)) for own in hinges])


def semi_hard(y, x, rows):
    terms = []
    for _, ps, ns in islice(anchors(y, x, [1] * len(x), "euclidean"), rows):
        beyond = [min([n for n in ns if n > p], default=max(ns, default=0.0)) for p in ps]
        terms.append((math.fsum(max(0.0, p - h + 5.0) for p, h in zip(ps, beyond, strict=True)), len(ps)))
    return share(terms)


def own_rows(oracle):
    """Oracle of a loss with one value per row: the rows of the batch, among all rows."""
    return lambda y, x, rows: oracle(y, x, [1] * len(x), None)[:rows]


POOLED = {
    "nt_xent": nt_xent,
    "sup_con": sup_con,
    "batch_all_triplet": all_triplets,
    "batch_semi_hard_triplet": semi_hard,
}


def oracle_of(key):
    single = {
        **ORACLES,
        "multi_similarity": multi_similarity,
        "batch_hard_triplet": batch_hard_triplet,
        "batch_hard_soft_margin_triplet": batch_hard_soft_margin_triplet,
    }
    return POOLED.get(key) or own_rows(single[key.removeprefix("cached_")])


def batches(key, sizes, seed=0, classes=3):
    rng = np.random.default_rng(seed)
    shape = (3, 4) if LOSSES[key].target.labels == "none" else (4,)
    return [
        (rng.integers(0, classes, size).astype("float32"), rng.normal(size=(size, *shape)).astype("float32"))
        for size in sizes
    ]


def remembering(key, size, **kwargs):
    return get_loss("cross_batch_memory", loss=key, memory_size=size).get_loss_fn(**kwargs)


@pytest.mark.parametrize("inner", FITTING)
@pytest.mark.parametrize("size", SIZES)
def test_values_over_several_batches_match_the_oracle(inner, size):
    """The memory fills up, then overwrites its oldest rows; it may also be smaller than one batch."""
    fn, oracle, kept_y, kept_x = remembering(inner, size, reduction="none"), oracle_of(inner), [], []
    for y, x in batches(inner, (5, 4, 5, 5)):
        expected = oracle([*y, *kept_y], [*x.astype("float64"), *kept_x], len(y))
        np.testing.assert_allclose(values(fn(y, x)), expected, rtol=EXACT, atol=EXACT)
        kept_y, kept_x = [*kept_y, *y][-size:], [*kept_x, *x.astype("float64")][-size:]
    assert values(fn.memory.filled).sum() == min(size, 19)


@pytest.mark.parametrize("inner", slow_except(FITTING, *(FITTING if BACKEND != "jax" else FITTING[::2])))
def test_empty_memory_equals_the_inner_loss(inner):
    y, x = batches(inner, (6,))[0]
    expected = values(compiled_on_jax(get_loss(inner).per_query)(y, x))
    pure = compiled_on_jax(partial(functional.cross_batch_memory, loss=inner))
    np.testing.assert_array_equal(values(pure(y, x)), expected)
    fn = remembering(inner, 8, reduction="none")
    np.testing.assert_allclose(values(fn(y, x)), expected, rtol=EXACT, atol=EXACT)  # an empty memory
    fn.memory.active = False
    np.testing.assert_allclose(values(fn(y, x)), expected, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("inner", ["multiple_negatives_ranking", "multi_similarity", "batch_hard_triplet"])
def test_remembered_rows_get_no_gradient(inner):
    (y, x), (classes, kept) = batches(inner, (4, 5))
    kept, filled = kept[:, None] if kept.ndim == 2 else kept, np.arange(5) < 4
    dtype = "float64" if DOUBLE else "float32"
    x, kept = x.astype(dtype), kept.astype(dtype)

    @compiled_on_jax
    def value(batch, rows):
        return functional.cross_batch_memory(y, batch, memory=(rows, classes, filled), loss=inner)

    connected = gradient(lambda rows: value(x, rows) + 0.0 * ops.sum(rows), kept)  # otherwise TensorFlow returns None
    assert (connected == 0).all()
    if DOUBLE:
        expected = central_differences(lambda batch: values(value(batch, kept)), x)
        np.testing.assert_allclose(gradient(lambda batch: value(batch, kept), x), expected, atol=1e-5)
    garbage = np.where(filled.reshape(-1, *[1] * (kept.ndim - 1)), kept, np.nan)
    np.testing.assert_array_equal(values(value(x, garbage)), values(value(x, kept)))
    assert np.isfinite(gradient(lambda batch: value(batch, garbage), x)).all()


def test_masked_rows_are_not_remembered():
    (y, x), (other_y, other_x) = batches("sup_con", (5, 5), classes=2)
    fn = remembering("sup_con", 5, reduction="none", mask=np.array([1, 1, 0, 1, 1]))
    fn(y, x)
    kept = [0, 1, 3, 4]
    expected = sup_con([*other_y[kept], *y[kept]], [*other_x[kept], *x[kept]], 4)
    found = values(fn(other_y, other_x))
    np.testing.assert_allclose(found[kept] / found.sum(), np.array(expected) / np.sum(expected), rtol=1e-4)
    assert found[2] == 0


@pytest.mark.parametrize("inner", ["multiple_negatives_ranking", "sup_con"])
def test_fit_and_saved_model_keep_the_memory(inner, tmp_path):
    """In `fit` every step sees the rows of earlier steps; a model with the memory as attribute tracks it."""
    (y, x), *_ = batches(inner, (24,))
    fn = remembering(inner, 10)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(4, use_bias=False, kernel_initializer="identity")(inputs))
    model.memory = fn.memory
    model.compile(keras.optimizers.SGD(0.0), loss=fn)
    history = model.fit(x, y, batch_size=6, epochs=2, shuffle=False, verbose=0).history["loss"]
    oracle, kept_y, kept_x, means = oracle_of(inner), [], [], []
    for start in (0, 6, 12, 18) * 2:
        some_y, some_x = y[start : start + 6], x[start : start + 6]
        means.append(np.mean(oracle([*some_y, *kept_y], [*some_x, *kept_x], 6)))
        kept_y, kept_x = [*kept_y, *some_y][-10:], [*kept_x, *some_x][-10:]
    np.testing.assert_allclose(history, np.reshape(means, (2, 4)).mean(axis=1), rtol=1e-4)
    assert {id(v) for v in fn.memory.variables} <= {id(v) for v in model.non_trainable_variables}
    fn.memory.active = False
    model.compile(keras.optimizers.SGD(0.01), loss=fn)
    before = values(fn.memory.embeddings)
    assert model.evaluate(x, y, batch_size=24, verbose=0) == pytest.approx(np.mean(oracle(y, x, 24)), rel=1e-4)
    np.testing.assert_array_equal(values(fn.memory.embeddings), before)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras").loss
    assert again.loss.get_config() == fn.loss.get_config()
    assert again.memory.size == 10


@pytest.mark.backend("jax")
def test_untracked_memory_is_refused():
    (y, x), *_ = batches("sup_con", (12,))
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile("sgd", loss=remembering("sup_con", 4))
    with pytest.raises(UserError, match=r"model\.memory = loss_fn\.memory"):
        model.fit(x, y, batch_size=6, verbose=0)


@pytest.mark.backend("tensorflow")
def test_dynamic_batch_sizes_equal_static_ones():
    import tensorflow as tf

    fn, eager = remembering("nt_xent", 7), remembering("nt_xent", 7)
    compiled = tf.function(
        lambda y, x: fn(y, x), input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None, 4])], jit_compile=False
    )
    for y, x in batches("nt_xent", (5, 9, 4)):
        assert float(compiled(y, x)) == pytest.approx(float(eager(y, x)), rel=1e-5)


def test_positives_may_come_from_the_memory():
    y, x = np.arange(4.0), np.eye(4, dtype="float32")
    fn = remembering("batch_hard_triplet", 4, reduction="none")
    assert (values(fn(y, x)) > 0).all()
    np.testing.assert_allclose(
        values(fn(y, x)), 5 - math.sqrt(2), rtol=1e-5
    )  # the positive is the row of the previous batch
    with pytest.raises(UserError, match="whole class numbers"):
        fn(y + 0.5, x)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"loss": "cosent"}, "`loss` of 'cross_batch_memory' must be one of batch_all_triplet, "),
        ({"loss": "list_mle"}, "must be an embedding loss"),
        ({"loss": "arc_face"}, "'arc_face' reads the outputs of a head"),
        ({"loss": "sup_con", "memory_size": 0}, "`memory_size` must be a whole number of at least 1"),
        ({"loss": "sup_con", "memory_size": None}, "`memory_size` must be a whole number of at least 1"),
        ({"loss": {"key": "cross_batch_memory", "loss": "sup_con"}}, "'cross_batch_memory' has a memory of its own"),
        ({}, "needs the parameter 'loss'"),
    ],
    ids=str,
)
def test_wrong_parameters_are_refused(spec, message):
    with pytest.raises(UserError) as caught:
        get_loss("cross_batch_memory", **spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_inside_another_loss_is_refused():
    inner = {"key": "cross_batch_memory", "loss": "sup_con"}
    with pytest.raises(UserError, match="'cross_batch_memory' has a memory of its own"):
        get_loss("matryoshka", loss=inner, dims=[2])
    with pytest.raises(UserError, match="cannot be part of a weighted sum"):
        get_loss({"key": "weighted_sum", "losses": [[inner, 1.0], ["sup_con", 1.0]]})


def test_change_of_shape_between_batches_is_refused():
    fn = remembering("multiple_negatives_ranking", 4)
    x = np.random.default_rng(0).normal(size=(4, 2, 3)).astype("float32")
    fn(np.zeros(4), x)
    with pytest.raises(UserError, match=r"\[B, 2, 3\].*\[4, 3, 3\]"):
        fn(np.zeros(4), np.zeros((4, 3, 3), "float32"))
    assert ops.shape(fn.memory.embeddings) == (4, 2, 3)
