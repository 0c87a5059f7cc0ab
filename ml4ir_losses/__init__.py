"""Ranking and embedding losses for Keras 3, chosen by key in a YAML config.

>>> import numpy as np
>>> from ml4ir_losses import get_loss
>>> loss = get_loss("softmax_cross_entropy").get_loss_fn()
>>> round(float(loss(np.array([[1.0, 0.0]]), np.array([[0.0, 0.0]]))), 4)
0.6931
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ml4ir_losses.catalogue import list_losses, list_metrics
    from ml4ir_losses.config.load import load_config
    from ml4ir_losses.config.schema import Config
    from ml4ir_losses.config.text_schema import TextConfig
    from ml4ir_losses.core.errors import ConfigError, DataError, UserError
    from ml4ir_losses.core.registry import (
        register_architecture,
        register_encoder,
        register_lambda_weight,
        register_loss,
        register_metric,
        register_reader,
        register_weighting_scheme,
    )
    from ml4ir_losses.evaluation.callback import EvaluationCallback
    from ml4ir_losses.evaluation.evaluators import (
        BinaryEvaluator,
        RerankingEvaluator,
        RetrievalEvaluator,
        SimilarityEvaluator,
        TripletEvaluator,
    )
    from ml4ir_losses.evaluation.mining import mine
    from ml4ir_losses.experiments.evaluate import check, evaluate, predict
    from ml4ir_losses.experiments.train import Run, train
    from ml4ir_losses.keys import LossKey, MetricKey
    from ml4ir_losses.losses.base import ListwiseLossBase, PairwiseLossBase, PointwiseLossBase, RelevanceLossBase
    from ml4ir_losses.losses.classification import CategoricalCrossEntropy
    from ml4ir_losses.losses.embedding.base import EmbeddingLossBase
    from ml4ir_losses.losses.embedding.denoising import DenoisingAutoEncoderLoss
    from ml4ir_losses.losses.embedding.distillation import DistillKLDivLoss, EmbeddingMarginMSELoss, EmbeddingMSELoss
    from ml4ir_losses.losses.embedding.guided import CachedGISTEmbedLoss, GISTEmbedLoss
    from ml4ir_losses.losses.embedding.heads import (
        ArcFaceLoss,
        CosFaceLoss,
        PairSoftmaxLoss,
        ProxyAnchorLoss,
        ProxyNCALoss,
    )
    from ml4ir_losses.losses.embedding.in_batch import (
        CachedMultipleNegativesRankingLoss,
        CachedMultipleNegativesSymmetricRankingLoss,
        ContrastiveTensionInBatchLoss,
        MegaBatchMarginLoss,
        MultipleNegativesRankingLoss,
        MultipleNegativesSymmetricRankingLoss,
    )
    from ml4ir_losses.losses.embedding.memory import CrossBatchMemoryLoss
    from ml4ir_losses.losses.embedding.metric_learning import MultiSimilarityLoss, NTXentLoss, SupConLoss
    from ml4ir_losses.losses.embedding.pairs import (
        AnglELoss,
        ContrastiveLoss,
        ContrastiveTensionLoss,
        CoSENTLoss,
        CosineSimilarityLoss,
        OnlineContrastiveLoss,
    )
    from ml4ir_losses.losses.embedding.sparse import FlopsLoss, SpladeLoss
    from ml4ir_losses.losses.embedding.triplets import (
        BatchAllTripletLoss,
        BatchHardSoftMarginTripletLoss,
        BatchHardTripletLoss,
        BatchSemiHardTripletLoss,
        TripletLoss,
    )
    from ml4ir_losses.losses.embedding.wrappers import AdaptiveLayerLoss, Matryoshka2dLoss, MatryoshkaLoss
    from ml4ir_losses.losses.factory import get_loss
    from ml4ir_losses.losses.keras_loss import RelevanceLoss
    from ml4ir_losses.losses.lambda_weights import (
        DCGLambdaWeight,
        LabelDiffLambdaWeight,
        LambdaWeight,
        ListMLELambdaWeight,
        NDCGLambdaWeight,
        NDCGLambdaWeightV2,
        PListMLELambdaWeight,
        PrecisionLambdaWeight,
        YetiDCGLambdaWeight,
    )
    from ml4ir_losses.losses.listwise.candidates import (
        CachedCrossEncoderMultipleNegativesRankingLoss,
        CrossEncoderMultipleNegativesRankingLoss,
    )
    from ml4ir_losses.losses.listwise.distillation import ADRMSELoss, CoupledRankDistilLoss
    from ml4ir_losses.losses.listwise.neural_sort import (
        GumbelNeuralSortCrossEntropyLoss,
        GumbelNeuralSortNDCGLoss,
        NeuralNDCGLoss,
        NeuralNDCGTransposedLoss,
        NeuralSortCrossEntropyLoss,
        NeuralSortNDCGLoss,
    )
    from ml4ir_losses.losses.listwise.softmax import (
        AuxOneHotCrossEntropy,
        AuxSoftmaxCrossEntropy,
        ListMLELoss,
        PListMLELoss,
        RankOneListNet,
        SoftmaxCrossEntropy,
    )
    from ml4ir_losses.losses.listwise.softmax_variants import (
        BinaryListNetLoss,
        CalibratedSoftmaxLoss,
        ListNetLoss,
        Poly1SoftmaxLoss,
        UniqueSoftmaxLoss,
    )
    from ml4ir_losses.losses.listwise.surrogates import ApproxMRRLoss, ApproxNDCGLoss, GumbelApproxNDCGLoss
    from ml4ir_losses.losses.pairwise.circle import CircleLoss
    from ml4ir_losses.losses.pairwise.lambda_loss import (
        BaseWeightingScheme,
        LambdaLoss,
        LambdaRankScheme,
        NDCGLoss1Scheme,
        NDCGLoss2PPScheme,
        NDCGLoss2Scheme,
        NoWeightingScheme,
        RankNetLoss,
    )
    from ml4ir_losses.losses.pairwise.margin_mse import MarginMSELoss
    from ml4ir_losses.losses.pairwise.prob_margin_ranking import (
        CosineProbMarginRankingLoss,
        FineTuningFeatures,
        ProbMarginRankingLoss,
        RankingLossInterface,
    )
    from ml4ir_losses.losses.pairwise.score_differences import (
        PairwiseHingeLoss,
        PairwiseLogisticLoss,
        PairwiseMSELoss,
        PairwiseQuantileLoss,
        PairwiseSoftZeroOneLoss,
    )
    from ml4ir_losses.losses.pairwise.yeti_rank import YetiLogisticLoss
    from ml4ir_losses.losses.pointwise.multiple_logits import ClickEMLoss, MixtureEMLoss, OrdinalLoss
    from ml4ir_losses.losses.pointwise.single_logit import (
        BinaryCrossEntropyLoss,
        MeanSquaredErrorLoss,
        RootMeanSquaredErrorLoss,
        SigmoidCrossEntropy,
    )
    from ml4ir_losses.metrics.ranking import RankingMetric, get_metric
    from ml4ir_losses.model.embedding_model import EmbeddingModel
    from ml4ir_losses.model.loading import load_model
    from ml4ir_losses.model.relevance_model import RelevanceModel

__version__ = "0.1.0"

_HOMES = {
    "catalogue": (
        "list_losses",
        "list_metrics",
    ),
    "config.load": (
        "Config",
        "load_config",
    ),
    "core.errors": (
        "ConfigError",
        "DataError",
        "UserError",
    ),
    "experiments.evaluate": (
        "check",
        "evaluate",
        "predict",
    ),
    "evaluation.evaluators": (
        "BinaryEvaluator",
        "RerankingEvaluator",
        "RetrievalEvaluator",
        "SimilarityEvaluator",
        "TripletEvaluator",
    ),
    "evaluation.callback": ("EvaluationCallback",),
    "evaluation.mining": ("mine",),
    "keys": (
        "LossKey",
        "MetricKey",
    ),
    "losses.base": (
        "ListwiseLossBase",
        "PairwiseLossBase",
        "PointwiseLossBase",
        "RelevanceLossBase",
    ),
    "losses.factory": ("get_loss",),
    "losses.listwise.candidates": (
        "CachedCrossEncoderMultipleNegativesRankingLoss",
        "CrossEncoderMultipleNegativesRankingLoss",
    ),
    "losses.pairwise.circle": ("CircleLoss",),
    "losses.classification": ("CategoricalCrossEntropy",),
    "losses.listwise.distillation": (
        "ADRMSELoss",
        "CoupledRankDistilLoss",
    ),
    "losses.embedding.base": ("EmbeddingLossBase",),
    "losses.embedding.denoising": ("DenoisingAutoEncoderLoss",),
    "losses.embedding.distillation": (
        "DistillKLDivLoss",
        "EmbeddingMSELoss",
        "EmbeddingMarginMSELoss",
    ),
    "losses.embedding.guided": (
        "CachedGISTEmbedLoss",
        "GISTEmbedLoss",
    ),
    "losses.embedding.heads": (
        "ArcFaceLoss",
        "CosFaceLoss",
        "PairSoftmaxLoss",
        "ProxyAnchorLoss",
        "ProxyNCALoss",
    ),
    "losses.embedding.in_batch": (
        "CachedMultipleNegativesRankingLoss",
        "CachedMultipleNegativesSymmetricRankingLoss",
        "ContrastiveTensionInBatchLoss",
        "MegaBatchMarginLoss",
        "MultipleNegativesRankingLoss",
        "MultipleNegativesSymmetricRankingLoss",
    ),
    "losses.embedding.memory": ("CrossBatchMemoryLoss",),
    "losses.embedding.metric_learning": (
        "MultiSimilarityLoss",
        "NTXentLoss",
        "SupConLoss",
    ),
    "losses.embedding.pairs": (
        "AnglELoss",
        "CoSENTLoss",
        "ContrastiveLoss",
        "ContrastiveTensionLoss",
        "CosineSimilarityLoss",
        "OnlineContrastiveLoss",
    ),
    "losses.embedding.sparse": ("FlopsLoss", "SpladeLoss"),
    "losses.embedding.wrappers": ("AdaptiveLayerLoss", "Matryoshka2dLoss", "MatryoshkaLoss"),
    "losses.embedding.triplets": (
        "BatchAllTripletLoss",
        "BatchHardSoftMarginTripletLoss",
        "BatchHardTripletLoss",
        "BatchSemiHardTripletLoss",
        "TripletLoss",
    ),
    "losses.keras_loss": ("RelevanceLoss",),
    "losses.pairwise.lambda_loss": (
        "BaseWeightingScheme",
        "LambdaLoss",
        "LambdaRankScheme",
        "NDCGLoss1Scheme",
        "NDCGLoss2PPScheme",
        "NDCGLoss2Scheme",
        "NoWeightingScheme",
        "RankNetLoss",
    ),
    "losses.lambda_weights": (
        "DCGLambdaWeight",
        "LabelDiffLambdaWeight",
        "LambdaWeight",
        "ListMLELambdaWeight",
        "NDCGLambdaWeight",
        "NDCGLambdaWeightV2",
        "PListMLELambdaWeight",
        "PrecisionLambdaWeight",
        "YetiDCGLambdaWeight",
    ),
    "losses.listwise.softmax": (
        "AuxOneHotCrossEntropy",
        "AuxSoftmaxCrossEntropy",
        "ListMLELoss",
        "PListMLELoss",
        "RankOneListNet",
        "SoftmaxCrossEntropy",
    ),
    "losses.pairwise.margin_mse": ("MarginMSELoss",),
    "losses.pairwise.prob_margin_ranking": (
        "CosineProbMarginRankingLoss",
        "FineTuningFeatures",
        "ProbMarginRankingLoss",
        "RankingLossInterface",
    ),
    "losses.listwise.neural_sort": (
        "GumbelNeuralSortCrossEntropyLoss",
        "GumbelNeuralSortNDCGLoss",
        "NeuralNDCGLoss",
        "NeuralNDCGTransposedLoss",
        "NeuralSortCrossEntropyLoss",
        "NeuralSortNDCGLoss",
    ),
    "losses.pointwise.multiple_logits": (
        "ClickEMLoss",
        "MixtureEMLoss",
        "OrdinalLoss",
    ),
    "losses.pairwise.score_differences": (
        "PairwiseHingeLoss",
        "PairwiseLogisticLoss",
        "PairwiseMSELoss",
        "PairwiseQuantileLoss",
        "PairwiseSoftZeroOneLoss",
    ),
    "losses.pointwise.single_logit": (
        "BinaryCrossEntropyLoss",
        "MeanSquaredErrorLoss",
        "RootMeanSquaredErrorLoss",
        "SigmoidCrossEntropy",
    ),
    "losses.listwise.softmax_variants": (
        "BinaryListNetLoss",
        "CalibratedSoftmaxLoss",
        "ListNetLoss",
        "Poly1SoftmaxLoss",
        "UniqueSoftmaxLoss",
    ),
    "losses.listwise.surrogates": (
        "ApproxMRRLoss",
        "ApproxNDCGLoss",
        "GumbelApproxNDCGLoss",
    ),
    "losses.pairwise.yeti_rank": ("YetiLogisticLoss",),
    "metrics.ranking": (
        "RankingMetric",
        "get_metric",
    ),
    "model.embedding_model": ("EmbeddingModel",),
    "model.loading": ("load_model",),
    "model.relevance_model": ("RelevanceModel",),
    "core.registry": (
        "register_architecture",
        "register_encoder",
        "register_lambda_weight",
        "register_loss",
        "register_metric",
        "register_reader",
        "register_weighting_scheme",
    ),
    "config.text_schema": ("TextConfig",),
    "experiments.train": (
        "Run",
        "train",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "ADRMSELoss",
    "AdaptiveLayerLoss",
    "AnglELoss",
    "ApproxMRRLoss",
    "ApproxNDCGLoss",
    "ArcFaceLoss",
    "AuxOneHotCrossEntropy",
    "AuxSoftmaxCrossEntropy",
    "BaseWeightingScheme",
    "BatchAllTripletLoss",
    "BatchHardSoftMarginTripletLoss",
    "BatchHardTripletLoss",
    "BatchSemiHardTripletLoss",
    "BinaryCrossEntropyLoss",
    "BinaryEvaluator",
    "BinaryListNetLoss",
    "CachedCrossEncoderMultipleNegativesRankingLoss",
    "CachedGISTEmbedLoss",
    "CachedMultipleNegativesRankingLoss",
    "CachedMultipleNegativesSymmetricRankingLoss",
    "CalibratedSoftmaxLoss",
    "CategoricalCrossEntropy",
    "CircleLoss",
    "ClickEMLoss",
    "CoSENTLoss",
    "Config",
    "ConfigError",
    "ContrastiveLoss",
    "ContrastiveTensionInBatchLoss",
    "ContrastiveTensionLoss",
    "CosFaceLoss",
    "CosineProbMarginRankingLoss",
    "CosineSimilarityLoss",
    "CoupledRankDistilLoss",
    "CrossBatchMemoryLoss",
    "CrossEncoderMultipleNegativesRankingLoss",
    "DCGLambdaWeight",
    "DataError",
    "DenoisingAutoEncoderLoss",
    "DistillKLDivLoss",
    "EmbeddingLossBase",
    "EmbeddingMSELoss",
    "EmbeddingMarginMSELoss",
    "EmbeddingModel",
    "EvaluationCallback",
    "FineTuningFeatures",
    "FlopsLoss",
    "GISTEmbedLoss",
    "GumbelApproxNDCGLoss",
    "GumbelNeuralSortCrossEntropyLoss",
    "GumbelNeuralSortNDCGLoss",
    "LabelDiffLambdaWeight",
    "LambdaLoss",
    "LambdaRankScheme",
    "LambdaWeight",
    "ListMLELambdaWeight",
    "ListMLELoss",
    "ListNetLoss",
    "ListwiseLossBase",
    "LossKey",
    "MarginMSELoss",
    "Matryoshka2dLoss",
    "MatryoshkaLoss",
    "MeanSquaredErrorLoss",
    "MegaBatchMarginLoss",
    "MetricKey",
    "MixtureEMLoss",
    "MultiSimilarityLoss",
    "MultipleNegativesRankingLoss",
    "MultipleNegativesSymmetricRankingLoss",
    "NDCGLambdaWeight",
    "NDCGLambdaWeightV2",
    "NDCGLoss1Scheme",
    "NDCGLoss2PPScheme",
    "NDCGLoss2Scheme",
    "NTXentLoss",
    "NeuralNDCGLoss",
    "NeuralNDCGTransposedLoss",
    "NeuralSortCrossEntropyLoss",
    "NeuralSortNDCGLoss",
    "NoWeightingScheme",
    "OnlineContrastiveLoss",
    "OrdinalLoss",
    "PListMLELambdaWeight",
    "PListMLELoss",
    "PairSoftmaxLoss",
    "PairwiseHingeLoss",
    "PairwiseLogisticLoss",
    "PairwiseLossBase",
    "PairwiseMSELoss",
    "PairwiseQuantileLoss",
    "PairwiseSoftZeroOneLoss",
    "PointwiseLossBase",
    "Poly1SoftmaxLoss",
    "PrecisionLambdaWeight",
    "ProbMarginRankingLoss",
    "ProxyAnchorLoss",
    "ProxyNCALoss",
    "RankNetLoss",
    "RankOneListNet",
    "RankingLossInterface",
    "RankingMetric",
    "RelevanceLoss",
    "RelevanceLossBase",
    "RelevanceModel",
    "RerankingEvaluator",
    "RetrievalEvaluator",
    "RootMeanSquaredErrorLoss",
    "Run",
    "SigmoidCrossEntropy",
    "SimilarityEvaluator",
    "SoftmaxCrossEntropy",
    "SpladeLoss",
    "SupConLoss",
    "TextConfig",
    "TripletEvaluator",
    "TripletLoss",
    "UniqueSoftmaxLoss",
    "UserError",
    "YetiDCGLambdaWeight",
    "YetiLogisticLoss",
    "check",
    "evaluate",
    "get_loss",
    "get_metric",
    "list_losses",
    "list_metrics",
    "load_config",
    "load_model",
    "mine",
    "predict",
    "register_architecture",
    "register_encoder",
    "register_lambda_weight",
    "register_loss",
    "register_metric",
    "register_reader",
    "register_weighting_scheme",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules:  # so that `keras.models.load_model` knows our classes
    importlib.import_module(f"{__name__}.model.loading")
