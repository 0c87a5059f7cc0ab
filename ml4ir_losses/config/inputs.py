"""The `features` section: column roles, inputs and transforms."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ml4ir_losses.config.base import Spec, Strict
from ml4ir_losses.config.spec_schema import keys_of
from ml4ir_losses.core.registry import TRANSFORMS

Scope = Literal["document", "query"]


class Input(Strict):
    """What all kinds of inputs have in common."""

    name: str

    @property
    def columns(self) -> list[str]:
        """The columns of the data that the input reads."""
        return [self.name]

    @property
    def is_glob(self) -> bool:
        """True if `name` is a pattern of column names."""
        return False


class NumericInput(Input):
    """Numeric columns; `name` may be a glob."""

    type: Literal["numeric"]
    scope: Scope = "document"
    transforms: list[Spec] = Field(default_factory=list, json_schema_extra=keys_of(TRANSFORMS))
    missing: Literal["mean", "median", "zero"] | float = Field(
        "median", description="value that replaces an empty cell"
    )
    missing_indicator: bool = Field(False, description="add a 0/1 column that marks empty cells")
    query_rank: bool = Field(False, description="add each column's rank among the query's documents, -1/2 to 1/2")

    @property
    def is_glob(self) -> bool:
        return any(c in self.name for c in "*?[")

    @model_validator(mode="after")
    def _check_query_rank(self) -> Self:
        if self.query_rank and self.scope == "query":
            raise ValueError("query_rank ranks the documents of a query: it needs scope document")
        return self


class CategoricalInput(Input):
    """A categorical column, embedded."""

    type: Literal["categorical"]
    scope: Scope = "document"
    encoding: Literal["vocabulary", "hash"] = "vocabulary"
    max_vocabulary: int = Field(
        10_000, ge=1, description="number of most frequent values kept; the others share one embedding"
    )
    num_buckets: int = Field(1_000, ge=2, description="number of embeddings for encoding: hash")
    embedding_dim: int = Field(16, ge=1)


class TextInput(Input):
    """A text column, embedded as the mean of its word embeddings."""

    type: Literal["text"]
    scope: Scope = "document"
    max_vocabulary: int = Field(10_000, ge=2)
    max_length: int = Field(32, ge=1, description="maximum number of words")
    embedding_dim: int = Field(16, ge=1)


class TextPairInput(Input):
    """The query and the document as one sequence of tokens, which a `cross_encoder` reads."""

    type: Literal["text_pair"]
    query: str = Field(description="column of the query text; read from the first row of a query")
    document: str | list[str] = Field(description="column of the document text, or several columns, joined by a space")
    max_vocabulary: int = Field(20_000, ge=2)
    max_length: int = Field(256, ge=4, description="maximum number of tokens; the document is truncated")
    max_query_length: int | None = Field(
        None, ge=1, description="maximum number of query tokens; a quarter of max_length if omitted"
    )
    preset: str | None = Field(None, description="folder of a KerasHub preset whose tokenizer is used")

    @property
    def scope(self) -> Scope:
        """One token sequence per document."""
        return "document"

    @property
    def columns(self) -> list[str]:
        """The column of the query, then those of the document."""
        return [self.query, *([self.document] if isinstance(self.document, str) else self.document)]

    @property
    def query_length(self) -> int:
        """Maximum number of query tokens."""
        return self.max_query_length or self.max_length // 4

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.columns) < 2:
            raise ValueError("document names no column")
        if self.name in self.columns:
            raise ValueError(f"name {self.name!r} is a column of text; token ids need a name of their own")
        if self.query_length > self.max_length - 2:
            raise ValueError(
                f"max_query_length must be at most max_length - 2 = {self.max_length - 2}, so that something of the "
                f"document is read. Received: {self.max_query_length}"
            )
        return self


InputConfig = Annotated[NumericInput | CategoricalInput | TextInput | TextPairInput, Field(discriminator="type")]


class FeatureConfig(Strict):
    """The roles of the columns."""

    query_id: str = "query_id"
    label: str = "label"
    document_id: str | None = None
    weight: str | None = Field(None, description="column of document weights")
    query_weight: str | None = Field(None, description="column of query weights; read from the first row of a query")
    positions: str | None = Field(None, description="column of the 1-based ranks at which documents were shown")
    confidence: str | None = Field(None, description="column of label confidences, 0 to 1, for prob_margin_ranking")
    inputs: list[InputConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_inputs(self) -> Self:
        names = [i.name for i in self.inputs]
        if "mask" in names:
            raise ValueError("an input cannot be called 'mask': the padding mask travels under that name")
        duplicate = next((n for n in names if names.count(n) > 1), None)
        if duplicate is not None:
            raise ValueError(f"the input {duplicate!r} is given twice")
        if sum(i.type == "text_pair" for i in self.inputs) > 1:
            raise ValueError("only one input can be of type text_pair")
        if all(i.scope == "query" for i in self.inputs):
            raise ValueError("at least one input must be of scope document, or all documents of a query score the same")
        return self

    @property
    def roles(self) -> set[str]:
        """The columns that have a role and are therefore excluded from input globs."""
        roles = (self.document_id, self.weight, self.query_weight, self.positions, self.confidence)
        return {name for name in (self.query_id, self.label, *roles) if name}
