"""The public names and where each is defined; `__init__.py` imports them from there when they are first used."""

from .catalogue import list_losses as list_losses, list_metrics as list_metrics
from .config.load import load_config as load_config
from .config.schema import Config as Config
from .config.text_schema import TextConfig as TextConfig
from .core.errors import ConfigError as ConfigError, DataError as DataError, UserError as UserError
from .core.registry import (
    register_architecture as register_architecture,
    register_batching as register_batching,
    register_click_model as register_click_model,
    register_command as register_command,
    register_encoder as register_encoder,
    register_lambda_weight as register_lambda_weight,
    register_loss as register_loss,
    register_metric as register_metric,
    register_position_bias as register_position_bias,
    register_reader as register_reader,
    register_transform as register_transform,
    register_weighting_scheme as register_weighting_scheme,
    register_writer as register_writer,
)
from .data.clicks.logs import simulate_clicks as simulate_clicks
from .data.convert import convert as convert
from .data.inspecting.inspect import Inspection as Inspection, inspect as inspect
from .data.propensities import Propensities as Propensities, estimate_propensities as estimate_propensities
from .estimators.ranker import Ranker as Ranker
from .evaluation.callback import EvaluationCallback as EvaluationCallback
from .evaluation.evaluation import Evaluation as Evaluation
from .evaluation.evaluators import (
    BinaryEvaluator as BinaryEvaluator,
    ClassEvaluator as ClassEvaluator,
    RerankingEvaluator as RerankingEvaluator,
    RetrievalEvaluator as RetrievalEvaluator,
    SimilarityEvaluator as SimilarityEvaluator,
    TripletEvaluator as TripletEvaluator,
)
from .evaluation.explanation import Explanation as Explanation
from .evaluation.explain_metric import explain_metric as explain_metric
from .evaluation.mining import mine as mine
from .evaluation.run_files import evaluate_run_file as evaluate_run_file
from .experiments.compare import Compared as Compared, compare as compare
from .experiments.evaluate import check as check, evaluate as evaluate, predict as predict
from .experiments.embedding_index import open_index as open_index
from .experiments.explaining import explain as explain, explain_rows as explain_rows
from .experiments.explaining_texts import explain_texts as explain_texts
from .experiments.quantizing import quantize_embeddings as quantize_embeddings
from .experiments.run_report import write_report as write_report
from .experiments.run_status import RunStatus as RunStatus, run_status as run_status
from .experiments.train import Run as Run, train as train
from .experiments.tune import tune as tune
from .keys import LossKey as LossKey, MetricKey as MetricKey
from .losses.base import (
    ListwiseLossBase as ListwiseLossBase,
    PairwiseLossBase as PairwiseLossBase,
    PointwiseLossBase as PointwiseLossBase,
    RelevanceLossBase as RelevanceLossBase,
)
from .losses.embedding.base import EmbeddingLossBase as EmbeddingLossBase
from .losses.factory import get_loss as get_loss
from .losses.keras_loss import RelevanceLoss as RelevanceLoss
from .losses.lambda_weights import LambdaWeight as LambdaWeight
from .losses.weighting_schemes import BaseWeightingScheme as BaseWeightingScheme
from .losses.pairwise.prob_margin_ranking import (
    FineTuningFeatures as FineTuningFeatures,
    RankingLossInterface as RankingLossInterface,
)
from .metrics.keras_metric import RankingMetric as RankingMetric, get_metric as get_metric
from .model.embedding_model import EmbeddingModel as EmbeddingModel
from .model.loading import load_model as load_model
from .model.relevance_model import RelevanceModel as RelevanceModel

__version__: str

