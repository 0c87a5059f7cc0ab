"""The section `data.folds`: cross-validation by query, by the values of a column, or in time."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ml4ir_losses.config.base import Strict


class FoldsConfig(Strict):
    """Folds of queries, each of which is evaluated by a model that is trained on others."""

    k: int = Field(5, ge=2, description="number of folds")
    by: Literal["query", "column", "time"] = Field(
        "query",
        description="query: queries at random; column: queries with the same value stay together; time: a fold is "
        "evaluated by a model trained on earlier queries",
    )
    column: str | None = Field(None, description="the column of by: column (a user, for example) or by: time")
    seed: int = Field(1, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_column(self) -> Self:
        if self.by != "query" and self.column is None:
            raise ValueError(f"by: {self.by} needs column, the name of a column")
        if self.by == "query" and self.column is not None:
            raise ValueError(f"column {self.column!r} is not read with by: query; say by: column or by: time")
        return self


def _from_number(value: Any) -> Any:
    """`5` is short for `{k: 5}`."""
    return {"k": value} if isinstance(value, int) and not isinstance(value, bool) else value


Folds = Annotated[FoldsConfig, BeforeValidator(_from_number, json_schema_input_type=FoldsConfig | int)]
