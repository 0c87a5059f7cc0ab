# Generated from the registries by `make generate`; do not edit below.
from .losses.classification.categorical_cross_entropy import categorical_cross_entropy as categorical_cross_entropy
from .losses.embedding.adaptive_layer import adaptive_layer as adaptive_layer
from .losses.embedding.contrastive import contrastive as contrastive, online_contrastive as online_contrastive
from .losses.embedding.contrastive_tension import (
    contrastive_tension as contrastive_tension,
    contrastive_tension_in_batch as contrastive_tension_in_batch,
)
from .losses.embedding.cosent import angle as angle, cosent as cosent
from .losses.embedding.cosine_similarity import cosine_similarity as cosine_similarity
from .losses.embedding.denoising import denoising_auto_encoder as denoising_auto_encoder
from .losses.embedding.distill_kl_div import distill_kl_div as distill_kl_div
from .losses.embedding.embed_distill import embed_distill as embed_distill, embedding_mse as embedding_mse
from .losses.embedding.embedding_margin_mse import embedding_margin_mse as embedding_margin_mse
from .losses.embedding.global_orthogonal_regularization import (
    global_orthogonal_regularization as global_orthogonal_regularization,
)
from .losses.embedding.guided import gist_embed as gist_embed
from .losses.embedding.heads import (
    arc_face as arc_face,
    cos_face as cos_face,
    proxy_anchor as proxy_anchor,
    proxy_nca as proxy_nca,
)
from .losses.embedding.matryoshka import matryoshka as matryoshka
from .losses.embedding.matryoshka_2d import matryoshka_2d as matryoshka_2d
from .losses.embedding.mega_batch_margin import mega_batch_margin as mega_batch_margin
from .losses.embedding.memory import cross_batch_memory as cross_batch_memory
from .losses.embedding.metric_learning import (
    multi_similarity as multi_similarity,
    nt_xent as nt_xent,
    sup_con as sup_con,
)
from .losses.embedding.multiple_negatives_ranking import (
    multiple_negatives_ranking as multiple_negatives_ranking,
    multiple_negatives_symmetric_ranking as multiple_negatives_symmetric_ranking,
)
from .losses.embedding.pair_softmax import pair_softmax as pair_softmax
from .losses.embedding.reconstruction import csr as csr, csr_reconstruction as csr_reconstruction
from .losses.embedding.sparse import flops as flops, splade as splade
from .losses.embedding.triplets import (
    batch_all_triplet as batch_all_triplet,
    batch_hard_soft_margin_triplet as batch_hard_soft_margin_triplet,
    batch_hard_triplet as batch_hard_triplet,
    batch_semi_hard_triplet as batch_semi_hard_triplet,
    triplet as triplet,
)
from .losses.listwise.candidates import (
    cross_encoder_multiple_negatives_ranking as cross_encoder_multiple_negatives_ranking,
)
from .losses.listwise.distillation import adr_mse as adr_mse, coupled_rank_distil as coupled_rank_distil
from .losses.listwise.list_mle import list_mle as list_mle, p_list_mle as p_list_mle
from .losses.listwise.neural_sort import (
    gumbel_neural_sort_cross_entropy as gumbel_neural_sort_cross_entropy,
    gumbel_neural_sort_ndcg as gumbel_neural_sort_ndcg,
    neural_ndcg as neural_ndcg,
    neural_sort_cross_entropy as neural_sort_cross_entropy,
    neural_sort_ndcg as neural_sort_ndcg,
)
from .losses.listwise.softmax import (
    aux_one_hot_cross_entropy as aux_one_hot_cross_entropy,
    aux_softmax_cross_entropy as aux_softmax_cross_entropy,
    rank_one_listnet as rank_one_listnet,
    softmax_cross_entropy as softmax_cross_entropy,
)
from .losses.listwise.softmax_variants import (
    binary_listnet as binary_listnet,
    calibrated_softmax as calibrated_softmax,
    listnet as listnet,
    poly1_softmax as poly1_softmax,
    unique_softmax as unique_softmax,
)
from .losses.listwise.surrogates import (
    approx as approx,
    approx_mrr as approx_mrr,
    approx_ndcg as approx_ndcg,
    bound as bound,
    bound_ndcg as bound_ndcg,
    gumbel as gumbel,
    gumbel_approx_ndcg as gumbel_approx_ndcg,
    neural_sort as neural_sort,
)
from .losses.pairwise.circle import circle as circle
from .losses.pairwise.lambda_loss import lambda_loss as lambda_loss, ranknet as ranknet
from .losses.pairwise.margin_mse import margin_mse as margin_mse
from .losses.pairwise.prob_margin_ranking import (
    cosine_prob_margin_ranking as cosine_prob_margin_ranking,
    prob_margin_ranking as prob_margin_ranking,
)
from .losses.pairwise.score_differences import (
    pairwise_hinge as pairwise_hinge,
    pairwise_logistic as pairwise_logistic,
    pairwise_mse as pairwise_mse,
    pairwise_quantile as pairwise_quantile,
    pairwise_soft_zero_one as pairwise_soft_zero_one,
)
from .losses.pairwise.yeti_rank import yeti_logistic as yeti_logistic
from .losses.pointwise.multiple_logits import click_em as click_em, mixture_em as mixture_em, ordinal as ordinal
from .losses.pointwise.single_logit import (
    binary_cross_entropy as binary_cross_entropy,
    mean_squared_error as mean_squared_error,
    root_mean_squared_error as root_mean_squared_error,
    sigmoid_cross_entropy as sigmoid_cross_entropy,
)
from .losses.propensity import propensity_weight as propensity_weight
from .metrics.ranking.arp import arp as arp
from .metrics.ranking.auc import area_under_roc as area_under_roc
from .metrics.ranking.bpref import bpref as bpref
from .metrics.ranking.diversity import alpha_dcg as alpha_dcg, precision_ia as precision_ia
from .metrics.ranking.err import expected_reciprocal_rank as expected_reciprocal_rank
from .metrics.ranking.hits import hits as hits
from .metrics.ranking.mean_average_precision import mean_average_precision as mean_average_precision
from .metrics.ranking.mrr import mrr as mrr
from .metrics.ranking.ndcg import dcg as dcg, ndcg as ndcg
from .metrics.ranking.ordered_pair_accuracy import ordered_pair_accuracy as ordered_pair_accuracy
from .metrics.ranking.precision import precision as precision
from .metrics.ranking.pwa import pwa as pwa
from .metrics.ranking.rbp import rank_biased_precision as rank_biased_precision
from .metrics.ranking.recall import recall as recall
