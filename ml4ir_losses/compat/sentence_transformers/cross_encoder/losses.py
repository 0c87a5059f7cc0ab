"""sentence-transformers' cross-encoder losses by their class names, as Keras losses on scores.

The models' scores come as y_pred [B, N], labels as y_true [B, N], where a label below `min_label` is padding (the
peer has lists of their own length instead): for negative labels set `min_label`. `model` is ignored. Pairwise losses
average over all pairs of the batch and are in bits; ListMLE and PListMLE take the input order as the ideal one.
Pointwise losses also take the peer's form: y_true [B] with y_pred [B] or [B, 1].

Where the peer hands `reduction` on to torch it means what it means there: `sum` and `none` have no divisor. Where
ours cannot give torch's number, it is an error.
"""

from __future__ import annotations

from ml4ir_losses.compat.sentence_transformers.cross_encoder.candidates import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from ml4ir_losses.compat.sentence_transformers.cross_encoder.listwise import (
    ADRMSELoss,
    LambdaLoss,
    ListMLELoss,
    ListNetLoss,
    PListMLELoss,
    RankNetLoss,
)
from ml4ir_losses.compat.sentence_transformers.cross_encoder.pointwise import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MarginMSELoss,
    MSELoss,
)
from ml4ir_losses.losses.lambda_weights import PListMLELambdaWeight
from ml4ir_losses.losses.weighting_schemes import (
    BaseWeightingScheme,
    LambdaRankScheme,
    NDCGLoss1Scheme,
    NDCGLoss2PPScheme,
    NDCGLoss2Scheme,
    NoWeightingScheme,
)

__all__ = [
    "ADRMSELoss",
    "BaseWeightingScheme",
    "BinaryCrossEntropyLoss",
    "CachedMultipleNegativesRankingLoss",
    "CrossEntropyLoss",
    "LambdaLoss",
    "LambdaRankScheme",
    "ListMLELoss",
    "ListNetLoss",
    "MSELoss",
    "MarginMSELoss",
    "MultipleNegativesRankingLoss",
    "NDCGLoss1Scheme",
    "NDCGLoss2PPScheme",
    "NDCGLoss2Scheme",
    "NoWeightingScheme",
    "PListMLELambdaWeight",
    "PListMLELoss",
    "RankNetLoss",
]
