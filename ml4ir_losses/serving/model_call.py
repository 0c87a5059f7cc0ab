"""One call of a ranking model for the lists of several queries, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import MASK
from ml4ir_losses.model.cross_encoder import CrossEncoderModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.serving.encoding import EncodedQuery

_LEAST = 8  # documents and ids of a padded shape on JAX
_OUTPUTS = ("logit", "score")


@dataclass(frozen=True)
class Scores:
    """What the model gives for the documents of a query, [documents] each."""

    logit: Array
    score: Array


class ModelCall:
    """Scores of queries, padded to one batch.

    On TensorFlow one graph takes all shapes. JAX compiles each shape: there are few, powers of two.

    Args:
        model: the model.
    """

    def __init__(self, model: RelevanceModel) -> None:
        self.model: Any = model
        self.of_query = {fitted.name for fitted in model.fitted if fitted.scope == "query"}
        self.pair = model.pair.name if isinstance(model, CrossEncoderModel) else None
        self.function = self._make()

    def __call__(self, queries: Sequence[EncodedQuery]) -> list[Scores]:
        outputs = self.function(self._batch(queries))
        logit, score = (np.asarray(ops.convert_to_numpy(outputs[name])) for name in _OUTPUTS)
        return [Scores(logit[i, : q.size], score[i, : q.size]) for i, q in enumerate(queries)]

    def _batch(self, queries: Sequence[EncodedQuery]) -> dict[str, Array]:
        """The inputs by name, padded with 0, and the mask."""
        sizes = np.array([query.size for query in queries])
        shape = self._rounded(len(queries), 1), self._rounded(int(sizes.max()))
        mask = np.zeros(shape, bool)
        mask[: len(queries)] = np.arange(shape[1]) < sizes[:, None]
        batch: dict[str, Array] = {MASK: mask.astype("float32")}
        for name in queries[0].arrays:
            parts = [query.arrays[name] for query in queries]
            if name == self.pair:
                parts = self._equally_wide(parts)
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
            is_query = name in self.of_query
            padded = np.zeros((*(shape[:1] if is_query else shape), *rows.shape[1:]), rows.dtype)
            padded[slice(len(queries)) if is_query else mask] = rows
            batch[name] = padded
        return batch

    def _equally_wide(self, parts: Sequence[Array]) -> list[Array]:
        """Token ids [documents, T], padded to one T."""
        width = min(self._rounded(max(part.shape[1] for part in parts)), self.model.tokenizer.max_length)
        return [np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts]

    def _rounded(self, size: int, least: int = _LEAST) -> int:
        """A size of a batch: on JAX the next power of two."""
        return max(least, 1 << (size - 1).bit_length()) if keras.backend.backend() == "jax" else size

    def _make(self) -> Callable[[Mapping[str, Array]], Mapping[str, Any]]:
        model: Any = self.model
        if keras.backend.backend() == "jax":
            return _on_jax(model)
        if keras.backend.backend() == "torch":
            import torch

            def call(batch: Mapping[str, Array]) -> Mapping[str, Any]:
                with torch.no_grad():
                    return model(dict(batch), training=False)  # type: ignore[no-any-return]

            return call
        import tensorflow as tf

        signature = {}
        for name, example in model.example().items():
            free = 1 if name in self.of_query else 2 + (name == self.pair)
            signature[name] = tf.TensorSpec([*[None] * free, *example.shape[free:]], example.dtype, name=name)

        def score(batch: Any) -> Any:
            outputs = model(batch, training=False)
            return {name: outputs[name] for name in _OUTPUTS}

        return tf.function(score, input_signature=[signature])  # type: ignore[no-any-return]


def _on_jax(model: Any) -> Callable[[Mapping[str, Array]], Mapping[str, Any]]:
    """The model as a compiled function; `predict_on_batch` would not compile a model that was trained on TensorFlow."""
    import jax

    sets = model.trainable_variables, model.non_trainable_variables
    values = [[variable.value for variable in some] for some in sets]

    def score(trained: Any, others: Any, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        outputs, _ = model.stateless_call(trained, others, dict(batch), training=False)
        return {name: outputs[name] for name in _OUTPUTS}

    compiled: Callable[..., Mapping[str, Any]] = jax.jit(score)
    return lambda batch: compiled(*values, batch)
