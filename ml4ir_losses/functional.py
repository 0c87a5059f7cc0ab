"""The losses and metrics as pure functions, for custom training loops.

Every loss is `fn(labels, scores, mask=None, *, item_weight=None, **params) -> [B]`; every metric gives
`(values [B], weights [B])`.
"""

from ml4ir_losses.losses.classification import categorical_cross_entropy
from ml4ir_losses.losses.listwise import (
    aux_one_hot_cross_entropy,
    aux_softmax_cross_entropy,
    list_mle,
    rank_one_listnet,
    softmax_cross_entropy,
)
from ml4ir_losses.losses.pairwise import pairwise_logistic
from ml4ir_losses.losses.pointwise import sigmoid_cross_entropy
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
    "arp",
    "aux_one_hot_cross_entropy",
    "aux_softmax_cross_entropy",
    "categorical_cross_entropy",
    "dcg",
    "hits",
    "list_mle",
    "mean_average_precision",
    "mrr",
    "ndcg",
    "ordered_pair_accuracy",
    "pairwise_logistic",
    "precision",
    "propensity_weight",
    "rank_one_listnet",
    "recall",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]
