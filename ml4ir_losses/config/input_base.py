"""What all kinds of inputs have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ml4ir_losses.config.base import Strict

Scope = Literal["document", "query"]


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


class ColumnInput(Input):
    """An input of one column, which may have another name."""

    column: str | None = Field(None, description="column of the data; `name` if omitted")

    @property
    def read_columns(self) -> list[str]:
        return [self.column or self.name]
