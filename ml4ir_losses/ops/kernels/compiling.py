"""Compiled kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ml4ir_losses.ops.backend import compiled_by_xla


@lru_cache(maxsize=512)
def compiled(function: Callable[..., Any], *fixed: Any) -> Callable[..., Any]:
    """function(*fixed, *tensors) as a kernel: compiled by XLA even if the caller is not; on torch not compiled.

    Cached by the function and its fixed arguments, which must be hashable and compare by value. XLA compiles a kernel
    once per shape of its tensors.
    """
    return compiled_by_xla(partial(function, *fixed))
