"""GradCache: the gradients of a batch that does not fit into memory, from mini-batches. TensorFlow only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ml4ir_losses.core.lazy import Tensor

Encode = Callable[[Any], Tensor]


def cached_gradients(
    encode: Encode,
    loss: Callable[[Tensor], Tensor],
    inputs: Any,
    mini_batch_size: int,
    variables: Sequence[Any],
    draws: Sequence[Any] = (),
) -> tuple[Tensor, list[Tensor], Tensor]:
    """A loss over a whole batch, its gradients and the embeddings, with the memory of one mini-batch.

    The rows are embedded mini-batch by mini-batch without a gradient; the loss of all embeddings gives the gradient of
    each; then every mini-batch is embedded again, with the same random draws, and takes its part of that gradient
    back. Beside one mini-batch only the embeddings and their gradient are held.

    Args:
        encode: from a mini-batch of the inputs to embeddings [rows, ...], every row by itself.
        loss: from the embeddings of all rows, [B, ...], to a scalar; it may read `variables` too.
        inputs: a tensor [B, ...] or a nest of them.
        mini_batch_size: rows that are embedded at a time; the last mini-batch may have fewer.
        variables: what the gradients are of.
        draws: the states of the `keras.random.SeedGenerator`s that `encode` draws from, such as its dropout layers'.

    Returns:
        The loss, a gradient for each of the variables (zeros where there is none), and the embeddings.

    Source: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup" (2021).
    """
    import tensorflow as tf

    rows = tf.shape(tf.nest.flatten(inputs)[0])[0]
    batches = -(-rows // mini_batch_size)
    values = [getattr(variable, "value", variable) for variable in variables]

    def mini_batch(index: Tensor, nest: Any) -> Any:
        start = index * mini_batch_size
        return tf.nest.map_structure(lambda x: x[start : start + mini_batch_size], nest)

    def repeat(body: Callable[..., Any], *state: Any) -> Any:
        """body over the mini-batches, strictly one after another: side by side they would all be in memory."""

        def step(index: Tensor, *carry: Any) -> Any:
            return (index + 1, *body(index, *carry))

        start = (tf.constant(0), *state)
        return tf.while_loop(lambda index, *_: index < batches, step, start, parallel_iterations=1)[1:]

    start_of_draws = [tf.identity(state) for state in draws]
    found = tf.TensorArray(tf.float32, size=batches, infer_shape=False, element_shape=None)
    sizes: list[Any] = []

    def embed(index: Tensor, found: Any) -> tuple[Any]:
        output = tf.cast(encode(mini_batch(index, inputs)), tf.float32)
        sizes[:] = output.shape[1:]  # an array in a loop forgets them
        return (found.write(index, output),)

    (found,) = repeat(embed, found)
    embeddings = tf.ensure_shape(tf.stop_gradient(found.concat()), [None, *sizes])

    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(embeddings)
    slopes, *totals = tape.gradient(value, [embeddings, *values], unconnected_gradients="zero")
    for state, start in zip(draws, start_of_draws, strict=True):
        state.assign(start)

    def add(index: Tensor, *sums: Tensor) -> tuple[Tensor, ...]:
        with tf.GradientTape() as tape:
            output = tf.cast(encode(mini_batch(index, inputs)), tf.float32)
        parts = tape.gradient(output, values, output_gradients=mini_batch(index, slopes), unconnected_gradients="zero")
        return tuple(total + tf.convert_to_tensor(part) for total, part in zip(sums, parts, strict=True))

    gradients = repeat(add, *(tf.convert_to_tensor(total) for total in totals))
    return value, list(gradients), embeddings
