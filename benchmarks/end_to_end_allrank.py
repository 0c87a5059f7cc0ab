"""A contestant of `end_to_end.py`: allRank's data set, loader, network, loss and training step."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import numpy as np
import torch
from end_to_end_data import FEATURES, HIDDEN, LEARNING_RATE, Clock, arguments, make_data
from scipy.sparse import csr_matrix


class _Unused(ModuleType):
    """Stands for a module that allRank imports and that training from memory never calls."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return object


for package in ("gcsfs", "torchvision", "tensorboardX", "flatten_dict", "pkg_resources"):
    if importlib.util.find_spec(package) is None:
        sys.modules[package] = _Unused(package)
        sys.modules[f"{package}.transforms"] = _Unused(f"{package}.transforms")

from allrank.data.dataset_loading import FixLength, LibSVMDataset, ToTensor, create_data_loaders  # noqa: E402
from allrank.models.losses import lambdaLoss  # noqa: E402
from allrank.models.model import make_model  # noqa: E402
from allrank.training.train_utils import loss_batch  # noqa: E402

MOST_STEPS = 12  # a step takes seconds, and each costs the same: all lists have one length


def make_loader(options, x, labels, sizes):
    """Lists padded to the longest of all, as the loader does."""
    ids = np.repeat(np.arange(len(sizes)), sizes)
    fix_length, to_tensor = FixLength(int(sizes.max())), ToTensor()
    data = LibSVMDataset(csr_matrix(x), labels, ids, lambda sample: to_tensor(fix_length(sample)))
    return create_data_loaders(data, data, num_workers=0, batch_size=options.batch_size)[0]


def main():
    """Trains on a part of each epoch, and prints the rates."""
    options = arguments()
    x, labels, sizes = make_data(options.queries)
    torch.manual_seed(1)
    network = {"sizes": list(HIDDEN), "input_norm": False, "activation": "ReLU", "dropout": 0.0}
    model = make_model(network, None, {"d_output": 1, "output_activation": None}, FEATURES)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loader = make_loader(options, x, labels, sizes)
    clock = Clock(0)

    def loss(scores, targets):
        return lambdaLoss(scores, targets, weighing_scheme=options.variant)

    model.train()
    for epoch in range(1 + options.epochs):
        clock.documents, steps = 0, 2 if epoch == 0 else MOST_STEPS
        clock.begin()
        for _, (xb, yb, indices) in zip(range(steps), loader, strict=False):
            loss_batch(model, loss, xb, yb, indices, None, optimizer)
            clock.documents += int((yb >= 0).sum())
        clock.end()
    clock.report()


if __name__ == "__main__":
    main()
