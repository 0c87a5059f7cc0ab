"""The sections of a text config: pairs, triplets, corpora."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ml4ir_losses.config.base import Spec, Strict, null_is_empty, or_string
from ml4ir_losses.config.in_memory import InMemory, Paths, listed_paths
from ml4ir_losses.config.ranges import Ranges
from ml4ir_losses.config.schedules import OptimizedModel
from ml4ir_losses.config.schema import FindingKey, is_ranking_loss, reads
from ml4ir_losses.config.spec_schema import key_among, keys_of, names_of, reader_options, weighted_sums
from ml4ir_losses.config.training import TrainingConfig
from ml4ir_losses.core.errors import UserError, did_you_mean
from ml4ir_losses.core.registry import ARCHITECTURES, BATCHINGS, LOSSES
from ml4ir_losses.metrics.retrieval import RETRIEVAL_METRICS

Column = str | list[str]
TeacherFiles = dict[Literal["train", "validation", "test"], str]
TEXT = re.compile(r"anchor|positive|negative(_\d+)?|document|text")
_OTHER = ("label", "weight", "teacher")


def _named_by_role(columns: Any) -> Any:
    """Roles listed without columns: the columns have the names of their roles."""
    return {str(role): role for role in columns} if isinstance(columns, list) else columns


Columns = Annotated[
    dict[str, Column],
    BeforeValidator(_named_by_role, json_schema_input_type=dict[str, Column] | list[str]),
    Field(
        description="anchor, positive, negative_1, ...; anchor and document; or text; also label, weight, teacher; "
        "columns of a list are joined; a list of roles if the columns are called so"
    ),
]
_METRICS: list[Spec] = [{"key": key, "topn": topn} for key, topn in RETRIEVAL_METRICS]


def listed(value: Column | None) -> list[str]:
    """One name or several as a list."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


class DatasetConfig(Strict):
    """One data set: files, column roles, batching and loss."""

    train: Paths = Field(description="a path, a glob or a list")
    validation: Paths | None = None
    test: Paths | None = None
    columns: Columns
    loss: Spec | None = Field(
        None,
        description="model.loss if omitted",
        json_schema_extra=keys_of(LOSSES, more=weighted_sums, title="loss.any"),
    )
    batch_size: int | None = Field(None, ge=1, description="data.batch_size if omitted")
    batching: Spec | None = Field(None, description="data.batching if omitted", json_schema_extra=keys_of(BATCHINGS))
    teacher: TeacherFiles = Field(default_factory=dict, description="a .npy file of teacher values for each split")

    @field_validator("columns")
    @classmethod
    def _roles(cls, columns: dict[str, Column]) -> dict[str, Column]:
        for role, column in columns.items():
            if not TEXT.fullmatch(role) and role not in _OTHER:
                known = ["anchor", "positive", "negative", "document", "text", *_OTHER]
                raise ValueError(
                    f"unknown role {role!r}.{did_you_mean(role, known)} Roles of columns: anchor, positive, "
                    "negative or negative_1, negative_2, ..., document, text, label, weight, teacher"
                )
            if not listed(column):
                raise ValueError(f"{role} names no column")
        texts = [role for role in columns if TEXT.fullmatch(role)]
        if not texts:
            raise ValueError("no text: give anchor and positive, or text")
        if "text" in texts and len(texts) > 1:
            raise ValueError(f"text stands alone, beside it there is {texts[texts[0] == 'text']}")
        if "document" in texts:
            if set(texts) != {"anchor", "document"}:
                raise ValueError(f"document stands beside anchor alone. Received: {', '.join(texts)}")
        elif "text" not in texts and not {"anchor", "positive"} <= set(texts):
            raise ValueError(f"{' and '.join(texts)} alone: give anchor and positive, or text")
        return columns

    @property
    def texts(self) -> list[str]:
        """The roles of the text columns, in the order of y_pred."""
        order = {"anchor": (0, 0), "text": (0, 0), "positive": (1, 0), "document": (1, 0)}
        roles = (role for role in self.columns if TEXT.fullmatch(role))
        return sorted(roles, key=lambda role: order.get(role, (2, int(role.partition("_")[2] or 0))))

    @property
    def labelled(self) -> bool:
        """True if there is a column of labels or of a teacher's scores."""
        return "label" in self.columns or "teacher" in self.columns

    @property
    def grouped(self) -> bool:
        """True if a row is one document, and the rows of equal anchor form a list."""
        return "document" in self.columns

    def draws_negatives(self, loss: Any) -> bool:
        """True if a cross-encoder's loss takes documents of the batch's other rows as negatives."""
        return bool(loss.in_batch) and not self.labelled


