"""The index beside a text run: embeddings of documents, quantized, with their ids and texts."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.checksums import run_file, sha256
from ml4ir_losses.core.errors import NotWritten, UserError
from ml4ir_losses.core.files import read_json, write_text
from ml4ir_losses.evaluation.vector_index import (
    BITS,
    VECTORS,
    IndexSettings,
    VectorIndex,
    import_faiss,
    read_vector_index,
)

FOLDER, RECORD = "index", "index.json"
DOCUMENTS = "documents.arrow"
_MAX_RECORD = 1 << 20  # bytes


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Measured(_Strict):
    """What quantization changes in the search for ten documents.

    Attributes:
        on: the queries and documents.
        queries: number of queries with judgments.
        float32: mean nDCG@10 of the float32 embeddings.
        quantized: that of the index.
        interval: the 95% interval of the difference of both.
        overlap: the mean share of the ten documents of float32 that the index finds.
    """

    on: str
    queries: int
    float32: float
    quantized: float
    interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    overlap: float


class IndexRecord(_Strict):
    """The content of `index.json`.

    Attributes:
        version: of this format.
        model: the SHA-256 of the model whose embeddings these are.
        folder: where the files are.
        files: the SHA-256 of each file.
        documents, dimensions: the shape of the embeddings.
        precision, rescore, rescore_by, similarity: see `IndexSettings`.
        sizes: bytes of the embeddings as float32, and of each file of the index.
        measured: what quantization changes; None: it was not measured.
    """

    version: Literal[1]
    model: str
    folder: Annotated[str, Field(pattern=r"^data-[0-9a-f]{8}$")]
    files: dict[str, str]
    documents: Annotated[int, Field(ge=1)]
    dimensions: Annotated[int, Field(ge=1)]
    precision: Literal["float32", "int8", "binary"]
    rescore: Annotated[int, Field(ge=1)]
    rescore_by: Literal["int8", "float32"]
    similarity: Literal["cosine", "dot", "euclidean"]
    sizes: dict[str, int]
    measured: Measured | None

    @property
    def settings(self) -> IndexSettings:
        """How the embeddings are stored."""
        return IndexSettings(self.precision, self.similarity, self.rescore, self.rescore_by)


class Texts(Sequence[str]):
    """A column of texts that stays on disk."""

    def __init__(self, column: Any) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return self._column[row].to_pylist()
        return self._column[int(row)].as_py()


class Index:
    """An opened index; several threads may search in it.

    Attributes:
        record: what `index.json` says.
        ids: the ids of the documents.
        texts: their texts.
    """

    def __init__(self, record: IndexRecord, vectors: VectorIndex, documents: Any) -> None:
        self.record, self.vectors = record, vectors
        self.ids, self.texts = Texts(documents["id"]), Texts(documents["text"])

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, embeddings: Array, k: int) -> tuple[Array, Array]:
        """Similarities and row numbers of the k nearest documents of each query, both [Q, min(k, N)], best first.

        Raises:
            UserError: for embeddings [Q, D] that are narrower than those of the index.
        """
        return self.vectors.search(embeddings, k)


def open_index(folder: str | Path, run: str | Path | None = None) -> Index:
    """The index of a folder, whose vectors, ids and texts stay on disk.

    Args:
        folder: the folder that `quantize-embeddings` wrote, `<run>/index`.
        run: the run folder; None: the one that the folder is in.

    Raises:
        UserError: if there is no index, it is damaged, or it is of another model than that of the run.
    """
    folder = Path(folder)
    run = folder.parent if run is None else Path(run)
    again = f"ml4ir-losses quantize-embeddings {run} --data FILE"
    record_file = run_file(folder, RECORD, _MAX_RECORD)
    if not record_file.is_file():
        raise UserError(f"{folder}: there is no index; make one: {again}")
    import_faiss()
    try:
        record = IndexRecord.model_validate(read_json(record_file))
    except ValidationError:
        raise UserError(f"{record_file}: is not that of an index of this version; make it again: {again}") from None
    model = run_file(run, "model.keras")
    if not model.is_file():
        raise UserError(f"{run}: holds no model.keras, whose embeddings the index has.")
    if sha256(model) != record.model:
        raise UserError(f"{folder}: is the index of another model than {model}; make it again: {again}")
    expected = [VECTORS, DOCUMENTS, *[BITS] * (record.precision == "binary")]
    if sorted(record.files) != sorted(expected):
        raise UserError(f"{record_file}: is damaged: it does not name the files of the index.")
    for name, checksum in record.files.items():
        file = run_file(folder, f"{record.folder}/{name}")
        if not file.is_file() or sha256(file) != checksum:
            raise UserError(f"{file}: is damaged: its checksum is not that of {RECORD}; make it again: {again}")
    data = folder / record.folder
    vectors = read_vector_index(data, record.settings)
    documents = pa.ipc.open_file(pa.memory_map(str(data / DOCUMENTS))).read_all()
    if not len(documents) == len(vectors) == record.documents or vectors.dimensions != record.dimensions:
        raise UserError(f"{folder}: is damaged: its files are not of the same documents.")
    return Index(record, vectors, documents)


@contextmanager
def new_index(run: Path) -> Iterator[Path]:
    """A new folder for the files of an index of a run; what it holds is removed after an error.

    An index that the run has stays as it is until `write_index` replaces it.

    Raises:
        NotWritten: when the folder cannot be made.
    """
    data = run / FOLDER / f"data-{uuid.uuid4().hex[:8]}"
    try:
        data.mkdir(parents=True)
    except OSError as error:
        raise NotWritten(f"{data}: cannot be written ({error.strerror or error}).") from None
    try:
        yield data
    except BaseException:
        shutil.rmtree(data, ignore_errors=True)
        with suppress(OSError):  # it holds the index of before
            data.parent.rmdir()
        raise


def write_index(
    data: Path,
    vectors: VectorIndex,
    documents: Mapping[str, str],
    measured: Measured | None,
) -> IndexRecord:
    """Writes an index into a folder that `new_index` made, then puts it in the place of an earlier one.

    Raises:
        NotWritten: when it cannot be written; an earlier index stays.
    """
    folder = data.parent
    names = [*vectors.write(data), DOCUMENTS]
    table = pa.table({"id": pa.array(list(documents), pa.string()), "text": pa.array(list(documents.values()))})
    try:
        with pa.OSFile(str(data / DOCUMENTS), "wb") as stream, pa.ipc.new_file(stream, table.schema) as writer:
            writer.write_table(table)
    except OSError as error:
        raise NotWritten(f"{data / DOCUMENTS}: cannot be written ({error.strerror or error}).") from None
    rows, width = len(vectors), vectors.dimensions
    record = IndexRecord(
        version=1,
        model=sha256(folder.parent / "model.keras"),
        folder=data.name,
        files={name: sha256(data / name) for name in names},
        documents=rows,
        dimensions=width,
        sizes={"float32": rows * width * np.dtype("float32").itemsize}
        | {name: (data / name).stat().st_size for name in names},
        measured=measured,
        **asdict(vectors.settings),
    )
    write_text(folder / RECORD, json.dumps(record.model_dump(), indent=2) + "\n")
    for other in folder.glob("data-*"):  # of the index of before, or of a process that was killed
        if other != data:
            shutil.rmtree(other, ignore_errors=True)
    return record
