"""`make_loss_fn`, `make_loss_metric_fn`, keys, weights and functions of TF-Ranking's v1 API.

Numbers of TF-Ranking 0.5.5, run on LABELS and SCORES.
"""

import json
import math

import keras
import numpy as np
import pytest

from compat.golden import load, near
from losses.numeric import values
from ml4ir_losses.compat import tf_ranking
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import LOSSES

LABELS = np.array([[2.0, 0.0, 1.0], [1.0, 1.0, -1.0]])
SCORES = np.array([[0.1, 0.3, -0.2], [1.0, 2.0, 9.0]], dtype="float32")
NDCG = tf_ranking.create_ndcg_lambda_weight()


def of(*args, **kwargs):
    return values(tf_ranking.make_loss_fn(*args, reduction="weighted_sum", **kwargs)(LABELS, SCORES))


V1 = load("tfr_compat.json")
LAMBDAS = {
    "ndcg": tf_ranking.create_ndcg_lambda_weight,
    "mrr": tf_ranking.create_reciprocal_rank_lambda_weight,
}


def of_case(case):
    key = LOSSES[tf_ranking.LOSSES[case["key"]].key].key
    return "-".join(filter(None, (key, case["batch"], case["lambda_weight"])))


@pytest.mark.slow_on("jax")
@pytest.mark.parametrize("case", V1["cases"], ids=of_case)
def test_every_reduction_and_kind_of_weight_equals_the_peers(case):
    batch = V1["batches"][case["batch"]]
    labels, scores = np.array(batch["labels"]), np.array(batch["scores"], dtype="float32")
    weights = np.array(batch["weights"])
    given = {"none": None, "lists": weights[:, :1], "documents": weights}
    lambda_weight = case["lambda_weight"] and LAMBDAS[case["lambda_weight"]]()
    more = {"params": {"gamma": 4.0}} if case["key"] == "circle_loss" else {}
    if case["batch"] == "far":
        more = {"gumbel_params": {"seed": 1}}
    actual = {}
    for name in case["expected"]:
        kind, reduction = name.split()
        loss_fn = tf_ranking.make_loss_fn(case["key"], lambda_weight=lambda_weight, reduction=reduction, **more)
        actual[name] = float(values(loss_fn(labels, scores, given[kind])))
    near(list(actual.values()), list(case["expected"].values()), 2e-5)


