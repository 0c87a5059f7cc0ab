"""Value and gradient of a loss in PyTorch, eagerly: no library here compiles its losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch


def step(loss: Callable[[torch.Tensor], torch.Tensor], scores: np.ndarray) -> Callable[[], tuple[np.ndarray, ...]]:
    leaf = torch.tensor(scores, requires_grad=True)

    def run() -> tuple[np.ndarray, ...]:
        leaf.grad = None
        value = loss(leaf)
        value.backward()
        return value.detach().numpy(), leaf.grad.numpy()

    return run
