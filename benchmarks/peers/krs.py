"""keras-rs on TensorFlow, as a graph and with XLA."""

from __future__ import annotations

import keras_rs
import tensorflow as tf
from bench_arrays import Arrays
from bench_cases import Case
from peers import tf_steps

MODES = ("graph", "xla")


def versions() -> str:
    return f"keras-rs {keras_rs.__version__} on TensorFlow {tf.__version__}"


def step(case: Case, mode: str, given: Arrays) -> tf_steps.Step:
    name, params = case.peers["krs"]
    return tf_steps.step(getattr(keras_rs.losses, name)(**params), mode, given)