class TestMakeLossFn:
    def test_keys_with_weights(self):
        total = of("softmax_loss:0.9, mean_squared_loss:0.1")
        assert total == pytest.approx(0.9 * of("softmax_loss") + 0.1 * of("mean_squared_loss"))
        assert of(["softmax_loss", "mean_squared_loss"], [0.9, 0.1]) == pytest.approx(total)
        assert of("softmax_loss,mean_squared_loss:2") == pytest.approx(of("softmax_loss") + 2 * of("mean_squared_loss"))

    @pytest.mark.parametrize("keys", ["softmax_loss", ["softmax_loss"]])
    def test_weight_of_a_single_key(self, keys):
        assert of(keys) == pytest.approx(5.1843414)
        assert of(keys, [2.0]) == pytest.approx(10.368683)

    def test_arguments_by_position(self):
        loss_fn = tf_ranking.make_loss_fn(
            ["softmax_loss", "approx_ndcg_loss"], [1.0, 0.5], None, NDCG, "weighted_sum", "mixed"
        )
        assert values(loss_fn(LABELS, SCORES)) == pytest.approx(0.62101054)
        assert loss_fn.name == "mixed"

    def test_lambda_weight_goes_to_the_losses_that_can_use_it(self):
        mixed = of(["pairwise_logistic_loss", "list_mle_loss", "sigmoid_cross_entropy_loss"], lambda_weight=NDCG)
        pairs = 3 * values(tf_ranking.PairwiseLogisticLoss("sum", None, NDCG)(LABELS, SCORES))  # v1's factor N
        assert mixed == pytest.approx(pairs + of("list_mle_loss") + of("sigmoid_cross_entropy_loss"))
        with pytest.raises(UserError, match="None of the losses approx_ndcg_loss can use the lambda weight 'ndcg'"):
            of("approx_ndcg_loss", lambda_weight=NDCG)
        with pytest.raises(UserError, match="`lambda_weight` of PolyOneSoftmaxLoss must be None"):
            of(["softmax_loss", "poly_one_softmax_loss"], lambda_weight=NDCG)

    def test_gumbel_params_go_to_the_losses_that_sample(self):
        keys = ["softmax_loss", "gumbel_approx_ndcg_loss"]
        given = of(keys, [0.0, 1.0], gumbel_params={"sample_size": 3, "temperature": 0.5, "seed": 1})
        plain = tf_ranking.GumbelApproxNDCGLoss("sum", sample_size=3, gumbel_temperature=0.5, seed=1)
        assert given == pytest.approx(values(plain(LABELS, SCORES)), rel=1e-6)
        with pytest.raises(UserError, match="`gumbel_params` has no 'gumbel_temperature'"):
            of(keys, gumbel_params={"gumbel_temperature": 0.5})
        with pytest.raises(UserError, match="none of the losses softmax_loss samples"):
            of("softmax_loss", gumbel_params={"seed": 1})

    def test_params_go_to_every_loss(self):
        exact = values(tf_ranking.ApproxNDCGLoss("sum", temperature=0.5)(LABELS, SCORES))
        assert of("approx_ndcg_loss", params={"temperature": 0.5}) == pytest.approx(exact)

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (("softmax_loss:much",), "The weight of a loss must be a number"),
            ((["softmax_loss"], ["much"]), "The weight of a loss must be a number"),
            ((["softmax_loss"], [1.0, 2.0]), "one weight for each of 1"),
            ((["softmax_loss"], []), "one weight for each of 1"),
            (("softmax_loss:0.5,approx_ndcg_loss:0.5", [1.0, 1.0]), "`loss_weights` must be None where"),
            (("",), "`loss_keys` must name at least one loss"),
            (([],), "`loss_keys` must name at least one loss"),
            (("softmax",), "Unknown TF-Ranking loss 'softmax'"),
            (("softmax_loss", None, "w"), "pass the weights as `sample_weight`"),
        ],
    )
    def test_bad_arguments_raise(self, args, message):
        with pytest.raises(UserError, match=message):
            tf_ranking.make_loss_fn(*args)

    @pytest.mark.parametrize("reduction", ["none", "auto", "weighted"])
    def test_reductions_that_v1_lacks_raise(self, reduction):
        with pytest.raises(UserError, match=f"Unknown reduction '{reduction}'.*weighted_sum_by_nonzero_weights"):
            tf_ranking.make_loss_fn("softmax_loss", reduction=reduction)

    def test_default_reduction_is_the_peers(self):
        loss_fn = tf_ranking.make_loss_fn("pairwise_logistic_loss")
        assert loss_fn.v1_reduction == "weighted_sum_by_nonzero_weights"
        pairs = values(tf_ranking.PairwiseLogisticLoss("sum")(LABELS[:1], SCORES[:1]))
        assert values(loss_fn(LABELS[:1], SCORES[:1])) == pytest.approx(pairs / 3)  # a list of 3 pairs

    def test_fit_and_config(self):
        loss_fn = tf_ranking.make_loss_fn(
            "softmax_loss:0.5,yeti_logistic_loss:2", lambda_weight=NDCG, gumbel_params={"seed": 1, "sample_size": 2}
        )
        again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss_fn))))
        assert again.get_config() == loss_fn.get_config()
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=again)
        history = model.fit(SCORES, LABELS.astype("float32"), sample_weight=np.ones((2, 1)), verbose=0).history
        assert np.isfinite(history["loss"]).all()

    def test_query_and_document_weights_multiply(self):
        loss_fn, documents = tf_ranking.make_loss_fn("mean_squared_loss", reduction="weighted_sum"), np.ones((2, 3)) / 2
        both = values(loss_fn(LABELS, SCORES, {"query": np.array([2.0, 3.0]), "item": documents}))
        assert both == pytest.approx(values(loss_fn(LABELS, SCORES, np.array([[1.0] * 3, [1.5] * 3]))))

    @pytest.mark.parametrize("gumbel_params", [{"sample_size": 0}, {"temperature": -1.0}])
    def test_gumbel_params_out_of_range_raise(self, gumbel_params):
        with pytest.raises(UserError, match=f"`{next(iter(gumbel_params))}` must be"):
            tf_ranking.make_loss_fn("gumbel_approx_ndcg_loss", gumbel_params=gumbel_params)


