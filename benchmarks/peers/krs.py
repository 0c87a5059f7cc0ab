"""keras-rs on TensorFlow, as a graph and with XLA."""

from __future__ import annotations

import keras_rs
import tensorflow as tf

from cases import Case, arrays
from peers import tf_steps

MODES = ("graph", "xla")


def versions() -> str:
    return f"keras-rs {keras_rs.__version__} on TensorFlow {tf.__version__}"


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> tf_steps.Step:
    name, params = case.specs["krs"]
    return tf_steps.step(getattr(keras_rs.losses, name)(**params), mode, arrays(case, shape, warm_up))
