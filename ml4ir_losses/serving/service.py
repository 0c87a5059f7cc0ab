"""A loaded run, ready to answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras

from ml4ir_losses.core.checksums import sha256
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.experiments.embedding_index import FOLDER, open_index
from ml4ir_losses.experiments.open_run import open_run
from ml4ir_losses.model.cross_encoder import TextCrossEncoder
from ml4ir_losses.model.embedding_model import EmbeddingModel
from ml4ir_losses.serving.answers import Kind, ModelAnswer
from ml4ir_losses.serving.batcher import Batcher
from ml4ir_losses.serving.columns import Column
from ml4ir_losses.serving.documents import Documents
from ml4ir_losses.serving.embedding import Embedding, Index
from ml4ir_losses.serving.errors import NotOffered
from ml4ir_losses.serving.explaining import Explaining
from ml4ir_losses.serving.openapi import describe_api
from ml4ir_losses.serving.operation import Operation, Pending
from ml4ir_losses.serving.ranking import Ranking
from ml4ir_losses.serving.settings import Batching, Limits


@dataclass(frozen=True)
class Service:
    """A run that answers requests; any thread may call it.

    Attributes:
        run: the run folder.
        name: the name of the run, by its config.
        version: the first 12 letters of the checksum of its model.
        kind: what it does.
        operations: what it answers, by the last part of the path.
        columns: the columns of its requests.
        limits: what it refuses.
        batcher: what calls the model.
    """

    run: Path
    name: str
    version: str
    kind: Kind
    operations: Mapping[str, Operation]
    columns: Mapping[str, Column]
    limits: Limits
    batcher: Batcher[Any, Any]

    def start(self, operation: str, body: bytes) -> Pending:
        """Begins the answer to a request.

        Raises:
            UserError: for a request that cannot be answered; `NotOffered` for an operation that the run does not have.
        """
        if operation not in self.operations:
            raise NotOffered(f"the run {self.name!r} is of kind {self.kind}; it offers {', '.join(self.operations)}.")
        return self.operations[operation].start(body)

    @cached_property
    def api(self) -> dict[str, Any]:
        """The OpenAPI document of what is answered."""
        return describe_api(self.name, self.version, self.operations)

    def describe(self) -> ModelAnswer:
        """What is served."""
        columns: list[Any] = [
            {"name": c.name, "kind": c.kind, "scope": c.scope, **({"size": c.size} if c.size else {})}
            for c in self.columns.values()
        ]
        return {
            "run": self.name,
            "version": self.version,
            "kind": self.kind,
            "columns": columns,
            "operations": list(self.operations),
            "limits": asdict(self.limits),
        }

    def warm_up(self) -> None:
        """Answers the example of each operation, so that the first request finds all that is built on first use.

        Raises:
            UserError: if the model gives no finite numbers.
        """
        for name, operation in self.operations.items():
            try:
                operation.start(json.dumps(operation.example).encode()).result()
            except Exception as error:
                reason = str(error).partition("\n")[0]
                raise UserError(f"{self.run}: the run cannot answer its example of {name} ({reason}).") from error

    def close(self) -> None:
        """Answers what waits, and frees the thread of the model."""
        self.batcher.close()


def load_service(
    run: str | Path,
    limits: Limits | None = None,
    batching: Batching | None = None,
    index: str | Path | None = None,
    columns: Sequence[str] = (),
    identity: str | None = None,
) -> Service:
    """The service of a run folder.

    Args:
        run: the run folder.
        limits: what requests are refused.
        batching: how requests are joined.
        index: the documents that a bi-encoder searches: a folder that `quantize-embeddings` wrote, or a file; None: the
            index of the run, if it has one.
        columns: the text columns of a file, joined by a space; empty: the only text column.
        identity: its column of document ids; None: row numbers.

    Raises:
        UserError: if the folder holds no run that can be served, or the documents cannot be read.
    """
    folder, limits, batching = Path(run), limits or Limits(), batching or Batching()
    experiment = open_run(folder)
    version = sha256(folder / "model.keras")[:12]
    name, model = experiment.config.name, experiment.model
    served = {"run": name, "version": version}
    if isinstance(model, EmbeddingModel):
        embedding = Embedding(model, _documents(model, folder, index, columns, identity), limits, batching, served)
        return Service(folder, name, version, "embedding", embedding.operations, {}, limits, embedding.batcher)
    if index is not None:
        raise UserError(f"{folder}: is the run of a ranking model, which searches no documents.")
    ranking = Ranking(model, limits, batching, served)
    kind: Kind = "pairs" if isinstance(model, TextCrossEncoder) else "ranking"
    operations = {"rank": ranking.operation}
    if kind == "ranking" and keras.backend.backend() != "jax":  # which would compile each explanation, and all wait
        operations["explain"] = Explaining(ranking, limits).operation
    return Service(folder, name, version, kind, operations, ranking.columns, limits, ranking.batcher)


def _documents(
    model: EmbeddingModel, run: Path, index: str | Path | None, columns: Sequence[str], identity: str | None
) -> Index | None:
    """The documents to search; None: there are none."""
    if index is None:
        return open_index(run / FOLDER) if (run / FOLDER).is_dir() else None
    if Path(index).is_dir():
        return open_index(index, run)
    return Documents.of_file(model, str(index), columns, identity)
