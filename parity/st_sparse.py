"""sentence-transformers' sparse losses as functions of the model's outputs; for the Python of its environment."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import util
from sentence_transformers.sparse_encoder import losses

PARTS = (
    "sentence_embedding_backbone",
    *(f"decoded_embedding_{name}" for name in ("k", "4k", "aux", "k_pre_bias")),
)


def make(params: dict[str, Any]) -> Any:
    """The loss of a mapping: its class under `loss`, its parameters beside it."""
    params = {**params}
    name = params.pop("loss")
    if "similarity_fct" in params:
        params["similarity_fct"] = getattr(util, params["similarity_fct"])
    return getattr(losses, name)(None, **params)


def value_of(name: str, params: dict[str, Any], x: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """The loss of embeddings [B, C, D], or of the outputs of a sparse auto-encoder, [B, C, P, D]."""
    params = {**params}
    inner = make(params.pop("loss")) if "loss" in params else None
    columns = list(x.unbind(1))
    if name == "CSRReconstructionLoss":
        found = losses.CSRReconstructionLoss(None, **params).compute_loss_from_embeddings([*map(_features, columns)])
    elif name == "CSRLoss":
        outputs = map(_features, columns)
        found = losses.CSRLoss(lambda _: next(outputs), inner, **params)([{}] * len(columns), labels)
    elif name == "SpladeLoss":
        outputs = iter(columns)
        loss = losses.SpladeLoss(lambda _: {"sentence_embedding": next(outputs)}, inner, **params)
        found = loss([{}] * len(columns), labels)
    elif name == "CachedSpladeLoss":
        loss = losses.CachedSpladeLoss(None, inner, **params)
        found = loss.calculate_loss([list(column.split(3)) for column in columns], labels)
    else:
        found = make({"loss": name, **params}).compute_loss_from_embeddings(columns, labels)
    return sum(found.values()) if isinstance(found, dict) else found


def _features(outputs: torch.Tensor) -> dict[str, torch.Tensor]:
    """What a sparse auto-encoder gives of one column, [B, P, D]."""
    return {
        "sentence_embedding": outputs[:, len(PARTS) :].reshape(len(outputs), -1),
        **{name: outputs[:, place] for place, name in enumerate(PARTS)},
    }
