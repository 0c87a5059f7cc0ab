"""The data and the network of the training rows of `bench.py`; NumPy only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from cases import lengths

QUERIES, BATCH_SIZE, FEATURES, HIDDEN, LEARNING_RATE = 3000, 32, 136, (256, 128), 1e-3
GRADES = (0.52, 0.32, 0.13, 0.02, 0.01)


@dataclass(frozen=True)
class Epoch:
    """Trains on `documents` documents when it is called; padding does not count."""

    run: Callable[[], Any]
    documents: int

    def __call__(self) -> tuple[()]:
        self.run()
        return ()


def data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [D, 136], labels [D] and list lengths [Q]; the rows of a query are adjacent."""
    rng = np.random.default_rng(7)
    sizes = lengths(QUERIES, 1251, rng)
    labels = rng.choice(len(GRADES), int(sizes.sum()), p=GRADES).astype("float32")
    x = rng.standard_normal((len(labels), FEATURES), dtype="float32")
    x[:, :8] += labels[:, None]
    return x, labels, sizes
