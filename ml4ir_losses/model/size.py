"""The size of a model before any of its weights takes memory."""

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
    """What the weights of a model need: their number and their bytes."""

    parameters: int
    bytes: int


def size_of(build: Callable[[], Any]) -> Size | None:
    """The size of the model that `build` makes; None where that cannot be known without making it.

    The model is built without values: in a `keras.StatelessScope` a weight has a shape and no memory. Keras notes
    such weights by thread and would fill them later on, so all this happens in a thread that ends here.

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
        return _aside(count)
    except UserError:
        raise
    except ValueError as error:
        if "stateless scope" in str(error):  # a custom layer that makes its variables from values
            return None
        raise


def _aside(action: Callable[[], T]) -> T:
    """What the action returns in a thread of its own: Keras keeps names and pending weights by thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(action).result()


def check_trainable(size: Size | None, optimizer: Any) -> None:
    """Raises `ConfigError` for a model whose training cannot fit into the memory that is left.

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
    """Bytes that an optimizer keeps for a byte of weights, found on a small matrix: 2 for Adam, 0 for plain SGD."""
    optimizer = type(optimizer).from_config(optimizer.get_config())  # one that is built serves no other weights

    def share() -> float:
        optimizer.build([keras.Variable(np.zeros((64, 64), "float32"))])
        return float(sum(math.prod(v.shape) for v in optimizer.variables if v.ndim)) / 64**2

    return _aside(share)
