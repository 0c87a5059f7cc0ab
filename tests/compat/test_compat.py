"""The classes of `compat`: every name is there, with the peer's parameters, and says what is wrong."""

import inspect

import keras
import numpy as np
import pytest

import ml4ir_losses
from losses.numeric import values
from ml4ir_losses.compat import ml4ir, tf_ranking
from ml4ir_losses.compat.peer import PeerClass
from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.core.registry import LOSSES
from ml4ir_losses.losses.lambda_weights import LambdaWeight

MODULES = (cross_encoder, losses, ml4ir, tf_ranking)
CLASSES = [
    value
    for module in MODULES
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, PeerClass) and value.peer_name
]
BY_NAME = pytest.mark.parametrize("peer", CLASSES, ids=[peer.__name__ for peer in CLASSES])
REQUIRED = {"PrecisionLambdaWeight": {"topn": 1}, "ListMLELambdaWeight": {"rank_discount_fn": "inverse"}}
REQUIRED["pair_softmax"] = {"num_labels": 3}  # a key: SoftmaxLoss is the name of two
INNER = {"loss": "multiple_negatives_ranking"}
REQUIRED |= {f"Matryoshka{two}Loss": {**INNER, "matryoshka_dims": [2]} for two in ("", "2d")}
REQUIRED |= {"AdaptiveLayerLoss": INNER}
REQUIRED |= {name: {**INNER, "document_regularizer_weight": 0.1} for name in ("SpladeLoss", "CachedSpladeLoss")}
LABELS, SCORES = np.array([[2.0, 0.0, 1.0, -1.0]]), np.array([[0.1, 0.3, -0.2, 9.0]], dtype="float32")


def torch_module(name):
    """An object of a class of this name, as `torch.nn` has them."""
    return type(name, (), {})()


def made(peer):
    """An object with the peer's defaults."""
    return peer(**REQUIRED.get(peer.__name__, {}), **REQUIRED.get(peer.key, {}))


@BY_NAME
def test_defaults_build_an_instance_of_the_class(peer):
    obj = made(peer)
    assert isinstance(obj, peer)
    assert isinstance(obj, (keras.losses.Loss, keras.metrics.Metric, LambdaWeight)) or hasattr(obj, "get_loss_fn")
    assert peer.key in inspect.getdoc(peer)
    if isinstance(obj, keras.losses.Loss):
        assert obj.loss.key == LOSSES[peer.key].key


@BY_NAME
def test_unknown_parameter_is_named_in_the_error(peer):
    with pytest.raises(UserError, match=f"{peer.__name__} has no parameter 'nonsense'"):
        peer(nonsense=1)


def test_defaults_are_the_peers():
    assert cross_encoder.ListMLELoss().loss.params["respect_input_order"] is True
    assert cross_encoder.RankNetLoss().loss.params["reduction_log"] == "binary"
    assert tf_ranking.PairwiseLogisticLoss().loss.params["normalization"] == "sum"
    assert ml4ir.SigmoidCrossEntropy("pointwise", "").params["normalization"] == "batch"


def test_torch_modules_and_functions_become_names():
    sigmoid = torch_module("Sigmoid")
    assert cross_encoder.BinaryCrossEntropyLoss(None, sigmoid).loss.params["activation_fn"] == "sigmoid"
    assert cross_encoder.ListNetLoss(activation_fn=keras.ops.tanh).loss.params["activation_fn"] == "tanh"


def test_distances_and_similarities_become_our_names():
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


