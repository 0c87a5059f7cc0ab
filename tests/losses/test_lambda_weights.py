"""Lambda weights by themselves, against the oracles that `test_oracle.py` uses for losses with them."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from losses.cases import get_loss, make_batch
from losses.families import lambdas, listwise
from losses.numeric import BACKEND, assert_close, value_and_gradient, values
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import LAMBDA_WEIGHTS
from ml4ir_losses.losses.lambda_weights import PListMLELambdaWeight, YetiDCGLambdaWeight, get_lambda_weight
from ml4ir_losses.losses.weighting_schemes import get_weighting_scheme
from ml4ir_losses.ops import ranks
from selection import slow_except


def cube(labels):
    return labels * labels * labels


def half_life(rank):
    return ops.exp2(-0.5 * rank)


@pytest.fixture(autouse=True)
def functions_in_oracles(monkeypatch):
    """Adds the user-defined functions to the tables of the oracles."""
    monkeypatch.setitem(lambdas.GAINS, cube, lambda y: y**3)
    monkeypatch.setitem(lambdas.DISCOUNTS, half_life, lambda r: 2 ** (-r / 2))
    monkeypatch.setitem(lambdas.DISCOUNTS, "inverse_log1p", lambda r: 1 / math.log(1 + r))
    monkeypatch.setitem(lambdas.DISCOUNTS, "identity", lambda r: r)


def ranked(seed=0, rows=7, size=6, padded=True):
    """Labels, 1-based ranks and mask as tensors, and their batch."""
    batch = make_batch("pairwise_logistic", seed, rows, size, padded)
    labels = np.where(batch.mask, batch.labels, 0.0)
    mask = ops.convert_to_tensor(batch.mask)
    return (ops.convert_to_tensor(labels), ranks(ops.convert_to_tensor(batch.scores), mask), mask), batch


def each_query(batch):
    """Row, places, labels and ranks of the valid documents of every query."""
    for b, valid in enumerate(batch.mask):
        places = np.flatnonzero(valid)
        yield b, places, batch.labels[b, places].tolist(), lambdas.ranks_of(batch.scores[b, places].tolist())


def pair_matrix(batch, pair_value):
    """[B, N, N] of a function (labels, ranks, i, j) over all pairs of documents; 0 elsewhere."""
    expected = np.zeros((*batch.mask.shape, batch.mask.shape[1]))
    for b, places, labels, at in each_query(batch):
        for i, j in itertools.permutations(range(len(places)), 2):
            expected[b, places[i], places[j]] = pair_value(labels, at, i, j)
    return expected


def ndcg(shown, topn):
    def dcg(labels):
        return math.fsum((2**y - 1) / math.log2(1 + r) for r, y in enumerate(labels[:topn], start=1))

    best = dcg(sorted(shown, reverse=True))
    return dcg(shown) / best if best else 0.0


def hits(shown, topn):
    return sum(y >= 1 for y in shown[:topn])


def change_by_swap(metric, topn):
    """The change of a metric when two documents of a list swap places."""

    def change(labels, at, i, j):
        shown = [labels[at.index(r)] for r in range(1, len(at) + 1)]
        swapped = list(shown)
        first, second = at[i] - 1, at[j] - 1
        swapped[first], swapped[second] = shown[second], shown[first]
        return abs(metric(swapped, topn) - metric(shown, topn))

    return change


def is_even(labels):
    return labels % 2 == 0


CUSTOM = {"gain": cube, "discount": half_life}
SMOOTH = [{"smooth_fraction": 0.3}, {"smooth_fraction": 1.0, "topn": 2}, {"smooth_fraction": 0.3, "topn": 3, **CUSTOM}]
PARAMS = [
    *[{}, {"topn": 1}, {"topn": 3}, {"topn": 100}, {"normalized": True}, {"normalized": False, "topn": 2}, CUSTOM],
    *[{"discount": name} for name in ("inverse", "inverse_log1p", "identity")],
    {"gain": "identity", "discount": "log2_inverse", "normalized": True, "topn": 4},
]
# Broadcasting is the same on every backend, and JAX compiles every operation for each shape.
SHAPES = [(7, 6), (6, 6), (3, 1), (2, 9)]
QUICK = SHAPES[: 1 if BACKEND == "jax" else None]
PAIR_SPECS = [
    {"key": "label_diff"},
    *[{"key": "precision", "topn": topn} for topn in (1, 3, 100)],
    *[{"key": "precision", "topn": 3, "positive": positive} for positive in (2.0, 0.5, is_even)],
    *[{"key": key, **params} for key in ("dcg", "ndcg") for params in PARAMS + SMOOTH],
    *[{"key": key, **params} for key in ("ndcg_v2", "yeti_dcg") for params in PARAMS],
    *[{"key": key, "light_discount": True, "topn": 3} for key in ("ndcg_v2", "yeti_dcg")],
]


def spec_id(spec):
    values = spec.values() if isinstance(spec, dict) else [spec]
    return "-".join(str(getattr(value, "__name__", value)) for value in values)


class TestPairs:
    @pytest.mark.parametrize("spec", PAIR_SPECS, ids=spec_id)
    @pytest.mark.parametrize("shape", slow_except(SHAPES, *QUICK), ids=str)
    def test_pair_weights_match_the_oracle(self, spec, shape):
        tensors, batch = ranked(SHAPES.index(shape), *shape)
        actual = values(get_lambda_weight(spec).pair_weights(*tensors))
        expected = pair_matrix(batch, lambda *pair: lambdas.pair_weight(spec, *pair))
        assert_close(actual, expected)
        np.testing.assert_array_equal(actual, actual.transpose(0, 2, 1))
        assert not actual[:, np.eye(shape[1], dtype=bool)].any()
        assert not actual[~(batch.mask[:, :, None] & batch.mask[:, None, :])].any()

    @pytest.mark.parametrize("topn", [None, 1, 3])
    def test_ndcg_weight_is_the_change_by_a_swap(self, topn):
        """|ΔNDCG|, computed by swapping the two documents."""
        tensors, batch = ranked()
        weight = get_lambda_weight({"key": "ndcg", "smooth_fraction": 1.0, "topn": topn})
        assert_close(values(weight.pair_weights(*tensors)), pair_matrix(batch, change_by_swap(ndcg, topn)))

    @pytest.mark.parametrize("topn", [1, 3, 6])
    def test_precision_weight_is_the_change_by_a_swap(self, topn):
        tensors, batch = ranked()
        weight = get_lambda_weight({"key": "precision", "topn": topn})
        assert_close(values(weight.pair_weights(*tensors)), pair_matrix(batch, change_by_swap(hits, topn)))

    def test_lambda_rank_scheme_is_the_ndcg_change_by_a_swap(self):
        _, batch = ranked(padded=False)
        batch = batch._replace(scores=np.tile(np.arange(6.0, 0.0, -1.0), (7, 1)))
        gains = 2.0**batch.labels - 1
        best = [[lambdas.ideal_dcg(row, lambdas.DISCOUNTS["log2_inverse"], None) or 1.0] for row in gains]
        tensors = (gains / best, np.log2(np.arange(2.0, 8.0))[None], batch.labels)
        actual = get_weighting_scheme("lambda_rank").forward(*map(ops.convert_to_tensor, tensors))
        assert_close(values(actual), pair_matrix(batch, change_by_swap(ndcg, None)))

    @pytest.mark.parametrize(
        "params", [{}, {"topn": 2}, {"topn": 1, "normalized": True}, {"light_discount": True}, CUSTOM], ids=spec_id
    )
    def test_yeti_weight_of_adjacent_ranks_matches_the_oracle(self, params):
        tensors, batch = ranked(padded=False)
        spec = {"key": "yeti_dcg", **params}
        weight = get_lambda_weight(spec)
        order = np.argsort(values(tensors[1]), axis=1)
        gains = values(weight.gains(tensors[0], tensors[2]))
        actual = values(weight.neighbour_weights(ops.convert_to_tensor(np.take_along_axis(gains, order, axis=1))))
        for b, _, labels, at in each_query(batch):
            pairs = zip(order[b], order[b, 1:], strict=False)
            assert_close(actual[b], [lambdas.pair_weight(spec, labels, at, i, j) for i, j in pairs])

    def test_yeti_loss_over_adjacent_ranks_equals_the_loss_over_all_pairs(self):
        """A subclass of `YetiDCGLambdaWeight` is computed over all pairs."""

        class Same(YetiDCGLambdaWeight):
            pass

        batch = make_batch("pairwise_logistic")
        for params in ({}, {"topn": 2}):
            both = [get_loss("yeti_logistic", seed=1, lambda_weight=w(**params)) for w in (Same, YetiDCGLambdaWeight)]
            rows = [values(loss.per_query(batch.labels, batch.scores, batch.weight, batch.mask)) for loss in both]
            assert_close(*rows)
            assert np.abs(rows[0]).max() > 0.1


class TestDocuments:
    @pytest.mark.parametrize("spec", ["dcg", "ndcg", {"key": "ndcg", "topn": 2}, {"key": "dcg", "topn": 2}], ids=str)
    def test_document_weights_match_the_oracle(self, spec):
        tensors, batch = ranked()
        expected = np.zeros(batch.mask.shape)
        for b, places, labels, at in each_query(batch):
            expected[b, places] = listwise.document_weights(spec, labels, at)
        assert_close(values(get_lambda_weight(spec).document_weights(*tensors)), expected)

    @pytest.mark.parametrize("normalized", [True, False])
    def test_python_gain_and_discount_match_the_formula(self, normalized):
        tensors, batch = ranked()
        weight = get_lambda_weight({"key": "dcg", "normalized": normalized, "topn": 2, **CUSTOM})
        actual = values(weight.document_weights(*tensors))
        for b, places, labels, at in each_query(batch):
            gains = [y**3 for y in labels]
            best = (lambdas.ideal_dcg(gains, lambda r: 2 ** (-r / 2), 2) if normalized else 0) or 1
            assert_close(actual[b, places], [g * 2 ** (-r / 2) / best for g, r in zip(gains, at, strict=True)])
            assert not actual[b, ~batch.mask[b]].any()


class TestPositions:
    @pytest.mark.parametrize(
        "spec",
        [
            *[{"key": "list_mle", "discount": d} for d in ("inverse", "log2_inverse", "inverse_log1p", "identity")],
            {"key": "list_mle", "discount": half_life},
            "p_list_mle",
            *[{"key": "p_list_mle", "rank_discount_fn": d} for d in ("inverse", "identity", half_life)],
        ],
        ids=spec_id,
    )
    @pytest.mark.parametrize("tabled", [True, False])
    def test_position_weights_match_the_oracle(self, spec, tabled):
        sizes = [5, 1, 0, 3]
        places = np.tile(np.arange(1.0, 6.0), (1 if tabled else 4, 1))
        weights = get_lambda_weight(spec).position_weights(
            ops.convert_to_tensor(places), ops.convert_to_tensor(np.array(sizes, "float64")[:, None])
        )
        expected = [[*listwise.position_weights(spec, n), *[0.0] * (5 - n)] for n in sizes]
        assert_close(values(weights), expected)
        if "p_list_mle" in str(spec):
            assert_close(values(weights).sum(axis=1), [1, 0 if spec == "p_list_mle" else 1, 0, 1])

    def test_discount_function_of_ranks_and_sizes(self):
        """2^(n - r) - 1 as a Python function is the default."""
        places = np.tile(np.arange(1.0, 6.0), (4, 1))
        tensors = ops.convert_to_tensor(places), ops.convert_to_tensor(np.array([[5.0], [1.0], [0.0], [3.0]]))
        custom = PListMLELambdaWeight(rank_discount_fn=lambda ranks, sizes: ops.exp2(sizes - ranks) - 1.0)
        expected = values(PListMLELambdaWeight().position_weights(*tensors))
        assert_close(values(custom.position_weights(*tensors)), expected)
        assert_close(expected[3], [0.75, 0.25, 0.0, 0.0, 0.0])

    def test_weights_of_long_lists_are_finite(self):
        places, sizes = ops.arange(1, 2001, dtype="float32")[None], ops.full((1, 1), 2000.0)
        weights = values(get_lambda_weight("p_list_mle").position_weights(places, sizes))
        np.testing.assert_allclose(weights[0, :4], [0.5, 0.25, 0.125, 0.0625], rtol=1e-6)
        assert np.isfinite(weights).all()


@pytest.mark.parametrize("spec", [{"key": e.key} for e in LAMBDA_WEIGHTS], ids=spec_id)
def test_weights_of_another_family_are_refused(spec):
    spec |= {"precision": {"topn": 1}, "list_mle": {"discount": "inverse"}}.get(spec["key"], {})
    weight, (tensors, _) = get_lambda_weight(spec), ranked()
    unfit = {"pair": ["document", "position"], "dcg": ["position"], "position": ["pair", "document"]}[weight.family]
    for what in unfit:
        method = getattr(weight, f"{what}_weights")
        with pytest.raises(UserError, match=f"'{weight.key}' does not weigh {what}s"):
            method(*tensors[: 2 if what == "position" else 3])


RAX = json.loads((Path(__file__).parents[1] / "golden" / "rax_losses.json").read_text())


@pytest.mark.parametrize("case", RAX["dcg2_lambdaweight"], ids=lambda case: spec_id(case["params"]))
def test_ndcg_v2_weights_match_rax(case):
    labels, scores = (ops.convert_to_tensor([RAX[name]]) for name in ("labels", "scores"))
    mask = ops.ones_like(scores, dtype="bool")
    weight = get_lambda_weight({"key": "ndcg_v2", **case["params"]})
    assert_close(values(weight.pair_weights(labels, ranks(scores, mask), mask))[0], case["expected"], double=1e-6)


@pytest.mark.parametrize("case", RAX["unique_softmax"], ids=lambda case: str(case["gain"]))
def test_unique_softmax_with_gain_matches_rax(case):
    loss, labels = get_loss("unique_softmax", gain=case["gain"]), np.array([RAX["labels"]], "float32")
    value, slopes = value_and_gradient(lambda s: loss.per_query(labels, s), np.array([RAX["scores"]], "float32"))
    np.testing.assert_allclose(value, [case["expected_loss"]], rtol=1e-5)
    np.testing.assert_allclose(slopes, [case["expected_grad"]], rtol=1e-4, atol=1e-6)


def test_unique_softmax_takes_a_python_gain():
    batch = make_batch("unique_softmax")
    found = [get_loss("unique_softmax", gain=g).per_query(*batch[:2], mask=batch.mask) for g in (cube, "identity")]
    assert values(found[0]).sum() > values(found[1]).sum() > 0
