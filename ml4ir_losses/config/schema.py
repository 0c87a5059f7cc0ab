"""The sections of a feature config, and those shared with text configs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ml4ir_losses.config.spec_schema import keys_of, weighted_sums
from ml4ir_losses.core.registry import ARCHITECTURES, LOSSES, METRICS, Entry

SPLITS = ("train", "validation", "test")
Spec = str | dict[str, Any]
_METRICS: tuple[Spec, ...] = ({"key": "ndcg", "topn": 10}, {"key": "mrr"})


def or_string(schema: dict[str, Any]) -> None:
    """Extends the JSON schema of a section by its short form, a key or the path of a file."""
    section = dict(schema)
    schema.clear()
    schema["anyOf"] = [section, {"type": "string"}]


def reads_features(entry: Entry) -> bool:
    """True for an architecture that reads features."""
    return bool(entry.trait("reads", "features") == "features")


def is_ranking_loss(entry: Entry) -> bool:
    """True for a ranking loss."""
    return entry.loss_type != "embedding"


_PROPENSITY: dict[str, dict[str, Any]] = {"propensity": {"description": "inverse propensity weighting of clicks"}}
_AUX: dict[str, dict[str, Any]] = {
    **_PROPENSITY,
    "weight": {"type": "number", "minimum": 0, "default": 1.0},
    "label": {"type": ["string", "null"], "description": "label column; the main label if omitted"},
}


null_is_empty = BeforeValidator(lambda value: {} if value is None else value)
"""Allows `--set key=null` to clear a mapping."""


class Strict(BaseModel):
    """A section in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class DataConfig(Strict):
    """Data files and batching."""

    format: str | None = Field(
        None, description="svmlight, csv, synthetic; inferred from the file extension if omitted"
    )
    directory: str | None = Field(None, description="folder to which the paths below are relative")
    train: str | list[str] = Field(min_length=1, description="a path, a glob or a list")
    validation: str | list[str] | None = None
    test: str | list[str] | None = None
    options: dict[str, Any] = Field(default_factory=dict, description="parameters of the reader")
    batch_size: int = Field(32, ge=1, description="queries per batch")
    max_list_size: int | None = Field(None, ge=1, description="maximum number of documents per query")
    truncation: Literal["first", "random", "keep_relevant"] = Field(
        "first", description="which documents are kept; random and keep_relevant apply to training only"
    )
    shuffle: bool = True
    bucketing: bool = Field(True, description="batch queries of similar list length in training")

    def paths(self, split: str) -> list[str]:
        """The paths of a split, below `directory`; empty if the split is not given."""
        value = getattr(self, split)
        paths = [] if value is None else [value] if isinstance(value, str) else value
        return [str(Path(self.directory, p)) for p in paths] if self.directory else list(paths)


