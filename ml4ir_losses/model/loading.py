"""Loading saved models, with every class that they are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from ml4ir_losses.compat import sentence_transformers, tf_ranking
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.model import cross_encoder, embedding_model, layers, relevance_model, text_layers

REGISTERED = (
    *(keras_loss, cross_encoder, embedding_model, layers, relevance_model, text_layers),
    *(sentence_transformers, tf_ranking),
)
"""Imported, so that Keras knows their classes when it loads a model."""


def load_model(path: str | Path) -> Any:
    """A model saved by `ml4ir_losses` or any Keras model that uses its losses; takes a run folder too.

    Raises:
        UserError: when there is no such model.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise UserError(f"{path}: there is no such model.")
    try:
        return keras.saving.load_model(path)
    except (OSError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:300]  # Keras quotes the whole config
        raise UserError(f"{path}: is not a model that can be loaded ({reason}).") from None


def load_encoder(path: str | Path) -> embedding_model.EmbeddingModel:
    """The embedding model of a run folder or file.

    Raises:
        UserError: when there is no such model, or it is another one.
    """
    model = load_model(path)
    if not isinstance(model, embedding_model.EmbeddingModel):
        raise UserError(f"{path}: is the run of a ranking model, which embeds no texts.")
    return model
