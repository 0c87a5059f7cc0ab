"""GradCache: loss and gradients of a batch whose rows do not fit into memory at once, from mini-batches.

The rows are encoded mini-batch by mini-batch without a gradient; the loss of all outputs gives the gradient in each of
them; then every mini-batch is encoded again, with the same random draws, and passes its part of that gradient on to the
variables. Besides one mini-batch only the outputs and their gradients are in memory.

Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.core.lazy import Tensor, keras, ops
from ml4ir_losses.model.device_steps import divided
from ml4ir_losses.ops.backend import is_backend

Encode = Callable[[Any], Tensor]
Variables = list[Any]


def gradients_at_once(
    function: Callable[[], tuple[Tensor, Any]], scale: Callable[[Tensor], Tensor], variables: Sequence[Any]
) -> tuple[Tensor, Any, list[Tensor | None]]:
    """The scalar and what else a function returns, and the gradients of the scaled scalar; on TensorFlow."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        value, others = function()
        scaled = scale(value)
    return value, others, tape.gradient(scaled, [variable.value for variable in variables])


def cached_gradients(
    encode: Encode,
    loss: Callable[[Tensor], Tensor],
    inputs: Any,
    mini_batch_size: int,
    variables: Sequence[Any],
    draws: Sequence[Any] = (),
) -> tuple[Tensor, list[Tensor], Tensor]:
    """The loss of a whole batch, its gradients and the outputs, with the memory of one mini-batch; not on JAX.

    Args:
        encode: maps a mini-batch of the inputs to outputs [rows, ...]; rows do not depend on each other.
        loss: maps the outputs of all rows, [B, ...], to a scalar; it may read `variables` too.
        inputs: a tensor [B, ...] or a nest of them.
        mini_batch_size: rows that are encoded at a time; the last mini-batch may have fewer.
        variables: the variables to differentiate by.
        draws: the states of the `keras.random.SeedGenerator`s that `encode` draws from, such as those of dropout.

    Returns:
        The loss, a gradient for each variable (zeros if the loss does not depend on it), and the outputs.
    """
    values = [getattr(variable, "value", variable) for variable in variables]
    first_draws = [ops.copy(state) for state in draws]

    def repeat_draws() -> None:
        for state, start in zip(draws, first_draws, strict=True):
            state.assign(start)

    gradients = _tensorflow_gradients if is_backend("tensorflow") else _torch_gradients
    return gradients(
        lambda part: ops.cast(encode(part), "float32"), loss, inputs, mini_batch_size, values, repeat_draws
    )


