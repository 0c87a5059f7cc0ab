"""Writes Rax's golden numbers (`pip install rax`, 0.4): pair weights over the list size, losses with gradients.

python parity/golden_rax.py tests/golden/rax_losses.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import rax

LABELS, SCORES = [3.0, 0.0, 1.0, 2.0, 1.0], [0.3, 1.2, -0.4, 0.9, 0.1]
GAINS: dict[str | None, Any] = {"pow2_minus_1": lambda y: 2.0**y - 1.0, "identity": lambda y: y, None: None}


def main(path: str) -> None:
    labels, scores = jnp.array(LABELS), jnp.array(SCORES)
    weights = []
    for params in ({}, {"light_discount": True}, {"light_discount": True, "topn": 2}, {"topn": 2, "normalize": True}):
        matrix = rax.dcg2_lambdaweight(scores, labels, **params).reshape(5, 5) / len(LABELS)  # Rax multiplies by N
        names = {"normalized": params.get("normalize", False)}
        names |= {name: value for name, value in params.items() if name != "normalize"}
        weights.append({"params": names, "expected": matrix.tolist()})
    losses = []
    for name, gain in GAINS.items():
        value, slopes = jax.value_and_grad(
            lambda s, gain=gain: rax.unique_softmax_loss(s, labels, gain_fn=gain, reduce_fn=jnp.sum)
        )(scores)
        losses.append({"gain": name, "expected_loss": value.item(), "expected_grad": slopes.tolist()})
    numbers = {"labels": LABELS, "scores": SCORES, "dcg2_lambdaweight": weights, "unique_softmax": losses}
    Path(path).write_text(json.dumps(numbers) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
