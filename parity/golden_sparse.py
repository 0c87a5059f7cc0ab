"""Writes `tests/golden/st_sparse.json`: losses and modules of sentence-transformers' sparse encoders.

Run by the Python of its environment: `.venv-parity-st/bin/python parity/golden_sparse.py tests/golden/st_sparse.json`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import util
from sentence_transformers.sparse_encoder import losses
from sentence_transformers.sparse_encoder.modules import SparseAutoEncoder, SpladePooling

ROWS, SIZE = 4, 3
PARTS = (
    "sentence_embedding_backbone",
    *(f"decoded_embedding_{name}" for name in ("k", "4k", "aux", "k_pre_bias")),
)
SIMILARITIES = {"cosine": util.cos_sim, "dot": util.dot_score}
RANKING = {"loss": "SparseMultipleNegativesRankingLoss"}


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).round(decimals=2).requires_grad_()


def inner(spec: dict[str, Any]) -> Any:
    """The loss of a case's parameters, made of its own."""
    params = {**spec}
    name = params.pop("loss")
    if "similarity_fct" in params:
        params["similarity_fct"] = SIMILARITIES[params["similarity_fct"]]
    return getattr(losses, name)(None, **params)


def features(parts: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    """What a sparse auto-encoder gives of each column of parts [B, C, P, D]."""
    return [
        {
            "sentence_embedding": column[:, len(PARTS) :].reshape(len(column), -1),
            **{name: column[:, place] for place, name in enumerate(PARTS)},
        }
        for column in parts.unbind(1)
    ]


def csr(params: dict[str, Any], parts: torch.Tensor) -> torch.Tensor:
    reconstruction = losses.CSRReconstructionLoss(None, **params)
    return sum(reconstruction.compute_loss_from_embeddings(features(parts)).values())


def csr_with_loss(params: dict[str, Any], parts: torch.Tensor) -> torch.Tensor:
    params = {**params}
    spec = params.pop("loss", None)
    model = iter(features(parts))
    loss = losses.CSRLoss(lambda _: next(model), None if spec is None else inner(spec), **params)
    return sum(loss([{}] * parts.shape[1]).values())


def splade(name: str, params: dict[str, Any], embeddings: torch.Tensor) -> torch.Tensor:
    loss = getattr(losses, name)(None, **{**params, "loss": inner(params["loss"])})
    return loss.calculate_loss([list(column.split(3)) for column in embeddings.unbind(1)])


def case(name: str, params: dict[str, Any], value: torch.Tensor, x: torch.Tensor, **inputs: torch.Tensor) -> Any:
    value.backward()
    return {
        "loss": name,
        "params": params,
        "inputs": {"y_pred": _rounded(x), **{key: _rounded(tensor) for key, tensor in inputs.items()}},
        "expected_loss": float(value.detach()),
        "expected_grad": _rounded(x.grad, 8),
    }


def loss_cases() -> list[Any]:
    found = []
    equal = numbers(5, 1, 2, len(PARTS), SIZE).detach().repeat(ROWS, 1, 1, 1).requires_grad_()
    single = numbers(6, 1, 2, len(PARTS), SIZE)
    for x, params in (
        (numbers(1, ROWS, 2, len(PARTS), SIZE), {}),
        (numbers(2, ROWS, 1, len(PARTS), SIZE), {"beta": 0.3}),
        (equal, {"beta": 0.5}),
        (single, {"beta": 0.5}),
    ):
        found.append(case("CSRReconstructionLoss", params, csr(params, x), x))
    for seed, params in enumerate(
        ({}, {"beta": 0.5, "gamma": 2.0, "loss": {**RANKING, "scale": 5.0, "similarity_fct": "cosine"}}), start=10
    ):
        x = numbers(seed, ROWS, 3, len(PARTS) + 2, SIZE)
        found.append(case("CSRLoss", params, csr_with_loss(params, x), x))
    weights = {"document_regularizer_weight": 0.3, "query_regularizer_weight": 0.5}
    for seed, extra in enumerate(({}, {"document_regularizer_threshold": 2}), start=20):
        x = numbers(seed, ROWS, 3, 6).detach().relu().requires_grad_()
        params = {"loss": RANKING, **weights, **extra}
        found.append(case("CachedSpladeLoss", params, splade("CachedSpladeLoss", params, x), x))
    return found


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
