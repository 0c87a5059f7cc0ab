"""What `preprocessing.json` says about a model; `preprocessing.py` beside it reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ml4ir_losses.core.errors import UserError
from ml4ir_losses.export.preprocessing import VERSION
from ml4ir_losses.features.fitted import FittedInput
from ml4ir_losses.features.kinds.categorical import NOTHING
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.text.hub_tokenizer import HubTokenizer
from ml4ir_losses.text.tokenizers import WordTokenizer


def preprocessing_spec(model: RelevanceModel | EmbeddingModel) -> dict[str, Any]:
    """How raw columns, or texts, become the inputs of a model, as JSON; `docs/preprocessing.md` describes it.

    Raises:
        UserError: for a tokenizer that JSON cannot hold, with what to use instead.
    """
    if isinstance(model, EmbeddingModel):
        return {"version": VERSION, "tokenizer": tokenizer_spec(model.tokenizer)}
    return {"version": VERSION, "inputs": [input_spec(fitted) for fitted in model.fitted]}


def input_spec(fitted: FittedInput) -> dict[str, Any]:
    """How the raw columns of an input become what its `encode` gives."""
    common = {"name": fitted.name, "type": fitted.type, "scope": fitted.scope, "columns": fitted.columns}
    return {**common, **_MORE[fitted.type](fitted)}


def _categorical(fitted: Any) -> dict[str, Any]:
    lists = None
    if fitted.pooling is not None:
        empty = 0 if fitted.empty_is_missing else NOTHING
        lists = {"separator": fitted.separator, "max_values": fitted.max_values, "empty": empty}
    return {"vocabulary": fitted.vocabulary, "buckets": fitted.num_buckets, "lists": lists}


def _text(fitted: Any) -> dict[str, Any]:
    ngrams = None
    if fitted.ngrams is not None:
        ngrams = {
            "sizes": list(fitted.ngrams),
            "max_length": fitted.max_ngrams,
            "buckets": fitted.num_buckets,
            "first_id": fitted.words,
        }
    return {"vocabulary": fitted.vocabulary, "max_length": fitted.max_length, "ngrams": ngrams}


def _text_pair(fitted: Any) -> dict[str, Any]:
    pairs = fitted.tokenizer
    words = tokenizer_spec(pairs.tokenizer)
    (separator,) = pairs.frame[1]
    return {
        "tokenizer": words,
        "separator": separator,
        "max_length": pairs.max_length,
        "max_query_length": pairs.max_query_length,
    }


def tokenizer_spec(tokenizer: Any) -> dict[str, Any]:
    """How a text becomes the `ids` of a tokenizer.

    Raises:
        UserError: for a tokenizer that JSON cannot hold, with what to use instead.
    """
    if type(tokenizer) is not WordTokenizer:
        kind = "the tokenizer of a KerasHub preset" if isinstance(tokenizer, HubTokenizer) else f"{tokenizer!r:.60}"
        raise UserError(
            f"{kind} cannot be written as JSON: export a SavedModel (--format saved_model), which takes strings."
        )
    return {
        "vocabulary": tokenizer.vocabulary,
        "max_length": tokenizer.max_length,
        "splits": tokenizer.split_options["punctuation"] == "split",
        "prefix_length": tokenizer.split_options["prefix_length"],
    }


def _nothing(fitted: Any) -> dict[str, Any]:
    return {}


_MORE: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "numeric": _nothing,
    "date": _nothing,
    "categorical": _categorical,
    "cross": lambda fitted: {"buckets": fitted.num_buckets},
    "vector": lambda fitted: {"size": fitted.size, "separator": fitted.separator},
    "text": _text,
    "text_pair": _text_pair,
}
"""What the spec of an input says beside its name, type, scope and columns, by type."""
