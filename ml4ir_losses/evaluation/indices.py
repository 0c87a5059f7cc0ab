"""Approximate nearest-neighbour search in a large corpus; the scores of the results are exact."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError
from ml4ir_losses.evaluation.nearest import Search, compare

Candidates = Callable[[Array, int], Array]  # (queries, k) -> rows [Q, k], -1 where fewer were found
_MIN_CLUSTERED = 2000  # rows; faiss wants at least 39 rows per cluster


def searcher(index: str, corpus: Array, similarity: str, seed: int = 0) -> Search | None:
    """`fn(queries, k) -> (similarities, rows)`, both [Q, ≤k], best first, -1 where fewer were found; None for `exact`.

    Args:
        index: one of `INDICES`.
        corpus: [M, D] float32; pass unit vectors with `dot` for cosine similarity.
        similarity: `dot` or `euclidean`.
        seed: random seed of the index.

    Raises:
        UserError: if the package of the index is not installed.
    """
    if index == "exact":
        return None
    candidates = _BUILDERS[index](corpus, similarity, seed)

    def search(queries: Array, k: int) -> tuple[Array, Array]:
        rows = candidates(queries, min(k, len(corpus)))
        scores = np.stack(
            [compare(q[None], corpus[neighbours], similarity)[0] for q, neighbours in zip(queries, rows, strict=True)]
        )
        scores[rows < 0] = -np.inf
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)

    return search


def _hnswlib(corpus: Array, similarity: str, seed: int) -> Candidates:
    """A hierarchical navigable small-world graph (Malkov and Yashunin, 2018)."""
    library = _import_library("hnswlib", "hnswlib")
    graph = library.Index(space="l2" if similarity == "euclidean" else "ip", dim=corpus.shape[1])
    graph.init_index(max_elements=len(corpus), ef_construction=200, M=32, random_seed=seed)
    graph.add_items(corpus)

    def candidates(queries: Array, k: int) -> Array:
        graph.set_ef(max(2 * k, 200))
        try:
            rows: Array = graph.knn_query(queries, k)[0].astype("int64")
        except RuntimeError:
            raise UserError(
                f"`index='hnswlib'` does not find {k} documents for every anchor, which happens with many equal "
                "embeddings; use index='exact' or 'faiss'."
            ) from None
        return rows

    return candidates


def _faiss(corpus: Array, similarity: str, seed: int) -> Candidates:
    """Inverted lists of which the nearest eighth is searched; a small corpus is searched exhaustively."""
    library = _import_library("faiss", "faiss-cpu")
    clusters = math.isqrt(len(corpus))
    metric = library.METRIC_L2 if similarity == "euclidean" else library.METRIC_INNER_PRODUCT
    lists = library.index_factory(
        corpus.shape[1], "Flat" if len(corpus) < _MIN_CLUSTERED else f"IVF{clusters},Flat", metric
    )
    if not lists.is_trained:
        lists.cp.seed, lists.nprobe = seed, max(clusters // 8, 8)
        lists.train(corpus)
    lists.add(corpus)

    def candidates(queries: Array, k: int) -> Array:
        rows: Array = lists.search(np.ascontiguousarray(queries), k)[1]
        return rows

    return candidates


_BUILDERS: dict[str, Callable[[Array, str, int], Candidates]] = {"hnswlib": _hnswlib, "faiss": _faiss}
INDICES = ("exact", *_BUILDERS)


def _import_library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"`index={module!r}` needs the package {package}: pip install {package}.") from None
