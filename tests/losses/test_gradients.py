"""Gradients for generated labels, scores, padding and weights; `test_oracle.py` has fixed batches for every variant."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from losses.cases import Batch, case_of, fill, make_batch, oracle, oracle_slopes, pure
from losses.numeric import BACKEND, assert_close, value_and_gradient
from selection import each_loss

LABELS = {"graded": [0.0, 1.0, 2.0, 3.0], "unit": [0.0, 0.25, 1.0], "binary": [0.0, 1.0]}
TENTHS = st.integers(-30, 30).map(lambda n: n / 10)  # tied, or further apart than a step
WEIGHTS = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@st.composite
def batches(draw, key, rows=3):
    """A batch of the layout of the key, with padding anywhere; some rows may be all padding."""
    case, like = case_of(key), make_batch(key, rows=rows)
    scores = draw(arrays("float64", like.scores.shape, elements=TENTHS))
    weight = draw(arrays("float64", like.weight.shape, elements=WEIGHTS))
    if case.layout == "columns":
        return Batch(draw(arrays("float64", like.labels.shape, elements=TENTHS)), scores, like.mask, weight)
    allowed = LABELS.get(case.labels) or [float(k) for k in range(like.scores.shape[-1])]
    labels = draw(arrays("float64", like.labels.shape, elements=st.sampled_from(allowed)))
    mask = draw(arrays("bool", like.mask.shape, elements=st.sampled_from([True, True, False])))
    return Batch(fill(labels, mask, -1.0), scores, mask, weight)


@each_loss(lambda case: case.smooth)
@settings(max_examples=2 if BACKEND == "jax" else 3)  # JAX compiles every variant
@given(data=st.data())
def test_values_and_gradients_of_random_batches_match_the_oracle(key, data):
    """d Σ loss / d scores by central differences of the float64 oracle; parts without gradient are held constant."""
    batch = data.draw(batches(key))
    params = data.draw(st.sampled_from(case_of(key).variants))
    value, gradient = value_and_gradient(pure(key, batch, **params), batch.scores)
    assert_close(value, oracle(key, batch, **params))
    # a small step: NeuralSort has kinks of |x| at ties, which change the difference quotient by that much
    slopes = oracle_slopes(key, batch, 1e-7, **params)
    assert_close(gradient, slopes, double=1e-6, single=2e-4)
