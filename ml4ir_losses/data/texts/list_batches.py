"""Batches of queries with their documents as token ids, for cross-encoders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.core.names import MASK, PADDING_LABEL
from ml4ir_losses.data.sharding import EVERY
from ml4ir_losses.data.texts.feeds import Feed, TextBatch
from ml4ir_losses.data.texts.in_batch import InBatchNegatives
from ml4ir_losses.data.texts.lists import TextLists
from ml4ir_losses.data.texts.rows import TextPlan

PAIR = "pair_ids"
"""The model input that holds the token ids of a query and a document."""


Draw = tuple[Array, Array, Array]
"""Queries [B], document numbers [B, N] and mask [B, N]."""


class ListFeed(Feed):
    """The batches of a data set: ({pair_ids: token ids [B, N, T], mask: [B, N]}, labels [B, N][, weight]).

    Args:
        lists: the data.
        plan: which queries make a batch.
        tokenizer: the `PairTokenizer`.
        negatives: draws further documents for each query, with the label 0; None: there are none.
        seed: the seed of the draws.
        redraw: new draws in every epoch.
        multiple: the padded length is a multiple of it.
        width_steps: as of `padded_width`, for the numbers of documents.
    """

    makes_lists = True

    def __init__(
        self,
        lists: TextLists,
        plan: TextPlan,
        tokenizer: Any,
        negatives: InBatchNegatives | None = None,
        *,
        seed: int = 0,
        redraw: bool = False,
        multiple: int = 1,
        width_steps: int | None = None,
    ) -> None:
        self.lists, self.plan, self.tokenizer, self.negatives = lists, plan, tokenizer, negatives
        self.seed, self.redraw, self.multiple, self.width_steps = seed, redraw, multiple, width_steps
        self._query_words = tokenizer.words(lists.queries)
        self._document_words = tokenizer.words(lists.documents)
        self._query_sizes, self._document_sizes = (
            np.array([len(text) for text in words], int) for words in (self._query_words, self._document_words)
        )

    @property
    def batch_size(self) -> int:
        """Queries of a complete batch."""
        return self.plan.batch_size

    def draws(self, epoch: int) -> Iterator[Draw]:
        """The queries and documents of each batch of an epoch."""
        rng = np.random.default_rng([self.seed, epoch if self.redraw else 0, 2])
        for batch in cast("Iterator[Array]", self.plan.batches(epoch)):  # their batching makes no pairs
            rows, mask = self.lists.padded(batch, self.width_steps)
            if self.negatives is not None:
                drawn, is_real = self.negatives.draw(batch, rng)
                rows, mask = np.concatenate([rows, drawn], axis=1), np.concatenate([mask, is_real], axis=1)
            yield batch, rows, mask

    def size(self, draw: Draw) -> int:
        """The number of queries of the batch."""
        return len(draw[0])

    def labels(self, batch: Array, rows: Array, mask: Array) -> Array:
        """Labels [B, N]: 0 for drawn documents, -1 for padding."""
        labels = np.where(self._own(batch, rows), self.lists.labels[rows], 0.0)
        padded: Array = np.where(mask, labels, PADDING_LABEL).astype("float32")
        return padded

    def _own(self, batch: Array, rows: Array) -> Array:
        """Which documents [B, N] are the query's own, not drawn."""
        start, end = (self.lists.offsets[batch + k][:, None] for k in (0, 1))
        own: Array = (rows >= start) & (rows < end)
        return own

    def pairs(self) -> tuple[Array, Array, Array]:
        """Query numbers, document numbers and relevance of all pairs of an epoch, [pairs] each."""
        parts = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))]
        for batch, rows, mask in self.draws(0):
            parts.append((np.broadcast_to(batch[:, None], mask.shape)[mask], rows[mask], self._own(batch, rows)[mask]))
        query, document, own = (np.concatenate(part) for part in zip(*parts, strict=True))
        return query, document, np.where(own, self.lists.relevance[document], 0.0)

    def make(self, draw: Draw, part: slice = EVERY) -> TextBatch:
        """The batch, or a part of its queries, padded as the whole batch is."""
        batch, rows, mask = (values[part] for values in draw)
        x = {PAIR: self._tokens(batch, rows, mask, self._width(*draw)), MASK: mask.astype("float32")}
        y = self.labels(batch, rows, mask)
        weight = self.lists.weight
        if weight is None:
            return x, y
        return x, y, np.where(mask, weight[rows], 0.0) if self.lists.weighs_documents else weight[batch]

    def _width(self, batch: Array, rows: Array, mask: Array) -> int:
        """The number of ids of the longest pair, as a multiple."""
        queries, documents = np.broadcast_to(self._query_sizes[batch][:, None], mask.shape), self._document_sizes[rows]
        longest = int(self.tokenizer.lengths(queries[mask], documents[mask]).max())
        width: int = min(-(-longest // self.multiple) * self.multiple, self.tokenizer.max_length)
        return width

    def _tokens(self, batch: Array, rows: Array, mask: Array, width: int) -> Array:
        """The ids of each pair, [B, N, width]."""
        query = np.broadcast_to(batch[:, None], mask.shape)[mask]
        ids = self.tokenizer.join([self._query_words[q] for q in query], [self._document_words[d] for d in rows[mask]])
        tokens = np.zeros((*mask.shape, width), "int32")
        tokens[mask, : ids.shape[1]] = ids
        return tokens
