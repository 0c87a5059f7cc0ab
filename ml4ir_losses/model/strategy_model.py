"""A Keras model that fits under `tf.distribute.MultiWorkerMirroredStrategy`, which Keras alone does not.

This is the one place that works around two defects of Keras; it was checked with the versions `CHECKED_KERAS`:

* `fit` builds metrics from the mean of a batch over the replicas. The mean of values of several processes fails, and
  so does that of strings on any strategy; drawing the batch moves the data on. The shapes, which alone are needed,
  are known without a batch.
* `fit` takes the mean of the values that a step logs along an axis that scalars do not have.

A test compares the replaced methods with those that were checked.
"""

from __future__ import annotations

from typing import Any

import keras

from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.ops.backend import is_backend

CHECKED_KERAS = "3.15"


class StrategyModel(keras.Model):  # type: ignore[misc]
    """A Keras model that fits under every strategy of `tf.distribute`, and as before without one."""

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Builds metrics and optimizer from the shapes of the batches."""
        if iterator is not None and self._distribute_strategy is not None:
            data_batch = _one_replica(iterator._get_iterator().element_spec)
        super()._maybe_symbolic_build(data_batch=data_batch)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Tensor]:
        """The values of the metrics; under a strategy of several processes [1], of which Keras takes the mean."""
        values: dict[str, Tensor] = super().compute_metrics(x, y, y_pred, sample_weight)
        if not is_backend("tensorflow"):
            return values
        import tensorflow as tf

        if not isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            return values
        return {name: tf.reshape(value, [1]) for name, value in values.items()}


def _one_replica(spec: Any) -> Any:
    """The shapes and dtypes of the part of one replica, given those of a batch of all replicas."""
    import tensorflow as tf

    return tf.nest.map_structure(lambda part: tf.nest.flatten(part, expand_composites=True)[0], spec)
