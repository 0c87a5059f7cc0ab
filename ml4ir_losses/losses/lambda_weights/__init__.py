"""Lambda weights: the weight of a pair, a document or a position from the ranks."""

from ml4ir_losses.losses.lambda_weights.base import LambdaWeight, LambdaWeightSpec, check_family, get_lambda_weight
from ml4ir_losses.losses.lambda_weights.pairs import (
    DCGLambdaWeight,
    LabelDiffLambdaWeight,
    NDCGLambdaWeight,
    NDCGLambdaWeightV2,
    PrecisionLambdaWeight,
    YetiDCGLambdaWeight,
)
from ml4ir_losses.losses.lambda_weights.positions import ListMLELambdaWeight, PListMLELambdaWeight

__all__ = [
    "DCGLambdaWeight",
    "LabelDiffLambdaWeight",
    "LambdaWeight",
    "LambdaWeightSpec",
    "ListMLELambdaWeight",
    "NDCGLambdaWeight",
    "NDCGLambdaWeightV2",
    "PListMLELambdaWeight",
    "PrecisionLambdaWeight",
    "YetiDCGLambdaWeight",
    "check_family",
    "get_lambda_weight",
]
