"""Writes tests/golden/st_6_losses.json: values and gradients of sentence-transformers; run by its environment's Python.

    cd parity && ../.venv-parity-st/bin/python golden.py

Holds what came with version 6: directions and hardness of in-batch negatives, temperatures, layer weights, n-tuples.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

PATH = Path(__file__).parents[1] / "tests" / "golden" / "st_6_losses.json"
ROWS, COLUMNS, LAYERS, SIZE = 4, 4, 3, 4
NUMBERS = np.random.default_rng(6)


def _numbers(*shape: int) -> Any:
    return np.round(NUMBERS.normal(size=shape), 2).tolist()


INPUTS = {
    "texts": _numbers(ROWS, COLUMNS, SIZE),
    "layers": _numbers(ROWS, 2, LAYERS, SIZE),
    "teacher": _numbers(ROWS, SIZE),
    "teachers": _numbers(ROWS, 2, SIZE),
    "teacher_scores": _numbers(ROWS, 3),
    "scores": [0.9, 0.2, 0.4, 0.2],
    "ones": [1.0] * ROWS,
    "classes": [0.0, 1.0, 0.0, 1.0],
}
DIRECTIONS = ("query_to_query", "doc_to_query", "doc_to_doc")
HARDNESS = ("in_batch_negatives", "hard_negatives", "all_negatives")


def _cases() -> Any:
    """(class, parameters, number of text columns or `layers`, name of the labels)."""
    name = "MultipleNegativesRankingLoss"
    subsets = [some for size in range(4) for some in itertools.combinations(DIRECTIONS, size)]
    modes = [{"directions": ("query_to_doc", *some)} for some in subsets]
    both = ("query_to_doc", "doc_to_query")
    modes += [{"directions": some, "partition_mode": "per_direction"} for some in (both[:1], both)]
    hardness: list[dict[str, Any]] = [{}, *({"hardness_mode": mode, "hardness_strength": 3.0} for mode in HARDNESS)]
    for mode, hard in itertools.product(modes, hardness):
        yield name, {**mode, **hard}, COLUMNS, "ones"
    every = {"directions": ("query_to_doc", *DIRECTIONS), "hardness_mode": "all_negatives", "hardness_strength": 2.0}
    yield name, {"similarity_fct": "dot_score", "scale": 1.0, **every}, 3, "ones"
    yield name, {"similarity_fct": "euclidean_sim", "scale": 2.0, **every}, 3, "ones"
    yield name, every, 2, "ones"
    yield f"Cached{name}", {"mini_batch_size": 3, **every}, 3, "ones"
    for temperatures in ({"student_temperature": 2.0}, {"teacher_temperature": 0.5, "temperature": 3.0}):
        yield "DistillKLDivLoss", temperatures, COLUMNS, "teacher_scores"
    for metric, labels in itertools.product(("cosine", "l2", "mse"), ("teacher", "teachers")):
        yield "EmbedDistillLoss", {"distance_metric": metric}, 2, labels
    yield "MSELoss", {}, 2, "teachers"
    for columns, labels in ((3, "ones"), (4, "scores")):
        yield "AnglELoss", {"scale": 5.0}, columns, labels
    for weights in ({}, {"mean_weight": None, "aggregation": "sum"}, {"second_moment_weight": 0.0, "mean_weight": 2.0}):
        yield "GlobalOrthogonalRegularizationLoss", weights, 2, "ones"
    yield "GlobalOrthogonalRegularizationLoss", {"similarity_fct": "dot_score"}, 3, "ones"
    for triplets in ("BatchAllTripletLoss", "BatchHardTripletLoss", "BatchSemiHardTripletLoss"):
        yield triplets, {"distance_metric": "euclidean_distance", "margin": 1.0}, 1, "classes"
    inner = {"loss": "MultipleNegativesRankingLoss", "n_layers_per_step": -1, "kl_temperature": 0.5}
    for weighting in ("uniform", "log", "linear"):
        yield "AdaptiveLayerLoss", {**inner, "layer_weighting": weighting, "prior_layers_weight": 2.0}, "layers", "ones"
    dims = {"matryoshka_dims": [SIZE, 2], "matryoshka_weights": [1.0, 0.5], "n_dims_per_step": -1}
    yield "Matryoshka2dLoss", {**inner, **dims, "layer_weighting": "log", "kl_div_weight": 0.7}, "layers", "ones"


class Layers(Transformer):  # type: ignore[misc]
    """The outputs of all layers, [layers] of [rows, tokens, size], from a table; every text has one token."""

    auto_model = SimpleNamespace(config=SimpleNamespace(output_hidden_states=False))

    def __init__(self, table: Tensor) -> None:
        nn.Module.__init__(self)
        self.table = table

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        states = list(self.table[:, features["column"]].unbind(1))
        features.update(all_layer_embeddings=[x[:, None] for x in states], token_embeddings=states[-1][:, None])
        return features  # the same dict: the peer reads the layers from it in later passes


class Pooling(nn.Module):
    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        return {**features, "sentence_embedding": features["token_embeddings"][:, 0]}


class Model(SentenceTransformer):  # type: ignore[misc]
    """A model whose embedding of row i of column c is entry [i, c] of a table [B, C, L, D]."""

    device = torch.device("cpu")

    def __init__(self, table: Tensor) -> None:
        nn.Sequential.__init__(self, Layers(table), Pooling())

    def get_embedding_dimension(self) -> int:
        return SIZE

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        for module in self:
            features = module(features)
        return features


def make(name: str, params: dict[str, Any], model: Any) -> Any:
    """The peer's loss; functions and losses are given by name."""
    params = dict(params)
    if "similarity_fct" in params:
        params["similarity_fct"] = getattr(util, params["similarity_fct"])
    if "distance_metric" in params and name.startswith("Batch"):
        params["distance_metric"] = getattr(losses.BatchHardTripletLossDistanceFunction, params["distance_metric"])
    if "loss" in params:
        params["loss"] = getattr(losses, params["loss"])(model)
    return getattr(losses, name)(model, **params)


