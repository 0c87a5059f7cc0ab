"""The losses and metrics as pure functions, for custom training loops.

Every loss is `fn(labels, scores, mask=None, *, item_weight=None, **params) -> [B]`; every metric gives
`(values [B], weights [B])`.
"""

from ml4ir_losses.losses.classification.categorical_cross_entropy import categorical_cross_entropy
from ml4ir_losses.losses.embedding.denoising import denoising_auto_encoder
from ml4ir_losses.losses.embedding.distillation import distill_kl_div, embedding_margin_mse, embedding_mse
from ml4ir_losses.losses.embedding.guided import gist_embed
from ml4ir_losses.losses.embedding.heads import arc_face, cos_face, pair_softmax, proxy_anchor, proxy_nca
from ml4ir_losses.losses.embedding.in_batch import (
    contrastive_tension_in_batch,
    mega_batch_margin,
    multiple_negatives_ranking,
    multiple_negatives_symmetric_ranking,
)
from ml4ir_losses.losses.embedding.memory import cross_batch_memory
from ml4ir_losses.losses.embedding.metric_learning import multi_similarity, nt_xent, sup_con
from ml4ir_losses.losses.embedding.pairs import (
    angle,
    contrastive,
    contrastive_tension,
    cosent,
    cosine_similarity,
    online_contrastive,
)
from ml4ir_losses.losses.embedding.sparse import flops, splade
from ml4ir_losses.losses.embedding.triplets import (
    batch_all_triplet,
    batch_hard_soft_margin_triplet,
    batch_hard_triplet,
    batch_semi_hard_triplet,
    triplet,
)
from ml4ir_losses.losses.embedding.wrappers import adaptive_layer, matryoshka, matryoshka_2d
from ml4ir_losses.losses.listwise.candidates import cross_encoder_multiple_negatives_ranking
from ml4ir_losses.losses.listwise.distillation import adr_mse, coupled_rank_distil
from ml4ir_losses.losses.listwise.list_mle import list_mle, p_list_mle
from ml4ir_losses.losses.listwise.neural_sort import (
    gumbel_neural_sort_cross_entropy,
    gumbel_neural_sort_ndcg,
    neural_ndcg,
    neural_sort_cross_entropy,
    neural_sort_ndcg,
)
from ml4ir_losses.losses.listwise.softmax import (
    aux_one_hot_cross_entropy,
    aux_softmax_cross_entropy,
    rank_one_listnet,
    softmax_cross_entropy,
)
from ml4ir_losses.losses.listwise.softmax_variants import (
    binary_listnet,
    calibrated_softmax,
    listnet,
    poly1_softmax,
    unique_softmax,
)
from ml4ir_losses.losses.listwise.surrogates import (
    approx,
    approx_mrr,
    approx_ndcg,
    gumbel,
    gumbel_approx_ndcg,
    neural_sort,
)
from ml4ir_losses.losses.pairwise.circle import circle
from ml4ir_losses.losses.pairwise.lambda_loss import lambda_loss, ranknet
from ml4ir_losses.losses.pairwise.margin_mse import margin_mse
from ml4ir_losses.losses.pairwise.prob_margin_ranking import cosine_prob_margin_ranking, prob_margin_ranking
from ml4ir_losses.losses.pairwise.score_differences import (
    pairwise_hinge,
    pairwise_logistic,
    pairwise_mse,
    pairwise_quantile,
    pairwise_soft_zero_one,
)
from ml4ir_losses.losses.pairwise.yeti_rank import yeti_logistic
from ml4ir_losses.losses.pointwise.multiple_logits import click_em, mixture_em, ordinal
from ml4ir_losses.losses.pointwise.single_logit import (
    binary_cross_entropy,
    mean_squared_error,
    root_mean_squared_error,
    sigmoid_cross_entropy,
)
from ml4ir_losses.losses.propensity import propensity_weight
from ml4ir_losses.metrics.functional import (
    arp,
    dcg,
    hits,
    mean_average_precision,
    mrr,
    ndcg,
    ordered_pair_accuracy,
    precision,
    recall,
)

__all__ = [
    "adaptive_layer",
    "adr_mse",
    "angle",
    "approx",
    "approx_mrr",
    "approx_ndcg",
    "arc_face",
    "arp",
    "aux_one_hot_cross_entropy",
    "aux_softmax_cross_entropy",
    "batch_all_triplet",
    "batch_hard_soft_margin_triplet",
    "batch_hard_triplet",
    "batch_semi_hard_triplet",
    "binary_cross_entropy",
    "binary_listnet",
    "calibrated_softmax",
    "categorical_cross_entropy",
    "circle",
    "click_em",
    "contrastive",
    "contrastive_tension",
    "contrastive_tension_in_batch",
    "cos_face",
    "cosent",
    "cosine_prob_margin_ranking",
    "cosine_similarity",
    "coupled_rank_distil",
    "cross_batch_memory",
    "cross_encoder_multiple_negatives_ranking",
    "dcg",
    "denoising_auto_encoder",
    "distill_kl_div",
    "embedding_margin_mse",
    "embedding_mse",
    "flops",
    "gist_embed",
    "gumbel",
    "gumbel_approx_ndcg",
    "gumbel_neural_sort_cross_entropy",
    "gumbel_neural_sort_ndcg",
    "hits",
    "lambda_loss",
    "list_mle",
    "listnet",
    "margin_mse",
    "matryoshka",
    "matryoshka_2d",
    "mean_average_precision",
    "mean_squared_error",
    "mega_batch_margin",
    "mixture_em",
    "mrr",
    "multi_similarity",
    "multiple_negatives_ranking",
    "multiple_negatives_symmetric_ranking",
    "ndcg",
    "neural_ndcg",
    "neural_sort",
    "neural_sort_cross_entropy",
    "neural_sort_ndcg",
    "nt_xent",
    "online_contrastive",
    "ordered_pair_accuracy",
    "ordinal",
    "p_list_mle",
    "pair_softmax",
    "pairwise_hinge",
    "pairwise_logistic",
    "pairwise_mse",
    "pairwise_quantile",
    "pairwise_soft_zero_one",
    "poly1_softmax",
    "precision",
    "prob_margin_ranking",
    "propensity_weight",
    "proxy_anchor",
    "proxy_nca",
    "rank_one_listnet",
    "ranknet",
    "recall",
    "root_mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "splade",
    "sup_con",
    "triplet",
    "unique_softmax",
    "yeti_logistic",
]