class TestMakeLossMetricFn:
    def test_result_is_the_mean_over_queries(self):
        metric = tf_ranking.make_loss_metric_fn("pairwise_logistic_loss")
        metric.update_state(LABELS[:1], SCORES[:1])
        assert metric.name == "pairwise_logistic_loss"
        assert values(metric.result()) == pytest.approx(0.77552366)
        metric.update_state(LABELS[:1], SCORES[:1] * 0)
        assert values(metric.result()) == pytest.approx((0.77552366 + math.log(2)) / 2)

    def test_weights(self):
        metric = tf_ranking.make_loss_metric_fn("mean_squared_loss", None, None, "mse")
        metric.update_state(LABELS, SCORES, np.array([[3.0], [1.0]]))
        rows = [(1.9**2 + 0.3**2 + 1.2**2) / 3, 0.5]
        assert values(metric.result()) == pytest.approx((3 * rows[0] + rows[1]) / 4)
        metric.reset_state()
        metric.update_state(LABELS, SCORES, np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]))
        assert values(metric.result()) == pytest.approx((1.9**2 + 1.0) / 2)

    def test_gumbel_losses_are_measured_without_samples(self):
        metric = tf_ranking.make_loss_metric_fn("gumbel_approx_ndcg_loss")
        metric.update_state(LABELS, SCORES)
        assert values(metric.result()) == pytest.approx(values(tf_ranking.ApproxNDCGLoss()(LABELS, SCORES)))
        with pytest.raises(UserError, match="'yeti_logistic_loss' draws at random"):
            tf_ranking.make_loss_metric_fn("yeti_logistic_loss")

    def test_fit_and_config(self):
        metric = tf_ranking.make_loss_metric_fn("softmax_loss", lambda_weight=NDCG)
        again = type(metric).from_config(metric.get_config())
        assert again.get_config() == metric.get_config()
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile("sgd", loss=tf_ranking.SoftmaxLoss(), metrics=[again])
        history = model.fit(SCORES, LABELS.astype("float32"), verbose=0).history
        assert np.isfinite(history["softmax_loss"]).all()

    def test_bad_arguments_raise(self):
        with pytest.raises(UserError, match="pass the weights as `sample_weight`"):
            tf_ranking.make_loss_metric_fn("softmax_loss", "w")
        with pytest.raises(UserError, match="Unknown TF-Ranking loss"):
            tf_ranking.make_loss_metric_fn("gumbel_softmax_loss")


def test_keys_are_the_peers():
    keys = tf_ranking.RankingLossKey.all_keys()
    assert tf_ranking.RankingLossKey.APPROX_NDCG_LOSS == "approx_ndcg_loss"
    assert set(tf_ranking.LOSSES) - set(keys) == {"click_em_loss", "mixture_em_loss", "multi_class_loss"}
    assert len(keys) == len(set(keys)) == 22
    for name, key in vars(tf_ranking.RankingLossKey).items():
        assert not name.isupper() or key == name.lower()


class TestPListMLELambdaWeight:
    def test_value_equals_the_peers(self):
        weight = tf_ranking.create_p_list_mle_lambda_weight(3)
        loss_fn = tf_ranking.ListMLELoss(lambda_weight=weight)
        assert values(loss_fn(LABELS[:1], SCORES[:1])) == pytest.approx(4.2318954)
        again = type(loss_fn).from_config(loss_fn.get_config())
        assert values(again(LABELS, SCORES)) == values(loss_fn(LABELS, SCORES))
        assert again.get_config() == loss_fn.get_config()

    def test_weights(self):
        ranks = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]], dtype="float32")
        discount = tf_ranking.PListMLEDiscount(3)
        assert values(discount(ranks)).tolist() == [[3.0, 1.0, 0.0, 0.0, 0.0]]
        assert {discount} == {tf_ranking.PListMLEDiscount(3)}

    @pytest.mark.parametrize("list_size", [101, 200, 0, None, 2.5])
    def test_list_size_out_of_range_raises(self, list_size):
        with pytest.raises(UserError, match="p_list_mle" if list_size in (101, 200) else "`list_size` must be"):
            tf_ranking.create_p_list_mle_lambda_weight(list_size)

    def test_longest_list_is_finite(self):
        loss_fn = tf_ranking.ListMLELoss(lambda_weight=tf_ranking.create_p_list_mle_lambda_weight(100))
        scores = np.linspace(0, 1e4, 100, dtype="float32")[None]
        assert np.isfinite(values(loss_fn(np.ones((1, 100)), scores)))


class TestFunctions:
    def test_symmetric_log1p(self):
        assert values(tf_ranking.symmetric_log1p([-3, 0, 3])) == pytest.approx([-1.3862944, 0.0, 1.3862944])
        layer = keras.layers.Dense(2, activation=tf_ranking.symmetric_log1p)
        again = keras.layers.Dense.from_config(layer.get_config())
        assert again.activation is tf_ranking.symmetric_log1p

    @pytest.mark.parametrize("name", ["inverse", "log2_inverse"])
    def test_discount_of_rank_0_is_0(self, name):
        assert values(getattr(tf_ranking, name)([0.0, 1.0])).tolist() == [0.0, 1.0]
        assert values(getattr(tf_ranking, name)(0)) == 0.0
