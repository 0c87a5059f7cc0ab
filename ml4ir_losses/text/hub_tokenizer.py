"""Tokenizer of a KerasHub preset in a local folder, and the loading of presets; nothing is ever downloaded."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, check_whole
from ml4ir_losses.core.lazy import Tensor
from ml4ir_losses.text.tokenizers import Tokenizer, pad_rows


def import_keras_hub() -> Any:
    """The module `keras_hub`; `UserError` with the install command if it is missing."""
    try:
        import keras_hub
    except ImportError as error:
        raise UserError(
            f"KerasHub presets need keras-hub: pip install 'ml4ir-losses[keras-hub]'. Received: {error}"
        ) from error
    return keras_hub


def load_preset(kind: str, preset: str | Path, **arguments: Any) -> Any:
    """The `backbone` or `tokenizer` of a preset folder; `UserError` for anything else, handles of hubs included."""
    if not os.path.isdir(preset):
        raise UserError(
            f"`preset` must be a folder with a KerasHub preset; none is downloaded. Received: {str(preset)!r}."
        )
    if not os.path.isfile(os.path.join(preset, "config.json")):
        raise UserError(f"`preset` must be a folder with a KerasHub preset: {str(preset)!r} has no config.json.")
    hub = import_keras_hub()
    base = hub.models.Backbone if kind == "backbone" else hub.tokenizers.Tokenizer
    try:
        # An absolute path: KerasHub takes a folder with the name of a public preset for that preset.
        return base.from_preset(os.path.abspath(preset), **arguments)
    except Exception as error:  # KerasHub raises errors of many types for a broken preset
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"{kind} of the preset {str(preset)!r} cannot be loaded: {reason}") from error


@keras.saving.register_keras_serializable("ml4ir_losses")
class HubTokenizer(Tokenizer):
    """The subwords of a KerasHub tokenizer between its start and end tokens.

    Args:
        tokenizer: a `keras_hub.tokenizers.Tokenizer`; its vocabulary is saved as an asset of the model.
        max_length: maximum number of tokens of a text, start and end tokens included.
    """

    def __init__(self, tokenizer: Any, max_length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokenizer, self.max_length = tokenizer, max_length
        self._convert_input_args = False  # string tensors are TensorFlow's on every backend
        self.built = True

    @classmethod
    def from_preset(cls, preset: str | Path, max_length: int) -> HubTokenizer:
        """The tokenizer of a preset folder; `UserError` without a preset, or without room for a token of a text."""
        tokenizer = cls(load_preset("tokenizer", preset), max_length)
        check_whole(1 + sum(map(len, tokenizer.bounds)), max_length=max_length)
        return tokenizer

    @property
    def vocabulary_size(self) -> int:
        return int(self.tokenizer.vocabulary_size()) + 1

    @property
    def words(self) -> list[str]:
        # Ġ and ▁ mark the start of a word.
        pieces = (str(piece).lstrip("Ġ▁") for piece in self.tokenizer.get_vocabulary())
        return [piece for piece in pieces if piece.isalpha()]

    def ids(self, text: str) -> list[int]:
        return [int(number) for number in self.bounded(np.asarray(self.tokenizer(text)))]

    def padded(self, texts: Sequence[str]) -> Array:
        return pad_rows([self.bounded(row) for row in self.tokens(list(texts))])

    def tokens(self, texts: list[str]) -> Sequence[Array]:
        """The tokens of every text, as the preset's own ids."""
        if not texts:
            return []
        word_piece = isinstance(self.tokenizer, import_keras_hub().tokenizers.WordPieceTokenizer)
        if not word_piece or importlib.util.find_spec("tensorflow_text") is None:
            return [np.asarray(row) for row in self.tokenizer(texts)]
        import tensorflow as tf  # outside of a TensorFlow graph WordPiece is pure Python, 20 times as slow

        ragged = tf.function(self.tokenizer)(tf.constant(texts))
        return np.split(ragged.values.numpy(), ragged.row_splits.numpy()[1:-1])

    def bounded(self, tokens: Array) -> Array:
        """The ids of a text with its start and end tokens, cut to `max_length`."""
        start, end = self.bounds
        room = self.max_length - len(start) - len(end)
        return np.array([*start, *tokens[:room], *end], dtype="int32") + 1

    @property
    def bounds(self) -> tuple[list[int], list[int]]:
        """The tokens that KerasHub's preprocessors put before and behind a text; some models have only one of them."""
        special = (getattr(self.tokenizer, name, None) for name in ("start_token_id", "end_token_id"))
        start, end = ([] if number is None else [number] for number in special)
        return start, end

    def call(self, texts: Tensor) -> Tensor:
        import tensorflow as tf

        # Built here: a loaded tokenizer has its special tokens only after its assets are loaded.
        packer = import_keras_hub().layers.StartEndPacker(self.max_length, *self.bounds, pad_value=-1)
        tokens = self.tokenizer(texts)
        if isinstance(tokens, tf.RaggedTensor):  # in a graph, letters that the vocabulary lacks are -1
            tokens = tf.ragged.boolean_mask(tokens, tokens >= 0)
        packed = packer(tokens) + 1
        width = ops.max(ops.sum(ops.cast(packed != 0, "int32"), axis=1))
        return packed[:, : ops.maximum(width, 1)]

    def compute_output_spec(self, texts: Any) -> Any:
        return keras.KerasTensor((texts.shape[0], None), dtype="int32")

    def get_config(self) -> dict[str, Any]:
        tokenizer = keras.saving.serialize_keras_object(self.tokenizer)
        return {**super().get_config(), "tokenizer": tokenizer, "max_length": self.max_length}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> HubTokenizer:
        import_keras_hub()
        return cls(**{**config, "tokenizer": keras.saving.deserialize_keras_object(config["tokenizer"])})
