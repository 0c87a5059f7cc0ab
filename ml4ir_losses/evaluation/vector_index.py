"""Embeddings in FAISS, whole or quantized, and the search in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array, normalize_rows
from ml4ir_losses.core.errors import DataError, NotWritten, UserError, check_choice, check_whole
from ml4ir_losses.core.extras import import_extra
from ml4ir_losses.evaluation.nearest import SIMILARITIES

PRECISIONS = ("float32", "int8", "binary")
VECTORS, BITS = "vectors.faiss", "bits.faiss"
_BLOCK = 65_536  # embeddings added at a time
_SEED = 1  # of the random rotation
_RESCORED = 4_096  # embeddings rescored at a time


def import_faiss() -> Any:
    """FAISS; `UserError` with the command that installs it if it is missing."""
    return import_extra("faiss", "search", "an index of embeddings")


@dataclass(frozen=True)
class IndexSettings:
    """How embeddings are stored and searched.

    * `float32`: as they are.
    * `int8`: one byte per dimension, in 255 equal steps between the lowest and the highest value of the dimension.
    * `binary`: one bit per dimension of the randomly rotated embeddings, and 8 bytes by which similarities are
      estimated from the bits (RaBitQ). `rescore` times as many documents as wanted are found by these estimates, and
      ranked by vectors of int8 or float32.

    Args:
        precision: `float32`, `int8` or `binary`.
        similarity: `cosine`, `dot` or `euclidean` (the negative distance).
        rescore, rescore_by: see above.

    Source: Gao and Long, "RaBitQ: Quantizing high-dimensional vectors with a theoretical error bound" (2024).

    Raises:
        UserError: for other values.
    """

    precision: str = "int8"
    similarity: str = "cosine"
    rescore: int = 4
    rescore_by: str = "int8"

    def __post_init__(self) -> None:
        check_choice(PRECISIONS, precision=self.precision)
        check_choice(SIMILARITIES, similarity=self.similarity)
        check_choice(PRECISIONS[:2], rescore_by=self.rescore_by)
        check_whole(1, rescore=self.rescore)

    def prepared(self, embeddings: Array) -> Array:
        """Embeddings as they are stored: of unit length for `cosine`."""
        return normalize_rows(embeddings) if self.similarity == "cosine" else embeddings


class VectorIndex:
    """The embeddings of documents, and the search for those that are most similar to a query.

    Args:
        settings: how they are stored.
        vectors: a FAISS index of float32 or int8 vectors.
        bits: a FAISS index of bits, or None.
    """

    def __init__(self, settings: IndexSettings, vectors: Any, bits: Any = None) -> None:
        self.settings, self.vectors, self.bits = settings, vectors, bits

    def __len__(self) -> int:
        return int(self.vectors.ntotal)

    @property
    def dimensions(self) -> int:
        """The width of the embeddings."""
        return int(self.vectors.d)

    @property
    def _is_distance(self) -> bool:
        return self.settings.similarity == "euclidean"

    def search(self, queries: Array, k: int) -> tuple[Array, Array]:
        """The k most similar documents of each query: similarities and row numbers, both [Q, min(k, N)], best first.

        Args:
            queries: embeddings, at least as wide as the index; further dimensions are left out.
            k: at least 1.

        Raises:
            UserError: for embeddings that are too narrow.
        """
        check_whole(1, k=k)
        queries = np.asarray(queries, "float32")
        if queries.ndim != 2 or queries.shape[1] < self.dimensions:
            raise UserError(
                f"`queries` must be embeddings [Q, {self.dimensions}], as the index has. "
                f"Received: {list(queries.shape)}."
            )
        queries = self.settings.prepared(np.ascontiguousarray(queries[:, : self.dimensions]))
        k = min(k, len(self))
        if self.bits is None or k * self.settings.rescore >= len(self):
            scores, rows = self.vectors.search(queries, k)
        else:
            scores, rows = self._rescored(queries, k)
        scores = -np.sqrt(np.maximum(scores, 0.0)) if self._is_distance else scores
        order = np.lexsort((rows, -scores), axis=1)  # equal ones by row
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _rescored(self, queries: Array, k: int) -> tuple[Array, Array]:
        """Dot products, or squared distances, and rows of the best of the documents that the bits find."""
        _, rows = self.bits.search(queries, k * self.settings.rescore)
        scores = np.empty(rows.shape, "float32")
        together = max(1, _RESCORED // rows.shape[1])
        for start in range(0, len(queries), together):
            part = slice(start, start + together)
            vectors = self.vectors.reconstruct_batch(rows[part].ravel()).reshape(*rows[part].shape, self.dimensions)
            if self._is_distance:
                scores[part] = ((vectors - queries[part, None]) ** 2).sum(axis=-1)
            else:
                scores[part] = (vectors @ queries[part, :, None])[..., 0]
        best = np.lexsort((rows, scores if self._is_distance else -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def write(self, folder: Path) -> list[str]:
        """Writes the index into a folder, and gives the names of the files.

        Raises:
            NotWritten: when that is not possible.
        """
        faiss = import_faiss()
        try:
            faiss.write_index(self.vectors, str(folder / VECTORS))
            if self.bits is None:
                return [VECTORS]
            faiss.write_index(self.bits, str(folder / BITS))
        except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError
            raise NotWritten(f"{folder}: cannot be written ({str(error).strip().splitlines()[-1]}).") from None
        return [VECTORS, BITS]


def make_vector_index(embeddings: Array, settings: IndexSettings) -> VectorIndex:
    """The index of embeddings [N, D], which `settings.prepared` gave; they may be a file mapped into memory."""
    faiss = import_faiss()
    dimensions = embeddings.shape[1]
    metric = faiss.METRIC_L2 if settings.similarity == "euclidean" else faiss.METRIC_INNER_PRODUCT
    if (settings.rescore_by if settings.precision == "binary" else settings.precision) == "float32":
        vectors = faiss.IndexFlat(dimensions, metric)
    else:
        vectors = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_8bit, metric)
        # FAISS reads the lowest and the highest value of each dimension off the vectors that it is given.
        vectors.train(np.stack([embeddings.min(axis=0), embeddings.max(axis=0)]))
    bits = None
    if settings.precision == "binary":
        rotation = faiss.RandomRotationMatrix(dimensions, 8 * -(-dimensions // 8))
        rotation.init(_SEED)
        bits = faiss.IndexPreTransform(rotation, faiss.IndexRaBitQFastScan(rotation.d_out, metric))
        bits.train(np.asarray(embeddings[:_BLOCK]))  # the mean of the embeddings
    for start in range(0, len(embeddings), _BLOCK):
        part = np.ascontiguousarray(embeddings[start : start + _BLOCK])
        for index in (vectors, bits):
            if index is not None:
                index.add(part)
    return VectorIndex(settings, vectors, bits)


def read_vector_index(folder: Path, settings: IndexSettings) -> VectorIndex:
    """The index that `VectorIndex.write` wrote.

    Raises:
        DataError: for files that are damaged.
    """
    faiss = import_faiss()
    names = [VECTORS, BITS] if settings.precision == "binary" else [VECTORS]
    try:  # the vectors stay on disk
        found = [faiss.read_index(str(folder / name), faiss.IO_FLAG_MMAP_IFC) for name in names]
    except (OSError, RuntimeError) as error:
        raise DataError(f"{folder}: is damaged ({str(error).strip().splitlines()[-1]}).") from None
    return VectorIndex(settings, *found)
