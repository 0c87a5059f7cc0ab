"""The values of a teacher for each row of texts, from a NumPy file."""

from __future__ import annotations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import DataError


def teacher_values(path: str, rows: int) -> Array:
    """Values from a .npy file, [rows, ...].

    Raises:
        DataError: for a file that cannot be read, another number of rows, or numbers that are not finite.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file.") from None
    except (OSError, ValueError, EOFError):
        raise DataError(f"{path}: is not a .npy file of numbers.") from None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or values.ndim < 2:
        kind = f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__
        raise DataError(f"{path}: needs an array of numbers [rows, ...]. Received: {kind}.")
    if len(values) != rows:
        raise DataError(f"{path}: has {len(values)} rows, the texts have {rows}.")
    finite = np.isfinite(values).reshape(rows, -1).all(axis=1)
    if not finite.all():
        raise DataError(f"{path}, row {int(np.argmin(finite))}: holds a number that is not finite.")
    return values
