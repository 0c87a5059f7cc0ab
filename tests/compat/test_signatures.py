"""Positional parameters of the peers, from the sources of TF-Ranking 0.5.5 and sentence-transformers 6.2.0."""

import inspect

import numpy as np
import pytest

from losses.numeric import values
from ml4ir_losses.compat import tf_ranking
from ml4ir_losses.compat.sentence_transformers import cross_encoder, losses

PLACED = ("reduction", "name", "ragged")
LISTED = ("reduction", "name", "lambda_weight", "temperature", "ragged")
SAMPLED = (*LISTED[:4], "sample_size", "gumbel_temperature", "seed", "ragged")
TF_RANKING = {
    "PairwiseHingeLoss": LISTED,
    "PairwiseLogisticLoss": LISTED,
    "PairwiseSoftZeroOneLoss": LISTED,
    "PairwiseMSELoss": LISTED,
    "YetiLogisticLoss": SAMPLED,
    "SoftmaxLoss": LISTED,
    "CalibratedSoftmaxLoss": (*LISTED[:4], "virtual_label"),
    "UniqueSoftmaxLoss": LISTED,
    "ListMLELoss": LISTED,
    "ApproxMRRLoss": LISTED,
    "ApproxNDCGLoss": LISTED,
    "GumbelApproxNDCGLoss": SAMPLED,
    "ClickEMLoss": ("reduction", "name", "exam_loss_weight", "rel_loss_weight", "ragged"),
    "MixtureEMLoss": (*LISTED[:4], "alpha", "ragged"),
    "SigmoidCrossEntropyLoss": PLACED,
    "MeanSquaredLoss": PLACED,
    "OrdinalLoss": (*PLACED, "ordinal_size", "use_fraction_label"),
    "CoupledRankDistilLoss": (*PLACED, "sample_size", "topk", "temperature"),
    # losses_impl, for v1
    "CircleLoss": ("name", "lambda_weight", "gamma", "margin", "ragged"),
    "PolyOneSoftmaxLoss": ("name", "lambda_weight", "epsilon", "temperature", "ragged"),
    "NeuralSortCrossEntropyLoss": ("name", "lambda_weight", "temperature", "ragged"),
    "NeuralSortNDCGLoss": ("name", "lambda_weight", "temperature", "ragged"),
    "MultiClassLoss": ("name", "num_classes", "temperature", "ragged", "from_logits", "label_smoothing"),
    # lambda weights
    "LabelDiffLambdaWeight": (),
    "DCGLambdaWeight": ("topn", "gain_fn", "rank_discount_fn", "normalized", "smooth_fraction"),
    "NDCGLambdaWeight": ("topn", "gain_fn", "rank_discount_fn", "smooth_fraction"),
    "DCGLambdaWeightV2": ("topn", "gain_fn", "rank_discount_fn", "normalized"),
    "NDCGLambdaWeightV2": ("topn", "gain_fn", "rank_discount_fn"),
    "YetiDCGLambdaWeight": ("topn", "gain_fn", "rank_discount_fn", "normalized"),
    "PrecisionLambdaWeight": ("topn", "positive_fn"),
    "ListMLELambdaWeight": ("rank_discount_fn",),
}
PAIRS = ("k", "sigma", "eps", "reduction_log", "activation_fn", "mini_batch_size")
CROSS_ENCODER = {
    "ADRMSELoss": ("model", "alpha", "activation_fn", "mini_batch_size"),
    "BinaryCrossEntropyLoss": ("model", "activation_fn", "pos_weight"),  # and keywords for torch, as the next
    "CrossEntropyLoss": ("model", "activation_fn"),
    "MSELoss": ("model", "activation_fn"),
    "MarginMSELoss": ("model", "activation_fn"),
    "LambdaLoss": ("model", "weighting_scheme", *PAIRS),
    "RankNetLoss": ("model", *PAIRS),
    "ListNetLoss": ("model", "activation_fn", "mini_batch_size"),
    "ListMLELoss": ("model", "activation_fn", "mini_batch_size", "respect_input_order"),
    "PListMLELoss": ("model", "lambda_weight", "activation_fn", "mini_batch_size", "respect_input_order"),
    "MultipleNegativesRankingLoss": ("model", "num_negatives", "scale", "activation_fn"),
    "CachedMultipleNegativesRankingLoss": (
        *("model", "num_negatives", "scale", "activation_fn"),
        *("mini_batch_size", "show_progress_bar"),
    ),
}
SCALED = ("model", "scale", "similarity_fct")
MINI_BATCH = ("mini_batch_size", "mini_batch_num_tokens")
DIRECTED, HARDNESS = ("directions", "partition_mode"), ("hardness_mode", "hardness_strength")
DEVICES, PROGRESS = "gather_across_devices", "show_progress_bar"
GUIDED = ("margin_strategy", "margin", "contrast_anchors", "contrast_positives", DEVICES)
LAYERED = ("last_layer_weight", "prior_layers_weight", "kl_div_weight", "kl_temperature", "layer_weighting")
DIMS = ("model", "loss", "matryoshka_dims", "matryoshka_weights")
DISTANCE = ("model", "distance_metric")
EMBEDDING = {
    "AdaptiveLayerLoss": ("model", "loss", "n_layers_per_step", *LAYERED),
    "AnglELoss": ("model", "scale"),
    **dict.fromkeys([f"Batch{kind}TripletLoss" for kind in ("All", "Hard", "SemiHard")], (*DISTANCE, "margin")),
    "BatchHardSoftMarginTripletLoss": DISTANCE,
    "CachedGISTEmbedLoss": ("model", "guide", "temperature", *MINI_BATCH, PROGRESS, *GUIDED),
    "CachedMultipleNegativesRankingLoss": (*SCALED, *MINI_BATCH, DEVICES, *DIRECTED, PROGRESS, *HARDNESS),
    "CachedMultipleNegativesSymmetricRankingLoss": (*SCALED, *MINI_BATCH, DEVICES, PROGRESS),
    "CoSENTLoss": SCALED,
    "ContrastiveLoss": (*DISTANCE, "margin", "size_average"),
    "ContrastiveTensionLoss": ("model",),
    "ContrastiveTensionLossInBatchNegatives": SCALED,
    "CosineSimilarityLoss": ("model", "loss_fct", "cos_score_transformation"),
    "DenoisingAutoEncoderLoss": ("model", "decoder_name_or_path", "tie_encoder_decoder"),
    "DistillKLDivLoss": ("model", "similarity_fct", "temperature", "student_temperature", "teacher_temperature"),
    "EmbedDistillLoss": (*DISTANCE, "projection_dim"),
    "GISTEmbedLoss": ("model", "guide", "temperature", *GUIDED),
    "GlobalOrthogonalRegularizationLoss": (
        *("model", "similarity_fct", "mean_weight", "second_moment_weight", "aggregation"),
    ),
    "MSELoss": ("model", "projection_dim"),
    "MarginMSELoss": ("model", "similarity_fct"),
    "Matryoshka2dLoss": (*DIMS, "n_layers_per_step", "n_dims_per_step", *LAYERED),
    "MatryoshkaLoss": (*DIMS, "n_dims_per_step"),
    "MegaBatchMarginLoss": (
        *("model", "positive_margin", "negative_margin", "use_mini_batched_version"),
        *(*MINI_BATCH, PROGRESS),
    ),
    "MultipleNegativesRankingLoss": (*SCALED, DEVICES, *DIRECTED, *HARDNESS),
    "MultipleNegativesSymmetricRankingLoss": (*SCALED, DEVICES),
    "OnlineContrastiveLoss": (*DISTANCE, "margin"),
    "SoftmaxLoss": (
        *("model", "embedding_dimension", "num_labels", "concatenation_sent_rep", "concatenation_sent_difference"),
        *("concatenation_sent_multiplication", "loss_fct"),
    ),
    "TripletLoss": (*DISTANCE, "triplet_margin"),
}
FOR_TORCH = {
    "BinaryCrossEntropyLoss": {"reduction", "weight"},
    "CrossEntropyLoss": {"weight", "ignore_index", "label_smoothing", "reduction"},
    "MSELoss": {"reduction"},
    "MarginMSELoss": {"reduction"},
}
LABELS, SCORES = np.array([[2.0, 0.0, 1.0, -1.0]]), np.array([[0.1, 0.3, -0.2, 9.0]], dtype="float32")


