"""Pair losses as a PyTorch user writes them, over whole [B, N, N] matrices: eager, and with `torch.compile`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

from cases import Case, arrays
from peers import torch_steps

MODES = ("eager", "compiled")
TERMS = {
    "logistic": lambda u: softplus(-u),
    "soft_zero_one": lambda u: torch.sigmoid(-u),
    "hinge": lambda u: relu(1 - u),
}


def versions() -> str:
    return f"torch {torch.__version__}"


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> Callable[[], tuple[np.ndarray, ...]]:
    name, params = case.specs["plain_torch"]
    given = arrays(case, shape, warm_up)
    labels = torch.tensor(given.labels)

    def value(scores: Tensor) -> Tensor:
        return LOSSES[name](labels, scores, **params)

    if mode == "compiled":
        torch.compiler.reset()  # after a few shapes of one function it would run eagerly
        value = torch.compile(value, dynamic=False)
    return torch_steps.step(value, given.scores)


def pairwise(labels: Tensor, scores: Tensor, term: str, weight: str | None = None) -> Tensor:
    """Mean of the term over the pairs of a query with y_i > y_j; the weights do not count in the divisor."""
    pairs = (labels[:, :, None] > labels[:, None, :]) & (labels[:, None, :] >= 0)
    values = TERMS[term](_differences(scores))
    if weight is not None:
        values = values * WEIGHTS[weight](labels, scores)
    return (torch.where(pairs, values, 0).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp(min=1)).mean()


def approx_ndcg(labels: Tensor, scores: Tensor, temperature: float = 0.1) -> Tensor:
    """-DCG / maxDCG at the soft ranks 1/2 + Σ_j σ((s_j - s_i) / T)."""
    valid = labels >= 0
    above = torch.sigmoid(-_differences(scores) / temperature)
    ranks = 0.5 + torch.where(valid[:, None, :], above, 0).sum(dim=2)
    return -(_gains(labels) / torch.log2(1 + ranks)).sum(dim=1).mean()


LOSSES = {"pairwise": pairwise, "approx_ndcg": approx_ndcg}


def _lambda_rank(labels: Tensor, scores: Tensor) -> Tensor:
    """|g_i - g_j|·|D(r_i) - D(r_j)|: what a swap of the two documents changes in the NDCG."""
    return _differences(_gains(labels)).abs() * _differences(1 / torch.log2(1 + _ranks(labels, scores))).abs()


def _ndcg(labels: Tensor, scores: Tensor) -> Tensor:
    """|g_i - g_j|·|D(d) - D(d + 1)| with the distance d of the ranks, TF-Ranking's default."""
    distance = _differences(_ranks(labels, scores)).abs()
    steps = (1 / torch.log2(1 + distance) - 1 / torch.log2(2 + distance)).abs()
    return _differences(_gains(labels)).abs() * torch.where(distance > 0, steps, 0)


def _ndcg_loss2pp(labels: Tensor, scores: Tensor, mu: float = 10.0) -> Tensor:
    return mu * _ndcg(labels, scores) + _lambda_rank(labels, scores)


WEIGHTS = {"ndcg": _ndcg, "lambda_rank": _lambda_rank, "ndcg_loss2pp": _ndcg_loss2pp}


def _differences(x: Tensor) -> Tensor:
    return x[:, :, None] - x[:, None, :]


def _gains(labels: Tensor) -> Tensor:
    """(2^y - 1) / maxDCG, 0 for padding."""
    gains = torch.where(labels >= 0, 2**labels - 1, 0)
    positions = torch.arange(1, labels.shape[1] + 1, dtype=labels.dtype)
    best = (gains.sort(dim=1, descending=True).values / torch.log2(1 + positions)).sum(dim=1, keepdim=True)
    return gains / best


def _ranks(labels: Tensor, scores: Tensor) -> Tensor:
    """1 for the highest score."""
    order = torch.where(labels >= 0, scores.detach(), -torch.inf).argsort(dim=1, descending=True)
    return (order.argsort(dim=1) + 1).to(scores.dtype)
