"""Functions of single columns as search engines compute them: their pieces, their expressions and the evaluator."""

import itertools

import numpy as np
import pytest

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.native.dialects import Lucene, Solr, Vespa
from ml4ir_losses.export.native.expressions import evaluate
from ml4ir_losses.export.native.piecewise import Curve, Piecewise
from ml4ir_losses.export.native.transforms import curve_of
from ml4ir_losses.features.transforms import apply_transforms, fit_transforms

RNG = np.random.default_rng(0)
NUMBERS = np.round(RNG.normal(0, 3, (200, 2)), 1).astype("float32")  # many are equal
CHAINS = [
    ["standardise"],
    ["robust"],
    ["log1p", "standardise"],
    ["arctan"],
    ["reciprocal", {"key": "clip", "min": -4.0, "max": 4.0}],
    [{"key": "clip", "min": -1.0, "max": 2.0}],
    [{"key": "clip", "max": 1.0}, "log1p", {"key": "clip", "min": -0.5}, "arctan", "standardise"],
    [{"key": "quantile", "quantiles": 20}],
    ["standardise", {"key": "quantile", "quantiles": 20}, "standardise"],
    [{"key": "bucketise", "buckets": 5}],
    [{"key": "bucketise", "boundaries": [-1.0, 0.0, 2.0], "output": "ordinal"}, "standardise"],
    [{"key": "bucketise", "buckets": 5}, "standardise", "log1p"],
    [{"key": "bucketise", "boundaries": [-1.0, 0.0, 2.0]}, {"key": "bucketise", "boundaries": [0.5]}],
]
RELU = Piecewise.of([(0.0, 0)], [(0.0, 0.0), (0.0, 1.0)])


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("column", [0, 1])
def test_transforms_are_the_curves(chain, column):
    fitted = fit_transforms(NUMBERS.astype("float64"), chain)
    x = np.concatenate([NUMBERS, [[-100.0] * 2, [100.0] * 2, [0.0] * 2]])
    expected = apply_transforms(x.astype("float64"), fitted, np)[:, column::2]
    np.testing.assert_allclose(curve_of(fitted, column, 2)(x[:, column]), expected, rtol=1e-6, atol=1e-6)


def random_network(rng, widths):
    return [(rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in itertools.pairwise(widths)]


def test_networks_of_rectified_units_are_piecewise_linear():
    layers = random_network(RNG, [1, 16, 8, 1])
    x = np.concatenate([RNG.normal(0, 4, 500), [-1e3, 1e3]])
    expected, function = x[:, None], Piecewise.line()
    for i, (kernel, bias) in enumerate(layers):
        expected = np.maximum(expected, 0.0) if i else expected
        expected = expected @ kernel + bias
        function = (function.then([RELU] * function.width) if i else function).mapped(kernel, bias)
    np.testing.assert_allclose(function(x), expected, rtol=1e-9, atol=1e-9)


def test_function_of_a_falling_line_keeps_values_at_its_jumps():
    at_least_two = Piecewise.of([(2.0, 0)], [(0.0, 0.0), (1.0, 0.0)])
    falling = Piecewise.line(0.0, -1.0).then([at_least_two])  # -x >= 2
    np.testing.assert_array_equal(falling(np.array([-3.0, -2.0, -1.999]))[:, 0], [1.0, 1.0, 0.0])


def in_python(expression, names):
    """The value of an expression of Vespa or Solr, by Python's own parser."""
    text = expression.replace("if (", "where(").replace("if(", "where(").replace("or(", "either(")
    functions = {"where": np.where, "log": np.log, "ln": np.log, "atan": np.arctan, "either": np.logical_or}
    functions |= {"sum": lambda *v: sum(v), "product": lambda a, b: a * b, "sub": lambda a, b: a - b}
    functions |= {"div": np.divide, "lt": np.less, "lte": np.less_equal, "gt": np.greater}
    with np.errstate(all="ignore"):
        return eval(text, {**functions, **names})


CURVES = [Curve(curve_of(fit_transforms(NUMBERS[:, :1].astype("float64"), c), 0, 1).last) for c in CHAINS[5:9:2]]
CURVES += [curve_of(fit_transforms(NUMBERS[:, :1].astype("float64"), c), 0, 1) for c in (*CHAINS[:5], CHAINS[6])]


@pytest.mark.parametrize("dialect", [Lucene(), Solr(), Vespa()], ids=lambda dialect: type(dialect).__name__)
@pytest.mark.parametrize("curve", CURVES, ids=range(len(CURVES)))
def test_expressions_have_the_values_of_their_curves(dialect, curve):
    x = NUMBERS[:, 0].astype("float64")
    expression = dialect.curve(curve, "x", lambda part: part if isinstance(dialect, Solr) else f"({part})")
    np.testing.assert_allclose(evaluate(expression, {"x": x}), curve(x)[:, 0], rtol=1e-7, atol=1e-7)
    if not isinstance(dialect, Lucene):
        np.testing.assert_allclose(in_python(expression, {"x": x}), curve(x)[:, 0], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("2 - 3 - 4", -5.0),
        ("(2 - 3) * -4", 4.0),
        ("(x < 3 ? 1 : x <= 5 ? 2 : 3)", 2.0),
        ("if (x >= 5, if (x == 5.0, 7e-1, 0), 1)", 0.7),
        ("if(lt(x,3),1,sum(x,2,product(2,x)))", 17.0),
        ("max(0.0, 2 - x) + attribute(price)", 9.0),
        ("isNan(x) + sub(10, x)", 5.0),
    ],
)
def test_evaluator_follows_precedence(expression, value):
    assert np.isclose(evaluate(expression, {"x": 5.0, "attribute(price)": 9.0}), value)


@pytest.mark.parametrize("expression", ["1 +", "(1", "1 2", "f(1,", "x ? 1", "$", "y", "unknown(1)"])
def test_evaluator_refuses_what_is_no_expression(expression):
    with pytest.raises(UserError):
        evaluate(expression, {"x": 1.0})


def test_functions_of_too_many_pieces_are_refused():
    ends = [(float(i), 0) for i in range(1_500)]
    steps = Piecewise.of(ends, [(float(i), 0.0) for i in range(1_501)])
    with pytest.raises(UserError, match="1501 pieces; search engines take 1000"):
        Vespa().piecewise(steps, "x")
