"""What a custom gradient with a loop inside needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.ops.kernels.compiling import State, as_kernel


def detached(x: Tensor) -> Tensor:
    """x as the body of a custom gradient should take it: TensorFlow's tapes record in there too, and keep it all."""
    if keras.backend.backend() != "tensorflow":
        return x
    import tensorflow as tf

    # Not `stop_gradient`, which tapes record; whole numbers they do not follow.
    return tf.bitcast(tf.bitcast(x, tf.int64 if x.dtype == tf.float64 else tf.int32), x.dtype)


def with_gradient(
    function: Callable[..., tuple[Tensor, Callable[[Tensor], Sequence[Tensor]]]],
    inputs: Sequence[Tensor],
    constants: Sequence[Tensor] = (),
) -> Tensor:
    """The value of function(*inputs, *constants), whose gradient the function gives too.

    Args:
        function: gives the value and what turns the slope of the value into one slope per input. It must close over
            no tensor: JAX could not differentiate a compiled function with it inside.
        inputs: what has a gradient.
        constants: float tensors that have none.
    """

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def call(*tensors: Tensor) -> tuple[Tensor, Any]:
        value, pull_back = function(*(detached(x) for x in tensors))

        def gradient(*args: Tensor, upstream: Tensor | None = None) -> Any:
            slopes = pull_back(args[0] if upstream is None else upstream)
            if keras.backend.backend() == "jax":
                slopes = (*slopes, *(ops.zeros_like(x) for x in tensors[len(inputs) :]))
            else:
                slopes = (*slopes, *[None] * len(constants))
            return slopes[0] if len(slopes) == 1 else slopes

        return value, gradient

    value: Tensor = call(*inputs, *constants)
    return value


def fused(function: Callable[..., Tensor], scores: Tensor, *others: Tensor) -> Tensor:
    """function(scores, *others), a scalar, and its slope by the scores from one compiled kernel; TensorFlow only.

    The slopes by the others are worked out apart, in operations that a graph drops where nobody asks for them.
    """
    import tensorflow as tf

    def value_and_slope(*tensors: Tensor) -> tuple[Tensor, Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(tensors[0])
            value = function(*tensors)
        return value, tape.gradient(value, tensors[0])

    def total(*tensors: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
        value, slope = as_kernel(value_and_slope)(*tensors)

        def pull_back(upstream: Tensor) -> tuple[Tensor, ...]:
            with tf.GradientTape() as tape:
                tape.watch(tensors[1:])
                again = function(*tensors)
            return upstream * slope, *tape.gradient(again, tensors[1:], upstream)

        return value, pull_back

    return with_gradient(total, (scores, *others))


def scan_blocks(
    step: Callable[..., tuple[State, Tensor]], blocks: State, like: Tensor, *carry: Tensor
) -> tuple[State, Tensor]:
    """carry, out = step(carry, the b-th block of each tensor), one block after another; the outs stacked.

    For use inside a custom gradient, or where no gradient is asked for. `like` has the dtype and the shape of an out.
    """
    backend = keras.backend.backend()
    if blocks[0].shape[0] == 1:
        carry, out = step(carry, *(x[0] for x in blocks))
        return carry, out[None]
    if backend == "tensorflow":
        import tensorflow as tf

        count = tf.shape(blocks[0])[0]

        def body(index: Tensor, outs: Any, carry: State) -> tuple[Tensor, Any, State]:
            carry, out = step(carry, *(x[index] for x in blocks))
            return index + 1, outs.write(index, out), carry

        outs = tf.TensorArray(like.dtype, count, element_shape=like.shape)
        state = (0, outs, tuple(carry))
        _, outs, carry = tf.while_loop(lambda index, *_: index < count, body, state, parallel_iterations=1)
        return carry, outs.stack()
    if backend == "jax":
        import jax

        last, outs = jax.lax.scan(lambda carry, block: step(carry, *block), carry, blocks)
        return last, outs
    import torch

    collected = []
    for index in range(blocks[0].shape[0]):
        carry, out = step(carry, *(x[index] for x in blocks))
        collected.append(out)
    return carry, torch.stack(collected)
