"""What all kinds of inputs have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from ml4ir_losses.config.base import Strict

Scope = Literal["document", "query"]


class ListColumns(NamedTuple):
    """What the lists in the cells of columns are.

    Attributes:
        values: columns whose lists are several values of one document or query.
        documents: columns, or globs, whose lists hold an item for each document of a query; None: all others.
        texts: columns among `values` that may hold a text for each document, which is split into its values.
    """

    values: Sequence[str] = ()
    documents: Sequence[str] | None = None
    texts: Sequence[str] = ()


ANY_LIST = ListColumns()
"""All lists hold documents."""


class Input(Strict):
    """What all kinds of inputs have in common."""

    name: str
    type: str

    @property
    def read_columns(self) -> list[str]:
        """The columns of the data that the input reads."""
        return [self.name]

    @property
    def is_glob(self) -> bool:
        """True if its one column is a pattern of column names."""
        return False

    @property
    def claimed(self) -> set[str]:
        """The columns that a glob of another input leaves out."""
        return {self.name, *self.read_columns}

    @property
    def keeps_lists(self) -> bool:
        """True if a cell of its column may be a list, which is then not a list of documents."""
        return False

    @property
    def splits_texts(self) -> bool:
        """True if a cell of a document may be a text that is split into a list."""
        return getattr(self, "separator", None) is not None and getattr(self, "scope", None) == "document"


class ColumnInput(Input):
    """An input of one column, which may have another name."""

    column: str | None = Field(None, description="column of the data; `name` if omitted")

    @property
    def read_columns(self) -> list[str]:
        return [self.column or self.name]
