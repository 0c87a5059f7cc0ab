"""The sections of a feature config, and those shared with text configs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from ml4ir_losses.config.base import Spec, Strict, null_is_empty, or_string
from ml4ir_losses.config.folds import Folds, SplitConfig
from ml4ir_losses.config.in_memory import SPLITS, InMemory, Paths, listed_paths
from ml4ir_losses.config.inputs import FeatureConfig
from ml4ir_losses.config.ranges import Ranges
from ml4ir_losses.config.schedules import OptimizedModel
from ml4ir_losses.config.spec_schema import keys_of, reader_options, weighted_sums
from ml4ir_losses.config.training import TrainingConfig
from ml4ir_losses.core.memory import size_in_bytes
from ml4ir_losses.core.registry import ARCHITECTURES, LOSSES, METRICS, POSITION_BIASES, Entry, split_spec


class _Named(Protocol):
    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=_Named)

_METRICS: tuple[Spec, ...] = ({"key": "ndcg", "topn": 10}, {"key": "mrr"})


def reads(*kinds: str) -> Callable[[Entry], bool]:
    """The condition that an architecture reads one of the kinds of data: `features`, `texts`, `pairs`."""
    return lambda entry: entry.trait("reads", "features") in kinds


def is_ranking_loss(entry: Entry) -> bool:
    """True for a ranking loss."""
    return entry.loss_type != "embedding"


def _size(value: int | str) -> int | str:
    size_in_bytes(value)
    return value


Size = Annotated[Annotated[int, Field(ge=0)] | str, AfterValidator(_size)]
"""A number of bytes, or a text such as 2GB."""

_PROPENSITY: dict[str, dict[str, Any]] = {"propensity": {"description": "inverse propensity weighting of clicks"}}
_AUX: dict[str, dict[str, Any]] = {
    **_PROPENSITY,
    "weight": {"type": "number", "minimum": 0, "default": 1.0},
    "label": {"type": ["string", "null"], "description": "label column; the main label if omitted"},
}


FindingKey = Literal[
    "label_leak",
    "label_order",
    "useless_queries",
    "query_id",
    "query_scope",
    "constant_input",
    "unknown_category",
    "duplicate_document",
    "split_query",
    "shared_queries",
    "shared_query_ids",
    "shared_documents",
]


class DataConfig(Strict):
    """Data files and batching."""

    model_config = ConfigDict(json_schema_extra=reader_options)
    format: str | None = Field(None, description="how files are read; by their ending if omitted")
    directory: str | None = Field(None, description="folder to which the paths below are relative")
    train: Paths | None = Field(None, description="a path, a glob or a list")
    validation: Paths | None = None
    test: Paths | None = None
    path: Paths | None = Field(None, description="data in the place of train, validation and test, for split or folds")
    split: SplitConfig | None = Field(None, description="which share of the queries of path is validation and test")
    options: dict[str, Any] = Field(default_factory=dict, description="parameters of the reader")
    batch_size: int = Field(32, ge=1, description="queries per batch")
    max_list_size: int | None = Field(None, ge=1, description="maximum number of documents per query")
    truncation: Literal["first", "random", "keep_relevant"] = Field(
        "first", description="which documents are kept; random and keep_relevant apply to training only"
    )
    shuffle: bool = True
    bucketing: bool = Field(True, description="batch queries of similar list length in training")
    memory: Size | None = Field(
        None, description="memory for data, such as 2GB; larger data are streamed; half of the free memory if omitted"
    )
    cache: str | bool | None = Field(
        None, description="folder for the encoded data of streamed files; false: they are removed at the end"
    )
    folds: Folds | None = Field(None, description="cross-validation in tune and compare; train uses the splits")
    accept: list[FindingKey] = Field(default_factory=list, description="findings about the data that are left out")

    @model_validator(mode="after")
    def _check_path(self) -> Self:
        files = [split for split in SPLITS if getattr(self, split) is not None]
        if self.path is None and self.train is None:
            raise ValueError("train is missing: give train, or path with split or folds")
        if self.path is not None and files:
            raise ValueError(f"give {' and '.join(files)}, or path with split, not both")
        if self.path is None and self.split is not None:
            raise ValueError("split reads path: give path in the place of train, validation and test")
        if self.path is not None and self.split is None and self.folds is None:
            raise ValueError(
                "path needs split, such as split: {validation: 0.15, test: 0.15}, or folds; or call it train"
            )
        return self

    @property
    def splits(self) -> list[str]:
        """The splits that are given."""
        if self.path is None:
            return [split for split in SPLITS if getattr(self, split) is not None]
        return ["train"] if self.split is None else [name for name, share in self.split.shares.items() if share]

    def paths(self, split: str) -> list[str | InMemory]:
        """The files that hold a split, below `directory`, or its data in memory; empty if the split is not given."""
        if self.path is not None:
            return listed_paths(self.path, self.directory) if split in self.splits else []
        return listed_paths(getattr(self, split), self.directory)

    def without(self, split: str) -> Self:
        """The section without validation or test."""
        if self.split is not None:
            return self.model_copy(update={"split": self.split.without(split)})
        return self.model_copy(update={split: None})

    @property
    def source(self) -> tuple[Any, ...]:
        """What is read, and how: all but batching."""
        files = (self.train, self.validation, self.test, self.path)
        return self.format, self.directory, *files, self.split, self.options, self.memory, self.cache


class AuxLoss(BaseModel):
    """An auxiliary loss on the same scores; its parameters are given beside these keys."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    key: str
    weight: float = Field(1.0, ge=0)
    label: str | None = Field(None, description="label column; the main label if omitted")

    @property
    def spec(self) -> dict[str, Any]:
        """The loss without weight and label."""
        return {"key": self.key, **(self.model_extra or {})}


