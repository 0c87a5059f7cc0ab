"""allRank's losses. Those that take probabilities get the sigmoid of the scores."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from collections.abc import Callable

import numpy as np
import torch
from bench_arrays import Arrays
from bench_cases import Case
from peers import torch_steps

# The losses need one constant and one function of modules that import torchvision and clients of storage services.
sys.modules["allrank.data.dataset_loading"] = types.ModuleType("dataset_loading")
sys.modules["allrank.data.dataset_loading"].PADDED_Y_VALUE = -1  # type: ignore[attr-defined]
sys.modules["allrank.models.model_utils"] = types.ModuleType("model_utils")
sys.modules["allrank.models.model_utils"].get_torch_device = lambda: torch.device("cpu")  # type: ignore[attr-defined]

from allrank.models import losses  # noqa: E402

MODES = ("eager",)
OF_PROBABILITIES = ("bce", "ordinal", "pointwise_rmse")


def versions() -> str:
    return f"allRank {importlib.metadata.version('allRank')} on torch {torch.__version__}"


def step(case: Case, mode: str, given: Arrays) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    name, params = case.peers["allrank"]
    loss, labels = getattr(losses, name), torch.tensor(given.labels)

    def value(scores: torch.Tensor) -> torch.Tensor:
        return loss(torch.sigmoid(scores) if name in OF_PROBABILITIES else scores, labels, **params)

    return torch_steps.step(value, given.scores)
