"""BM25 as a baseline for trained encoders, computed with the library `bm25s`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from ml4ir_losses.core.log import LOGGER

K1, B = 1.2, 0.75
_SILENT: dict[str, Any] = {"show_progress": False}


def bm25_rankings(
    corpus: Mapping[Hashable, str], queries: Mapping[Hashable, str], k: int
) -> dict[Hashable, list[Hashable]] | None:
    """Ids of the top k documents of each query by BM25 (k1 1.2, b 0.75, without English stop words), best first.

    Returns None if `bm25s` is not installed.

    Source: Robertson, Zaragoza, "The probabilistic relevance framework: BM25 and beyond" (2009); Lù, "BM25S" (2024).
    """
    try:
        index = _index(list(corpus.values()))
    except ImportError:
        LOGGER.info("no BM25 to compare with: pip install bm25s")
        return None
    ids = list(corpus)
    top_rows, _ = index.retrieve(_tokenize(list(queries.values())), k=min(k, len(corpus)), **_SILENT)
    return {query: [ids[row] for row in rows] for query, rows in zip(queries, top_rows, strict=True)}


def bm25_scores(corpus: Sequence[str], queries: Sequence[str]) -> np.ndarray[Any, Any]:
    """BM25 scores of every document for every query, [Q, M].

    Raises:
        ImportError: if `bm25s` is not installed.
    """
    index = _index(corpus)
    return np.stack([index.get_scores(words) for words in _tokenize(queries)])


def _index(corpus: Sequence[str]) -> Any:
    import bm25s

    index = bm25s.BM25(k1=K1, b=B)
    index.index(_tokenize(corpus), **_SILENT)
    return index


def _tokenize(texts: Sequence[str]) -> list[list[str]]:
    import bm25s

    words: list[list[str]] = bm25s.tokenize(list(texts), stopwords="en_plus", return_ids=False, **_SILENT)
    return words
