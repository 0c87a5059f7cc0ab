"""The sections `data.folds` and `data.split`: parts of queries, by query, by the values of a column, or in time."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ml4ir_losses.config.base import Strict
from ml4ir_losses.config.in_memory import SPLITS


class Grouping(Strict):
    """Which queries stay together, and in which order they are dealt out."""

    by: Literal["query", "column", "time"] = Field(
        "query",
        description="query: queries at random; column: queries with the same value stay together; time: what is "
        "evaluated is later than what is trained on",
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


class FoldsConfig(Grouping):
    """Folds of queries, each of which is evaluated by a model that is trained on others."""

    k: int = Field(5, ge=2, description="number of folds")


def _from_number(value: Any) -> Any:
    """`5` is short for `{k: 5}`."""
    return {"k": value} if isinstance(value, int) and not isinstance(value, bool) else value


Folds = Annotated[FoldsConfig, BeforeValidator(_from_number, json_schema_input_type=FoldsConfig | int)]


class SplitConfig(Grouping):
    """Shares of the queries of `data.path`, in time from train to test; queries beyond the shares are not read."""

    train: float | None = Field(None, gt=0, le=1, description="share of the queries; what the others leave if omitted")
    validation: float = Field(0.0, ge=0, lt=1, description="share of the queries")
    test: float = Field(0.0, ge=0, lt=1, description="share of the queries")

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if self.train is None and not self.validation + self.test:
            raise ValueError("give the share of validation or test, such as validation: 0.15")
        total = self.validation + self.test + (self.train or 0.0)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares add up to {total:g}, more than 1")
        if self.train is None and total > 1 - 1e-9:
            raise ValueError("validation and test leave no queries for train")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """The share of each split."""
        train = 1 - self.validation - self.test if self.train is None else self.train
        return dict(zip(SPLITS, (train, self.validation, self.test), strict=True))

    def without(self, split: str) -> Self:
        """The same parts, but without one split, whose queries are not read."""
        return self.model_copy(update={"train": self.shares["train"], split: 0.0})
