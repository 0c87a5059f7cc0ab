"""The type of NumPy arrays in signatures."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
