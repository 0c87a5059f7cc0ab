"""Batches of texts as model inputs: token ids by column, targets, weights; of one data set or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batchings.base import Pairs
from ml4ir_losses.data.sharding import EVERY
from ml4ir_losses.data.texts.feeds import Feed, TextBatch
from ml4ir_losses.data.texts.mixing import proportional, round_robin
from ml4ir_losses.data.texts.rows import TextPlan, TokenRows


@dataclass
class TextFeed(Feed):
    """The batches of one data set: (inputs, target[, weights]).

    Attributes:
        plan: which rows make a batch.
        tokens: the ids of every text column.
        target: the function from row numbers to the y_true of the loss.
        columns: the names of the model's inputs, in the order of `tokens`.
        multiple: the padded length is a multiple of it.
    """

    plan: TextPlan
    tokens: list[TokenRows]
    target: Callable[[Array], Array]
    columns: list[str]
    multiple: int = 1

    @property
    def batch_size(self) -> int:
        """Rows of a complete batch."""
        return self.plan.batch_size

    def draws(self, epoch: int) -> Iterator[Array | Pairs]:
        """The rows of each batch of an epoch."""
        return self.plan.batches(epoch)

    def size(self, draw: Array | Pairs) -> int:
        """The number of rows of the batch."""
        return len(draw[0] if isinstance(draw, tuple) else draw)

    def make(self, draw: Array | Pairs, part: slice = EVERY) -> TextBatch:
        """The batch, or a part of its rows, padded as the whole batch is."""
        weight = self.plan.rows.weight
        if isinstance(draw, tuple):
            *sides, target = draw
            rows = sides[0]
            pairs = zip(self.columns, (self.tokens[0], self.tokens[-1]), sides, strict=True)
            x = {name: tokens.padded(side, self.multiple, part) for name, tokens, side in pairs}
        else:
            rows, target = draw, self.target(draw)
            named = zip(self.columns, self.tokens, strict=True)
            x = {name: tokens.padded(rows, self.multiple, part) for name, tokens in named}
        return (x, target[part]) if weight is None else (x, target[part], weight[rows[part]])


class MixedFeed(Feed):
    """The batches of several data sets, one data set per batch, all of the same structure.

    The input `task` [B] holds the number of the batch's data set. Missing text columns have no tokens, and the targets
    of other data sets have no rows.

    Args:
        feeds: the batches of each data set.
        examples: a batch of every data set that the model was built for.
        sampling: `proportional` or `round_robin`.
        seed: the seed of the order.
        task: the name of the input.
    """

    def __init__(
        self, feeds: Mapping[str, TextFeed], examples: Mapping[str, TextBatch], sampling: str, seed: int, task: str
    ) -> None:
        self.feeds, self.sampling, self.seed, self.task = feeds, sampling, seed, task
        self._order = list(examples)
        self._columns = max((list(example[0]) for example in examples.values()), key=len)
        self._no_targets = {name: np.asarray(example[1])[:0] for name, example in examples.items()}
        self._weighted = any(len(example) == 3 for example in examples.values())

    @property
    def batch_size(self) -> int:
        """The smallest of the data sets."""
        return min(feed.batch_size for feed in self.feeds.values())

    def draws(self, epoch: int) -> Iterator[tuple[str, Any]]:
        """The data set of each batch of an epoch, and what is drawn of it."""
        sources = {name: feed.draws(epoch) for name, feed in self.feeds.items()}
        if self.sampling == "round_robin":
            return round_robin(sources)
        steps = {name: feed.plan.steps for name, feed in self.feeds.items()}
        return proportional(sources, steps, np.random.default_rng([self.seed, epoch, 1]))

    def size(self, draw: tuple[str, Any]) -> int:
        """The number of rows of the batch."""
        return self.feeds[draw[0]].size(draw[1])

    def make(self, draw: tuple[str, Any], part: slice = EVERY) -> TextBatch:
        """The batch, or a part of its rows, padded as the whole batch is."""
        name, drawn = draw
        x, target, *weight = self.feeds[name].make(drawn, part)
        rows = len(target)
        inputs = {column: x.get(column, np.zeros((rows, 1), "int32")) for column in self._columns}
        inputs[self.task] = np.full(rows, self._order.index(name), "int32")
        targets = {**self._no_targets, name: target}
        if not self._weighted:
            return inputs, targets
        return inputs, targets, weight[0] if weight else np.ones(rows, "float32")