class ClipTransform(Strict):
    """Clip to [min, max]."""

    key: Literal["clip"]
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("clip needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        return self


Transform = Literal["log1p", "standardise", "standardize", "robust"] | ClipTransform
Scope = Literal["document", "query"]


class NumericInput(Strict):
    """Numeric columns; `name` may be a glob."""

    name: str
    type: Literal["numeric"]
    scope: Scope = "document"
    transforms: list[Transform] = Field(default_factory=list)
    missing: Literal["mean", "median", "zero"] | float = Field(
        "median", description="value that replaces an empty cell"
    )
    missing_indicator: bool = Field(False, description="add a 0/1 column that marks empty cells")
    query_rank: bool = Field(False, description="add each column's rank among the query's documents, -1/2 to 1/2")

    @model_validator(mode="after")
    def _check_query_rank(self) -> Self:
        if self.query_rank and self.scope == "query":
            raise ValueError("query_rank ranks the documents of a query: it needs scope document")
        return self


class CategoricalInput(Strict):
    """A categorical column, embedded."""

    name: str
    type: Literal["categorical"]
    scope: Scope = "document"
    encoding: Literal["vocabulary", "hash"] = "vocabulary"
    max_vocabulary: int = Field(
        10_000, ge=1, description="number of most frequent values kept; the others share one embedding"
    )
    num_buckets: int = Field(1_000, ge=2, description="number of embeddings for encoding: hash")
    embedding_dim: int = Field(16, ge=1)


class TextInput(Strict):
    """A text column, embedded as the mean of its word embeddings."""

    name: str
    type: Literal["text"]
    scope: Scope = "document"
    max_vocabulary: int = Field(10_000, ge=2)
    max_length: int = Field(32, ge=1, description="maximum number of words")
    embedding_dim: int = Field(16, ge=1)


class TextPairInput(Strict):
    """The query and the document as one sequence of tokens, which a `cross_encoder` reads."""

    name: str
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
        if self.weight and self.query_weight:
            raise ValueError("give weight or query_weight, not both")
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


class OptimizerConfig(BaseModel):
    """A Keras optimizer; its other parameters are given beside the key."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    key: str = "adam"
    learning_rate: float = Field(1e-3, gt=0)


class ConstantSchedule(Strict):
    """A constant learning rate."""

    key: Literal["constant"]


class ExponentialSchedule(Strict):
    """The learning rate times decay_rate ^ (batch / decay_steps)."""

    key: Literal["exponential"]
    decay_steps: int = Field(1_000, ge=1)
    decay_rate: float = Field(0.96, gt=0)
    staircase: bool = False


class CosineSchedule(Strict):
    """Half a cosine down to alpha times the learning rate, after a linear warm-up."""

    key: Literal["cosine"]
    decay_steps: int | None = Field(None, ge=1, description="the whole training if omitted")
    alpha: float = Field(0.0, ge=0, le=1, description="final learning rate as a fraction of the initial one")
    warmup_steps: int = Field(0, ge=0)


class PlateauSchedule(Strict):
    """The learning rate times factor if the monitored value has not improved for `patience` epochs."""

    key: Literal["plateau"]
    factor: float = Field(0.5, gt=0, lt=1)
    patience: int = Field(5, ge=1)
    min_lr: float = Field(0.0, ge=0)


class CyclicSchedule(Strict):
    """A learning rate that cycles between two bounds; replaces that of the optimizer."""

    key: Literal["cyclic"]
    type: Literal["triangular", "triangular2", "exponential"] = "triangular"
    initial_learning_rate: float = Field(1e-3, gt=0)
    maximal_learning_rate: float = Field(1e-2, gt=0)
    step_size: int = Field(10, ge=1, description="number of batches per half cycle")
    gamma: float = Field(1.0, gt=0, le=1)


Schedule = Annotated[
    ConstantSchedule | ExponentialSchedule | CosineSchedule | PlateauSchedule | CyclicSchedule,
    Field(discriminator="key"),
]


class OptimizedModel(Strict):
    """Optimizer and learning-rate schedule of a model."""

    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig, json_schema_extra=or_string)
    lr_schedule: Schedule = Field(default_factory=lambda: ConstantSchedule(key="constant"), json_schema_extra=or_string)

    @field_validator("optimizer", "lr_schedule", mode="before")
    @classmethod
    def _expand_key(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value


class ModelConfig(OptimizedModel):
    """Architecture, loss, metrics, optimizer."""

    architecture: Spec = Field("dnn", json_schema_extra=keys_of(ARCHITECTURES, reads_features))
    loss: Spec = Field(
        description="a key with its parameters",
        json_schema_extra=keys_of(LOSSES, is_ranking_loss, _PROPENSITY, weighted_sums),
    )
    aux_losses: list[AuxLoss] = Field(default_factory=list, json_schema_extra=keys_of(LOSSES, is_ranking_loss, _AUX))
    metrics: list[Spec] = Field(
        default_factory=lambda: list(_METRICS), min_length=1, json_schema_extra=keys_of(METRICS)
    )

    @field_validator("aux_losses", mode="before")
    @classmethod
    def _expand_keys(cls, value: Any) -> Any:
        return [{"key": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    def loss_and_propensity(self) -> tuple[Spec, Any]:
        """The main loss, and the propensity model given with it."""
        return pop_propensity(self.loss)

    @property
    def min_label(self) -> float:
        """The label below which a document is padding for the loss and the metrics."""
        from ml4ir_losses.losses.factory import get_loss

        limit = get_loss(self.loss_and_propensity()[0]).min_label
        return float("-inf") if limit is None else limit


class EarlyStopping(Strict):
    """Early stopping."""

    monitor: str | None = Field(None, description="val_<metric>; the first metric if omitted")
    patience: int = Field(10, ge=1)
    min_delta: float = Field(0.0, ge=0)
    start_from_epoch: int = Field(0, ge=0, description="number of initial epochs that cannot be the best")


class TrainingConfig(Strict):
    """Epochs, early stopping, seed, initial model and precision."""

    epochs: int = Field(50, ge=1)
    early_stopping: EarlyStopping | None = None
    seed: int = Field(1, ge=0, lt=2**32)
    initial_model: str | None = Field(None, description="a run folder or .keras file to start from")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    jit_compile: bool | Literal["auto"] = "auto"


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
