"""Lookup layers: strings to ids inside a model (TensorFlow only)."""

from __future__ import annotations

from typing import Any

import keras

from ml4ir_losses.features.fitted import FittedInput


def string_lookup(fitted: FittedInput) -> Any:
    """The layer that turns the strings of an input into ids, as `fitting.lookup_ids` does (TensorFlow only)."""
    if fitted.type == "text":
        return keras.layers.TextVectorization(
            vocabulary=fitted.vocabulary or ["[none]"], output_sequence_length=fitted.max_length
        )
    if fitted.num_buckets:
        return keras.layers.Hashing(num_bins=fitted.num_buckets)
    # The out-of-vocabulary token must not occur in the data.
    return keras.layers.StringLookup(vocabulary=fitted.vocabulary or ["[none]"], num_oov_indices=1, oov_token="\0")
