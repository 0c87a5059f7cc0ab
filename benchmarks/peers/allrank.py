"""allRank's losses, and its own training step. Losses of probabilities get the sigmoid of the scores."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

import training
from cases import Case, arrays
from peers import torch_steps


class _Unused(ModuleType):
    """Replaces a module that allRank imports and that neither losses nor training from memory call."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


for package in ("gcsfs", "torchvision", "tensorboardX", "flatten_dict", "pkg_resources"):
    if importlib.util.find_spec(package) is None:
        sys.modules[package] = _Unused(package)
        sys.modules[f"{package}.transforms"] = _Unused(f"{package}.transforms")

from allrank.data.dataset_loading import FixLength, LibSVMDataset, ToTensor, create_data_loaders  # noqa: E402
from allrank.models import losses  # noqa: E402
from allrank.models.model import make_model  # noqa: E402
from allrank.training.train_utils import loss_batch  # noqa: E402

MODES = ("eager",)
OF_PROBABILITIES = ("bce", "ordinal", "pointwise_rmse")
TRAINED_QUERIES = 12 * training.BATCH_SIZE  # a step takes seconds, and every list is padded to the longest of all


def versions() -> str:
    return f"allRank {importlib.metadata.version('allRank')} on torch {torch.__version__}"


def step(case: Case, shape: str, mode: str, warm_up: bool = False) -> Callable[[], tuple[np.ndarray, ...]]:
    name, params = case.specs["allrank"]
    loss = getattr(losses, name)
    if case.kind == "training":
        return _epoch(lambda scores, labels: loss(scores, labels, **params))
    given = arrays(case, shape, warm_up)
    labels = torch.tensor(given.labels)

    def value(scores: torch.Tensor) -> torch.Tensor:
        return loss(torch.sigmoid(scores) if name in OF_PROBABILITIES else scores, labels, **params)

    return torch_steps.step(value, given.scores)


def reader(path: str) -> Callable[[], int]:
    """Counts the documents of an svmlight file, padded to batches of tensors."""

    def read() -> int:
        data = LibSVMDataset.from_svm_file(path)
        fix_length, to_tensor = FixLength(data.longest_query_length), ToTensor()
        data.transform = lambda sample: to_tensor(fix_length(sample))
        _, batches = create_data_loaders(data, data, num_workers=0, batch_size=training.BATCH_SIZE)
        return sum(int((labels >= 0).sum()) for _, labels, _ in batches)

    return read


def _epoch(loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> training.Epoch:
    x, labels, sizes = training.data()
    longest, sizes = int(sizes.max()), sizes[:TRAINED_QUERIES]
    documents = int(sizes.sum())
    fix_length, to_tensor = FixLength(longest), ToTensor()
    ids = np.repeat(np.arange(len(sizes)), sizes)
    lists = LibSVMDataset(csr_matrix(x[:documents]), labels[:documents], ids, lambda s: to_tensor(fix_length(s)))
    loader = create_data_loaders(lists, lists, num_workers=0, batch_size=training.BATCH_SIZE)[0]
    network = {"sizes": list(training.HIDDEN), "input_norm": False, "activation": "ReLU", "dropout": 0.0}
    model = make_model(network, None, {"d_output": 1, "output_activation": None}, training.FEATURES)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.LEARNING_RATE)

    def run() -> None:
        model.train()
        for features, grades, indices in loader:
            loss_batch(model, loss, features, grades, indices, None, optimizer)

    return training.Epoch(run, documents)
