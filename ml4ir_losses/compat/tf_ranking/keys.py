"""The keys of TF-Ranking's losses."""


class RankingLossKey:
    """The keys of TF-Ranking's losses, those of its Keras API and those of v1 together."""

    PAIRWISE_HINGE_LOSS = "pairwise_hinge_loss"
    PAIRWISE_LOGISTIC_LOSS = "pairwise_logistic_loss"
    PAIRWISE_SOFT_ZERO_ONE_LOSS = "pairwise_soft_zero_one_loss"
    PAIRWISE_MSE_LOSS = "pairwise_mse_loss"
    YETI_LOGISTIC_LOSS = "yeti_logistic_loss"
    SOFTMAX_LOSS = "softmax_loss"
    CALIBRATED_SOFTMAX_LOSS = "calibrated_softmax_loss"
    UNIQUE_SOFTMAX_LOSS = "unique_softmax_loss"
    SIGMOID_CROSS_ENTROPY_LOSS = "sigmoid_cross_entropy_loss"
    MEAN_SQUARED_LOSS = "mean_squared_loss"
    ORDINAL_LOSS = "ordinal_loss"
    LIST_MLE_LOSS = "list_mle_loss"
    APPROX_NDCG_LOSS = "approx_ndcg_loss"
    APPROX_MRR_LOSS = "approx_mrr_loss"
    GUMBEL_APPROX_NDCG_LOSS = "gumbel_approx_ndcg_loss"
    COUPLED_RANKDISTIL_LOSS = "coupled_rankdistil_loss"
    CIRCLE_LOSS = "circle_loss"
    POLY_ONE_SOFTMAX_LOSS = "poly_one_softmax_loss"
    NEURAL_SORT_CROSS_ENTROPY_LOSS = "neural_sort_cross_entropy_loss"
    NEURAL_SORT_NDCG_LOSS = "neural_sort_ndcg_loss"
    GUMBEL_NEURAL_SORT_CROSS_ENTROPY_LOSS = "gumbel_neural_sort_cross_entropy_loss"
    GUMBEL_NEURAL_SORT_NDCG_LOSS = "gumbel_neural_sort_ndcg_loss"

    @classmethod
    def all_keys(cls) -> list[str]:
        """Every key."""
        return [value for name, value in vars(cls).items() if name.isupper()]
