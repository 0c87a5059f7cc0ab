"""Fitted inputs: the columns of each model input, with the values fitted on the training split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, PrivateAttr

from ml4ir_losses.config.inputs import Scope
from ml4ir_losses.features.pairs import pair_tokenizer


class FittedInput(BaseModel):
    """A model input: its columns, and the values fitted on the training split."""

    name: str
    type: str
    scope: Scope = "document"
    columns: list[str]
    fill: list[float] = []
    transforms: list[dict[str, Any]] = []
    missing_indicator: bool = False
    query_rank: bool = False
    vocabulary: list[str] = []
    num_buckets: int = 0
    max_length: int = 0
    embedding_dim: int = 0
    max_query_length: int = 0
    preset: str | None = None
    _tokenizer: Any = PrivateAttr(None)

    @property
    def has_tokenizer(self) -> bool:
        """True if a tokenizer was set or built."""
        return self._tokenizer is not None

    @property
    def tokenizer(self) -> Any:
        """The `PairTokenizer` of a text_pair input: the model's if set, else built from the vocabulary or preset."""
        if self._tokenizer is None:
            self._tokenizer = pair_tokenizer(self)
        return self._tokenizer

    @tokenizer.setter
    def tokenizer(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer


def load_fitted(config: Sequence[Mapping[str, Any] | FittedInput]) -> list[FittedInput]:
    """Fitted inputs from their serialized form."""
    return [item if isinstance(item, FittedInput) else FittedInput.model_validate(item) for item in config]
