"""Batches of JAX on several devices, which compute one step together; the loss sees the whole batch."""

from __future__ import annotations

from typing import Any

import keras


def divided(batch: Any, axis: int = 0) -> Any:
    """Each tensor of a batch divided among the devices of `keras.distribution.DataParallel` along an axis.

    An axis that the devices do not divide is left whole: every device then computes with all of it, with the same
    result.
    """
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, keras.distribution.DataParallel):
        return batch
    import jax

    mesh = distribution.device_mesh.backend_mesh

    def part(x: Any) -> Any:
        if x.ndim <= axis or x.shape[axis] % mesh.size:
            return x
        spec = jax.sharding.PartitionSpec(*[None] * axis, distribution.batch_dim_name)
        return jax.lax.with_sharding_constraint(x, jax.sharding.NamedSharding(mesh, spec))

    return jax.tree.map(part, batch)
