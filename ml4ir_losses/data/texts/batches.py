"""Batches of texts as model inputs: token ids by column, targets, weights; of one data set or several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml4ir_losses.core.arrays import Array
from ml4ir_losses.data.batchings.base import Pairs
from ml4ir_losses.data.feeding import import_tensorflow, make_dataset
from ml4ir_losses.data.texts.mixing import proportional, round_robin
from ml4ir_losses.data.texts.rows import TextPlan, TokenRows

TextBatch = tuple[Any, ...]


@dataclass
class TextFeed:
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

    def batches(self) -> Iterator[TextBatch]:
        """The batches of the next epoch."""
        return (self.make(batch) for batch in self.plan.batches())

    def make(self, batch: Array | Pairs) -> TextBatch:
        """One batch."""
        weight = self.plan.rows.weight
        if isinstance(batch, tuple):
            *sides, target = batch
            rows = sides[0]
            pairs = zip(self.columns, (self.tokens[0], self.tokens[-1]), sides, strict=True)
            x = {name: tokens.padded(side, self.multiple) for name, tokens, side in pairs}
        else:
            rows, target = batch, self.target(batch)
            named = zip(self.columns, self.tokens, strict=True)
            x = {name: tokens.padded(rows, self.multiple) for name, tokens in named}
        return (x, target) if weight is None else (x, target, weight[rows])


def mixed_batches(
    feeds: Mapping[str, TextFeed], examples: Mapping[str, TextBatch], sampling: str, seed: int, task: str
) -> Callable[[], Iterator[TextBatch]]:
    """A generator of the batches of several data sets, one data set per batch, all of the same structure.

    `examples` holds a batch of every data set that the model was built for. The input `task` [B] holds the number of
    the batch's data set. Missing text columns have no tokens, and the targets of other data sets have no rows.
    """
    order = list(examples)
    columns = max((list(example[0]) for example in examples.values()), key=len)
    no_targets = {name: np.asarray(example[1])[:0] for name, example in examples.items()}
    weighted = any(len(example) == 3 for example in examples.values())
    epoch = 0

    def generate() -> Iterator[TextBatch]:
        nonlocal epoch
        rng = np.random.default_rng([seed, epoch, 1])
        epoch += 1
        sources = {name: feed.batches() for name, feed in feeds.items()}
        if sampling == "round_robin":
            stream = round_robin(sources)
        else:
            stream = proportional(sources, {name: feed.plan.steps for name, feed in feeds.items()}, rng)
        for name, (x, target, *weight) in stream:
            rows = len(next(iter(x.values())))
            inputs = {column: x.get(column, np.zeros((rows, 1), "int32")) for column in columns}
            inputs[task] = np.full(rows, order.index(name), "int32")
            targets = {**no_targets, name: target}
            yield (
                (inputs, targets, weight[0] if weight else np.ones(rows, "float32")) if weighted else (inputs, targets)
            )

    return generate


def text_dataset(generate: Callable[[], Iterator[TextBatch]], lists: bool = False) -> Any:
    """A `tf.data.Dataset` of the batches, a fresh epoch at every iteration; `lists`: [B, N, ...] with any N."""
    tf = import_tensorflow()
    example = next(generate())
    signature = tf.nest.map_structure(lambda a: tf.TensorSpec([None, *_inner_shape(a, lists)], a.dtype), example)
    return make_dataset(generate, signature, None)


def _inner_shape(a: Array, lists: bool) -> list[int | None]:
    """The dimensions after the first; widths of token ids and numbers of documents differ between batches."""
    return [None if a.dtype == np.int32 or (lists and axis == 1) else n for axis, n in enumerate(a.shape[1:], start=1)]
