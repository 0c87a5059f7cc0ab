"""Keys as constants."""

from enum import StrEnum


class LossKey(StrEnum):
    """The keys of the losses."""

    SIGMOID_CROSS_ENTROPY = "sigmoid_cross_entropy"
    PAIRWISE_LOGISTIC = "pairwise_logistic"
    SOFTMAX_CROSS_ENTROPY = "softmax_cross_entropy"
    RANK_ONE_LISTNET = "rank_one_listnet"
    AUX_ONE_HOT_CROSS_ENTROPY = "aux_one_hot_cross_entropy"
    AUX_SOFTMAX_CROSS_ENTROPY = "aux_softmax_cross_entropy"
    LIST_MLE = "list_mle"
    CATEGORICAL_CROSS_ENTROPY = "categorical_cross_entropy"


class MetricKey(StrEnum):
    """The keys of the metrics."""

    NDCG = "ndcg"
    DCG = "dcg"
    MRR = "mrr"
    MAP = "map"
    PRECISION = "precision"
    RECALL = "recall"
    HITS = "hits"
    ARP = "arp"
    ORDERED_PAIR_ACCURACY = "ordered_pair_accuracy"
