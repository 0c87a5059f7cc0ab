"""What TF-Ranking's losses share."""

from __future__ import annotations

from ml4ir_losses.compat.peer import PeerLoss
from ml4ir_losses.compat.tf_ranking.keras.utils import TRANSLATE


class TFRankingLoss(PeerLoss):
    """A Keras loss under TF-Ranking's name."""

    package = "ml4ir_losses.tf_ranking"
    only = {"ragged": False}
    translate = TRANSLATE


class IgnoredLambdaWeight(TFRankingLoss):
    """A loss that ignores its lambda weight in TF-Ranking; here one is refused."""

    only = {"ragged": False, "lambda_weight": None}
    notes = {"lambda_weight": "TF-Ranking takes a lambda weight and ignores it"}


class NoDocumentWeights(TFRankingLoss):
    """A loss whose documents TF-Ranking weights by a `DCGLambdaWeight`; here one is refused."""

    only = {"ragged": False, "lambda_weight": None}
    notes = {"lambda_weight": "TF-Ranking weighs documents by a `DCGLambdaWeight` here, which this loss cannot"}