class RetrievalConfig(Strict):
    """A corpus with queries and relevance judgments."""

    corpus: Paths
    document_id: str = "doc_id"
    document: Column = Field("text", description="columns of the corpus, joined")
    queries: Paths
    query_id: str = "query_id"
    query: Column = Field("text", description="columns of the queries, joined")
    qrels: Paths = Field(description="file of query_id, document_id and grade")
    grade: str = "grade"
    gain: Literal["identity", "pow2_minus_1"] = Field("identity", description="gain of a grade in ndcg")
    metrics: list[Spec] = Field(
        default_factory=lambda: list(_METRICS),
        min_length=1,
        description="ndcg, mrr, map and recall, each with topn",
    )
    similarity: Literal["cosine", "dot", "euclidean"] = "cosine"
    dims: int | None = Field(None, ge=1, description="number of leading embedding dimensions used; all if omitted")
    during_training: bool = Field(False, description="evaluate after every epoch, as val_retrieval_<metric>")


class RerankingConfig(Strict):
    """Queries, each with its own documents and their grades."""

    files: Paths
    query_id: str | None = Field(None, description="the query text if omitted")
    query: Column = "query"
    document: Column = "document"
    grade: str = "label"
    during_training: bool = False


class TextDataConfig(Strict):
    """Data files and batching."""

    model_config = ConfigDict(json_schema_extra=reader_options)
    format: str | None = Field(None, description="how files are read; by their ending if omitted")
    directory: str | None = Field(None, description="folder to which all paths of this section are relative")
    options: dict[str, Any] = Field(default_factory=dict, description="parameters of the reader")
    train: Paths | None = Field(None, description="a path, a glob or a list")
    validation: Paths | None = None
    test: Paths | None = None
    columns: Columns | None = None
    batch_size: int = Field(64, ge=1, description="rows per batch")
    batching: Spec | None = Field(
        None,
        description="how rows are combined into batches; chosen by the loss if omitted",
        json_schema_extra=keys_of(BATCHINGS),
    )
    shuffle: bool = True
    datasets: dict[str, DatasetConfig] = Field(
        default_factory=dict, description="several data sets by name, each with its columns and loss"
    )
    sampling: Literal["round_robin", "proportional"] = Field(
        "proportional", description="order of batches from several data sets"
    )
    teacher: str | TeacherFiles | None = Field(
        None, description="run folder whose encoder gives the teacher's embeddings, or a .npy file for each split"
    )
    accept: list[FindingKey] = Field(default_factory=list, description="findings about the data that are left out")
    retrieval: RetrievalConfig | None = None
    reranking: RerankingConfig | None = None

    @model_validator(mode="before")
    @classmethod
    def _check_path(cls, section: Any) -> Any:
        given = [name for name in ("path", "split", "folds") if isinstance(section, dict) and section.get(name)]
        if given:
            raise ValueError(f"{given[0]} splits documents with features; texts have files for train, validation, test")
        return section

    @model_validator(mode="after")
    def _check_datasets(self) -> Self:
        if self.datasets and (self.train or self.columns):
            raise ValueError("give train and columns, or datasets, not both")
        if not self.datasets:
            if self.train is None:
                raise ValueError("train is missing")
            if self.columns is None:
                raise ValueError("columns is missing: it says which columns are anchor, positive, label, ...")
            self.single()
        if self.datasets and isinstance(self.teacher, dict):
            raise ValueError("teacher: files belong to a data set: datasets.<name>.teacher")
        invalid = next((n for n in self.datasets if not re.fullmatch(r"\w+", n)), None)
        if invalid is not None:
            raise ValueError(f"the name of a data set is letters, digits and _. Received: {invalid!r}")
        return self

    def single(self) -> DatasetConfig:
        """The data set of `train` and `columns`."""
        return DatasetConfig(
            train=self.train or [],
            validation=self.validation,
            test=self.test,
            columns=self.columns or {},
            batch_size=self.batch_size,
            batching=self.batching,
            teacher=self.teacher if isinstance(self.teacher, dict) else {},
        )

    @property
    def teacher_run(self) -> str | None:
        """The run folder whose encoder is the teacher, if there is one."""
        return self.teacher if isinstance(self.teacher, str) else None

    def only_set(self) -> tuple[str, DatasetConfig]:
        """Name and settings of the only data set; `UserError` where there are several."""
        sets = self.sets()
        if len(sets) > 1:
            raise UserError(
                f"This run has several data sets ({', '.join(sets)}), whose columns may differ. Use encode."
            )
        return next(iter(sets.items()))

    def sets(self) -> dict[str, DatasetConfig]:
        """The data sets by name, with inherited settings; a single data set is called `main`."""
        if not self.datasets:
            return {"main": self.single()}
        return {
            name: dataset.model_copy(
                update={
                    "batch_size": dataset.batch_size or self.batch_size,
                    "batching": dataset.batching if dataset.batching is not None else self.batching,
                }
            )
            for name, dataset in self.datasets.items()
        }

    def paths(self, value: Paths | None) -> list[str | InMemory]:
        """Paths below `directory`, or data in memory."""
        return listed_paths(value, self.directory)