def test_unsupported_values_raise():
    with pytest.raises(UserError, match="`lambda_weight` of ApproxNDCGLoss must be None"):
        tf_ranking.get("approx_ndcg_loss", lambda_weight=tf_ranking.NDCGLambdaWeight())
    with pytest.raises(UserError, match=r"Unknown TF-Ranking loss 'softmax'.*softmax_loss"):
        tf_ranking.get("softmax")
    with pytest.raises(UserError, match="Unknown ml4ir loss 'listnet'"):
        ml4ir.get_loss("listnet")
    with pytest.raises(UserError, match="needs the parameter 'rank_discount_fn'"):
        tf_ranking.ListMLELambdaWeight()
    with pytest.raises(UserError, match=r"`lambda_weight` of CalibratedSoftmaxLoss must be None \(TF-Ranking weights"):
        tf_ranking.CalibratedSoftmaxLoss(lambda_weight=tf_ranking.DCGLambdaWeight())
    with pytest.raises(UserError, match="positional"):
        ml4ir.RankOneListNet(1, 2, 3, 4)
    with pytest.raises(UserError, match="twice"):
        cross_encoder.RankNetLoss(None, model=None)
    with pytest.raises(AttributeError, match="NoScheme"):
        cross_encoder.NoScheme  # noqa: B018


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tf_ranking.SoftmaxLoss(temperature=0), r"`temperature` must be .*Received: temperature=0"),
        (lambda: tf_ranking.DCGLambdaWeight(topn=0), r"`topn` must be .*Received: topn=0"),
        (lambda: tf_ranking.DCGLambdaWeight(gain_fn="pow"), r"Unknown gain 'pow'.*pow2_minus_1"),
        (lambda: tf_ranking.ListMLELambdaWeight(3), r"Unknown discount 3"),
        (lambda: tf_ranking.NDCGMetric(topn=-1), r"`topn` must be .*Received: topn=-1"),
        (lambda: cross_encoder.LambdaLoss(sigma=-1.0), r"`sigma` must be .*Received: sigma=-1.0"),
        (lambda: losses.TripletLoss(triplet_margin=-1.0), r"`margin` must be .*Received: margin=-1.0"),
        (lambda: ml4ir.SigmoidCrossEntropy(normalization="mean"), r"`normalization` must be .*'mean'"),
        (lambda: ml4ir.RankOneListNet(min_label="low"), r"`min_label` must be .*'low'"),
    ],
)
def test_values_that_our_losses_refuse_raise(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_base_classes_of_ml4ir_are_ours():
    for name in ("RelevanceLossBase", "PointwiseLossBase", "PairwiseLossBase", "ListwiseLossBase"):
        assert getattr(ml4ir, name) is getattr(ml4ir_losses, name)
    assert isinstance(ml4ir.RankOneListNet(), ml4ir.ListwiseLossBase)


def test_adr_mse_equals_the_peers_value():
    """The number of sentence-transformers 6.2.0 for the lists of 3 and 2 documents."""
    labels, scores = np.array([[2.0, 0.0, 1.0], [1.0, 1.0, -1.0]]), np.array([[0.1, 0.3, -0.2], [1.0, 2.0, 9.0]])
    loss_fn = cross_encoder.ADRMSELoss(None, 2.0, torch_module("Identity"), 8)
    assert values(loss_fn(labels, scores.astype("float32"))) == pytest.approx(0.4203, abs=5e-5)
    with pytest.raises(UserError, match="`activation_fn` of ADRMSELoss must be None"):
        cross_encoder.ADRMSELoss(activation_fn="sigmoid")


def test_eps_bounds_the_best_dcg_of_lambda_loss():
    """The numbers of sentence-transformers 6.2.0."""
    labels, scores = np.array([[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), np.array([[-9.0, 9.0, 0.0], [1.0, 2.0, 3.0]])
    for eps, number in ((1e-10, 26.890411), (10.0, 9.763721)):
        assert values(cross_encoder.LambdaLoss(eps=eps)(labels, scores)) == pytest.approx(number, abs=1e-4)


def test_p_list_mle_weights_by_position_by_default():
    plain = values(cross_encoder.PListMLELoss()(LABELS, SCORES))
    given = cross_encoder.PListMLELoss(None, cross_encoder.PListMLELambdaWeight())
    assert values(given(LABELS, SCORES)) == plain
    without = values(cross_encoder.PListMLELoss(lambda_weight=None)(LABELS, SCORES))
    assert without == pytest.approx(values(cross_encoder.ListMLELoss()(LABELS, SCORES)))
    assert "1-based ranks" in inspect.getdoc(cross_encoder.PListMLELoss)
