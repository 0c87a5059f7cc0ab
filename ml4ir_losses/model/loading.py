"""Loading of saved models, with all classes registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from ml4ir_losses.compat import sentence_transformers, tf_ranking
from ml4ir_losses.core.checksums import check_unchanged, naming_version, run_file
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.losses import keras_loss
from ml4ir_losses.model import (
    additive,
    attention,
    cross_encoder,
    cross_network,
    embedding_model,
    layers,
    relevance_model,
    set_scorer,
    text_layers,
)
from ml4ir_losses.model.archive import check_archive

REGISTERED = (
    *(keras_loss, additive, attention, cross_encoder, cross_network, embedding_model, layers),
    *(relevance_model, set_scorer, text_layers),
    *(sentence_transformers, tf_ranking),
)
"""Imported so that their classes are registered with Keras."""


def load_model(path: str | Path) -> Any:
    """A model saved by `ml4ir_losses` or any Keras model that uses its losses; takes a run folder too.

    Opens no other file, whatever the model's config names, and checks sizes before anything is unpacked or built. In a
    run folder the model must be the one that the run wrote, by its checksum in `files.json`.

    Raises:
        UserError: when there is no such model, or it is damaged, too large or of unknown classes.
    """
    path = Path(path)
    if path.is_dir():
        model = run_file(path, "model.keras")
        check_unchanged(path, model.name)
        with naming_version(path):
            return _load(model)
    return _load(path)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise UserError(f"{path}: there is no such model.")
    try:
        check_archive(path)
        return keras.saving.load_model(path)
    except UserError as error:
        known = str(error).startswith(f"{path}: ")
        raise error if known else UserError(f"{path}: is not a model that can be loaded ({error}).") from None
    except RecursionError:
        raise UserError(f"{path}: its config is nested too deeply.") from None
    except Exception as error:  # an untrusted file can make Keras and its layers raise any exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]  # Keras quotes the whole config
        raise UserError(f"{path}: is not a model that can be loaded ({reason}).") from error


def load_encoder(path: str | Path) -> embedding_model.EmbeddingModel:
    """The embedding model of a run folder or file.

    Raises:
        UserError: when there is no such model, or it is another one.
    """
    model = load_model(path)
    if not isinstance(model, embedding_model.EmbeddingModel):
        raise UserError(f"{path}: is the run of a ranking model, which embeds no texts.")
    return model
