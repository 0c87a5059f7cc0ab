"""The documents of a file as an index, held in memory and searched exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ml4ir_losses.core.arrays import Array, normalize_rows
from ml4ir_losses.evaluation.encoding import DOCUMENT
from ml4ir_losses.evaluation.nearest import top_k
from ml4ir_losses.experiments.text_commands import read_documents
from ml4ir_losses.model.embedding_model import EmbeddingModel


@dataclass(frozen=True)
class Documents:
    """Documents with their ids, texts and embeddings [M, D], compared by cosine."""

    ids: Sequence[str]
    texts: Sequence[str]
    embeddings: Array

    @classmethod
    def of_file(
        cls, model: EmbeddingModel, path: str, columns: Sequence[str] = (), identity: str | None = None
    ) -> Documents:
        """The documents of a file, embedded; arguments as in `experiments.text_commands.search`.

        Raises:
            DataError: for a file that cannot be read, or a missing column.
        """
        texts = read_documents(path, columns, identity)
        return cls(list(texts), list(texts.values()), normalize_rows(model.encode(list(texts.values()), DOCUMENT)))

    def search(self, embeddings: Array, k: int) -> tuple[Array, Array]:
        """Cosines and rows of the k nearest documents, [Q, k]."""
        return top_k(normalize_rows(embeddings), self.embeddings, k, "dot")
