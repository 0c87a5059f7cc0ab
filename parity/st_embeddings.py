"""sentence-transformers' embedding losses on embeddings from a table instead of a model's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from sentence_transformers import SentenceTransformer, util
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer import losses
from torch import Tensor, nn

from embeddings import EmbeddingCase

_DISTANCES = {
    "Batch": losses.BatchHardTripletLossDistanceFunction,
    "Triplet": losses.TripletDistanceMetric,
    "Contrastive": losses.SiameseDistanceMetric,
}


class Layers(Transformer):  # type: ignore[misc]
    """The outputs of all layers, from a table [B, C, L, D]; every text has one token."""

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
    """A model whose embedding of row i of column c is entry [i, c] of a table, in its last layer."""

    device = torch.device("cpu")

    def __init__(self, table: Tensor) -> None:
        nn.Sequential.__init__(self, Layers(table), Pooling())

    def get_embedding_dimension(self) -> int:
        return int(self[0].table.shape[-1])

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        for module in self:
            features = module(features)
        return features


def value_of(case: EmbeddingCase, y_true: Tensor, y_pred: Tensor) -> Tensor:
    """The loss of embeddings [B, C, D], or [B, C, L, D] of every layer."""
    model = Model(y_pred if y_pred.ndim == 4 else y_pred[:, :, None])
    loss, columns = _make(case, model), range(y_pred.shape[1])
    if case.name.startswith("Cached"):
        size = case.params["mini_batch_size"]
        return loss.calculate_loss([list(y_pred[:, c].split(size)) for c in columns])
    labels = None if case.name == "AnglELoss" and case.columns == 3 else y_true
    value = loss([{"column": c} for c in columns], labels)
    return sum(value.values()) if isinstance(value, dict) else value


def _make(case: EmbeddingCase, model: Model) -> Any:
    params = dict(case.params)
    if "similarity_fct" in params:
        params["similarity_fct"] = getattr(util, params["similarity_fct"])
    for prefix, distances in _DISTANCES.items():
        if "distance_metric" in params and case.name.startswith(prefix):
            params["distance_metric"] = getattr(distances, params["distance_metric"])
    if "loss" in params:
        params["loss"] = getattr(losses, params["loss"])(model)
    return getattr(losses, case.name)(model, **params)