def _tensorflow_gradients(
    encode: Encode, loss: Any, inputs: Any, size: int, values: list[Any], repeat_draws: Callable[[], None]
) -> tuple[Tensor, list[Tensor], Tensor]:
    import tensorflow as tf

    batches = -(-tf.shape(tf.nest.flatten(inputs)[0])[0] // size)

    def mini_batch(index: Tensor, nest: Any) -> Any:
        start = index * size
        return tf.nest.map_structure(lambda x: x[start : start + size], nest)

    def repeat(body: Callable[..., Any], *state: Any) -> Any:
        """Runs the body for each mini-batch, one after another: in parallel they would all be in memory."""

        def step(index: Tensor, *carry: Any) -> Any:
            return (index + 1, *body(index, *carry))

        start = (tf.constant(0), *state)
        return tf.while_loop(lambda index, *_: index < batches, step, start, parallel_iterations=1)[1:]

    found = tf.TensorArray(tf.float32, size=batches, infer_shape=False, element_shape=None)
    sizes: list[Any] = []

    def embed(index: Tensor, found: Any) -> tuple[Any]:
        output = encode(mini_batch(index, inputs))
        sizes[:] = output.shape[1:]  # a TensorArray in a loop loses them
        return (found.write(index, output),)

    (found,) = repeat(embed, found)
    outputs = tf.ensure_shape(tf.stop_gradient(found.concat()), [None, *sizes])
    with tf.GradientTape() as tape:
        tape.watch(outputs)
        value = loss(outputs)
    slopes, *totals = tape.gradient(value, [outputs, *values], unconnected_gradients="zero")
    repeat_draws()

    def add(index: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
        with tf.GradientTape() as tape:
            output = encode(mini_batch(index, inputs))
        parts = tape.gradient(output, values, output_gradients=mini_batch(index, slopes), unconnected_gradients="zero")
        return tuple(total + tf.convert_to_tensor(part) for total, part in zip(sums, parts, strict=True))

    gradients = repeat(add, *(tf.convert_to_tensor(total) for total in totals))
    return value, list(gradients), outputs


def _torch_gradients(
    encode: Encode, loss: Any, inputs: Any, size: int, values: list[Any], repeat_draws: Callable[[], None]
) -> tuple[Tensor, list[Tensor], Tensor]:
    import torch

    rows = keras.tree.flatten(inputs)[0].shape[0]
    parts = [
        keras.tree.map_structure(lambda x, start=start: x[start : start + size], inputs)
        for start in range(0, rows, size)
    ]
    random_state = torch.get_rng_state(), torch.cuda.get_rng_state_all()  # Keras' dropout draws from torch's generator
    with torch.no_grad():
        outputs = torch.cat([encode(part) for part in parts])
    outputs.requires_grad_()
    value = loss(outputs)
    slopes, *totals = torch.autograd.grad(value, [outputs, *values], allow_unused=True, materialize_grads=True)
    repeat_draws()
    with torch.random.fork_rng():
        torch.set_rng_state(random_state[0])
        torch.cuda.set_rng_state_all(random_state[1])
        for part, slope in zip(parts, slopes.split(size), strict=True):
            found = torch.autograd.grad(encode(part), values, slope, allow_unused=True, materialize_grads=True)
            totals = [total + gradient for total, gradient in zip(totals, found, strict=True)]
    return value.detach(), totals, outputs.detach()


def jax_cached_gradients(
    encode: Callable[[Variables, Variables, Any], tuple[Tensor, Variables]],
    loss: Callable[[Variables, Variables, Tensor], tuple[Tensor, Any]],
    inputs: Any,
    mini_batch_size: int,
    variables: Variables,
    state: Variables,
) -> tuple[Tensor, Any, Variables]:
    """`cached_gradients` on JAX, whose functions are pure.

    Args:
        encode: maps variables, state (such as that of the random draws) and a mini-batch to outputs and the new state.
        loss: maps variables, state and the outputs of all rows to a scalar and something else, which is returned.
        inputs: a tensor [B, ...] or a nest of them.
        mini_batch_size: rows that are encoded at a time; the last mini-batch is filled up with other rows.
        variables: the variables to differentiate by.
        state: the state at the start of both passes.

    Returns:
        The loss, what else `loss` returned, and a gradient for each variable.
    """
    import jax

    rows = jax.tree.leaves(inputs)[0].shape[0]
    count = -(-rows // mini_batch_size)
    places = jax.numpy.arange(count * mini_batch_size) % rows

    def blocks(x: Tensor) -> Tensor:
        return x.reshape(count, mini_batch_size, *x.shape[1:])

    def embed(state: Variables, part: Any) -> tuple[Variables, Tensor]:
        output, state = encode(variables, state, part)
        return state, output.astype("float32")

    parts = divided(jax.tree.map(lambda x: blocks(x[places]), inputs), axis=1)
    after, outputs = jax.lax.scan(embed, state, parts)
    outputs = outputs.reshape(count * mini_batch_size, *outputs.shape[2:])[:rows]
    (value, others), (totals, slopes) = jax.value_and_grad(
        lambda variables, outputs: loss(variables, after, outputs), argnums=(0, 1), has_aux=True
    )(variables, outputs)

    def add(carry: tuple[Variables, Variables], block: tuple[Any, Tensor]) -> tuple[tuple[Variables, Variables], None]:
        state, totals = carry
        part, slope = block
        output, pull_back, state = jax.vjp(lambda variables: encode(variables, state, part), variables, has_aux=True)
        (found,) = pull_back(slope.astype(output.dtype))
        return (state, jax.tree.map(jax.numpy.add, totals, found)), None

    filler = jax.numpy.zeros((count * mini_batch_size - rows, *slopes.shape[1:]), slopes.dtype)
    slopes = blocks(jax.numpy.concatenate([slopes, filler]))
    (_, totals), _ = jax.lax.scan(add, (state, totals), (parts, slopes))
    return value, others, totals
