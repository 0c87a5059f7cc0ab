"""embedding_studio's losses by its class names: they take `FineTuningFeatures`."""

from __future__ import annotations

from ml4ir_losses.losses.pairwise.prob_margin_ranking import (
    CosineProbMarginRankingLoss,
    FineTuningFeatures,
    ProbMarginRankingLoss,
    RankingLossInterface,
)

__all__ = ["CosineProbMarginRankingLoss", "FineTuningFeatures", "ProbMarginRankingLoss", "RankingLossInterface"]
