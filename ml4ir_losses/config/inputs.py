"""The `features` section: column roles, inputs and transforms."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ml4ir_losses.config.base import Spec, Strict
from ml4ir_losses.config.category_inputs import CategoricalInput, CrossInput, TextInput, VectorInput
from ml4ir_losses.config.input_base import ColumnInput, Input, ListColumns, Scope
from ml4ir_losses.config.spec_schema import keys_of
from ml4ir_losses.core.registry import TRANSFORMS

DatePart = Literal["age", "hour", "weekday", "month", "day_of_year"]


class Numbers(ColumnInput):
    """What inputs of numbers have in common."""

    scope: Scope = "document"
    transforms: list[Spec] = Field(default_factory=list, json_schema_extra=keys_of(TRANSFORMS))
    missing: Literal["mean", "median", "zero", "query_min"] | float = Field(
        "median", description="value that replaces an empty cell; query_min: the lowest value of the query's documents"
    )
    missing_indicator: bool = Field(False, description="add a 0/1 column that marks empty cells")
    query_rank: bool = Field(False, description="add each column's rank among the query's documents, -1/2 to 1/2")

    @model_validator(mode="after")
    def _check_scope(self) -> Self:
        if self.query_rank and self.scope == "query":
            raise ValueError("query_rank ranks the documents of a query: it needs scope document")
        if self.missing == "query_min" and self.scope == "query":
            raise ValueError("missing: query_min is a value of the query's documents: it needs scope document")
        return self


class NumericInput(Numbers):
    """Numeric columns; the column may be a glob, such as f*."""

    type: Literal["numeric"]

    @property
    def is_glob(self) -> bool:
        return any(c in self.read_columns[0] for c in "*?[")

    @property
    def claimed(self) -> set[str]:
        return {self.name}


class DateInput(Numbers):
    """A date or time: its age in days, of which transforms and missing values speak, and its cyclic parts."""

    type: Literal["date"]
    reference: str = Field(
        "newest",
        description="date of age 0: `newest` of the training split, a date such as 2024-03-01, or another date column",
    )
    parts: list[DatePart] = Field(
        ["age"],
        min_length=1,
        description="the age in days; the others are cyclic, a sine and a cosine each",
    )

    @field_validator("reference", mode="before")
    @classmethod
    def _read_date(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value  # YAML reads dates

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        given = next((name for name in ("transforms", "query_rank", "missing_indicator") if getattr(self, name)), None)
        if "age" not in self.parts and given:
            raise ValueError(f"{given} belongs to the age: add it to parts")
        return self

    @property
    def reference_time(self) -> float | None:
        """The reference as seconds since 1970; None: it is no fixed date."""
        try:
            time = datetime.fromisoformat(self.reference)
        except ValueError:
            return None
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()

    @property
    def read_columns(self) -> list[str]:
        """The column, then that of the reference if it is one."""
        has_column = self.reference != "newest" and self.reference_time is None
        return [self.column or self.name, *[self.reference] * has_column]


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
    def read_columns(self) -> list[str]:
        """The column of the query, then those of the document."""
        return [self.query, *([self.document] if isinstance(self.document, str) else self.document)]

    @property
    def query_length(self) -> int:
        """Maximum number of query tokens."""
        return self.max_query_length or self.max_length // 4

    @model_validator(mode="after")
    def _check_lengths(self) -> Self:
        if len(self.read_columns) < 2:
            raise ValueError("document names no column")
        if self.name in self.read_columns:
            raise ValueError(f"name {self.name!r} is a column of text; token ids need a name of their own")
        if self.query_length > self.max_length - 2:
            raise ValueError(
                f"max_query_length must be at most max_length - 2 = {self.max_length - 2}, so that something of the "
                f"document is read. Received: {self.max_query_length}"
            )
        return self


InputConfig = Annotated[
    NumericInput | DateInput | CategoricalInput | CrossInput | VectorInput | TextInput | TextPairInput,
    Field(discriminator="type"),
]

INPUT_TYPES = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(InputConfig)[0])}
"""The values of `type`."""


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
        for config in self.inputs:
            if isinstance(config, CategoricalInput):
                self._check_owner(config)
        if all(i.scope == "query" for i in self.inputs):
            raise ValueError("at least one input must be of scope document, or all documents of a query score the same")
        return self

    def _check_owner(self, config: CategoricalInput) -> None:
        name = config.share_embedding
        other = next((i for i in self.inputs if i.name == name), None)
        if name is not None and (not isinstance(other, CategoricalInput) or other.share_embedding is not None):
            own = [i.name for i in self.inputs if isinstance(i, CategoricalInput) and i.share_embedding is None]
            raise ValueError(
                f"share_embedding of {config.name!r} must name a categorical input with an embedding of its own: "
                f"{', '.join(own) or 'there is none'}. Received: {name!r}"
            )

    def owner(self, config: CategoricalInput) -> CategoricalInput:
        """The input whose vocabulary and embedding an input uses: itself, or that of `share_embedding`."""
        owners = (i for i in self.inputs if isinstance(i, CategoricalInput) and i.name == config.share_embedding)
        return next(owners, config)

    @property
    def vocabulary_files(self) -> list[str]:
        """The files that hold vocabularies."""
        given = (i.vocabulary for i in self.inputs if isinstance(i, CategoricalInput))
        return [vocabulary for vocabulary in given if isinstance(vocabulary, str)]

    @property
    def list_columns(self) -> ListColumns:
        """What lists in the cells of the columns are; a list in a column that nothing reads says nothing."""
        values = [column for i in self.inputs if i.keeps_lists for column in i.read_columns]
        others = {column for i in self.inputs for column in i.read_columns} | self.roles
        texts = [column for i in self.inputs if i.splits_texts for column in i.read_columns]
        return ListColumns(values, sorted(others.difference(values)), texts)

    @property
    def roles(self) -> set[str]:
        """The columns that have a role and are therefore excluded from input globs."""
        roles = (self.document_id, self.weight, self.query_weight, self.positions, self.confidence)
        return {name for name in (self.query_id, self.label, *roles) if name}
