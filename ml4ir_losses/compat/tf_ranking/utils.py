"""The functions of `keras.utils`."""

from ml4ir_losses.compat.tf_ranking.keras.utils import (
    identity,
    inverse,
    is_greater_equal_1,
    log2_inverse,
    pow_minus_1,
    symmetric_log1p,
)

__all__ = ["identity", "inverse", "is_greater_equal_1", "log2_inverse", "pow_minus_1", "symmetric_log1p"]
