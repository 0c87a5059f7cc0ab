"""The embedding losses that are compared with sentence-transformers, and their batches."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

COLUMNS, LAYERS, SIZE, TEACHER = 4, 3, 4, 3
DIRECTIONS = ("query_to_query", "doc_to_query", "doc_to_doc")
HARDNESS = ("in_batch_negatives", "hard_negatives", "all_negatives")


@dataclass(frozen=True)
class EmbeddingCase:
    """One line of the table.

    Args:
        name: the peer's class.
        params: its parameters; functions and losses by name.
        columns: number of text columns; 0: two columns with the outputs of every layer.
        labels: what y_true is: a key of `random_batch`.
        left_out: why inputs are left out.
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)
    columns: int = 2
    labels: str = "ones"
    left_out: str = ""

    @property
    def id(self) -> str:
        shown = [f"{k}={'+'.join(v) if isinstance(v, tuple) else v}" for k, v in self.params.items()]
        return f"{self.name}({', '.join(shown)}) {self.columns or 'layers'} {self.labels}"

    def taken(self, batch: dict[str, Any]) -> dict[str, Any]:
        """y_true and y_pred of the case."""
        y_pred = batch["texts"][:, : self.columns] if self.columns else batch["layers"]
        return {"y_true": batch[self.labels], "y_pred": np.ascontiguousarray(y_pred)}


def random_batch(rng: np.random.Generator, rows: int) -> dict[str, Any]:
    """Embeddings of texts and layers, and labels of every kind, with `rows` rows."""
    shapes = {
        "texts": (rows, COLUMNS, SIZE),
        "layers": (rows, 2, LAYERS, SIZE),
        "teacher": (rows, SIZE),
        "teachers": (rows, 2, SIZE),
        "teacher_scores": (rows, TEACHER),
    }
    return {name: rng.normal(size=shape).round(3).astype("float32") for name, shape in shapes.items()} | {
        "scores": rng.choice([0.9, 0.2, 0.4], rows).astype("float32"),
        "ones": np.ones(rows, "float32"),
        "same": rng.integers(0, 2, rows).astype("float32"),
        "topics": (np.arange(rows) % 2).astype("float32"),
    }


def _ranking_cases() -> list[EmbeddingCase]:
    name = "MultipleNegativesRankingLoss"
    subsets = [some for size in range(4) for some in itertools.combinations(DIRECTIONS, size)]
    modes: list[dict[str, Any]] = [{"directions": ("query_to_doc", *some)} for some in subsets]
    both = ("query_to_doc", "doc_to_query")
    modes += [{"directions": some, "partition_mode": "per_direction"} for some in (both[:1], both)]
    hardness: list[dict[str, Any]] = [{}, *({"hardness_mode": mode, "hardness_strength": 3.0} for mode in HARDNESS)]
    every = {"directions": ("query_to_doc", *DIRECTIONS), "hardness_mode": "all_negatives", "hardness_strength": 2.0}
    return [
        *(EmbeddingCase(name, {**mode, **hard}, COLUMNS) for mode, hard in itertools.product(modes, hardness)),
        EmbeddingCase(name, {"similarity_fct": "dot_score", "scale": 1.0, **every}, 3),
        EmbeddingCase(name, {"similarity_fct": "euclidean_sim", "scale": 2.0, **every}, 3),
        EmbeddingCase(name, every),
        EmbeddingCase(f"Cached{name}", {"mini_batch_size": 3, **every}, 3),
    ]


_WEIGHTS = ({}, {"mean_weight": None, "aggregation": "sum"}, {"second_moment_weight": 0.0, "mean_weight": 2.0})
_LAYERS = {"loss": "MultipleNegativesRankingLoss", "n_layers_per_step": -1, "kl_temperature": 0.5}
_DIMS = {"matryoshka_dims": [SIZE, 2], "matryoshka_weights": [1.0, 0.5], "n_dims_per_step": -1}
_MINED = ("BatchAllTripletLoss", "BatchHardTripletLoss", "BatchSemiHardTripletLoss")
NEW = [  # in version 6
    *_ranking_cases(),
    EmbeddingCase("DistillKLDivLoss", {"student_temperature": 2.0}, COLUMNS, "teacher_scores"),
    EmbeddingCase(
        "DistillKLDivLoss", {"teacher_temperature": 0.5, "temperature": 3.0}, COLUMNS, labels="teacher_scores"
    ),
    *(
        EmbeddingCase("EmbedDistillLoss", {"distance_metric": metric}, labels=labels)
        for metric, labels in itertools.product(("cosine", "l2", "mse"), ("teacher", "teachers"))
    ),
    EmbeddingCase("MSELoss", labels="teachers"),
    EmbeddingCase("AnglELoss", {"scale": 5.0}, 3),
    EmbeddingCase("AnglELoss", {"scale": 5.0}, 4, "scores"),
    *(EmbeddingCase("GlobalOrthogonalRegularizationLoss", weights) for weights in _WEIGHTS),
    EmbeddingCase("GlobalOrthogonalRegularizationLoss", {"similarity_fct": "dot_score"}, 3),
    *(
        EmbeddingCase(name, {"distance_metric": "euclidean_distance", "margin": 1.0}, 1, labels="topics")
        for name in _MINED
    ),
    *(
        EmbeddingCase("AdaptiveLayerLoss", {**_LAYERS, "layer_weighting": weighting, "prior_layers_weight": 2.0}, 0)
        for weighting in ("uniform", "log", "linear")
    ),
    EmbeddingCase("Matryoshka2dLoss", {**_LAYERS, **_DIMS, "layer_weighting": "log", "kl_div_weight": 0.7}, 0),
]
EMBEDDINGS = [
    *NEW,
    EmbeddingCase("MultipleNegativesSymmetricRankingLoss"),
    EmbeddingCase("ContrastiveLoss", {"distance_metric": "EUCLIDEAN", "margin": 2.0}, labels="same"),
    EmbeddingCase("OnlineContrastiveLoss", {"margin": 1.5}, labels="same"),
    EmbeddingCase("CosineSimilarityLoss", labels="scores"),
    EmbeddingCase("CoSENTLoss", {"scale": 5.0}, labels="scores"),
    EmbeddingCase("AnglELoss", {"scale": 5.0}, labels="scores"),
    EmbeddingCase("MarginMSELoss", columns=COLUMNS, labels="teacher_scores"),
    EmbeddingCase("MegaBatchMarginLoss", {"use_mini_batched_version": False}),
    *(
        EmbeddingCase("TripletLoss", {"distance_metric": metric, "triplet_margin": 2.0}, 3)
        for metric in ("COSINE", "EUCLIDEAN", "MANHATTAN")
    ),
    EmbeddingCase("BatchHardSoftMarginTripletLoss", {}, 1, labels="topics"),
    EmbeddingCase("MatryoshkaLoss", {"loss": "CoSENTLoss", "matryoshka_dims": [SIZE, 3]}, labels="scores"),
]
