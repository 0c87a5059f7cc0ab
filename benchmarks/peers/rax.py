"""Rax under `jax.jit`."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import rax

from cases import Case, arrays

MODES = ("jit",)

if not hasattr(jax, "util"):  # Rax 0.4.0 names its transformed metrics with what JAX has since made private
    jax.util = types.SimpleNamespace(wraps=lambda wrapped, **_: functools.wraps(wrapped))


def versions() -> str:
    return f"rax {rax.__version__} on JAX {jax.__version__}"


def make(case: Case) -> Callable[..., jax.Array]:
    name, params = case.specs["rax"]
    params, function = dict(params), getattr(rax, name)
    if "temperature" in params:
        function = rax.approx_t12n(function, params.pop("temperature"))
    if "samples" in params:
        function = rax.gumbel_t12n(function, samples=params.pop("samples"))
        params["key"] = jax.random.PRNGKey(1)
    if "lambda_weight" in params:
        weight, arguments = params.pop("lambda_weight")
        params["lambdaweight_fn"] = functools.partial(getattr(rax, weight), **arguments)
    return functools.partial(function, **params)


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    loss, given = make(case), arrays(case, shape, warm_up)
    run = jax.jit(jax.value_and_grad(lambda scores, labels, mask: loss(scores, labels, where=mask)))
    inputs = jnp.asarray(given.scores), jnp.asarray(given.labels), jnp.asarray(given.mask)
    return lambda: jax.tree.map(np.asarray, jax.block_until_ready(run(*inputs)))
