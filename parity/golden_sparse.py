"""Writes `tests/golden/st_sparse.json`: losses and modules of sentence-transformers' sparse encoders.

Run by the Python of its environment: `.venv-parity-st/bin/python parity/golden_sparse.py tests/golden/st_sparse.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling

from st_sparse import PARTS, value_of

ROWS, SIZE = 4, 3
RANKING = "SparseMultipleNegativesRankingLoss"


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).round(decimals=2).requires_grad_()


def case(name: str, params: dict[str, Any], x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, Any]:
    value = value_of(name, params, x, labels)
    value.backward()
    return {
        "loss": name,
        "params": params,
        "inputs": {"y_pred": _rounded(x)} | ({} if labels is None else {"labels": _rounded(labels)}),
        "expected_loss": float(value.detach()),
        "expected_grad": _rounded(x.grad, 8),
    }


def loss_cases() -> list[Any]:
    parts = len(PARTS)
    equal = numbers(5, 1, 2, parts, SIZE).detach().repeat(ROWS, 1, 1, 1).requires_grad_()
    inner = {"loss": RANKING, "scale": 5.0, "similarity_fct": "cos_sim"}
    weights = {"loss": {"loss": RANKING}, "document_regularizer_weight": 0.3, "query_regularizer_weight": 0.5}
    sparse = [numbers(seed, ROWS, 3, 6).detach().relu().requires_grad_() for seed in range(20, 24)]
    return [
        case("CSRReconstructionLoss", {}, numbers(1, ROWS, 2, parts, SIZE)),
        case("CSRReconstructionLoss", {"beta": 0.3}, numbers(2, ROWS, 1, parts, SIZE)),
        case("CSRReconstructionLoss", {"beta": 0.5}, equal),
        case("CSRReconstructionLoss", {"beta": 0.7}, numbers(6, 1, 2, parts, SIZE)),
        case("CSRLoss", {}, numbers(10, ROWS, 3, parts + 2, SIZE)),
        case("CSRLoss", {"beta": 0.5, "gamma": 2.0, "loss": inner}, numbers(11, ROWS, 3, parts + 2, SIZE)),
        case("CachedSpladeLoss", weights, sparse[0]),
        case("CachedSpladeLoss", {**weights, "document_regularizer_threshold": 2}, sparse[1]),
        case(RANKING, {}, sparse[2]),
        case("SparseDistillKLDivLoss", {}, sparse[3], numbers(24, ROWS, 2).detach()),
    ]


def autoencoder_cases() -> list[Any]:
    """Outputs of the sparse auto-encoder, and the gradients of their sum of squares by its weights."""
    found = []
    for seed, params, training in (
        (30, {"hidden_dim": 12, "k": 2, "k_aux": 3}, False),
        (31, {"hidden_dim": 8, "k": 1, "k_aux": 2, "normalize": True}, False),
        (32, {"hidden_dim": 12, "k": 2, "k_aux": 3, "normalize": True}, True),
    ):
        module = SparseAutoEncoder(input_dim=4, dead_threshold=5, **params).train(training)
        weights = [
            numbers(seed + 1, params["hidden_dim"], 4),
            numbers(seed + 2, 4),
            numbers(seed + 3, params["hidden_dim"]),
        ]
        idle = (torch.arange(params["hidden_dim"]) % 3) * 4
        with torch.no_grad():
            for parameter, value in zip(
                (module.encoder.weight, module.pre_bias, module.latent_bias), weights, strict=True
            ):
                parameter.copy_(value)
            module.stats_last_nonzero.copy_(idle)
        x = numbers(seed, 5, 4)
        given = module({"sentence_embedding": x})
        parts = torch.stack([given[name] for name in PARTS], 1)
        outputs = torch.cat([parts, given["sentence_embedding"].reshape(5, -1, 4)], 1)
        (outputs**2).sum().backward()
        found.append(
            {
                "params": {**params, "dead_threshold": 5},
                "training": training,
                "x": _rounded(x),
                "weights": [_rounded(w) for w in weights],
                "idle": idle.tolist(),
                "outputs": _rounded(outputs, 6),
                "gradients": [
                    _rounded(p.grad, 5) for p in (x, module.encoder.weight, module.pre_bias, module.latent_bias)
                ],
            }
        )
    return found


def pooling_cases() -> list[Any]:
    found = []
    for seed, (strategy, activation) in enumerate(
        (("max", "relu"), ("sum", "relu"), ("max", "log1p_relu"), ("sum", "log1p_relu")), start=40
    ):
        logits, mask = numbers(seed, 3, 4, 5), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]])
        module = SpladePooling(strategy, activation).train()
        pooled = module({"token_embeddings": logits, "attention_mask": mask})["sentence_embedding"]
        (pooled**2).sum().backward()
        found.append(
            {
                "pooling": strategy,
                "activation": activation,
                "logits": _rounded(logits),
                "mask": mask.tolist(),
                "pooled": _rounded(pooled, 7),
                "gradient": _rounded(logits.grad, 7),
            }
        )
    return found


def _rounded(x: torch.Tensor, decimals: int = 2) -> Any:
    values = x.detach().double().numpy().round(decimals)
    return values.tolist()


def main(path: str) -> None:
    golden = {"losses": loss_cases(), "autoencoder": autoencoder_cases(), "pooling": pooling_cases()}
    Path(path).write_text(json.dumps(golden, indent=None, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
