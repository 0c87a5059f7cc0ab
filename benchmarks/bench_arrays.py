"""The arrays that all libraries of `bench.py` get."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench_cases import LEVELS, SHAPES, Case


@dataclass(frozen=True)
class Arrays:
    """labels [B, N] with -1 as padding; scores [B, N] or [B, N, outputs]; mask [B, N]. Documents come first.

    In-batch losses: labels [B], and as scores the embeddings [B, 2, D].
    """

    labels: np.ndarray
    scores: np.ndarray
    mask: np.ndarray


def lengths(shape: str, rng: np.random.Generator) -> np.ndarray:
    """Documents per list; `ragged`: lognormal with mean 120, the longest 1251, as in MSLR-WEB30K."""
    lists, longest = SHAPES[shape]
    if shape != "ragged":
        return np.full(lists, longest)
    sigma = 0.6
    drawn = rng.lognormal(np.log(120) - sigma**2 / 2, sigma, lists)
    drawn[0] = longest
    return np.clip(np.round(drawn), 2, longest).astype(int)


def arrays(case: Case, shape: str) -> Arrays:
    """The same arrays in every process."""
    rng = np.random.default_rng(0)
    size = SHAPES[shape]
    if case.family == "in_batch":
        embeddings = rng.normal(size=(size[0], 2, size[1])).astype("float32")
        return Arrays(np.zeros(size[0], "float32"), embeddings, np.ones(size[0], bool))
    mask = np.arange(size[1]) < lengths(shape, rng)[:, None]
    labels = rng.integers(0, LEVELS + 1, size).astype("float32")
    if case.labels == "unit":
        labels /= LEVELS
    wide = (*size, case.outputs) if case.outputs else size
    scores = rng.random(wide) if case.scores == "unit" else rng.normal(0, 3, wide)
    return Arrays(np.where(mask, labels, -1).astype("float32"), scores.astype("float32"), mask)
