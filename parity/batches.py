"""Random batches, and what of them a case takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case
from embeddings import EmbeddingCase, random_batch

Batch = dict[str, Any]


def batches(count: int, seed: int) -> list[Batch]:
    """Batches with padding anywhere, tied labels, lists of zeros and lists of padding."""
    rng, of_embeddings = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    return [
        _batch(rng, i) | {"embeddings": random_batch(of_embeddings, int(of_embeddings.integers(2, 7)))}
        for i in range(count)
    ]


def _batch(rng: np.random.Generator, i: int) -> Batch:
    size, longest = int(rng.integers(1, 7)), int(rng.integers(2, 11))
    shape = (size, longest)
    labels = rng.integers(0, 5, shape).astype("float32")
    labels[rng.random(size) < 0.15] = 0.0
    real = rng.random(shape) < 0.8
    real[rng.random(size) < 0.1] = False
    whole = np.argsort(rng.random(shape), axis=1).astype("float32")
    covers = (labels >= 2)[..., None] & (np.arange(longest)[:, None] % 3 != np.arange(3))
    return {
        "labels": np.where(real, labels, -1.0).astype("float32"),
        "whole": whole,
        "subtopics": np.where(real[..., None], covers, -1).astype("float32"),
        "binary": rng.integers(0, 2, size).astype("float32"),
        "classes": rng.integers(0, 3, size).astype("int64"),
        "scores": rng.normal(0, 2, (*shape, 3)).astype("float32"),
        "unit": rng.random(shape).astype("float32"),
        "candidates": rng.normal(0, 2, (size, size * 2)).astype("float32"),
        "sparse": np.maximum(rng.normal(0, 1, (size, 3, 6)), [0.1, 0, 0, 0, 0, 0]).astype("float32"),  # none is all 0
        "parts": rng.normal(0, 1, (size, 2, 7, 3)).astype("float32"),
        "teacher": rng.normal(0, 1, (size, 2)).astype("float32"),
        "list": rng.uniform(0.1, 3, (size, 1)).astype("float32"),
        "item": rng.uniform(0.1, 3, shape).astype("float32"),
        "kind": ("none", "list", "item")[i % 3],
        "turn": i // 3,
    }


def taken(case: Case | EmbeddingCase, batch: Batch) -> Batch | None:
    """y_true, y_pred, weight and temperature of a case; None: the batch is left out."""
    if isinstance(case, EmbeddingCase):
        return {**case.taken(batch["embeddings"]), "weight": None, "temperature": None}
    y_true = batch["labels"]
    y_pred = batch["scores"][..., : case.outputs] if case.outputs else batch["scores"][..., 0]
    if case.inputs == "whole":
        y_true = batch["whole"]
        y_pred = batch["unit"] if case.name == "CircleLoss" else y_pred
    elif case.inputs == "near":
        y_pred = batch["unit"]
    elif case.inputs == "rows":
        y_true, y_pred = batch["binary"], batch["scores"][:, 0, 0]
    elif case.inputs == "classes":
        y_true, y_pred = batch["classes"], batch["scores"][:, 0]
    elif case.inputs == "columns":
        y_true, y_pred = batch["scores"][..., 1], batch["scores"][..., 0]
    elif case.inputs == "candidates":
        y_true, y_pred = np.zeros((len(y_true), 1), "float32"), batch["candidates"]
    elif case.inputs == "subtopics":
        y_true = batch["subtopics"]
    elif case.inputs in ("sparse", "parts"):
        y_true, y_pred = batch["teacher"], batch[case.inputs]
    keep = np.ones(len(batch["labels"]), bool)
    if case.inputs == "pairs" and not _has_pair(y_true):
        return None
    if case.inputs in ("filled", "relevant", "subtopics"):
        lowest = 0 if case.inputs == "filled" or batch["kind"] == "none" else 1
        keep = (y_true >= lowest).any(axis=tuple(range(1, y_true.ndim)))
        if not keep.any():
            return None
        y_true, y_pred = y_true[keep], y_pred[keep]
    weight = batch.get(batch["kind"]) if batch["kind"] in case.weights else None
    weight = None if weight is None else weight[keep]
    temperature = case.temperatures[batch["turn"] % len(case.temperatures)] if case.temperatures else None
    return {"y_true": y_true, "y_pred": np.ascontiguousarray(y_pred), "weight": weight, "temperature": temperature}


def _has_pair(labels: np.ndarray) -> bool:
    real = labels >= 0
    return bool(((labels[:, :, None] > labels[:, None, :]) & real[:, :, None] & real[:, None, :]).any())
