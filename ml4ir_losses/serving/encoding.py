"""Turns the queries of a request into the inputs of a model, by the rules of `preprocessing.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import MASK
from ml4ir_losses.export.preprocessing import VERSION, cell_text, load
from ml4ir_losses.export.preprocessing_spec import input_spec
from ml4ir_losses.model.cross_encoder import CrossEncoderModel
from ml4ir_losses.model.relevance_model import RelevanceModel
from ml4ir_losses.serving.errors import RequestError
from ml4ir_losses.text.tokenizers import WordTokenizer


@dataclass(frozen=True)
class EncodedQuery:
    """The model's inputs for a query: [documents, ...], or [1, ...] for inputs of the query."""

    arrays: Mapping[str, Array]
    size: int


class Encoder:
    """Encodes queries for a model; its numbers are those of the model's fitted inputs.

    Args:
        model: the model.
    """

    def __init__(self, model: RelevanceModel) -> None:
        pair = model.pair if isinstance(model, CrossEncoderModel) else None
        is_preset = pair is not None and type(pair.tokenizer.tokenizer) is not WordTokenizer
        self.preset: Any = pair if is_preset else None  # its tokenizer cannot be written as JSON
        inputs = [fitted for fitted in model.fitted if fitted is not self.preset]
        self.preprocessor = load({"version": VERSION, "inputs": [input_spec(fitted) for fitted in inputs]})
        self.of_query = {fitted.name for fitted in inputs if fitted.scope == "query"}

    def __call__(self, queries: Sequence[Mapping[str, Any]]) -> list[EncodedQuery]:
        """The inputs of each query.

        Raises:
            RequestError: for a cell that cannot be read, with its place and column.
        """
        try:
            inputs = self.preprocessor.lists(queries)
        except ValueError as error:
            raise RequestError(str(error)) from None
        del inputs[MASK]
        found = []
        for i, query in enumerate(queries):
            size = len(query["documents"])
            arrays = {
                name: values[i : i + 1] if name in self.of_query else values[i, :size]
                for name, values in inputs.items()
            }
            if self.preset is not None:
                arrays[self.preset.name] = self._pairs(query)
            found.append(EncodedQuery(arrays, size))
        return found

    def _pairs(self, query: Mapping[str, Any]) -> Array:
        """Token ids [documents, T] of the query with each of its documents."""
        first, *others = self.preset.columns
        shared, documents = query.get("query", {}), query["documents"]
        texts = [" ".join(cell_text(row.get(name, shared.get(name))) for name in others) for row in documents]
        ids: Array = self.preset.tokenizer.padded([cell_text(shared.get(first))] * len(texts), texts)
        return ids
