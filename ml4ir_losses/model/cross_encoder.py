"""Cross-encoders: models that read the query and a document together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from ml4ir_losses.config.base import Spec
from ml4ir_losses.config.schema import ModelConfig
from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import ConfigError, DataError, UserError, check_whole, did_you_mean
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.names import MASK
from ml4ir_losses.core.registry import ARCHITECTURES, split_spec
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.kinds.text_pair import FittedTextPair
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.model.text_layers import check_positions
from ml4ir_losses.ops.backend import is_backend, is_portable, scattered


@keras.saving.register_keras_serializable("ml4ir_losses")
class CrossScorer(layers.Layer):  # type: ignore[misc]
    """Maps token ids [R, T] and features [R, F] of R documents to logits [R] or [R, K].

    Args:
        encoder: maps token ids to embeddings [R, D].
        head: a scorer of the concatenated embeddings and features.
    """

    def __init__(self, encoder: Any, head: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder, self.head = (
            keras.saving.deserialize_keras_object(part) if isinstance(part, Mapping) else part
            for part in (encoder, head)
        )

    def build(self, input_shape: Any) -> None:
        if not self.encoder.built:  # a loaded encoder is built already
            self.encoder.build((None, None))
        if not self.head.built:
            self.head.build((None, self.encoder.output_width + input_shape[-1]))
        self.built = True

    def call(self, tokens: Tensor, features: Tensor | None = None, training: bool | None = None) -> Tensor:
        x = self.encoder(tokens, training=training)
        if features is not None:
            x = ops.concatenate([x, ops.cast(features, x.dtype)], axis=-1)
        return self.head(x, training=training)

    def get_config(self) -> dict[str, Any]:
        parts = {"encoder": self.encoder, "head": self.head}
        saved = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), **saved}


@keras.saving.register_keras_serializable("ml4ir_losses")
class CrossEncoderModel(RelevanceModel):
    """A `RelevanceModel` with an input of type text_pair: each document is read together with its query.

    In place of the pair's token ids [B, N, T] it takes, on TensorFlow, strings under the names of their columns: the
    query's [B] and the documents' [B, N]. Only real documents are encoded (on JAX, which fixes shapes, all). With
    `mini_batch_size` in a loss, a training step encodes that many documents at a time, with the same loss
    and gradients. A loss whose `min_label` is None takes every label, negative ones included: only the mask marks
    padding. `margin_mse` reads the first document of a query as its positive, and the labels as a teacher's scores.
    """

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None, *, data: Any = None) -> Any:
        """As `RelevanceModel.from_config`; a saved config must include tokenizer and scorer, and loads no preset."""
        saved = data is None and isinstance(config, Mapping)
        if saved and not {"tokenizer", "scorer"} <= set(config.get("parts") or ()):
            raise UserError(f"{cls.__name__}: a saved config holds the parts tokenizer and scorer; they are missing.")
        return super().from_config(config, custom_objects, data=data)

    @classmethod
    def for_inputs(cls, inputs: Sequence[FittedInput], architecture: Spec) -> type[RelevanceModel]:
        pairs = sum(fitted.type == "text_pair" for fitted in inputs)
        if pairs != 1:
            key, _ = split_spec(ARCHITECTURES.kind, architecture)
            raise ConfigError(
                f"model.architecture: {key!r} reads pairs of texts: it needs an input of type text_pair."
                + (f" Received: {pairs} of them." if pairs else "")
            )
        return TextCrossEncoder if len(inputs) == 1 else CrossEncoderModel

    def make_layers(self, parts: Mapping[str, Any]) -> None:
        self.pair = next(fitted for fitted in self.fitted if isinstance(fitted, FittedTextPair))
        self.encoder = self.make_encoder([fitted for fitted in self.fitted if fitted is not self.pair])
        if parts:
            self.tokenizer, self.scorer = (
                keras.saving.deserialize_keras_object(parts[name]) for name in ("tokenizer", "scorer")
            )
        else:
            if not self.pair.has_tokenizer:
                check_preset(self.model_config, self.pair.preset)
            self.tokenizer = self.pair.tokenizer
            self.scorer = self.make_scorer(vocabulary_size=self.tokenizer.vocabulary_size)
            check_positions(self.scorer.encoder, self.tokenizer.max_length, "the input of type text_pair")
        self.pair.tokenizer = self.tokenizer
        self.supports_jit = keras.backend.backend() != "tensorflow"  # the number of documents varies
        losses = [task[0] for task in self.tasks.values()]
        losses += [part for loss in losses for part, _ in getattr(loss, "losses", ())]
        sizes = [size for loss in losses if (size := loss.params.get("mini_batch_size"))]
        self.mini_batch_size = min(sizes, default=None)

    def build(self, input_shape: Any = None) -> None:
        self.encoder.build()
        if not self.scorer.built:
            self.scorer.build((None, self.encoder.width))
        self.build_position_bias()

    def compile_from_spec(self, total_steps: int = 1, jit_compile: bool | str = "auto") -> None:
        if jit_compile is True and keras.backend.backend() == "tensorflow":
            raise ConfigError(
                "training.jit_compile: a cross-encoder on TensorFlow encodes the real documents alone, whose number "
                "XLA would have to know; leave it out."
            )
        super().compile_from_spec(total_steps, jit_compile)

    @property
    def row_layers(self) -> Sequence[Any]:
        return [self.encoder, self.scorer]

    def call(self, x: Mapping[str, Tensor], training: bool | None = None) -> dict[str, Tensor]:
        rows, score, assemble = self.split_rows(x, training)
        output: dict[str, Tensor] = assemble(score(rows))
        return output

    def split_rows(
        self, x: Any, training: bool | None = True
    ) -> tuple[Any, Callable[[Any], Tensor], Callable[[Tensor], Any]]:
        x = dict(x)
        name, texts = self.pair.name, self._texts(x)
        shape = ops.shape(texts[1] if texts else x[name])[:2]
        valid = x.get(MASK)
        row = real_rows(ops.ones(shape) if valid is None else valid)

        def of_documents(value: Tensor) -> Tensor:
            return take(ops.reshape(value, (-1, *ops.shape(value)[2:])), row)

        def of_queries(value: Tensor) -> Tensor:
            return take(value, row // shape[1])

        scope = {fitted.name: of_queries if fitted.scope == "query" else of_documents for fitted in self.fitted}
        rows = {name: scope[name](value) for name, value in self.encoder.raw(x).items()}
        if texts:
            rows[name] = self.tokenizer(of_queries(texts[0]), of_documents(texts[1]))
        else:
            rows[name] = of_documents(ops.convert_to_tensor(x[name]))

        def score(part: Mapping[str, Tensor]) -> Tensor:
            features = self.encoder.embed(part, training) if self.encoder.inputs else None
            return self.scorer(trim_padding(part[name]), features, training=training)

        def assemble(scores: Tensor) -> dict[str, Tensor]:
            logits = ops.cast(scores, "float32")
            if not takes_all_rows():
                logits = scattered(row, logits, (shape[0] * shape[1], *scores.shape[1:]))
            return self.outputs_of(ops.reshape(logits, (*shape, *scores.shape[1:])), valid)

        return rows, score, assemble

    def _texts(self, x: Mapping[str, Any]) -> tuple[Tensor, Tensor] | None:
        """Query strings [B] and document strings [B, N]; None if token ids are given."""
        if self.pair.name in x:
            return None
        missing = next((column for column in self.pair.columns if column not in x), None)
        if missing is not None:
            raise DataError(
                f"The model's input {self.pair.name!r} is missing, and so is the text {missing!r} in its place."
                f"{did_you_mean(missing, x)}"
            )
        import tensorflow as tf

        query, *document = (tf.convert_to_tensor(x[column]) for column in self.pair.columns)
        return query, tf.strings.join(document, " ")

    def get_config(self) -> dict[str, Any]:
        parts = {"tokenizer": self.tokenizer, "scorer": self.scorer}
        saved = {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}
        return {**super().get_config(), "parts": saved}


@keras.saving.register_keras_serializable("ml4ir_losses")
class TextCrossEncoder(CrossEncoderModel):
    """A cross-encoder whose only input is the text pair; `classes` are the names of its outputs, if they have names."""

    classes: Sequence[str] = ()
    _graph: Any = None

    def make_layers(self, parts: Mapping[str, Any]) -> None:
        super().make_layers(parts)
        self.classes = tuple(parts.get("classes", ()))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "parts": {**config["parts"], "classes": list(self.classes)}}

    def score_pairs(self, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """Logits [N] of N pairs, higher is better; pairs of similar length share a batch.

        Args:
            queries: N texts.
            documents: N texts; where the model reads several columns, joined by a space.
            batch_size: number of pairs per batch.

        Raises:
            UserError: if the numbers of queries and documents differ.
        """
        return self.pair_outputs("logit", queries, documents, batch_size)

    def class_probabilities(self, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """Probabilities [N, K] of the classes of N pairs, for a model of K logits; arguments as in `score_pairs`."""
        logits = self.pair_outputs("outputs", queries, documents, batch_size)
        return np.asarray(ops.convert_to_numpy(ops.softmax(logits, axis=-1)))

    def pair_outputs(self, name: str, queries: Sequence[str], documents: Sequence[str], batch_size: int = 256) -> Array:
        """An output of the model [N, ...] for N pairs, each scored alone; arguments as in `score_pairs`."""
        check_whole(1, batch_size=batch_size)
        if len(queries) != len(documents):
            raise UserError(
                f"`queries` and `documents` must be equally many. Received: {len(queries)} and {len(documents)}."
            )
        ids = self.tokenizer.padded(queries, documents)
        sizes = np.count_nonzero(ids, axis=1)
        order = np.argsort(sizes, kind="stable")
        found: list[Array] = []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = ids[rows, : sizes[rows].max()]
            if keras.backend.backend() == "jax":  # JAX compiles every new shape
                width = min(-(-batch.shape[1] // 32) * 32, self.tokenizer.max_length)
                batch = np.pad(batch, ((0, batch_size - len(rows)), (0, width - batch.shape[1])))
            found.append(np.asarray(self._score_batch(batch)[name])[: len(rows), 0])
        outputs = np.concatenate(found) if found else np.zeros(0, "float32")
        outputs[order] = outputs.copy()
        return outputs

    def _score_batch(self, ids: Array) -> Any:
        """The outputs of pairs [N, T], [N, 1] each; on TensorFlow one graph for all shapes."""
        if keras.backend.backend() != "tensorflow":
            return self.predict_on_batch({self.pair.name: ids[:, None], MASK: np.ones((len(ids), 1), "float32")})
        import tensorflow as tf

        if self._graph is None:

            def score(ids: Tensor) -> Any:
                return self({self.pair.name: ids[:, None], MASK: tf.ones((tf.shape(ids)[0], 1))}, training=False)

            self._graph = tf.function(score, input_signature=[tf.TensorSpec([None, None], "int32")])
        return self._graph(ids)


def takes_all_rows() -> bool:
    """True on JAX, where shapes are static, and for formats that cannot select rows."""
    return is_backend("jax") or is_portable()


def real_rows(mask: Tensor) -> Tensor:
    """Flat indices [R] of the valid documents of a mask [B, N]; of all documents where no rows can be selected."""
    real = ops.reshape(mask, (-1,)) > 0
    indices = ops.arange(ops.shape(real)[0], dtype="int32")
    if takes_all_rows():
        return indices
    is_empty = ops.logical_not(ops.any(real))  # a step needs at least one row
    return ops.cast(ops.nonzero(ops.logical_or(real, ops.logical_and(is_empty, indices == 0)))[0], "int32")


def take(value: Tensor, rows: Tensor) -> Tensor:
    """value[rows]; supports string tensors on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        return ops.take(value, rows, axis=0)
    import tensorflow as tf

    return tf.gather(value, rows)


def trim_padding(tokens: Tensor) -> Tensor:
    """Token ids [R, T] without trailing all-padding columns; unchanged where no rows can be selected."""
    if takes_all_rows():
        return tokens
    longest = ops.max(ops.sum(ops.cast(tokens != 0, "int32"), axis=1), initial=1)
    return tokens[:, :longest]


def check_preset(model: ModelConfig, preset: str | None) -> None:
    """Raises `ConfigError` if the encoder and the tokens of the text_pair come from different presets."""
    _, params = split_spec("architecture", model.architecture)
    encoder = params.get("encoder")
    expected = encoder.get("preset") if isinstance(encoder, Mapping) else None
    if preset != expected:
        raise ConfigError(
            f"features.inputs: `preset` of the input of type text_pair must be that of the encoder, {expected!r}. "
            f"Received: preset={preset!r}."
        )