def positional(peer):
    parameters = inspect.signature(peer).parameters.values()
    return tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize("name", TF_RANKING)
def test_positional_parameters_of_tf_ranking(name):
    assert positional(getattr(tf_ranking, name)) == TF_RANKING[name]


@pytest.mark.parametrize("name", CROSS_ENCODER)
def test_positional_parameters_of_cross_encoder_losses(name):
    parameters = positional(getattr(cross_encoder, name))
    places = len(CROSS_ENCODER[name])
    assert parameters[:places] == CROSS_ENCODER[name]
    assert set(parameters[places:]) == FOR_TORCH.get(name, set())


@pytest.mark.parametrize("name", EMBEDDING)
def test_positional_parameters_of_embedding_losses(name):
    assert positional(getattr(losses, name)) == EMBEDDING[name]


CALLS = {
    "CalibratedSoftmaxLoss": ("sum", "x", None, 0.5, 0.25),
    "UniqueSoftmaxLoss": ("sum", "x", None, 0.5, False),
    "ApproxNDCGLoss": ("sum", "x", None, 0.5, False),
    "ApproxMRRLoss": ("sum", "x", None, 0.5),
    "GumbelApproxNDCGLoss": ("sum", "x", None, 0.5, 4, 2.0, 7, False),
    "MixtureEMLoss": ("sum", "x", None, 0.5, 2.0, False),
    "OrdinalLoss": ("sum", "x", False, 3, True),
    "CoupledRankDistilLoss": ("sum", "x", False, 4, 2, 0.5),
    "PairwiseHingeLoss": ("sum", "x", "label_diff", 0.5, False),
}


