"""In-batch negatives: documents of the other queries of a batch."""

from __future__ import annotations

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.texts.lists import TextLists


class InBatchNegatives:
    """Draws documents of a batch's other queries as negatives, without replacement.

    A query gets no text twice, none of its own documents, and none of another row with the same query text.

    Args:
        lists: the data.
        count: documents drawn for each query, fewer where the batch has fewer; None: all.
    """

    def __init__(self, lists: TextLists, count: int | None) -> None:
        self.lists, self.count = lists, count
        self._query = np.unique(np.array(lists.queries, object), return_inverse=True)[1]
        self._text = np.unique(np.array(lists.documents, object), return_inverse=True)[1]

    def draw(self, batch: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Document numbers [B, K] and the mask of those that are real.

        K depends on the sizes of the batch alone, so that compilers of static shapes see few of them.
        """
        rows, mask = self.lists.padded(batch)
        documents = rows[mask]
        owner = np.nonzero(mask)[0]
        texts, first, place = np.unique(self._text[documents], return_index=True, return_inverse=True)
        queries, query = np.unique(self._query[batch], return_inverse=True)
        known = np.zeros((len(queries), len(texts)), bool)  # texts that stand beside the query
        known[query[owner], place] = True
        keys = np.where(known[query], 2.0, rng.random((len(batch), len(texts))))
        most = len(documents) - int(mask.sum(axis=1).min())
        width = most if self.count is None else min(self.count, most)
        order = np.argsort(keys, axis=1, kind="stable")[:, :width]
        is_real = np.take_along_axis(keys, order, axis=1) < 1.0
        drawn = np.where(is_real, documents[first[order]], 0)
        missing = ((0, 0), (0, width - order.shape[1]))
        return np.pad(drawn, missing), np.pad(is_real, missing)
