"""The tables of `compat`: every name is there, with the peer's parameters, and says what is wrong."""

import inspect

import keras
import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.compat import ml4ir, tf_ranking
from ml4ir_losses.compat.facade import Facade
from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses
from ml4ir_losses.errors import UserError
from ml4ir_losses.losses.lambda_weights import LambdaWeight
from ml4ir_losses.registry import LOSSES

MODULES = (cross_encoder, losses, ml4ir, tf_ranking)
FACADES = [value for module in MODULES for value in vars(module).values() if isinstance(value, Facade)]
REQUIRED = {"MultiClassLoss": {"num_classes": 3}, "PrecisionLambdaWeight": {"topn": 1}}
REQUIRED["ListMLELambdaWeight"] = {"rank_discount_fn": "inverse"}
REQUIRED["pair_softmax"] = {"num_labels": 3}  # a key: SoftmaxLoss is the name of two
LABELS, SCORES = np.array([[2.0, 0.0, 1.0, -1.0]]), np.array([[0.1, 0.3, -0.2, 9.0]], dtype="float32")


@pytest.mark.parametrize("facade", FACADES, ids=[facade.name for facade in FACADES])
def test_every_name_makes_an_object_with_the_peers_defaults(facade):
    made = facade(**REQUIRED.get(facade.name, {}), **REQUIRED.get(facade.key, {}))
    assert isinstance(made, (keras.losses.Loss, keras.metrics.Metric, LambdaWeight)) or hasattr(made, "get_loss_fn")
    assert facade.key in inspect.getdoc(facade)
    assert list(inspect.signature(facade).parameters) == [*facade.parameters, *facade.ours]
    if isinstance(made, keras.losses.Loss):
        assert made.loss.key == LOSSES[facade.key].key
        again = type(made).from_config(made.get_config())
        assert again.get_config() == made.get_config()


@pytest.mark.parametrize("facade", FACADES, ids=[facade.name for facade in FACADES])
def test_unknown_parameters_are_named(facade):
    with pytest.raises(UserError, match=f"{facade.name} has no parameter 'nonsense'"):
        facade(nonsense=1)


def test_defaults_of_the_peers_differ_from_ours():
    assert cross_encoder.ListMLELoss().loss.params["respect_input_order"] is True
    assert cross_encoder.RankNetLoss().loss.params["reduction_log"] == "binary"
    assert tf_ranking.PairwiseLogisticLoss().loss.params["normalization"] == "sum"
    assert ml4ir.SigmoidCrossEntropy("pointwise", "").params["normalization"] == "batch"


def test_torch_modules_and_functions_are_known_by_their_names():
    class Sigmoid:
        pass

    assert cross_encoder.BinaryCrossEntropyLoss(None, Sigmoid()).loss.params["activation_fn"] == "sigmoid"
    assert cross_encoder.ListNetLoss(activation_fn=keras.ops.tanh).loss.params["activation_fn"] == "tanh"


def test_distances_and_similarities_are_known_by_the_peers_names():
    class MSELoss:
        pass

    def pairwise_euclidean_sim(a, b):
        pass

    metric, triplets = losses.SiameseDistanceMetric, losses.BatchHardTripletLossDistanceFunction
    assert losses.ContrastiveLoss(None, metric.EUCLIDEAN, 1.0).loss.params["distance"] == "euclidean"
    assert losses.BatchAllTripletLoss(None, triplets.cosine_distance).loss.params["distance"] == "cosine"
    assert losses.BatchHardTripletLoss().loss.params["distance"] == "euclidean"
    assert losses.TripletLoss(None, losses.TripletDistanceMetric.COSINE, 0.1).loss.params["margin"] == 0.1
    assert losses.CoSENTLoss(None, 1.0, pairwise_euclidean_sim).loss.params["similarity"] == "euclidean"
    assert losses.CosineSimilarityLoss(None, MSELoss()).loss.params["loss_fct"] == "mse"
    assert losses.OnlineContrastiveLoss().reduction == losses.ContrastiveTensionLoss().reduction == "sum"
    assert losses.SoftmaxLoss(None, 768, 3).loss.params["num_labels"] == 3
    with pytest.raises(UserError, match="num_labels"):
        losses.SoftmaxLoss(None, 768)
    with pytest.raises(UserError, match=r"`distance` must be one of"):
        losses.TripletLoss(None, lambda a, b: a - b)


def test_what_cannot_be_had_is_an_error():
    with pytest.raises(UserError, match="`ragged` of SoftmaxLoss must be False"):
        tf_ranking.SoftmaxLoss(ragged=True)
    with pytest.raises(UserError, match="`lambda_weight` of ApproxNDCGLoss must be None"):
        tf_ranking.get("approx_ndcg_loss", lambda_weight=tf_ranking.NDCGLambdaWeight())
    with pytest.raises(UserError, match=r"Unknown TF-Ranking loss 'softmax'.*softmax_loss"):
        tf_ranking.get("softmax")
    with pytest.raises(UserError, match="Unknown ml4ir loss 'listnet'"):
        ml4ir.get_loss("listnet")
    with pytest.raises(UserError, match="needs the parameter 'num_classes'"):
        tf_ranking.MultiClassLoss()
    with pytest.raises(UserError, match="positional"):
        ml4ir.RankOneListNet(1, 2, 3, 4)
    with pytest.raises(UserError, match="twice"):
        cross_encoder.RankNetLoss(None, model=None)
    with pytest.raises(AttributeError, match="NoScheme"):
        cross_encoder.NoScheme  # noqa: B018


@pytest.mark.parametrize("spec", [("softmax_loss:0.9, mean_squared_loss:0.1",), (["softmax_loss"], [2.0])])
def test_weighted_sum_of_losses(spec):
    total = values(tf_ranking.make_loss_fn(*spec)(LABELS, SCORES))
    softmax = values(tf_ranking.SoftmaxLoss()(LABELS, SCORES))
    squares = values(tf_ranking.MeanSquaredLoss()(LABELS, SCORES))
    expected = 2 * softmax if len(spec) == 2 else 0.9 * softmax + 0.1 * squares
    np.testing.assert_allclose(total, expected, rtol=1e-6)


def test_weighted_sum_says_what_is_wrong():
    with pytest.raises(UserError, match="The weight of a loss must be a number"):
        tf_ranking.make_loss_fn("softmax_loss:much")
    with pytest.raises(UserError, match="one weight for each of 1"):
        tf_ranking.make_loss_fn(["softmax_loss"], [1.0, 2.0])
