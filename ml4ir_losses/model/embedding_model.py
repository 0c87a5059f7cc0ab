"""`EmbeddingModel`: maps texts to embeddings, with the losses that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.config.checks import check_encoder
from ml4ir_losses.config.text_schema import TextConfig, TextModelConfig, TextTask
from ml4ir_losses.core.arrays import Array, normalize_rows
from ml4ir_losses.core.errors import ConfigError, UserError
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.core.registry import ARCHITECTURES
from ml4ir_losses.data.nested import unnest
from ml4ir_losses.data.readers import read_table
from ml4ir_losses.losses.factory import get_loss
from ml4ir_losses.losses.row_queue import RowQueue
from ml4ir_losses.model.from_config import build_module, saved_config
from ml4ir_losses.model.heads import HEADS, PositiveScalar
from ml4ir_losses.model.optimizers import make_optimizer
from ml4ir_losses.model.size import check_trainable, size_of
from ml4ir_losses.model.text_layers import check_positions
from ml4ir_losses.model.towers import Towers, column_names
from ml4ir_losses.model.trainer import Trainer
from ml4ir_losses.ops.replicas import share_of_whole
from ml4ir_losses.text.tokenizers import Tokenizer, pad_rows

TASK = "task"  # the input that holds the data set index of a batch


@keras.saving.register_keras_serializable("ml4ir_losses")
class EmbeddingModel(Trainer):
    """A text model: tokenizer, encoders, and the heads and losses that train them.

    Calling it with `{column: texts}` gives `{"embedding": [B, C, D]}`; texts are token ids [B, T] or, on TensorFlow,
    strings [B]; the columns are anchor, positive, negative_1, ... in this order, as far as present. A pair
    classifier adds `"score": [B, K]`, the probability of each class. Targets are [B, ...], or a dict by data set if
    there are several.

    Args:
        tokenizer: maps texts to token ids.
        towers: map token ids to embeddings.
        tasks: the data sets by name.
        model: the config's `model` section.
        precision: `float32`, `mixed_bfloat16` or `mixed_float16`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | Mapping[str, Any],
        towers: Towers | Mapping[str, Any],
        tasks: Mapping[str, TextTask | Mapping[str, Any]],
        model: TextModelConfig | Mapping[str, Any],
        precision: str = "float32",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"name": "embedding_model", **kwargs, "dtype": precision, "autocast": False})
        self.model_config = model if isinstance(model, TextModelConfig) else TextModelConfig.model_validate(model)
        check_encoder(self.model_config.architecture)  # imports the package that registers the encoder's layers
        self.tokenizer, self.towers = (
            keras.saving.deserialize_keras_object(part) if isinstance(part, Mapping) else part
            for part in (tokenizer, towers)
        )
        self.tasks = {n: t if isinstance(t, TextTask) else TextTask.model_validate(t) for n, t in tasks.items()}
        self.precision = precision
        self.relevance_losses: dict[str, Any] = {name: get_loss(task.loss) for name, task in self.tasks.items()}
        self.heads = {
            name: HEADS[loss.head](loss, len(self.tasks[name].classes))
            for name, loss in self.relevance_losses.items()
            if loss.head in HEADS
        }
        self.trained = {
            name: {parameter: PositiveScalar(start, name=parameter) for parameter, start in starts.items()}
            for name, loss in self.relevance_losses.items()
            if (starts := loss.trained_parameters)
        }
        # On JAX a generator advances only as an attribute of the model, and a built model takes no new ones.
        self.loss_seeds = {
            name: keras.random.SeedGenerator(loss.seed) for name, loss in self.relevance_losses.items() if loss.samples
        }
        self.memories = {
            name: RowQueue(loss.memory_size) for name, loss in self.relevance_losses.items() if loss.memory_size
        }
        losses = self.relevance_losses.values()
        self.mini_batch_size = min((loss.cached_batch_size for loss in losses if loss.cached_batch_size), default=None)
        self._graphs: dict[str, Callable[[Array], Tensor]] = {}
        self.build()

    @classmethod
    def make(
        cls, config: TextConfig, tokenizer: Tokenizer, tasks: Mapping[str, TextTask], steps_per_epoch: int = 1
    ) -> EmbeddingModel:
        """The compiled model of a config, given a tokenizer fitted on its training texts.

        Raises:
            ConfigError: for parameters that do not fit.
        """
        losses: list[Any] = [get_loss(task.loss) for task in tasks.values()]
        hidden: dict[str, Any] = {
            "vocabulary_size": tokenizer.vocabulary_size,
            "max_length": tokenizer.max_length,
            "every_layer": any(loss.every_layer for loss in losses),
            "reconstructs": any(loss.reconstructs for loss in losses),
            "tie": all(loss.params.get("tie_encoder_decoder", True) for loss in losses),
            "dtype": config.training.precision,
        }
        steps = steps_per_epoch * config.training.epochs

        def build() -> EmbeddingModel:
            towers = ARCHITECTURES.create(config.model.architecture, hidden=hidden)
            model = cls(tokenizer, towers, tasks, config.model, config.training.precision)
            for encoder in model.encoders:
                check_positions(encoder, tokenizer.max_length, "model.tokenizer")
            return model

        try:
            check_trainable(size_of(build), make_optimizer(config.model, steps))
            keras.utils.set_random_seed(config.training.seed)
            model = build()
        except ConfigError:
            raise
        except (UserError, TypeError, ValueError) as error:
            raise ConfigError(f"model: {str(error).strip().splitlines()[0]}") from None
        model.compile_from_spec(steps, config.training.jit_compile)
        return model

    @classmethod
    def from_config(cls, config: Any, custom_objects: Any = None, *, data: Any = None) -> Any:
        """The compiled model of a YAML file or a `TextConfig`, its tokenizer fitted on the training texts.

        Without `data`, data in memory, a mapping must be a result of `get_config`: see `RelevanceModel.from_config`.

        Raises:
            ConfigError, DataError: for a config or data that cannot be used.
            UserError: for any other mapping.
        """
        if data is None and isinstance(config, Mapping):
            return cls(**saved_config(cls, config))
        return build_module().build_embedding_model(config, data)

    def compile_from_spec(self, total_steps: int = 1, jit_compile: bool | str = "auto") -> None:
        """Compiles with the config's losses and optimizer."""
        losses = {name: loss.get_loss_fn(name=name) for name, loss in self.relevance_losses.items()}
        self.compile(
            optimizer=make_optimizer(self.model_config, total_steps),
            loss=losses if len(losses) > 1 else next(iter(losses.values())),
            jit_compile=jit_compile,
        )

    def functions(self, loss: Any) -> Mapping[str, Any]:
        return loss if isinstance(loss, Mapping) else {next(iter(self.tasks)): loss}

    def adopt(self, name: str, function: Any) -> None:
        super().adopt(name, function)
        if name in self.memories and function.memory is not None:
            function.memory = self.memories[name]
        for parameter, scalar in self.trained.get(name, {}).items():
            if parameter in function.loss.trained_parameters:
                function.loss.train_parameter(parameter, scalar.value)

    def build(self, input_shape: Any = None) -> None:
        """Builds all layers; their widths follow from the encoders."""
        if not self.towers.built:
            columns = max(task.columns for task in self.tasks.values())
            self.towers.build(dict.fromkeys(column_names(columns), (None, None)))
        for name, head in self.heads.items():
            head.build((None, self.tasks[name].columns, self.towers.output_width))
        for name, memory in self.memories.items():
            memory.build((None, self.tasks[name].columns, self.towers.output_width))
        self.built = True

    def tokens(self, texts: Tensor) -> Tensor:
        """Token ids [B, T] of strings; ids are returned as they are."""
        texts = ops.convert_to_tensor(texts)
        return self.tokenizer(texts) if keras.backend.standardize_dtype(texts.dtype) == "string" else texts

    def call(self, x: Any, training: bool | None = None) -> dict[str, Tensor]:
        x = dict(x) if isinstance(x, Mapping) else {"anchor": x}
        x.pop(TASK, None)
        embedding = self.towers({name: self.tokens(texts) for name, texts in x.items()}, training=training)
        output = {"embedding": embedding}
        for name, loss in self.relevance_losses.items():
            if loss.head == "pair" and not training and embedding.shape[1] == 2:
                output["score"] = ops.softmax(self.heads[name](embedding), axis=-1)
        return output

    @property
    def encoders(self) -> Sequence[Any]:
        """The encoder layers; empty if the architecture exposes none."""
        return getattr(self.towers, "encoders", ())

    @property
    def sparse(self) -> bool:
        """True if most entries of an embedding are meant to be 0."""
        return any(getattr(encoder, "sparse", False) for encoder in self.encoders)

    def embeddings(self, outputs: Tensor) -> Tensor:
        """The embeddings [..., D] among outputs of the towers."""
        return self.towers.embeddings(outputs) if hasattr(self.towers, "embeddings") else outputs

    @property
    def row_layers(self) -> Sequence[Any]:
        return [self.towers]

    def split_rows(self, x: Any) -> tuple[Any, Callable[[Any], Tensor], Callable[[Tensor], Any]]:
        rows = {name: self.tokens(texts) for name, texts in x.items() if name != TASK}
        return rows, lambda part: self.towers(part, training=True), lambda outputs: {"embedding": outputs}

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        functions = self.functions(self.loss)

        def value(name: str, embedding: Tensor, y: Any, sample_weight: Any) -> Tensor:
            if name in self.memories:
                self.memories[name].active = training
            target = y[name] if isinstance(y, Mapping) else y
            output = self.output(name, embedding, target, training)
            return ops.cast(functions[name](target, output, sample_weight), "float32")

        def value_of_task(*batch: Any) -> Tensor:
            task = ops.convert_to_tensor(x[TASK])[0]
            return ops.switch(task, [lambda name=name: value(name, *batch) for name in functions])

        batch = y_pred["embedding"], y, sample_weight
        single = len(functions) == 1
        total = value(next(iter(functions)), *batch) if single else share_of_whole(value_of_task, *batch)
        for penalty in self.losses:
            total = total + ops.cast(self._aggregate_additional_loss(penalty), total.dtype)
        return total

    def output(self, name: str, embedding: Tensor, target: Tensor, training: bool) -> Tensor:
        """The output that the loss of a data set reads."""
        embedding, loss = embedding[:, : self.tasks[name].columns], self.relevance_losses[name]
        if not (loss.every_layer or loss.reconstructs):  # another data set's loss may read more
            embedding = self.embeddings(embedding)
        if loss.head == "decoder":
            return self.towers.decode(embedding[:, 0], target, training=training)
        return self.heads[name](embedding) if name in self.heads else embedding

    def encode(self, texts: Sequence[str], column: str = "anchor", batch_size: int = 256) -> Array:
        """Embeddings [N, D] of texts, float32; a text without a known token is the zero vector.

        Args:
            texts: N strings.
            column: `anchor` for queries, `positive` for documents: they differ if the encoders are not shared.
            batch_size: number of texts per batch; texts of similar length share a batch.

        Raises:
            UserError: for an unknown column.
        """
        if column not in column_names(2 + max(task.columns for task in self.tasks.values())):
            raise UserError(f"`column` must be anchor, positive or negative_1, ... Received: column={column!r}.")
        ids = [np.array(self.tokenizer.ids(text), dtype="int32") for text in texts]
        order = np.argsort([len(row) for row in ids], kind="stable")
        embeddings = np.zeros((len(ids), self.towers.output_width), dtype="float32")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            embeddings[rows] = self._embed([ids[row] for row in rows], column, batch_size)
        return embeddings

    def embed_ids(self, ids: Tensor, column: str) -> Tensor:
        """Embeddings [B, D] of token ids [B, T], padded with 0, of one column."""
        return self.embeddings(self.towers({column: ids}, training=False)[:, 0])

    def encode_pairs(self, anchors: Sequence[str], positives: Sequence[str]) -> Array:
        """Embeddings [N, 2, D] of N pairs of texts."""
        return np.stack([self.encode(anchors, "anchor"), self.encode(positives, "positive")], axis=1)

    def predict_rows(self, data: Any, columns: tuple[str, str] = ("anchor", "positive")) -> Array:
        """The cosine of the two texts of each row, [rows].

        Args:
            data: a file, or data in memory. Nested data give a cosine per item.
            columns: the columns of the two texts.

        Raises:
            DataError: for a missing column.
        """
        table = unnest(read_table(data))
        for name in columns:
            table.require(name, "columns")
        return cosines(self.encode_pairs(*(list(table.strings(name)) for name in columns)))

    def _embed(self, rows: list[Array], column: str, batch_size: int) -> Array:
        batch = pad_rows(rows)
        if keras.backend.backend() == "jax":  # JAX compiles every new shape
            width = min(-(-batch.shape[1] // 32) * 32, self.tokenizer.max_length)
            batch = np.pad(batch, ((0, batch_size - len(rows)), (0, width - batch.shape[1])))
        embedding: Array = np.asarray(ops.convert_to_numpy(self._encoder(column)(batch)))[: len(rows)]
        return embedding

    def _encoder(self, column: str) -> Callable[[Array], Tensor]:
        """The function from token ids to embeddings; on TensorFlow one graph for all shapes."""
        if keras.backend.backend() != "tensorflow":
            return lambda ids: self.embeddings(self.predict_on_batch({column: ids})["embedding"][:, 0])
        import tensorflow as tf

        tower = "anchor" if column == "anchor" else "positive"
        if tower not in self._graphs:
            self._graphs[tower] = tf.function(
                lambda ids: self.embed_ids(ids, tower), input_signature=[tf.TensorSpec([None, None], "int32")]
            )
        return self._graphs[tower]

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "tokenizer": keras.saving.serialize_keras_object(self.tokenizer),
            "towers": keras.saving.serialize_keras_object(self.towers),
            "tasks": {name: task.model_dump(mode="json") for name, task in self.tasks.items()},
            "model": self.model_config.model_dump(mode="json"),
            "precision": self.precision,
        }


def cosines(pairs: Array) -> Array:
    """The cosine of each pair of embeddings [N, 2, D], [N]; 0 for a zero vector."""
    unit = normalize_rows(pairs)
    similarity: Array = (unit[:, 0] * unit[:, 1]).sum(axis=1)
    return similarity