class TokenizerConfig(Strict):
    """The word tokenizer; the encoder `keras_hub` has its own tokenizer and uses `max_length` only."""

    max_vocabulary: int = Field(20_000, ge=1, description="number of most frequent training words kept")
    max_length: int = Field(256, ge=1, description="maximum number of tokens per text, or per pair of a cross-encoder")
    max_query_length: int | None = Field(
        None,
        ge=1,
        description="maximum number of tokens of a cross-encoder's query; a quarter of max_length if omitted",
    )
    min_count: int = Field(1, ge=1, description="words in fewer training texts are treated as unknown")
    punctuation: Literal["split", "strip"] = Field(
        "split",
        description="split: punctuation and symbols of any script separate words; strip: ASCII ones are removed",
    )
    prefix_length: int | None = Field(
        None, ge=1, description="number of letters kept per word, so that inflected forms coincide; all if omitted"
    )


def _losses_of_architectures(schema: dict[str, Any]) -> None:
    """Extends the JSON schema of a model: architectures for pairs take ranking losses, others embedding losses."""
    embedding, ranking = (
        names_of(entry for entry in LOSSES if is_ranking_loss(entry) == wanted) for wanted in (False, True)
    )
    null = {"type": "null"}
    schema["if"] = {"properties": {"architecture": key_among(names_of(filter(reads("pairs"), ARCHITECTURES)))}}
    schema["then"] = {"properties": {"loss": {"anyOf": [key_among(ranking), *weighted_sums(ranking), null]}}}
    schema["else"] = {"properties": {"loss": {"anyOf": [key_among(embedding), null]}}}


class TextModelConfig(OptimizedModel):
    """Architecture, tokenizer, loss, optimizer."""

    model_config = ConfigDict(json_schema_extra=_losses_of_architectures)

    architecture: Spec = Field(json_schema_extra=keys_of(ARCHITECTURES, reads("texts", "pairs")))
    tokenizer: TokenizerConfig = Field(default_factory=TokenizerConfig)
    loss: Spec | None = Field(
        None,
        description="a key with its parameters; data sets may define their own loss",
        json_schema_extra=keys_of(LOSSES, more=weighted_sums, title="loss.any"),
    )


class MiningConfig(Strict):
    """Hard negatives for the training pairs."""

    run: str | None = Field(
        None, description="run folder whose encoder finds the negatives; `mine-negatives --run` overrides it"
    )
    output: Literal["triplet", "n_tuple", "labeled_pair", "labeled_list"] = "triplet"
    num_negatives: int = Field(3, ge=1)
    range_min: int = Field(0, ge=0, description="number of most similar documents skipped")
    range_max: int | None = Field(None, ge=1, description="number of most similar documents considered")
    max_score: float | None = Field(None, description="skip documents more similar to the anchor than this")
    relative_margin: float | None = Field(
        None, description="skip documents more similar than (1 - relative_margin) times the positive's similarity"
    )
    similarity: Literal["cosine", "dot", "euclidean"] = "cosine"
    sampling: Literal["top", "random"] = "top"
    index: Literal["exact", "hnswlib", "faiss"] = "exact"
    corpus: Paths | None = Field(None, description="files of candidate documents; the positives if omitted")
    document: Column = Field("text", description="columns of the corpus, joined")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.range_max is not None and self.range_max <= self.range_min:
            raise ValueError(f"range_max {self.range_max} must be above range_min {self.range_min}")
        return self


class TextConfig(Strict):
    """An experiment on texts."""

    name: str = Field("run", pattern=r"^[\w.-]+$")
    data: TextDataConfig
    model: TextModelConfig = Field(json_schema_extra=or_string)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    evaluators: list[Literal["similarity", "binary", "triplet", "ranking", "classes"]] | None = Field(
        None, description="how validation and test pairs are evaluated; inferred from their columns if omitted"
    )
    mining: MiningConfig = Field(default_factory=MiningConfig)
    expected_metrics: Annotated[
        dict[Literal["validation", "test", "retrieval", "reranking"], dict[str, float]], null_is_empty
    ] = Field(default_factory=dict)
    tune: Ranges = Field(default_factory=dict)


class TextTask(BaseModel):
    """The properties of a data set that a model needs: loss, number of text columns, classes."""

    loss: Spec
    columns: int
    classes: list[str] = []
