"""The losses of the peers' names are those of `tests/losses`."""

from losses.on_jax import compiled  # noqa: F401