# Generated from the registries by `make generate`; do not edit below.
from .losses.classification.categorical_cross_entropy import CategoricalCrossEntropy as CategoricalCrossEntropy
from .losses.embedding.adaptive_layer import AdaptiveLayerLoss as AdaptiveLayerLoss
from .losses.embedding.contrastive import (
    ContrastiveLoss as ContrastiveLoss,
    OnlineContrastiveLoss as OnlineContrastiveLoss,
)
from .losses.embedding.contrastive_tension import (
    ContrastiveTensionInBatchLoss as ContrastiveTensionInBatchLoss,
    ContrastiveTensionLoss as ContrastiveTensionLoss,
)
from .losses.embedding.cosent import AnglELoss as AnglELoss, CoSENTLoss as CoSENTLoss
from .losses.embedding.cosine_similarity import CosineSimilarityLoss as CosineSimilarityLoss
from .losses.embedding.denoising import DenoisingAutoEncoderLoss as DenoisingAutoEncoderLoss
from .losses.embedding.distill_kl_div import DistillKLDivLoss as DistillKLDivLoss
from .losses.embedding.embed_distill import EmbedDistillLoss as EmbedDistillLoss, EmbeddingMSELoss as EmbeddingMSELoss
from .losses.embedding.embedding_margin_mse import EmbeddingMarginMSELoss as EmbeddingMarginMSELoss
from .losses.embedding.global_orthogonal_regularization import (
    GlobalOrthogonalRegularizationLoss as GlobalOrthogonalRegularizationLoss,
)
from .losses.embedding.guided import CachedGISTEmbedLoss as CachedGISTEmbedLoss, GISTEmbedLoss as GISTEmbedLoss
from .losses.embedding.heads import (
    ArcFaceLoss as ArcFaceLoss,
    CosFaceLoss as CosFaceLoss,
    ProxyAnchorLoss as ProxyAnchorLoss,
    ProxyNCALoss as ProxyNCALoss,
)
from .losses.embedding.matryoshka import MatryoshkaLoss as MatryoshkaLoss
from .losses.embedding.matryoshka_2d import Matryoshka2dLoss as Matryoshka2dLoss
from .losses.embedding.mega_batch_margin import MegaBatchMarginLoss as MegaBatchMarginLoss
from .losses.embedding.memory import CrossBatchMemoryLoss as CrossBatchMemoryLoss
from .losses.embedding.metric_learning import (
    MultiSimilarityLoss as MultiSimilarityLoss,
    NTXentLoss as NTXentLoss,
    SupConLoss as SupConLoss,
)
from .losses.embedding.multiple_negatives_ranking import (
    CachedMultipleNegativesRankingLoss as CachedMultipleNegativesRankingLoss,
    CachedMultipleNegativesSymmetricRankingLoss as CachedMultipleNegativesSymmetricRankingLoss,
    MultipleNegativesRankingLoss as MultipleNegativesRankingLoss,
    MultipleNegativesSymmetricRankingLoss as MultipleNegativesSymmetricRankingLoss,
)
from .losses.embedding.pair_softmax import PairSoftmaxLoss as PairSoftmaxLoss
from .losses.embedding.reconstruction import CSRLoss as CSRLoss, CSRReconstructionLoss as CSRReconstructionLoss
from .losses.embedding.sparse import (
    CachedSpladeLoss as CachedSpladeLoss,
    FlopsLoss as FlopsLoss,
    SpladeLoss as SpladeLoss,
)
from .losses.embedding.triplets import (
    BatchAllTripletLoss as BatchAllTripletLoss,
    BatchHardSoftMarginTripletLoss as BatchHardSoftMarginTripletLoss,
    BatchHardTripletLoss as BatchHardTripletLoss,
    BatchSemiHardTripletLoss as BatchSemiHardTripletLoss,
    TripletLoss as TripletLoss,
)
from .losses.lambda_weights.pairs import (
    DCGLambdaWeight as DCGLambdaWeight,
    LabelDiffLambdaWeight as LabelDiffLambdaWeight,
    NDCGLambdaWeight as NDCGLambdaWeight,
    NDCGLambdaWeightV2 as NDCGLambdaWeightV2,
    PrecisionLambdaWeight as PrecisionLambdaWeight,
    YetiDCGLambdaWeight as YetiDCGLambdaWeight,
)
from .losses.lambda_weights.positions import (
    ListMLELambdaWeight as ListMLELambdaWeight,
    PListMLELambdaWeight as PListMLELambdaWeight,
)
from .losses.listwise.candidates import (
    CachedCrossEncoderMultipleNegativesRankingLoss as CachedCrossEncoderMultipleNegativesRankingLoss,
    CrossEncoderMultipleNegativesRankingLoss as CrossEncoderMultipleNegativesRankingLoss,
)
from .losses.listwise.distillation import ADRMSELoss as ADRMSELoss, CoupledRankDistilLoss as CoupledRankDistilLoss
from .losses.listwise.list_mle import ListMLELoss as ListMLELoss, PListMLELoss as PListMLELoss
from .losses.listwise.neural_sort import (
    GumbelNeuralSortCrossEntropyLoss as GumbelNeuralSortCrossEntropyLoss,
    GumbelNeuralSortNDCGLoss as GumbelNeuralSortNDCGLoss,
    NeuralNDCGLoss as NeuralNDCGLoss,
    NeuralNDCGTransposedLoss as NeuralNDCGTransposedLoss,
    NeuralSortCrossEntropyLoss as NeuralSortCrossEntropyLoss,
    NeuralSortNDCGLoss as NeuralSortNDCGLoss,
)
from .losses.listwise.softmax import (
    AuxOneHotCrossEntropy as AuxOneHotCrossEntropy,
    AuxSoftmaxCrossEntropy as AuxSoftmaxCrossEntropy,
    RankOneListNet as RankOneListNet,
    SoftmaxCrossEntropy as SoftmaxCrossEntropy,
)
from .losses.listwise.softmax_variants import (
    BinaryListNetLoss as BinaryListNetLoss,
    CalibratedSoftmaxLoss as CalibratedSoftmaxLoss,
    ListNetLoss as ListNetLoss,
    Poly1SoftmaxLoss as Poly1SoftmaxLoss,
    UniqueSoftmaxLoss as UniqueSoftmaxLoss,
)
from .losses.listwise.surrogates import (
    ApproxMRRLoss as ApproxMRRLoss,
    ApproxNDCGLoss as ApproxNDCGLoss,
    BoundNDCGLoss as BoundNDCGLoss,
    GumbelApproxNDCGLoss as GumbelApproxNDCGLoss,
)
from .losses.pairwise.circle import CircleLoss as CircleLoss
from .losses.pairwise.lambda_loss import LambdaLoss as LambdaLoss, RankNetLoss as RankNetLoss
from .losses.pairwise.margin_mse import MarginMSELoss as MarginMSELoss
from .losses.pairwise.prob_margin_ranking import (
    CosineProbMarginRankingLoss as CosineProbMarginRankingLoss,
    ProbMarginRankingLoss as ProbMarginRankingLoss,
)
from .losses.pairwise.score_differences import (
    PairwiseHingeLoss as PairwiseHingeLoss,
    PairwiseLogisticLoss as PairwiseLogisticLoss,
    PairwiseMSELoss as PairwiseMSELoss,
    PairwiseQuantileLoss as PairwiseQuantileLoss,
    PairwiseSoftZeroOneLoss as PairwiseSoftZeroOneLoss,
)
from .losses.pairwise.yeti_rank import YetiLogisticLoss as YetiLogisticLoss
from .losses.pointwise.multiple_logits import (
    ClickEMLoss as ClickEMLoss,
    MixtureEMLoss as MixtureEMLoss,
    OrdinalLoss as OrdinalLoss,
)
from .losses.pointwise.single_logit import (
    BinaryCrossEntropyLoss as BinaryCrossEntropyLoss,
    MeanSquaredErrorLoss as MeanSquaredErrorLoss,
    RootMeanSquaredErrorLoss as RootMeanSquaredErrorLoss,
    SigmoidCrossEntropy as SigmoidCrossEntropy,
)
from .losses.weighting_schemes import (
    LambdaRankScheme as LambdaRankScheme,
    NDCGLoss1Scheme as NDCGLoss1Scheme,
    NDCGLoss2PPScheme as NDCGLoss2PPScheme,
    NDCGLoss2Scheme as NDCGLoss2Scheme,
    NoWeightingScheme as NoWeightingScheme,
)
