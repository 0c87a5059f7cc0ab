"""NumPy arrays: their type in signatures, and rows of unit length."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def normalize_rows(x: Array) -> Array:
    """Rows scaled to unit length; zero rows stay zero."""
    length = np.linalg.norm(x.astype("float64"), axis=-1, keepdims=True)
    normalized: Array = np.divide(x, length, out=np.zeros_like(x), where=length > 0)
    return normalized