@pytest.mark.parametrize("name", CALLS)
def test_positional_call_equals_keyword_call(name):
    by_name = dict(zip(TF_RANKING[name], CALLS[name], strict=False))
    by_place = getattr(tf_ranking, name)(*CALLS[name])
    assert by_place.get_config() == getattr(tf_ranking, name)(**by_name).get_config()
    assert (by_place.reduction, by_place.name) == ("sum", "x")
    assert by_place.loss.params.get("temperature", 0.5) == 0.5


class TestNoneIsThePeersDefault:
    @pytest.mark.parametrize(
        ("name", "gain", "discount"),
        [
            ("DCGLambdaWeight", "identity", "inverse"),
            ("DCGLambdaWeightV2", "identity", "inverse"),
            ("NDCGLambdaWeight", "pow2_minus_1", "log2_inverse"),
            ("NDCGLambdaWeightV2", "pow2_minus_1", "log2_inverse"),
            ("YetiDCGLambdaWeight", "pow2_minus_1", "log2_inverse"),
        ],
    )
    def test_gain_and_discount(self, name, gain, discount):
        make = getattr(tf_ranking, name)
        weight = make(topn=3, gain_fn=None, rank_discount_fn=None)
        assert (weight.gain, weight.discount) == (gain, discount)
        assert weight == make(3)
        other = make(3, tf_ranking.pow_minus_1, tf_ranking.inverse)
        assert (other.gain, other.discount) == ("pow2_minus_1", "inverse")

    def test_positive_function(self):
        weight = tf_ranking.PrecisionLambdaWeight(2, None)
        assert weight == tf_ranking.PrecisionLambdaWeight(2, tf_ranking.is_greater_equal_1)

    def test_lambda_weight_of_yeti_rank(self):
        given = tf_ranking.YetiLogisticLoss(seed=1, lambda_weight=tf_ranking.YetiDCGLambdaWeight())
        expected = values(given(LABELS, SCORES))
        for loss_fn in (
            tf_ranking.YetiLogisticLoss(seed=1),
            tf_ranking.YetiLogisticLoss(seed=1, lambda_weight=None),
            tf_ranking.get("yeti_logistic_loss", lambda_weight=None, seed=1),
        ):
            assert values(loss_fn(LABELS, SCORES)) == pytest.approx(expected)

    def test_gain_and_discount_of_metrics(self):
        metric = tf_ranking.NDCGMetric("ndcg", 3, None, None)
        assert (metric.params["gain"], metric.params["discount"]) == ("pow2_minus_1", "log2_inverse")
