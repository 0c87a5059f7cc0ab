"""Functions that define their own gradient, so that value and gradient can be computed in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.core.lazy import Tensor, ops
from ml4ir_losses.ops.backend import detached, no_slope

PullBack = Callable[[Tensor], Sequence[Tensor]]


def with_gradient(
    function: Callable[..., tuple[Tensor, PullBack]], inputs: Sequence[Tensor], constants: Sequence[Tensor] = ()
) -> Tensor:
    """The value of function(*inputs, *constants), which also defines its gradient.

    Args:
        function: returns the value and a function that maps its gradient to one gradient per input. It must not
            close over tensors: JAX cannot differentiate a compiled function that does.
        inputs: tensors that have a gradient.
        constants: float tensors that have none.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def call(*tensors: Tensor) -> tuple[Tensor, Any]:
        value, pull_back = function(*(detached(x) for x in tensors))

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Any:
            slopes = pull_back(args[0] if upstream is None else upstream)
            slopes = (*slopes, *(no_slope(x) for x in tensors[len(inputs) :]))
            return slopes[0] if len(slopes) == 1 else slopes

        return value, gradient

    value: Tensor = call(*inputs, *constants)
    return value
