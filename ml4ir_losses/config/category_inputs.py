"""Inputs that are embedded, and vectors: categories, crosses, texts, lists of numbers."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ml4ir_losses.config.input_base import ColumnInput, Input, Scope

Pooling = Literal["mean", "sum", "max"]
Separator = Annotated[str, Field(min_length=1)]
_MAX_NGRAM = 20


class CategoricalInput(ColumnInput):
    """A categorical column, embedded; with `pooling` or a `separator` each cell holds several values."""

    type: Literal["categorical"]
    scope: Scope = "document"
    encoding: Literal["vocabulary", "hash"] = "vocabulary"
    vocabulary: str | list[str] | None = Field(
        None, description="file with one value per line, or the values; those of the training split if omitted"
    )
    max_vocabulary: int = Field(10_000, ge=1, description="number of most frequent values kept; the others are unknown")
    min_count: int = Field(1, ge=1, description="values that occur less often are unknown")
    oov_buckets: int = Field(
        0, ge=0, description="number of embeddings into which unknown values are hashed; 0: they count as missing"
    )
    num_buckets: int = Field(1_000, ge=2, description="number of embeddings for encoding: hash")
    embedding_dim: int = Field(16, ge=1)
    share_embedding: str | None = Field(
        None, description="name of a categorical input whose vocabulary and embedding this one uses"
    )
    pooling: Pooling | None = Field(
        None, description="what becomes of the embeddings of a cell with several values; mean if a separator is given"
    )
    separator: Separator | None = Field(None, description="text between the values of a cell, if it is not a list")
    max_values: int = Field(32, ge=1, description="number of values read per cell; the first ones")
    empty: Literal["zeros", "missing"] = Field(
        "zeros", description="what a cell without values becomes: zeros, or the embedding of a missing value"
    )

    @property
    def pooled(self) -> Pooling | None:
        """How several values are pooled; None: a cell is one value."""
        return self.pooling or (None if self.separator is None else "mean")

    @property
    def keeps_lists(self) -> bool:
        return self.pooled is not None

    @model_validator(mode="after")
    def _check_vocabulary(self) -> Self:
        if self.vocabulary is not None:
            self._reject("vocabulary", {"max_vocabulary": "it is", "min_count": "it is", "encoding": "hash has none"})
        if isinstance(self.vocabulary, list):
            twice = next((value for value in self.vocabulary if self.vocabulary.count(value) > 1), None)
            if twice is not None or "" in self.vocabulary or not self.vocabulary:
                received = "no value" if not self.vocabulary else f"{twice!r} twice" if twice else "''"
                raise ValueError(f"vocabulary needs different values. Received: {received}")
        if self.encoding == "hash":
            self._reject("encoding: hash", {"oov_buckets": "num_buckets is", "min_count": "there is no vocabulary"})
        return self

    @model_validator(mode="after")
    def _check_shared(self) -> Self:
        if self.share_embedding is not None:
            names = ("encoding", "vocabulary", "max_vocabulary", "min_count", "oov_buckets", "num_buckets")
            reason = f"that of {self.share_embedding!r} is used"
            self._reject("share_embedding", dict.fromkeys((*names, "embedding_dim"), reason))
        if self.pooled is None:
            self._reject("one value per cell", {"empty": "give pooling or separator", "max_values": "give pooling"})
        return self

    def _reject(self, beside: str, names: dict[str, str]) -> None:
        """Raises `ValueError` for a key that is not its default; compared so that a saved config loads again."""
        for name, reason in names.items():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect with {beside}: {reason}. Leave it out")


class CrossInput(Input):
    """The values of several columns together as one category, hashed and embedded."""

    type: Literal["cross"]
    scope: Scope = "document"
    columns: list[str] = Field(min_length=2, description="columns whose values are combined")
    num_buckets: int = Field(10_000, ge=2, description="number of embeddings")
    embedding_dim: int = Field(16, ge=1)

    @property
    def read_columns(self) -> list[str]:
        return self.columns

    @property
    def claimed(self) -> set[str]:
        return {self.name}


class VectorInput(ColumnInput):
    """A column of lists of numbers, all of one length, such as embeddings."""

    type: Literal["vector"]
    scope: Scope = "document"
    normalise: bool = Field(False, description="divide each vector by its length")
    separator: Separator | None = Field(None, description="text between the numbers of a cell, if it is not a list")

    @property
    def keeps_lists(self) -> bool:
        return True


class TextInput(ColumnInput):
    """A text column, embedded as the mean of its word embeddings."""

    type: Literal["text"]
    scope: Scope = "document"
    max_vocabulary: int = Field(10_000, ge=2)
    min_count: int = Field(1, ge=1, description="words that occur less often are unknown")
    max_length: int = Field(32, ge=1, description="maximum number of words")
    embedding_dim: int = Field(16, ge=1)
    ngrams: tuple[int, int] | None = Field(
        None, description="shortest and longest character n-grams of words that are embedded too, [3, 5] for instance"
    )
    num_buckets: int = Field(10_000, ge=2, description="number of embeddings into which n-grams are hashed")
    max_ngrams: int = Field(128, ge=1, description="maximum number of n-grams of a text")

    @model_validator(mode="after")
    def _check_ngrams(self) -> Self:
        if self.ngrams is not None and not 1 <= self.ngrams[0] <= self.ngrams[1] <= _MAX_NGRAM:
            raise ValueError(
                f"ngrams must be two lengths from 1 to {_MAX_NGRAM}, the shorter one first. Received: "
                f"{list(self.ngrams)}"
            )
        return self