def value_of(name: str, params: dict[str, Any], x: Tensor, labels: Tensor) -> Tensor:
    """The loss of embeddings [B, C, D], or [B, C, L, D] of every layer."""
    model = Model(x if x.ndim == 4 else x[:, :, None])
    loss = make(name, params, model)
    columns = [{"column": c} for c in range(x.shape[1])]
    if name.startswith("Cached"):
        value = loss.calculate_loss([list(x[:, c].split(params["mini_batch_size"])) for c in range(x.shape[1])])
    else:
        value = loss(columns, None if name == "AnglELoss" and x.shape[1] == 3 else labels)
    return sum(value.values()) if isinstance(value, dict) else value


def main() -> None:
    cases = []
    for name, params, columns, labels in _cases():
        x = torch.tensor(INPUTS["layers"] if columns == "layers" else INPUTS["texts"], dtype=torch.float64)
        x = (x if columns == "layers" else x[:, :columns]).clone().requires_grad_()
        value = value_of(name, params, x, torch.tensor(INPUTS[labels], dtype=torch.float64))
        value.backward()
        gradient = [float(f"{number:.9g}") for number in x.grad.flatten().tolist()]
        shown = ",".join("+".join(v) if isinstance(v, tuple) else f"{k}={v}" for k, v in params.items())
        cases.append(
            {
                "id": f"st6.{name}/{shown}/{columns}/{labels}",
                "loss": f"st6.{name}",
                "params": params,
                "columns": columns,
                "labels": labels,
                "value": float(value),
                "gradient": gradient,
            }
        )
    text = ",\n".join(json.dumps(case) for case in cases)
    version = json.dumps(sentence_transformers.__version__)
    PATH.write_text(f'{{"version": {version},\n"inputs": {json.dumps(INPUTS)},\n"cases": [\n{text}\n]}}\n')


if __name__ == "__main__":
    main()
