"""The size of a model, computed without allocating its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import keras
import numpy as np

from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.memory import available_memory, readable_size

T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """Number and bytes of the weights of a model."""

    parameters: int
    bytes: int


def size_of(build: Callable[[], Any]) -> Size | None:
    """The size of the model that `build` creates; None if it cannot be determined without allocating it.

    In a `keras.StatelessScope` a weight has a shape and takes no memory. Keras records such weights per thread and
    would initialize them later, so the model is built in a separate thread.

    Raises:
        Exception: whatever `build` raises.
    """

    def count() -> Size:
        with keras.StatelessScope(initialize_variables=False):
            shapes = [(v.shape, keras.backend.standardize_dtype(v.dtype)) for v in build().variables]
        numbers = [math.prod(shape) for shape, _ in shapes]
        widths = [2 if dtype == "bfloat16" else np.dtype(dtype).itemsize for _, dtype in shapes]
        return Size(sum(numbers), sum(n * width for n, width in zip(numbers, widths, strict=True)))

    try:
        return _in_thread(count)
    except UserError:
        raise
    except ValueError as error:
        if "stateless scope" in str(error):  # a custom layer that makes its variables from values
            return None
        raise


def _in_thread(action: Callable[[], T]) -> T:
    """The result of the action, run in a new thread: Keras keeps names and pending weights per thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(action).result()


def check_trainable(size: Size | None, optimizer: Any) -> None:
    """Raises `ConfigError` for a model whose training cannot fit into the free memory.

    Training holds the weights, a copy of those of the best epoch, and the optimizer's state.
    """
    available = available_memory()
    if size is None or available is None:
        return
    needed = size.bytes * (2 + state_share(optimizer))
    if needed > available:
        raise ConfigError(
            f"model: it would have {size.parameters:,} parameters, and training needs {readable_size(needed)} for them "
            f"(weights, their best state, optimizer); {readable_size(available)} of memory are free. Choose smaller "
            "widths in model.architecture or features.inputs, or a smaller vocabulary."
        )


def state_share(optimizer: Any) -> float:
    """Optimizer state in bytes per byte of weights, measured on a small matrix: 2 for Adam, 0 for plain SGD."""

    def share() -> float:
        # A built optimizer accepts no other weights, and one that belongs to several devices none of this thread.
        fresh = type(optimizer).from_config(optimizer.get_config())
        fresh.build([keras.Variable(np.zeros((64, 64), "float32"))])
        return float(sum(math.prod(v.shape) for v in fresh.variables if v.ndim)) / 64**2

    return _in_thread(share)
