"""The batching `contrastive_pairs`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.errors import UserError, check_count
from ml4ir_losses.core.parameters import PositiveInt
from ml4ir_losses.core.registry import register_batching
from ml4ir_losses.data.batchings.base import Batching, Pairs, Rng, Rows


def contrastive_pairs(
    rows: int, batch_size: int, rng: np.random.Generator | None = None, negatives: int = 7
) -> Iterator[tuple[Array, Array, Array]]:
    """(anchors, others, labels) for contrastive tension: every row with itself, 1, and with other rows, 0.

    Args:
        rows: number of texts, at least 2.
        batch_size: pairs of a batch; the last one may have fewer.
        rng: draws the order and the other rows; None: data order, and the rows that follow.
        negatives: pairs with another row for each pair with itself.
    """
    check_count(batch_size=batch_size, negatives=negatives)
    if rows < 2:
        raise UserError(f"Pairs of different texts need at least two rows. Received: {rows}.")
    order = np.arange(rows) if rng is None else rng.permutation(rows)
    steps = np.arange(negatives) % (rows - 1) + 1
    for start in range(0, rows * (1 + negatives), batch_size):
        pair = np.arange(start, min(start + batch_size, rows * (1 + negatives)))
        anchors, turn = order[pair // (1 + negatives)], pair % (1 + negatives)
        away = steps[np.maximum(turn, 1) - 1] if rng is None else rng.integers(1, rows, len(pair))
        yield anchors, np.where(turn == 0, anchors, (anchors + away) % rows), (turn == 0).astype("float32")


@register_batching("contrastive_pairs")
class ContrastivePairs(Batching):
    """Every text with itself, label 1, and with other texts, label 0: the pairs of contrastive tension.

    Args:
        negatives: pairs with another text for each pair with itself.
    """

    makes_pairs = True

    def __init__(self, negatives: PositiveInt = 7) -> None:
        self.negatives = negatives

    def batches(self, rows: Rows, batch_size: int, rng: Rng) -> Iterator[Pairs]:
        return contrastive_pairs(len(rows), batch_size, rng, self.negatives)

    def count(self, rows: int) -> int:
        return rows * (1 + self.negatives)