class ModelConfig(OptimizedModel):
    """Architecture, loss, metrics, optimizer."""

    architecture: Spec = Field("dnn", json_schema_extra=keys_of(ARCHITECTURES, reads("features", "pairs")))
    loss: Spec = Field(
        description="a key with its parameters",
        json_schema_extra=keys_of(LOSSES, is_ranking_loss, _PROPENSITY, weighted_sums),
    )
    aux_losses: list[AuxLoss] = Field(default_factory=list, json_schema_extra=keys_of(LOSSES, is_ranking_loss, _AUX))
    position_bias: Spec | None = Field(
        None,
        description="how training on clicks separates relevance from features.positions",
        json_schema_extra=keys_of(POSITION_BIASES),
    )
    metrics: list[Spec] = Field(default_factory=lambda: list(_METRICS), json_schema_extra=keys_of(METRICS))
    feature_dropout: float = Field(
        0.0, ge=0, lt=1, description="probability that a feature is hidden from a list in training"
    )

    @field_validator("aux_losses", mode="before")
    @classmethod
    def _expand_keys(cls, value: Any) -> Any:
        return [{"key": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    def loss_and_propensity(self) -> tuple[Spec, Any]:
        """The main loss, and the propensity model given with it."""
        return pop_propensity(self.loss)

    @property
    def bias_parameters(self) -> dict[str, Any]:
        """The parameters of the position bias; empty without one."""
        return {} if self.position_bias is None else split_spec(POSITION_BIASES.kind, self.position_bias)[1]

    @property
    def bias_inputs(self) -> tuple[str, ...]:
        """The inputs that the position bias alone reads, in training."""
        return tuple(self.bias_parameters.get("inputs") or ())

    def is_click(self, label: str) -> bool:
        """True for a label column that the position bias corrects."""
        clicks = self.bias_parameters.get("labels")
        return clicks is None or label in clicks

    def relevance_inputs(self, inputs: Sequence[T]) -> list[T]:
        """The inputs, fitted or not, that relevance reads: all that scoring needs."""
        return [item for item in inputs if item.name not in self.bias_inputs]

    @property
    def min_label(self) -> float:
        """The label below which a document is padding for the loss and the metrics."""
        from ml4ir_losses.losses.factory import get_loss

        limit = get_loss(self.loss_and_propensity()[0]).min_label
        return float("-inf") if limit is None else limit


def pop_propensity(spec: Spec) -> tuple[Spec, Any]:
    """A loss spec without its `propensity`, and that propensity (None: not given)."""
    if isinstance(spec, str) or "propensity" not in spec:
        return spec, None
    return {name: value for name, value in spec.items() if name != "propensity"}, spec["propensity"]


class Config(Strict):
    """An experiment on documents with features."""

    name: str = Field("run", pattern=r"^[\w.-]+$")
    data: DataConfig
    features: FeatureConfig = Field(json_schema_extra=or_string)
    model: ModelConfig = Field(json_schema_extra=or_string)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    expected_metrics: Annotated[dict[Literal["validation", "test"], dict[str, float]], null_is_empty] = Field(
        default_factory=dict
    )
    tune: Ranges = Field(default_factory=dict)
