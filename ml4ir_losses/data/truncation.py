"""Which documents of long lists are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ml4ir_losses.core.arrays import Array


@dataclass(frozen=True)
class Truncation:
    """How lists longer than `max_list_size` are cut."""

    max_list_size: int | None = None
    policy: Literal["first", "random", "keep_relevant"] = "first"

    def dropped(self, sizes: Array) -> tuple[int, int]:
        """Number of dropped documents, and of queries that lose documents."""
        if self.max_list_size is None:
            return 0, 0
        over = np.maximum(sizes - self.max_list_size, 0)
        return int(over.sum()), int((over > 0).sum())

    def keys(self, sizes: Array, rng: np.random.Generator) -> Array | None:
        """A random number for each document of the lists that are cut; None where nothing is drawn."""
        if self.max_list_size is None or self.policy == "first":
            return None
        return rng.random(int(sizes[sizes > self.max_list_size].sum()))

    def kept(self, key: Array, labels: Array | None) -> Array:
        """Positions of the documents that are kept, in list order.

        Args:
            key: a random number for each document of the list.
            labels: their labels.
        """
        if self.policy == "keep_relevant" and labels is not None:
            key = np.where(labels > 0, 1.0 + labels, key)
        kept: Array = np.sort(np.argsort(-key, kind="stable")[: self.max_list_size])
        return kept

    def report(self, sizes: Array) -> str:
        """One line on what is dropped; empty when nothing is."""
        documents, queries = self.dropped(sizes)
        if not documents:
            return ""
        return (
            f"{documents:,} of {int(sizes.sum()):,} documents dropped from {queries:,} queries longer than "
            f"data.max_list_size: {self.max_list_size} (data.truncation: {self.policy})"
        )
